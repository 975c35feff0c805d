"""From what a file's records say to one annotation a text: the same for every format."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import replace

from ..errors import InputError
from ..texts import check_labels, gold_annotations, suggestion
from ..types import Annotation, Text
from .carry import unpack
from .types import Aside, Imported, Said, Wanted

DISAGREE = "people disagree"
OPEN = "no answer"


def combine(
    records: Iterable[Said],
    wanted: Wanted,
    *,
    labels: Sequence[str] | None = None,
    exclusive: bool = True,
    gold: bool = False,
) -> Imported:
    """Make one annotation of all that is said of a text.

    What a person said is gold, with hard classes and no scores. What nobody checked comes back as it was exported, or
    is silver. Where several people answered, they must agree. Decisions on single classes are put together: classes
    that do not exclude each other need one on each; of those that do, one must hold, or all others not.

    labels (Optional[Sequence[str]]): The labels there are. None: as exported, else as offered, else those that occur.
    exclusive (bool): Exactly one class a text, where the export does not say.
    gold (bool): Answers come from people where the file cannot tell.
    RAISES (InputError): A record that contradicts itself or another: an unknown label, spans that overlap or lie
        outside their text, two classes where there is one, an id with two texts.
    """
    said = [_whole(record) for record in records]
    aside: list[Aside] = [(record.where, record.aside) for record in said if record.aside]
    texts: dict[str, list[tuple[Said, Annotation | None]]] = {}
    for record in said:
        was = (record.exported or {}).get("task", wanted.task)
        if was != wanted.task:
            raise InputError(f"{record.where} was exported for {was}: import it with --task {was}.")
        if record.aside:
            continue
        exported = unpack(record.exported, record.text, record.where) if record.exported is not None else None
        if record.exported is not None and exported is None:
            aside.append((record.where, "its text was changed since it was exported"))
            continue
        key = exported.id if exported else record.id or hashlib.sha256(record.text.encode("utf8")).hexdigest()[:16]
        texts.setdefault(key, []).append((record, exported))
    known = _labels(said, labels)
    found, changed, repeats = [], [], 0
    for key, together in texts.items():
        first, exported = together[0]
        for record, _ in together:
            if record.text != first.text:
                raise InputError(f"{record.where}: the id {key!r} stands at {first.where} with another text.")
        people = [record for record, _ in together if record.person or (gold and record.person is None)]
        used = people or [record for record, _ in together]
        kind = exported or Annotation(key, first.text, wanted.task, known, "ok", exclusive, group=first.group)
        if labels is not None:
            kind = replace(kind, labels=tuple(labels))
        annotation, reason = _decide(used, kind, bool(people))
        if annotation is None and exported is not None and not people and reason == OPEN:
            annotation = exported  # it had no answer when it was exported, such as a reply that nobody could read
        if annotation is None:
            aside += [(record.where, reason) for record, _ in together]
            continue
        repeats += len(together) - 1
        if exported is not None and (exported.gold or not people) and _same(annotation, exported):
            annotation = exported
        elif exported is not None and not people:
            changed.append(key)
        found.append(annotation)
    return Imported(found, len(said), repeats, changed, aside)


def _whole(record: Said) -> Said:
    if not record.text.isascii() and any("\ud800" <= char <= "\udfff" for char in record.text):
        raise InputError(f"{record.where}: the text holds half of a surrogate pair, which is no character.")
    return record


def _labels(said: Sequence[Said], labels: Sequence[str] | None) -> tuple[str, ...]:
    """RETURNS (Tuple[str, ...]): The labels of records that were not exported by us."""
    if labels is not None:
        return check_labels(labels)
    foreign = [record for record in said if record.exported is None and not record.aside]
    offered = dict.fromkeys(label for record in foreign for label in record.offered)
    names = {name for record in foreign for name in (*(record.classes or ()), *record.decisions)}
    names |= {span.label for record in foreign for span in record.ents or ()}
    found = (*offered, *sorted(names - offered.keys()))
    return check_labels(found) if found else ()


def _decide(said: Sequence[Said], kind: Annotation, person: bool) -> tuple[Annotation | None, str]:
    """RETURNS (Tuple[Optional[Annotation], str]): What they say together; or why they say nothing."""
    if kind.task == "ner":
        answers = [record for record in said if record.ents is not None]
        if not answers:
            return None, OPEN
        if len({frozenset((span.start, span.end, span.label) for span in record.ents or ()) for record in answers}) > 1:
            return None, DISAGREE
        spans = answers[0].ents or ()
        made = _checked(answers[0], kind, [[span.start, span.end, span.label] for span in spans])
        if not person:
            ents = tuple(sorted(spans, key=lambda span: span.start))
            made = replace(made, gold=False, ents=ents, confidence=answers[0].confidence)
        return made, ""
    decisions: dict[str, bool] = {}
    for record in said:
        stated = dict(record.decisions)
        if record.classes is not None:
            stated = {label: label in record.classes for label in kind.labels} | dict.fromkeys(record.classes, True)
        for label, holds in stated.items():
            if label not in kind.labels:
                raise InputError(f"{record.where}: unknown label {label!r}.{suggestion(label, kind.labels)}")
            if decisions.setdefault(label, holds) != holds:
                return None, DISAGREE
    if not decisions:
        return None, OPEN
    holding = [label for label in kind.labels if decisions.get(label)]
    if kind.exclusive:
        left = [label for label in kind.labels if label not in decisions]
        if not holding and len(left) == 1 and len(kind.labels) > 1:
            holding = left
        if len(holding) > 1:
            raise InputError(
                f"{said[0].where}: {', '.join(map(repr, holding))} hold, but classes exclude each other. Give"
                " --multi-label, or keep one."
            )
        if not holding:
            return None, "no class holds" if not left else "it rejects a class without saying which holds"
    elif len(decisions) < len(kind.labels):
        return None, "not every class is decided"
    made = _checked(said[0], kind, holding)
    return (made if person else replace(made, gold=False, confidence=said[0].confidence)), ""


def _checked(record: Said, kind: Annotation, answer: list[str] | list[list[object]]) -> Annotation:
    """RETURNS (Annotation): Gold. RAISES (InputError): See `gold_annotations`."""
    text = Text(kind.id, record.text, kind.group, answer, record.where)
    (found,) = gold_annotations([text], kind.task, labels=kind.labels, exclusive=kind.exclusive)
    return replace(found, threshold=kind.threshold)


def _same(one: Annotation, other: Annotation) -> bool:
    """RETURNS (bool): Whether they give the same answer."""
    if one.status != other.status or one.task == "textcat":
        return one.status == other.status and one.positive() == other.positive()
    spans = [[(span.start, span.end, span.label) for span in each.ents or ()] for each in (one, other)]
    return spans[0] == spans[1]
