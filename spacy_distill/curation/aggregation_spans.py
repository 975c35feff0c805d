"""Entities of several teachers: which spans are one candidate, with which boundary, and what becomes an entity."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from ..tasks.alignment import without_overlaps
from ..types import Annotation, Span
from .aggregation_votes import NO_VOTE, Floats
from .agreement import Row

_HALF = 0.5
_EVEN = 1e-9


@dataclass(frozen=True, slots=True)
class Candidate:
    """A stretch that somebody named, and who did.

    start, end (int): The boundary that won, in characters.
    label (str): Its label.
    votes (Tuple[int, ...]): Of each teacher: 1, it named this or an overlapping stretch so; 0, it did not; `NO_VOTE`,
        it said nothing of this stretch.
    boundaries (int): How many different boundaries it was given.
    """

    start: int
    end: int
    label: str
    votes: tuple[int, ...]
    boundaries: int


def candidates(row: Row, weights: Floats) -> list[Candidate]:
    """Find the candidates of one text. Overlapping spans of one label are one: the boundary with the most votes wins,
    and of several the longest.

    weights (ndarray): `(T,)`: what a teacher's vote for a boundary counts.
    """
    named: dict[str, dict[tuple[int, int], float]] = defaultdict(lambda: defaultdict(float))
    for record, weight in zip(row, weights, strict=True):
        for span in record.ents or () if record else ():
            named[span.label][span.start, span.end] += float(weight)
    found = []
    for label, boundaries in named.items():
        given = [Span(start, end, label, votes) for (start, end), votes in boundaries.items()]
        for span in without_overlaps(given, surest_first=True):
            votes = tuple(_vote(record, span) for record in row)
            found.append(Candidate(span.start, span.end, label, votes, sum(_overlap(span, other) for other in given)))
    return sorted(found, key=lambda candidate: (candidate.start, candidate.end, candidate.label))


def _vote(record: Annotation | None, span: Span) -> int:
    if record is None:
        return NO_VOTE
    if any(ent.label == span.label and _overlap(ent, span) for ent in record.ents or ()):
        return 1
    return NO_VOTE if any(_overlap(missing, span) for missing in record.missing) else 0


def resolve(scored: Sequence[Span], row: Row) -> tuple[tuple[Span, ...], tuple[Span, ...]]:
    """Decide which candidates are entities. Those with less than half of the votes are neither that nor negatives: they
    become unknown, as do those that another label contests with just as many, and what no teacher has read.

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
