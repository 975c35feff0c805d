"""Texts on which the systems disagree, for people to read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..types import Annotation
from .scores import answer, match, spans

PER_KIND = 6


@dataclass(frozen=True, slots=True)
class Example:
    """One text with every answer to it.

    id, text (str): The record's.
    gold (str): The right answer, in words.
    answers (Tuple[Tuple[str, str, bool], ...]): For each system its name, its answer in words, and whether it is right.
    """

    id: str
    text: str
    gold: str
    answers: tuple[tuple[str, str, bool], ...]


def disagreements(
    gold: Sequence[Annotation],
    systems: Sequence[tuple[str, Sequence[Annotation]]],
    *,
    per_kind: int = PER_KIND,
) -> list[tuple[str, list[Example]]]:
    """Sort texts by which of the first two systems is right, the surest answers of the first first.

    systems (Sequence[Tuple[str, Sequence[Annotation]]]): Names and annotations; one or two are looked at.
    RETURNS (List[Tuple[str, List[Example]]]): A heading ("teacher right, student wrong") with at most `per_kind`
        examples; headings without examples are left out. Texts that all got right are not shown.
    """
    systems = systems[:2]
    matched = [match(gold, annotations) for _, annotations in systems]
    kinds: dict[str, list[tuple[float, Example]]] = {heading: [] for heading in _headings([n for n, _ in systems])}
    for position, record in enumerate(gold):
        found = [column[position] for column in matched]
        right = [_right(record, prediction) for prediction in found]
        if all(right):
            continue
        names = [name for name, _ in systems]
        sure = found[0].confidence if found[0] and found[0].confidence is not None else 0.0
        answers = tuple((name, in_words(p), ok) for name, p, ok in zip(names, found, right, strict=True))
        kinds[_heading(names, right)].append((-sure, Example(record.id, record.text, in_words(record), answers)))
    return [
        (heading, [example for _, example in sorted(found, key=lambda item: (item[0], item[1].id))[:per_kind]])
        for heading, found in kinds.items()
        if found
    ]


def _right(record: Annotation, prediction: Annotation | None) -> bool:
    if prediction is None:
        return False
    if record.task == "ner":
        return spans(record) == spans(prediction)
    return answer(record, record.exclusive) == answer(prediction, record.exclusive)


def _headings(names: Sequence[str]) -> list[str]:
    if len(names) == 1:
        return [_heading(names, [False])]
    return [_heading(names, right) for right in ([False, True], [True, False], [False, False])]


def _heading(names: Sequence[str], right: Sequence[bool]) -> str:
    if len(names) == 1:
        return f"{names[0]} wrong"
    if not any(right):
        return "both wrong"
    good, bad = (names[0], names[1]) if right[0] else (names[1], names[0])
    return f"{good} right, {bad} wrong"


def in_words(record: Annotation | None) -> str:
    """RETURNS (str): An answer as a person would write it down."""
    if record is None:
        return "no answer"
    if record.task == "ner":
        found = sorted(spans(record))
        return "; ".join(f"{record.text[start:end]} [{label}]" for start, end, label in found) or "nothing"
    names = [label for label in record.labels if label in answer(record, record.exclusive)]
    shown = ", ".join(names) or "none of the labels"
    return f"{shown} ({record.confidence:.2f})" if record.confidence is not None and not record.gold else shown
