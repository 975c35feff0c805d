"""From the voters of each text to its classes or entities, and their confidence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..tasks.labels_combined import surest_side
from ..types import Annotation, Span
from .aggregation_spans import candidates, resolve
from .aggregation_votes import Floats, Method, Settled, Votes, settle, shares
from .agreement import Row, class_votes, label_votes

_EVEN = 1e-9


@dataclass(frozen=True, slots=True)
class Decisions:
    """What was decided on N texts.

    answers (List[Dict[str, Any]]): Fields of each text's `Annotation`.
    accuracies (Optional[ndarray]): `(T,)`: see `Settled`; the mean over labels where each is decided by itself.
    counts (Mapping[str, int]): Decisions that were even, or went against the majority; candidates and entities.
    """

    answers: list[dict[str, Any]]
    accuracies: Floats | None
    counts: dict[str, int]


@dataclass(frozen=True, slots=True)
class _Table:
    """A table of votes, settled. `plain` is what the majority says of it."""

    settled: Settled
    plain: Floats

    @classmethod
    def of(
        cls,
        votes: Votes,
        gold: NDArray[np.bool_],
        k: int,
        method: Method,
        weights: Floats,
        silent: Floats | None = None,
    ) -> _Table:
        """gold (ndarray): `(N,)`: where the voters are people, whose votes count as they are."""
        settled, plain = settle(votes, k, method, weights, silent), shares(votes, k, np.ones(len(weights)))
        return cls(replace(settled, probabilities=np.where(gold[:, None], plain, settled.probabilities)), plain)

    @property
    def probabilities(self) -> Floats:
        return self.settled.probabilities


def decide(ballots: Sequence[Row], like: Annotation, method: Method, weights: Floats) -> Decisions:
    """Decide on the classes or the entities of texts.

    ballots (Sequence[Row]): N texts' voters, at least one on each.
    like (Annotation): Any of them: its task and labels are those of all.
    """
    gold = np.array([any(record is not None and record.gold for record in row) for row in ballots], dtype=bool)
    if not ballots:
        return Decisions([], None, {})
    if like.task == "ner":
        return _entities(ballots, gold, like, method, weights)
    return _classes(ballots, gold, like, method, weights)


def _classes(
    ballots: Sequence[Row], gold: NDArray[np.bool_], like: Annotation, method: Method, weights: Floats
) -> Decisions:
    labels = like.labels
    if like.exclusive:
        tables = [_Table.of(class_votes(ballots, labels), gold, len(labels), method, weights)]
        scores = tables[0].probabilities
    else:
        tables = [_Table.of(label_votes(ballots, label), gold, 2, method, weights) for label in labels]
        scores = np.stack([table.probabilities[:, 1] for table in tables], axis=1)
    answers = []
    for row, checked in zip(scores.tolist(), gold.tolist(), strict=True):
        sure = max(row) if like.exclusive else surest_side(row)
        answers.append(_answer(sure, checked, cats=dict(zip(labels, row, strict=True))))
    return Decisions(answers, _accuracies(tables), _counts(tables, method))


def _entities(
    ballots: Sequence[Row], gold: NDArray[np.bool_], like: Annotation, method: Method, weights: Floats
) -> Decisions:
    found = [(place, each) for place, row in enumerate(ballots) for each in candidates(row, weights)]
    scored: list[list[Span]] = [[] for _ in ballots]
    # Nobody lists what is no entity: nearly every word is none, and nearly always all say so.
    words = [[0 if record is None else len(record.text.split()) for record in row] for row in ballots]
    silent = np.sum(words, axis=0, dtype="float64")
    tables = []
    for label in like.labels:
        of_label = [(place, each) for place, each in found if each.label == label]
        if of_label:
            votes = np.array([each.votes for _, each in of_label], dtype=np.int64)
            table = _Table.of(votes, gold[[place for place, _ in of_label]], 2, method, weights, silent)
            tables.append(table)
            for (place, each), score in zip(of_label, table.probabilities[:, 1].tolist(), strict=True):
                scored[place].append(Span(each.start, each.end, label, score * each.overlap))
    answers = []
    for row, unsorted, checked in zip(ballots, scored, gold.tolist(), strict=True):
        spans = sorted(unsorted, key=lambda span: (span.start, span.end, span.label))
        ents, missing = resolve(spans, row)
        doubtful = tuple(span for span in spans if span not in ents)
        sure = surest_side(span.score or 0.0 for span in spans)
        answers.append(_answer(sure, checked, ents=ents, missing=missing, doubtful=doubtful))
    counts = {
        "candidates": len(found),
        "with_several_boundaries": sum(each.boundaries > 1 for _, each in found),
        "became_entities": sum(len(answer["ents"]) for answer in answers),
    }
    return Decisions(answers, _accuracies(tables), {**counts, **_counts(tables, method)})


def _answer(confidence: float, checked: bool, **said: Any) -> dict[str, Any]:
    gold = checked and confidence >= 1.0 - _EVEN  # where people contradict each other, nobody has checked it
    return {"status": "ok", "confidence": confidence, "confidence_kind": "votes", "gold": gold, **said}


def _accuracies(tables: Sequence[_Table]) -> Floats | None:
    known = [table.settled.accuracies for table in tables if table.settled.accuracies is not None]
    return np.mean(known, axis=0) if known else None


def _counts(tables: Sequence[_Table], method: Method) -> dict[str, int]:
    found = {"even": sum(int(_even(table.probabilities).sum()) for table in tables)}
    if method != "majority":
        otherwise = [table.plain.argmax(1) != table.probabilities.argmax(1) for table in tables]
        against = [one & ~_even(table.plain) for one, table in zip(otherwise, tables, strict=True)]
        found["against_majority"] = sum(int(one.sum()) for one in against)
    return found


def _even(probabilities: Floats) -> NDArray[np.bool_]:
    """RETURNS (ndarray): `(N,)`: whether the best two are equal."""
    best = np.sort(probabilities, axis=1)[:, -2:]
    return best[:, -1] - best[:, 0] < _EVEN if best.shape[1] == 2 else np.zeros(len(best), dtype=bool)
