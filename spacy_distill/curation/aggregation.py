"""Several teachers' annotations of the same texts made one, and how far the teachers agree."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..errors import ConfigError, InputError, counted
from ..tasks.labels_combined import failure
from ..types import Annotation
from .aggregation_decisions import decide
from .aggregation_votes import Floats, Method
from .agreement import Agreement, Row, agreement
from .types import in_one_order, label_counts

_LEAST_WEIGHT = 0.01


@dataclass(frozen=True, slots=True)
class Teacher:
    """One source's part in an aggregation: `texts` = `votes` + the statuses without one.

    name (str): As given.
    texts (int): How many it has. What people left unchecked, and is another source's, is not its own.
    absent (int): Texts that others have, and it has not.
    statuses (Mapping[str, int]): Status to number of texts.
    votes (int): Texts on which it had a vote: those it answered.
    weight (Optional[float]): What its vote counted; None where the method does not weigh.
    agreement (Optional[float]): Its mean agreement with each of the others.
    accuracy (Optional[float]): How often it is right, as Dawid and Skene's model estimates it without any gold.
    overruled (int): Texts on which it had a vote, and the result says something else.
    """

    name: str
    texts: int
    absent: int
    statuses: Mapping[str, int]
    votes: int
    weight: float | None
    agreement: float | None
    accuracy: float | None
    overruled: int


@dataclass(frozen=True, slots=True)
class Aggregation:
    """What came of it: every text of any source, once, in the order of the sources.

    annotations (List[Annotation]): The results. Texts on which nobody has a vote keep the status of their failure.
    agreement (Optional[Agreement]): None if nobody answered anything.
    teachers (List[Teacher]): In the order given.
    counts (Mapping[str, int]): `texts`, and what became of them.
    labels (Mapping[str, int]): Texts, or entities, of each label in the results.
    """

    annotations: list[Annotation]
    agreement: Agreement | None
    teachers: list[Teacher]
    counts: Mapping[str, int]
    labels: Mapping[str, int]


def aggregate(
    sources: Mapping[str, Sequence[Annotation]], method: Method = "majority", weights: Sequence[float] | None = None
) -> Aggregation:
    """Aggregate annotations. A teacher that declined or failed on a text, or does not have it, has no vote on it. What
    people checked (`gold`) is never outvoted by a teacher: it alone counts where it is there. Sources of people's
    decisions alone need no text in common: all of them are the result. What nobody checked in a source of people's
    decisions is no vote of its own where another source says the very same: it was carried along from there. Where all
    sources but one are people's, what one source alone says of a text stays as it is, with its own scores and
    confidence.

    Classes: `cats` are the shares of the votes, or the model's probabilities, and the confidence is that of the best
    class, or where several can hold of the closest decision. Entities: see `aggregation_spans`.

    sources (Mapping[str, Sequence[Annotation]]): Name to records, of one task and with the same labels.
    method (Method): "majority"; "weighted", by `weights` or else by agreement with the others; "dawid-skene".
    weights (Optional[Sequence[float]]): One a source, 0 or more.
    RAISES (InputError): Sources that do not fit together: ids, texts, task or labels.
    RAISES (ConfigError): Fewer than two sources, or three for Dawid and Skene; or weights that cannot be used.
    """
    _check(sources, method, weights)
    first = next(record for records in sources.values() for record in records)
    ids = dict.fromkeys(record.id for records in sources.values() for record in records)
    sources = _without_copies({name: in_one_order(records, first.labels) for name, records in sources.items()})
    rows = _rows(sources, ids)
    voters = [_voters(row) for row in rows]
    voting = [index for index, row in enumerate(voters) if any(row)]
    ballots = [voters[index] for index in voting]
    found = agreement([_answers(rows[index]) for index in voting], first.labels) if voting else None
    weighing = _weights(method, weights, found, len(sources))
    outcome = decide(ballots, first, method, weighing)
    results = [_unanswered(row) for row in rows]
    joined = sum(not _by_people(records) for records in sources.values()) < 2
    for index, answer in zip(voting, outcome.answers, strict=True):
        said = [record for record in voters[index] if record is not None]
        if joined and len(said) == 1:
            results[index] = replace(said[0], group=results[index].group)
        else:
            results[index] = replace(results[index], **answer)
    results = [
        replace(result, provenance=_provenance(row, list(sources), method))
        for result, row in zip(results, rows, strict=True)
    ]
    teachers = [
        Teacher(
            name=name,
            texts=len(records),
            absent=len(rows) - len(records),
            statuses=dict(Counter(record.status for record in records).most_common()),
            votes=sum(record.status == "ok" for record in records),
            weight=float(weighing[number]) if method == "weighted" else None,
            agreement=found.with_others(number) if found else None,
            accuracy=None if outcome.accuracies is None else float(outcome.accuracies[number]),
            overruled=sum(_differs(row[number], result) for row, result in zip(rows, results, strict=True)),
        )
        for number, (name, records) in enumerate(sources.items())
    ]
    casts = [sum(record is not None for record in row) for row in ballots]
    counts = {
        "texts": len(rows),
        "in_all_sources": sum(None not in row for row in rows),
        "without_a_vote": len(rows) - len(voting),
        "one_vote": sum(cast == 1 for cast in casts),
        "unanimous": sum(cast > 1 and _unanimous(row) for cast, row in zip(casts, ballots, strict=True)),
        "disputed": sum(not _unanimous(row) for row in ballots),
        **outcome.counts,
    }
    return Aggregation(results, found, teachers, counts, label_counts(results))


def _check(sources: Mapping[str, Sequence[Annotation]], method: Method, weights: Sequence[float] | None) -> None:
    least = 3 if method == "dawid-skene" else 2
    if len(sources) < least:
        why = " Its model cannot tell two teachers apart." if least == 3 else ""
        raise ConfigError(f"{method} needs {least} sources or more, found {len(sources)}.{why}")
    if weights is not None:
        if method != "weighted":
            raise ConfigError(f'Weights are for the method "weighted"; the method is "{method}".')
        if len(weights) != len(sources):
            found = f"{counted(len(weights), 'weight')} for {len(sources)} sources"
            raise ConfigError(f"Found {found}: give one for each, in order.")
        if not all(np.isfinite(weight) and weight > 0 for weight in weights):
            raise ConfigError(f"The weights are {', '.join(map(str, weights))}; expected numbers above 0.")
    first: Annotation | None = None
    texts: dict[str, tuple[str, str]] = {}
    shared = False
    for name, records in sources.items():
        seen: set[str] = set()
        for record in records:
            first = first or record
            if record.id in seen:
                raise InputError(f"{name}: the id {record.id!r} occurs twice. Ids must be unique.")
            seen.add(record.id)
            if _kind(record) != _kind(first):
                raise InputError(
                    f"{name}, record {record.id}, is for {_kind(record)}, and the first source for {_kind(first)}."
                    " Annotate both in one way."
                )
            if set(record.labels) != set(first.labels):
                differing = ", ".join(map(repr, sorted(set(record.labels) ^ set(first.labels))[:5]))
                raise InputError(
                    f"{name}, record {record.id}: other labels were on offer than in the first source ({differing})."
                    " A label that was not on offer was not voted against: give all sources one list (--label)."
                )
            where, text = texts.setdefault(record.id, (name, record.text))
            if text != record.text:
                raise InputError(
                    f"Record {record.id} has one text in {where} and another in {name}. Ids must mean the same text"
                    " in all sources."
                )
            shared = shared or where != name
    if first is None:
        raise InputError("The sources have no records.")
    if not shared and not all(_by_people(records) for records in sources.values()):
        raise InputError(f"No two of {', '.join(sources)} have an id in common. Annotate the same file of texts.")


def _kind(record: Annotation) -> str:
    if record.task == "ner":
        return "ner"
    return f"textcat with {'one class' if record.exclusive else 'several classes'} a text"


def _by_people(records: Sequence[Annotation]) -> bool:
    """RETURNS (bool): Whether people decided on all texts of a source."""
    return all(record.gold for record in records)


def _without_copies(sources: Mapping[str, Sequence[Annotation]]) -> dict[str, list[Annotation]]:
    """RETURNS (Dict[str, List[Annotation]]): The sources, those with people's decisions without what nobody checked and
    another source has, or people decided there: a file that was exported, corrected in part and imported holds the
    rest of the texts as well."""
    checked = {record.id for records in sources.values() for record in records if record.gold}
    by_people = {name: any(record.gold for record in records) for name, records in sources.items()}
    own: dict[str, list[Annotation]] = {}
    for name in sorted(sources, key=by_people.__getitem__):
        others = [{record.id: record for record in records} for records in own.values()]
        own[name] = [
            record
            for record in sources[name]
            if record.gold
            or not by_people[name]
            or (record.id not in checked and all(known.get(record.id) != record for known in others))
        ]
    return {name: own[name] for name in sources}


def _rows(sources: Mapping[str, Sequence[Annotation]], ids: Iterable[str]) -> list[Row]:
    by_id = [{record.id: record for record in records} for records in sources.values()]
    return [[known.get(identifier) for known in by_id] for identifier in ids]


def _answers(row: Row) -> Row:
    return [record if record is not None and record.status == "ok" else None for record in row]


def _voters(row: Row) -> Row:
    answers = _answers(row)
    checked = any(record is not None and record.gold for record in answers)
    return [record if record is not None and (record.gold or not checked) else None for record in answers]


def _weights(method: Method, weights: Sequence[float] | None, found: Agreement | None, count: int) -> Floats:
    """RETURNS (ndarray): `(T,)`. By agreement: who agrees with the others by chance alone counts next to nothing; who
    cannot be compared, as much as the mean of the rest."""
    if weights is not None:
        return np.array(weights, dtype="float64")
    if method != "weighted" or found is None:
        return np.ones(count)
    known = [found.with_others(number) for number in range(count)]
    usual = np.mean([value for value in known if value is not None] or [1.0])
    return np.array([max(usual if value is None else value, _LEAST_WEIGHT) for value in known])


def _unanswered(row: Row) -> Annotation:
    """RETURNS (Annotation): What is known of a text on which nobody has a vote (yet)."""
    present = [record for record in row if record is not None]
    return Annotation(
        id=present[0].id,
        text=present[0].text,
        task=present[0].task,
        labels=present[0].labels,
        status=failure([record.status for record in present]),
        exclusive=present[0].exclusive,
        group=next((record.group for record in present if record.group is not None), None),
    )


def _provenance(row: Row, names: Sequence[str], method: Method) -> dict[str, Any]:
    """RETURNS (Dict[str, Any]): The method, and what each source that has the text said of it."""
    sources = []
    for name, record in zip(names, row, strict=True):
        if record is not None:
            keys = ("model", "key", "prompt_hash", "sources")
            known = {key: record.provenance[key] for key in keys if key in record.provenance}
            sources.append({"source": name, "status": record.status, "said": _said(record), **known})
    return {"model": f"{method} of {len(names)}", "sources": sources}


def _said(record: Annotation) -> list[Any]:
    if record.ents is not None:
        return [[span.start, span.end, span.label] for span in record.ents]
    return list(record.positive())


def _differs(record: Annotation | None, result: Annotation) -> bool:
    return record is not None and record.status == "ok" and _said(record) != _said(result)


def _unanimous(row: Row) -> bool:
    said = [_said(record) for record in row if record is not None]
    return all(other == said[0] for other in said)
