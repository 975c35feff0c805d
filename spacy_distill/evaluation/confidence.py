"""Whether a teacher's confidence tells its right answers from its wrong ones: pure functions over records.

An answer is a text's class, or all its classes together, or an entity: right or wrong, with a confidence. The area
under the ROC curve (AUROC) is the probability that a right answer is surer than a wrong one, 0.5 for a coin. The
risk–coverage curve (El-Yaniv and Wiener 2010) shows the share of errors among the surest answers, from few of them to
all; the area under it (AURC; Geifman, Uziel and El-Yaniv 2019) is the mean share of errors over all coverages: lower is
better, and the overall share of errors is what a confidence without any knowledge gets. Answers with the same
confidence have no order: they count as if they came in a random one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..errors import InputError
from ..types import Annotation, ConfidenceKind
from .calibration import Bin, reliability
from .comparison import Interval, interval, units
from .scores import Floats, answer, match, spans

RESAMPLES = 1_000
HIGH = 0.9
"""What the tables call a high confidence: a kind that is nearly always above it tells little apart."""
_BLOCK = 4_000_000  # weights held in memory at a time


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """A teacher's answers to gold's texts, each right or wrong.

    name (str): What the tables call it.
    kind (ConfidenceKind): Where its confidence comes from.
    confidence (ndarray): 0 to 1. `(N,)`.
    right (ndarray): `(N,)`.
    labels (Tuple[str, ...]): What each answer says; "" where that may be several classes together. N of them.
    unit (ndarray): What is resampled: the number of each answer's group of texts, or else of its text. `(N,)`.
    units (int): How many of those gold has.
    chance (float): The share of errors of answers that know nothing: `1 - 1 / K` for K exclusive classes, else 1.
    without_confidence (int): Answers that have none; they are left aside.
    without_answer (int): Texts of gold without a usable answer.
    """

    name: str
    kind: ConfidenceKind
    confidence: Floats
    right: npt.NDArray[np.bool_]
    labels: tuple[str, ...]
    unit: npt.NDArray[np.intp]
    units: int
    chance: float
    without_confidence: int
    without_answer: int


@dataclass(frozen=True, slots=True)
class KindScore:
    """How good a kind of confidence is. Intervals are of the bootstrap over texts, or groups of texts.

    answers (int): How many were judged.
    accuracy (Interval): Share of them that is right.
    auroc (Optional[Interval]): None if all are right, or all wrong.
    aurc (Interval): See this module.
    ece (float): Expected calibration error, 0 to 1.
    bins (Tuple[Bin, ...]): What it is made of.
    high (float): Share of the answers with a confidence of at least `HIGH`.
    curve (Tuple[Tuple[float, float], ...]): Coverage and share of errors, from the surest answers to all.
    without_confidence, without_answer (int): See `Judged`.
    """

    name: str
    kind: ConfidenceKind
    answers: int
    accuracy: Interval
    auroc: Interval | None
    aurc: Interval
    ece: float
    bins: tuple[Bin, ...]
    high: float
    curve: tuple[tuple[float, float], ...]
    without_confidence: int
    without_answer: int


def judge(name: str, gold: Sequence[Annotation], annotations: Sequence[Annotation]) -> Judged:
    """Compare a teacher's answers with gold.

    name (str): What the tables are to call it.
    RETURNS (Judged): In gold's order. If there are several kinds of confidence, the most frequent one is judged.
    RAISES (InputError): No answer has a confidence.
    """
    matched = match(gold, annotations)
    kinds = Counter(found.confidence_kind for found in matched if found and found.confidence_kind)
    if not kinds:
        raise InputError(
            f'{name}: no answer has a confidence. Ask a server for log-probabilities, or set confidence = "votes" or'
            ' "verbalised" in the task.'
        )
    kind = kinds.most_common(1)[0][0]
    rows: list[tuple[float, bool, str, int]] = []
    without = 0
    for record, found, unit in zip(gold, matched, units([record.group for record in gold]), strict=True):
        if found is None:
            continue
        if found.confidence_kind not in (kind, None):
            without += len(found.ents or ()) if found.task == "ner" else 1
            continue
        for confidence, right, label in _answers(record, found):
            if confidence is None:
                without += 1
            else:
                rows.append((confidence, right, label, unit))
    if not rows:
        raise InputError(f"{name}: no answer has a confidence, so there is nothing to judge.")
    first = gold[0]
    exclusive = first.task == "textcat" and first.exclusive
    return Judged(
        name=name,
        kind=kind,
        confidence=np.array([row[0] for row in rows], dtype="float64"),
        right=np.array([row[1] for row in rows], dtype="bool"),
        labels=tuple(row[2] for row in rows),
        unit=np.array([row[3] for row in rows], dtype="intp"),
        units=len(set(units([record.group for record in gold]))),
        chance=1.0 - 1.0 / len(first.labels) if exclusive and len(first.labels) > 1 else 1.0,
        without_confidence=without,
        without_answer=sum(found is None for found in matched),
    )


def _answers(gold: Annotation, found: Annotation) -> Iterator[tuple[float | None, bool, str]]:
    """YIELDS (Tuple[Optional[float], bool, str]): Confidence of each answer, whether it is right, and what it says."""
    if gold.task == "ner":
        truth = spans(gold)
        for span in found.ents or ():
            yield span.score, (span.start, span.end, span.label) in truth, span.label
        return
    said = answer(found, gold.exclusive)
    yield found.confidence, said == answer(gold, gold.exclusive), "".join(said) if gold.exclusive else ""


def draws(judged: Judged, resamples: int = RESAMPLES, seed: int = 0) -> Iterator[Floats]:
    """Draw whole units with replacement. The same seed draws the same units for every kind over the same gold.

    YIELDS (ndarray): How often each answer is in some of the resamples. `(R, N)`.
    """
    rng = np.random.default_rng(seed)
    step = max(1, _BLOCK // max(judged.units, len(judged.unit)))
    for start in range(0, resamples, step):
        count = min(resamples, start + step) - start
        weights = rng.multinomial(judged.units, np.full(judged.units, 1.0 / judged.units), size=count)
        yield weights[:, judged.unit].astype("float64")


def score(judged: Judged, *, resamples: int = RESAMPLES, seed: int = 0) -> tuple[KindScore, Floats]:
    """Work out every figure of a kind.

    RETURNS (Tuple[KindScore, ndarray]): The figures; the AURC of every resample, to compare kinds with. `(R,)`.
    """
    drawn = [_figures(judged, weights) for weights in draws(judged, resamples, seed)]
    accuracy, auroc, aurc = (np.concatenate(parts) for parts in zip(*drawn, strict=True))
    value = [figures[0] for figures in _figures(judged, np.ones((1, len(judged.right))))]
    known = auroc[~np.isnan(auroc)]
    calibration = reliability(judged.confidence, judged.right)
    found = KindScore(
        name=judged.name,
        kind=judged.kind,
        answers=len(judged.right),
        accuracy=interval(value[0], accuracy),
        auroc=None if np.isnan(value[1]) else interval(value[1], known),
        aurc=interval(value[2], aurc),
        ece=calibration.ece,
        bins=calibration.bins,
        high=float((judged.confidence >= HIGH).mean()),
        curve=tuple(_curve(judged)),
        without_confidence=judged.without_confidence,
        without_answer=judged.without_answer,
    )
    return found, aurc


def _figures(judged: Judged, weights: Floats) -> tuple[Floats, Floats, Floats]:
    """RETURNS (Tuple[ndarray, ndarray, ndarray]): Accuracy, AUROC and AURC of each resample, `(R,)` each. A resample
    without answers has an accuracy of 0."""
    answers, wrong = _by_confidence(judged, weights)
    total, errors = answers.sum(-1), wrong.sum(-1)
    right = answers - wrong
    below = errors[:, None] - wrong.cumsum(-1)  # errors that are less sure
    with np.errstate(invalid="ignore", divide="ignore"):
        auroc = (right * (below + wrong / 2)).sum(-1) / (right.sum(-1) * errors)
        accuracy = np.where(total > 0, right.sum(-1) / total, 0.0)
        before, errors_before = answers.cumsum(-1) - answers, wrong.cumsum(-1) - wrong
        rate = np.where(answers > 0, wrong / answers, 0.0)
        # The integral of (errors before + rate t) / (answers before + t) over a block of equals, t from 0 to its size.
        growth = np.where(before > 0, np.log1p(answers / before), 0.0)
        aurc = (wrong + (errors_before - before * rate) * growth).sum(-1) / total
    return accuracy, auroc, np.nan_to_num(aurc)


def _by_confidence(judged: Judged, weights: Floats) -> tuple[Floats, Floats]:
    """RETURNS (Tuple[ndarray, ndarray]): Answers and errors among them, of each distinct confidence, from the surest
    down. `(R, B)` each."""
    order = np.argsort(-judged.confidence, kind="stable")
    sorted_confidence = judged.confidence[order]
    starts = np.flatnonzero(np.r_[True, sorted_confidence[1:] != sorted_confidence[:-1]])
    ordered = weights[:, order]
    wrong = ordered * ~judged.right[order]
    return np.add.reduceat(ordered, starts, axis=1), np.add.reduceat(wrong, starts, axis=1)


def _curve(judged: Judged) -> Iterator[tuple[float, float]]:
    answers, wrong = (table[0].cumsum() for table in _by_confidence(judged, np.ones((1, len(judged.right)))))
    for covered, errors in zip(answers, wrong, strict=True):
        yield float(covered / answers[-1]), float(errors / covered)
