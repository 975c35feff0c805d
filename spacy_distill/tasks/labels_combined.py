"""Several readings of one text's labels made one: votes of samples, and the parts of a long text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from ..types import ConfidenceKind, Status


@dataclass(frozen=True, slots=True)
class Reading:
    """What one reply, or several, say of a text's labels.

    status (Status): Only "ok" has `cats`.
    cats (Mapping[str, float]): Label to score, 0 to 1.
    confidence (Optional[float]): 0 to 1.
    kind (Optional[ConfidenceKind]): Where the confidence comes from.
    unknown (Tuple[str, ...]): Names it gives that are no labels.
    """

    status: Status
    cats: Mapping[str, float] = field(default_factory=dict)
    confidence: float | None = None
    kind: ConfidenceKind | None = None
    unknown: tuple[str, ...] = ()


def best_of(cats: Mapping[str, float]) -> str:
    """RETURNS (str): The highest-scored label; ties go to the first."""
    return max(cats, key=lambda label: cats[label])


def surest_side(scores: Iterable[float]) -> float:
    """RETURNS (float): How sure the least sure of several yes-or-no answers is, 0.5 to 1; 1 if there is none."""
    return min((max(score, 1.0 - score) for score in scores), default=1.0)


def failure(statuses: Sequence[Status]) -> Status:
    """RETURNS (Status): What most of several failures are; ties go to the first."""
    return Counter(statuses).most_common(1)[0][0]


def vote(readings: Sequence[Reading], labels: Sequence[str], *, exclusive: bool) -> Reading:
    """Count the samples of one prompt, one vote each. Replies that could not be read have no vote.

    Exclusive: `cats` are the shares of the votes cast for a label, the confidence is the winner's share, with those
    that declined among the votes; if more declined than voted for any label, so does the whole. Not exclusive: `cats`
    are the shares that named each label, and the confidence that of the closest decision.

    RETURNS (Reading): The samples' most frequent failure if none could be read. "error" if more than half of them got
        no reply at all, as where a budget ended: one vote of five asked for is no certainty.
    """
    if 2 * sum(reading.status == "error" for reading in readings) > len(readings):
        return Reading("error")
    ok = [reading for reading in readings if reading.status == "ok"]
    declined = sum(reading.status == "abstain" for reading in readings)
    if not ok and not declined:
        unknown = dict.fromkeys(name for reading in readings for name in reading.unknown)
        return Reading(failure([reading.status for reading in readings]), unknown=tuple(unknown))
    if not exclusive and ok:
        shares = {label: sum(reading.cats[label] >= 0.5 for reading in ok) / len(ok) for label in labels}
        return Reading("ok", shares, surest_side(shares.values()), "votes")
    votes = Counter(best_of(reading.cats) for reading in ok)
    most, total = max(votes.values(), default=0), len(ok) + declined
    if declined > most:
        return Reading("abstain", {}, declined / total, "votes")
    return Reading("ok", {label: votes[label] / len(ok) for label in labels}, most / total, "votes")


def merge(readings: Sequence[Reading], weights: Sequence[float], labels: Sequence[str], *, exclusive: bool) -> Reading:
    """Make one answer of a long text's parts.

    Exclusive: the mean of the parts' scores, weighted by length. Not exclusive: the highest, as a label that holds for
    a part holds for the text. Parts without a usable answer are left out, unless one got no reply at all: then the text
    counts as not answered, and is asked again.

    weights (Sequence[float]): The parts' lengths.
    RETURNS (Reading): The only part's own reading if there is one part.
    """
    if len(readings) == 1:
        return readings[0]
    statuses = [reading.status for reading in readings]
    ok = [(reading, weight) for reading, weight in zip(readings, weights, strict=True) if reading.status == "ok"]
    if not ok or "error" in statuses:
        unknown = dict.fromkeys(name for reading in readings for name in reading.unknown)
        return Reading("error" if "error" in statuses else failure(statuses), unknown=tuple(unknown))
    total = sum(weight for _, weight in ok)
    if exclusive:
        cats = {label: sum(reading.cats[label] * weight for reading, weight in ok) / total for label in labels}
    else:
        cats = {label: max(reading.cats[label] for reading, _ in ok) for label in labels}
    kind = ok[0][0].kind
    known = [reading.confidence for reading, _ in ok if reading.confidence is not None]
    confidence = min(known) if len(known) == len(ok) else None
    if confidence is not None and exclusive and kind != "verbalised":
        confidence = max(cats.values())
    return Reading("ok", cats, confidence, kind if confidence is not None else None)
