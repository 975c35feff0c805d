"""Scores of predictions against gold: pure functions over records, matched by id.

A prediction that is missing, or whose status is not "ok", counts as wrong: it finds nothing. How many answered is
reported beside every score, never taken out of it.

Everything is worked out from one table of counts, a row a text, so that a resample of the texts is a weighted sum of
its rows (see `comparison`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..errors import InputError
from ..types import Annotation, Span

Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]

METRICS = ("accuracy", "macro_f1", "micro_f1", "precision", "recall", "answered")
"""`accuracy`: share of texts answered wholly right (exclusive classes: accuracy; several classes: subset accuracy;
entities: texts without any error). `macro_f1`: mean F1 of the labels that gold has. `micro_f1`, `precision`, `recall`:
over all labels' counts together; an entity is right if both ends and its label are. `answered`: share of texts with
an answer."""


@dataclass(frozen=True, slots=True, eq=False)
class Tally:
    """What went right and wrong in each text.

    labels (Tuple[str, ...]): K labels.
    counts (ndarray): `(N, 3K + 3)`: true positives, false positives and false negatives of each label; then 1 where
        the text is wholly right, 1 where there is an answer, and 1.
    """

    labels: tuple[str, ...]
    counts: Floats


@dataclass(frozen=True, slots=True)
class LabelScore:
    """How well one label is found.

    precision, recall, f1 (float): 0 to 1; 0 where nothing was predicted, or nothing was there.
    support (int): How often gold has it.
    predicted (int): How often it was predicted.
    """

    label: str
    precision: float
    recall: float
    f1: float
    support: int
    predicted: int


@dataclass(frozen=True, slots=True)
class EntityErrors:
    """What kinds of errors entities have. Each wrong span is counted once, paired with at most one span of the other
    side: `fn = label + boundary + both + missed`, `fp = label + boundary + both + spurious`.

    label (int): The right stretch, another label.
    boundary (int): The right label, an overlapping stretch.
    both (int): An overlapping stretch and another label.
    missed (int): Nothing was predicted there.
    spurious (int): Nothing is there.
    """

    label: int
    boundary: int
    both: int
    missed: int
    spurious: int


def match(gold: Sequence[Annotation], predicted: Sequence[Annotation]) -> list[Annotation | None]:
    """Find each gold record's prediction.

    RETURNS (List[Optional[Annotation]]): In gold's order; None where there is none, or its status is not "ok".
    RAISES (InputError): No gold, an id that occurs twice, the same id with another text, another task, or no id in
        common.
    """
    if not gold:
        raise InputError("There is no gold to score against.")
    known = by_id(predicted, "The predictions")
    by_id(gold, "Gold")
    found: list[Annotation | None] = []
    for record in gold:
        prediction = known.get(record.id)
        if prediction is not None and prediction.text != record.text:
            raise InputError(f"Record {record.id}: gold and prediction have different texts. Predict gold's own texts.")
        if prediction is not None and prediction.task != record.task:
            raise InputError(f"Record {record.id}: gold is for {record.task}, the prediction for {prediction.task}.")
        found.append(prediction if prediction is not None and prediction.status == "ok" else None)
    if predicted and not any(record.id in known for record in gold):
        raise InputError(
            f"None of the {len(predicted)} predictions has an id of gold (gold: {gold[0].id!r} …, predictions:"
            f" {predicted[0].id!r} …). Predict the texts of the gold file itself."
        )
    return found


def by_id(records: Iterable[Annotation], what: str) -> dict[str, Annotation]:
    """RETURNS (Dict[str, Annotation]): The records by id. RAISES (InputError): An id occurs twice."""
    found: dict[str, Annotation] = {}
    for record in records:
        if record.id in found:
            raise InputError(f"{what}: the id {record.id!r} occurs twice.")
        found[record.id] = record
    return found


def answer(record: Annotation | None, exclusive: bool) -> frozenset[str]:
    """RETURNS (FrozenSet[str]): The classes that hold; none where there is no answer."""
    if record is None:
        return frozenset()
    if exclusive:
        return frozenset(() if record.label is None else (record.label,))
    return frozenset(record.positive())


def spans(record: Annotation | None) -> frozenset[tuple[int, int, str]]:
    """RETURNS (FrozenSet[Tuple[int, int, str]]): The entities' starts, ends and labels."""
    return frozenset((span.start, span.end, span.label) for span in (record.ents or ())) if record else frozenset()


def _known(record: Annotation, guess: frozenset[tuple[int, int, str]]) -> frozenset[tuple[int, int, str]]:
    """RETURNS (FrozenSet[Tuple[int, int, str]]): The entities that the record knows to be right or wrong."""
    return frozenset(
        found for found in guess if not any(found[0] < gap.end and gap.start < found[1] for gap in record.missing)
    )


def label_set(gold: Sequence[Annotation], *systems: Sequence[Annotation]) -> tuple[str, ...]:
    """RETURNS (Tuple[str, ...]): Gold's labels in order, then any others that a system offers or uses."""
    found: dict[str, None] = {}
    for records in (gold, *systems):
        for record in records:
            found.update(dict.fromkeys(record.labels))
            found.update(dict.fromkeys(span.label for span in record.ents or ()))
    return tuple(found)


def tally(gold: Sequence[Annotation], predicted: Sequence[Annotation], labels: Sequence[str]) -> Tally:
    """Count, for each text and label, what was found, made up and missed.

    labels (Sequence[str]): From `label_set`.
    RETURNS (Tally): Rows in gold's order.
    """
    matched = match(gold, predicted)
    k = len(labels)
    index = {label: i for i, label in enumerate(labels)}
    counts = np.zeros((len(gold), 3 * k + 3), dtype="float64")
    for row, record, prediction in zip(counts, gold, matched, strict=True):
        if record.task == "ner":
            truth, guess = spans(record), _known(record, spans(prediction))
            tp, fp, fn = ([label for _, _, label in part] for part in (truth & guess, guess - truth, truth - guess))
        else:
            true, guessed = answer(record, record.exclusive), answer(prediction, record.exclusive)
            tp, fp, fn = list(true & guessed), list(guessed - true), list(true - guessed)
        for offset, part in enumerate((tp, fp, fn)):
            for label in part:
                row[offset * k + index[label]] += 1
        row[3 * k] = prediction is not None and not fp and not fn
        row[3 * k + 1] = prediction is not None
    counts[:, -1] = 1
    return Tally(tuple(labels), counts)


def scores(sums: Floats) -> dict[str, Floats]:
    """Work out every metric from summed counts, the same way for a sample and for its resamples.

    sums (ndarray): `(…, 3K + 3)`: rows of `Tally.counts`, added up.
    RETURNS (Dict[str, ndarray]): A metric of `METRICS` to `(…)`, 0 to 1. Where there is nothing to divide by, 0.
    """
    k = (sums.shape[-1] - 3) // 3
    tp, fp, fn = sums[..., :k], sums[..., k : 2 * k], sums[..., 2 * k : 3 * k]
    right, answered, texts = sums[..., -3], sums[..., -2], sums[..., -1]
    there = tp + fn > 0
    f1 = _ratio(2 * tp, 2 * tp + fp + fn)
    all_tp, all_fp, all_fn = tp.sum(-1), fp.sum(-1), fn.sum(-1)
    return {
        "accuracy": _ratio(right, texts),
        "macro_f1": _ratio((f1 * there).sum(-1), there.sum(-1).astype("float64")),
        "micro_f1": _ratio(2 * all_tp, 2 * all_tp + all_fp + all_fn),
        "precision": _ratio(all_tp, all_tp + all_fp),
        "recall": _ratio(all_tp, all_tp + all_fn),
        "answered": _ratio(answered, texts),
    }


def _ratio(part: Floats, whole: Floats) -> Floats:
    shares: Floats = np.divide(part, whole, out=np.zeros_like(part, dtype="float64"), where=whole > 0)
    return shares


def per_label(tally: Tally) -> list[LabelScore]:
    """RETURNS (List[LabelScore]): One for each label, in order."""
    k = len(tally.labels)
    tp, fp, fn = tally.counts.sum(0)[: 3 * k].reshape(3, k)
    precision, recall, f1 = _ratio(tp, tp + fp), _ratio(tp, tp + fn), _ratio(2 * tp, 2 * tp + fp + fn)
    return [
        LabelScore(
            label=label,
            precision=float(precision[i]),
            recall=float(recall[i]),
            f1=float(f1[i]),
            support=int(tp[i] + fn[i]),
            predicted=int(tp[i] + fp[i]),
        )
        for i, label in enumerate(tally.labels)
    ]


def confusion(gold: Sequence[Annotation], predicted: Sequence[Annotation], labels: Sequence[str]) -> Counts:
    """Count which class was taken for which. Exclusive classes only.

    RETURNS (ndarray): `(K, K + 1)`: gold's label down, the predicted one across; the last column is "no answer".
    """
    index = {label: i for i, label in enumerate(labels)}
    found = np.zeros((len(labels), len(labels) + 1), dtype="int64")
    for record, prediction in zip(gold, match(gold, predicted), strict=True):
        if record.label is not None:
            guess = prediction.label if prediction else None
            found[index[record.label], len(labels) if guess is None else index[guess]] += 1
    return found


def entity_errors(gold: Sequence[Annotation], predicted: Sequence[Annotation]) -> EntityErrors:
    """Sort the errors in entities by kind. Spans pair off in the order of `EntityErrors`, from left to right.

    RETURNS (EntityErrors): How many of each kind.
    """
    found = {"label": 0, "boundary": 0, "both": 0, "missed": 0, "spurious": 0}
    for record, prediction in zip(gold, match(gold, predicted), strict=True):
        truth, guess = spans(record), spans(prediction)
        left, extra = sorted(truth - guess), sorted(guess - truth)
        for kind, pairs in _PAIRS:
            for span in list(left):
                partner = next((other for other in extra if pairs(Span(*span), Span(*other))), None)
                if partner is not None:
                    left.remove(span)
                    extra.remove(partner)
                    found[kind] += 1
        found["missed"] += len(left)
        found["spurious"] += len(extra)
    return EntityErrors(**found)


def _overlap(one: Span, other: Span) -> bool:
    return one.start < other.end and other.start < one.end


_PAIRS = (
    ("label", lambda one, other: (one.start, one.end) == (other.start, other.end)),
    ("boundary", lambda one, other: one.label == other.label and _overlap(one, other)),
    ("both", _overlap),
)
