"""Whether dropping a teacher's unsure answers would help a student, and where to draw the line.

A filter trades examples for cleaner ones. What is kept is worth `c (1 - 2e)²` of as many clean examples, for a share c
of answers kept with a share e of errors among them: that many labels with random errors teach as much as a clean one
(Angluin and Laird 1988, "Learning from noisy examples"); for K classes `2e` becomes `e K / (K - 1)`. Thresholds are
chosen where this is highest, and judged on answers they were not chosen on, so that luck in a small gold sample does
not look like a gain.

A teacher's errors are not random: they gather on hard and rare texts, which a filter takes away from the student
altogether, so the estimate favours filtering. By `python -m benchmarks.confidence` (24 LLM annotators of news
sentences, a linear student, 35 runs): where it promised less than a half, filtering cost the student 0.8 points on
average; where it promised more, which was always more than 1.8, the student won 0.4 to 22 points, 6.5 on average.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .comparison import Interval, interval
from .confidence import RESAMPLES, Judged, draws
from .scores import Floats

FOLDS = 5
MIN_GAIN = 0.5
"""A smaller gain on paper is none in practice: see this module."""
MIN_ANSWERS, MIN_ERRORS = 50, 10
"""A label with fewer answers or errors than this has no threshold of its own."""

Kept = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Filter:
    """What a filter would do.

    threshold (float): For labels that have none of their own; 0 keeps all.
    per_label (Mapping[str, float]): Label to its own threshold.
    kept (float): Share of the answers that stay.
    errors_before, errors_after (float): Share of errors, before and among those that stay.
    gain (Optional[Interval]): How much more the rest is worth than all, as a share, on answers that the thresholds were
        not chosen on; None where all answers together are worth nothing.
    helps (bool): The gain is at least `MIN_GAIN`, and its interval above 0.
    labels (Mapping[str, Tuple[int, int]]): Label to its answers, and how many of them stay.
    """

    threshold: float
    per_label: Mapping[str, float]
    kept: float
    errors_before: float
    errors_after: float
    gain: Interval | None
    helps: bool
    labels: Mapping[str, tuple[int, int]]


def plan(judged: Judged, *, resamples: int = RESAMPLES, seed: int = 0) -> Filter:
    """Choose thresholds, and find out whether they would help.

    RETURNS (Filter): What was chosen on all answers, whether or not it helps.
    """
    labels = np.array(judged.labels, dtype=object)
    fold = np.random.default_rng(seed).permutation(judged.units)[judged.unit] % FOLDS
    held_out = np.ones(len(labels), dtype="bool")
    for number in range(FOLDS):
        inside = fold == number
        if inside.any() and not inside.all():
            thresholds = _choose(judged, labels, ~inside)
            held_out[inside] = _keep(judged, labels, thresholds)[inside]
    gains = np.concatenate([_gain(judged, held_out, weights) for weights in draws(judged, resamples, seed)])
    value = float(_gain(judged, held_out, np.ones((1, len(labels))))[0])
    gain = None if np.isnan(value) else interval(value, gains[~np.isnan(gains)])
    threshold, per_label = _choose(judged, labels, np.ones(len(labels), dtype="bool"))
    kept = _keep(judged, labels, (threshold, per_label))
    return Filter(
        threshold=threshold,
        per_label=per_label,
        kept=float(kept.mean()),
        errors_before=float((~judged.right).mean()),
        errors_after=float((~judged.right[kept]).mean()),
        gain=gain,
        helps=gain is not None and gain.value >= MIN_GAIN and gain.low > 0,
        labels={name: (int((labels == name).sum()), int(kept[labels == name].sum())) for name in sorted(set(labels))},
    )


def _choose(judged: Judged, labels: npt.NDArray[np.object_], inside: Kept) -> tuple[float, dict[str, float]]:
    """RETURNS (Tuple[float, Dict[str, float]]): The threshold of the answers `inside`, and those of single labels."""
    per_label = {}
    for name in sorted(set(labels[inside])):
        its = inside & (labels == name)
        if its.sum() >= MIN_ANSWERS and (~judged.right[its]).sum() >= MIN_ERRORS and name:
            per_label[name] = best_threshold(judged.confidence[its], judged.right[its], judged.chance)
    return best_threshold(judged.confidence[inside], judged.right[inside], judged.chance), per_label


def best_threshold(confidence: Floats, right: Kept, chance: float) -> float:
    """RETURNS (float): Between two confidences that occur, where what is at or above it is worth most; 0 to keep all.
    Of several as good, the lowest."""
    order = np.argsort(-confidence, kind="stable")
    ends = np.flatnonzero(np.r_[confidence[order][1:] != confidence[order][:-1], True])
    kept = ends + 1
    errors = (~right[order]).cumsum()[ends]
    values = worth(kept / len(order), errors / kept, chance)
    best = len(values) - 1 - int(values[::-1].argmax())
    if best == len(values) - 1:
        return 0.0
    return round(float(confidence[order][ends[best]] + confidence[order][ends[best] + 1]) / 2, 6)


def worth(kept: Floats, errors: Floats, chance: float) -> Floats:
    """RETURNS (ndarray): What a share of answers with a share of errors is worth, 0 to 1: see this module."""
    value: Floats = kept * np.clip(1.0 - errors / chance, 0.0, None) ** 2
    return value


def _keep(judged: Judged, labels: npt.NDArray[np.object_], thresholds: tuple[float, Mapping[str, float]]) -> Kept:
    needed = np.array([thresholds[1].get(name, thresholds[0]) for name in labels])
    kept: Kept = judged.confidence >= needed
    return kept


def _gain(judged: Judged, kept: Kept, weights: Floats) -> Floats:
    """RETURNS (ndarray): What is kept against all, less 1, in each resample. `(R,)`; nan where all is worth nothing."""
    total, stay = weights.sum(-1), (weights * kept).sum(-1)
    wrong = weights * ~judged.right
    with np.errstate(invalid="ignore", divide="ignore"):
        after = worth(stay / total, np.nan_to_num((wrong * kept).sum(-1) / stay), judged.chance)
        before = worth(np.ones_like(total), wrong.sum(-1) / total, judged.chance)
        gain: Floats = np.where(before > 0, after / before - 1.0, np.nan)
    return gain
