"""How far several annotators of the same texts agree, chance aside for classes.

Fleiss, "Measuring nominal scale agreement among many raters" (1971), over things that two or more voted on, each with
as many votes as it has; Cohen, "A coefficient of agreement for nominal scales" (1960). Entities have no countable
negatives: there the F1 of one annotator against the other takes the place of kappa (Hripcsak and Rothschild,
"Agreement, the F-Measure, and Reliability in Information Retrieval", 2005).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ..types import Annotation
from .aggregation_votes import NO_VOTE, Floats, Votes

Measure = Literal["kappa", "span_f1"]
Row = Sequence[Annotation | None]
"""What each of T annotators says of one text; None where one says nothing that counts."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far T annotators agree. A figure is None where nothing can be compared.

    measure (Measure): "kappa", 1 for always and 0 for no more than by chance; "span_f1", 0 to 1.
    overall (Optional[float]): Fleiss' kappa, or the mean F1 of the pairs.
    pairs (Mapping[Tuple[int, int], Optional[float]]): Cohen's kappa, or the F1, of annotators by number.
    labels (Mapping[str, Optional[float]]): Of each label against all others.
    """

    measure: Measure
    overall: float | None
    pairs: Mapping[tuple[int, int], float | None]
    labels: Mapping[str, float | None]

    def with_others(self, annotator: int) -> float | None:
        """RETURNS (Optional[float]): An annotator's mean agreement with each of the others."""
        return _mean([value for pair, value in self.pairs.items() if annotator in pair])

    def to_dict(self, names: Sequence[str]) -> dict[str, Any]:
        """RETURNS (Dict[str, Any]): The same for JSON, the annotators by name."""
        pairs = [{"of": [names[i] for i in pair], self.measure: value} for pair, value in self.pairs.items()]
        return {"measure": self.measure, "overall": self.overall, "pairs": pairs, "labels": dict(self.labels)}


def agreement(rows: Sequence[Row], labels: Sequence[str]) -> Agreement:
    """Measure agreement. Where several classes can hold, each class of each text is a decision of its own.

    rows (Sequence[Row]): N texts, T annotators each, at least one of them with an answer.
    """
    first = next(record for row in rows for record in row if record is not None)
    if first.task == "ner":
        return _of_spans(rows, labels)
    if first.exclusive:
        votes = class_votes(rows, labels)
        per_label = {name: _one_against_rest(votes, number) for number, name in enumerate(labels)}
    else:
        tables = {label: label_votes(rows, label) for label in labels}
        votes = np.concatenate(list(tables.values()))
        per_label = {label: fleiss_kappa(table, 2) for label, table in tables.items()}
    pairs = itertools.combinations(range(votes.shape[1]), 2)
    return Agreement(
        "kappa",
        fleiss_kappa(votes, len(labels) if first.exclusive else 2),
        {pair: cohens_kappa(votes[:, pair]) for pair in pairs},
        per_label,
    )


def class_votes(rows: Sequence[Row], labels: Sequence[str]) -> Votes:
    """RETURNS (ndarray): `(N, T)`: the number of the class that each annotator chose."""
    number = {label: index for index, label in enumerate(labels)}
    return _table(rows, lambda record: number[record.label or ""])


def label_votes(rows: Sequence[Row], label: str) -> Votes:
    """RETURNS (ndarray): `(N, T)`: whether the label holds, 0 or 1."""
    return _table(rows, lambda record: int(label in record.positive()))


def _table(rows: Sequence[Row], said: Callable[[Annotation], int]) -> Votes:
    return np.array([[NO_VOTE if record is None else said(record) for record in row] for row in rows], dtype=np.int64)


def fleiss_kappa(votes: Votes, k: int) -> float | None:
    """RETURNS (Optional[float]): None if no two voted on the same thing, or all votes are for one label."""
    counts: Floats = np.stack([(votes == label).sum(1) for label in range(k)], axis=1).astype("float64")
    raters = counts.sum(1)
    counts, raters = counts[raters >= 2], raters[raters >= 2]
    if not len(counts):
        return None
    observed = float(np.mean(((counts**2).sum(1) - raters) / (raters * (raters - 1))))
    expected = float(((counts.sum(0) / counts.sum()) ** 2).sum())
    return None if expected >= 1.0 else (observed - expected) / (1.0 - expected)


def cohens_kappa(votes: Votes) -> float | None:
    """RETURNS (Optional[float]): Of the two columns; None if they share nothing, or one label alone."""
    from sklearn.metrics import cohen_kappa_score

    both = votes[(votes != NO_VOTE).all(1)]
    if len(np.unique(both)) < 2:
        return None
    return float(cohen_kappa_score(both[:, 0], both[:, 1]))


def _one_against_rest(votes: Votes, label: int) -> float | None:
    return fleiss_kappa(np.where(votes == NO_VOTE, NO_VOTE, votes == label), 2)


def _of_spans(rows: Sequence[Row], labels: Sequence[str]) -> Agreement:
    number = {label: index for index, label in enumerate(labels)}
    pairs = list(itertools.combinations(range(len(rows[0])), 2))
    counts = np.zeros((len(pairs), len(labels), 2))  # named by both; by the one and by the other, added up
    for row in rows:
        said = [None if record is None else _spans(record) for record in row]
        for pair, (one, other) in enumerate(pairs):
            first, second = said[one], said[other]
            if first is not None and second is not None:
                for spans, column in ((first & second, 0), (first, 1), (second, 1)):
                    for _, _, label in spans:
                        counts[pair, number[label], column] += 1
    found = {pair: _f1(counts[index].sum(0)) for index, pair in enumerate(pairs)}
    per_label = {label: _mean([_f1(row) for row in counts[:, index]]) for label, index in number.items()}
    return Agreement("span_f1", _mean(found.values()), found, per_label)


def _spans(record: Annotation) -> set[tuple[int, int, str]]:
    return {(span.start, span.end, span.label) for span in record.ents or ()}


def _f1(counts: Floats) -> float | None:
    both, named = counts
    return 2 * float(both) / float(named) if named else None


def _mean(values: Collection[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
