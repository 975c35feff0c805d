"""Entities of several teachers: which spans are one candidate, with which boundary, and what becomes an entity."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..tasks.alignment import without_overlaps
from ..types import Annotation, Span
from .aggregation_votes import NO_VOTE, Floats
from .agreement import Row

_HALF = 0.5
_EVEN = 1e-9
_DIGITS = 9


@dataclass(frozen=True, slots=True)
class Candidate:
    """A stretch that somebody named, and who did.

    start, end (int): The boundary that won, in characters.
    label (str): Its label.
    votes (Tuple[int, ...]): Of each teacher: 1, it named this or an overlapping stretch so; 0, it did not; `NO_VOTE`,
        it said nothing of this stretch.
    overlap (float): How far the stretches of those who named it are this one, 0 to 1: their mean F1 over characters.
    boundaries (int): How many different boundaries it was given.
    """

    start: int
    end: int
    label: str
    votes: tuple[int, ...]
    overlap: float
    boundaries: int


def candidates(row: Row, weights: Floats) -> list[Candidate]:
    """Find the candidates of one text. Overlapping spans of one label are one: the boundary with the most votes wins,
    of several the one most like the others, and then the longest.

    weights (ndarray): `(T,)`: what a teacher's vote for a boundary counts.
    """
    named: dict[str, dict[Span, float]] = defaultdict(lambda: defaultdict(float))
    for record, weight in zip(row, weights.tolist(), strict=True):
        for span in record.ents or () if record else ():
            named[span.label][Span(span.start, span.end, span.label)] += weight
    found: list[Candidate] = []
    for label, given in named.items():
        chosen: list[Span] = []
        for span in sorted(given, key=lambda span: _rank(span, given)):
            if not any(_overlap(span, other) for other in chosen):
                chosen.append(span)
        for span in chosen:
            likeness = [_likeness(record, span) for record in row]
            votes = tuple(_vote(record, span, like) for record, like in zip(row, likeness, strict=True))
            overlap = float(np.average(likeness, weights=np.where(np.array(votes) == 1, weights, 0.0)))
            boundaries = sum(_overlap(span, other) for other in given)
            found.append(Candidate(span.start, span.end, label, votes, overlap, boundaries))
    return sorted(found, key=lambda candidate: (candidate.start, candidate.end, candidate.label))


def _rank(span: Span, given: Mapping[Span, float]) -> tuple[float, float, int, int]:
    likeness = sum(votes * _f1(span, other) for other, votes in given.items())
    return -round(given[span], _DIGITS), -round(likeness, _DIGITS), span.start - span.end, span.start


def _likeness(record: Annotation | None, span: Span) -> float:
    """RETURNS (float): How far a teacher named this stretch so, 0 to 1."""
    ents = record.ents or () if record else ()
    return max((_f1(ent, span) for ent in ents if ent.label == span.label), default=0.0)


def _vote(record: Annotation | None, span: Span, likeness: float) -> int:
    if record is None:
        return NO_VOTE
    if likeness:
        return 1
    return NO_VOTE if any(_overlap(missing, span) for missing in record.missing) else 0


def resolve(scored: Sequence[Span], row: Row) -> tuple[tuple[Span, ...], tuple[Span, ...]]:
    """Decide which candidates are entities. Those with a score below half are neither that nor negatives: they become
    unknown, as do those that another label contests with the same score, and what no teacher has read.

    scored (Sequence[Span]): The candidates with their scores.
    RETURNS (Tuple[Tuple[Span, ...], Tuple[Span, ...]]): Entities, and what is unknown.
    """
    accepted = [span for span in scored if (span.score or 0.0) >= _HALF - _EVEN]
    entities = tuple(
        span
        for span in without_overlaps(accepted, surest_first=True)
        if not any(
            other.label != span.label
            and _overlap(span, other)
            and abs((other.score or 0.0) - (span.score or 0.0)) < _EVEN
            for other in accepted
        )
    )
    doubtful = [(span.start, span.end) for span in scored if span not in entities]
    unknown = sorted({*doubtful, *_unread(row)})
    return entities, tuple(Span(start, end, "") for start, end in unknown)


def _unread(row: Row) -> list[tuple[int, int]]:
    """RETURNS (List[Tuple[int, int]]): Where all that answered leave open what is there."""
    records = [record for record in row if record is not None]
    if not all(record.missing for record in records):
        return []
    open_ = set.intersection(*({i for s in record.missing for i in range(s.start, s.end)} for record in records))
    runs = itertools.groupby(enumerate(sorted(open_)), key=lambda pair: pair[1] - pair[0])
    stretches = [[place for _, place in run] for _, run in runs]
    return [(stretch[0], stretch[-1] + 1) for stretch in stretches]


def _overlap(one: Span, other: Span) -> bool:
    return one.start < other.end and other.start < one.end


def _f1(one: Span, other: Span) -> float:
    """RETURNS (float): Of their characters, 0 to 1."""
    shared = max(0, min(one.end, other.end) - max(one.start, other.start))
    return 2 * shared / (one.end - one.start + other.end - other.start)
