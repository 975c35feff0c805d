"""Argilla 2's records as JSON: what `dataset.records.to_json` writes and `from_json` reads.

A record has `id`, `fields`, `metadata`, a model's `suggestions` and people's `responses`, both by question. The
answer to a label question is a name, to a multi-label question a list, to a span question a list of
`{"start", "end", "label"}`. Argilla's editor counts these offsets in UTF-16 code units (issue 5729), and so they are
read and written; its server refuses one past the number of code points, which a text that ends in emoji can have.
See https://docs.argilla.io/latest/reference/argilla/records/records
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..files import write_json
from ..texts import text_of
from ..types import Annotation, Span
from .carry import KEY, pack
from .json_files import expect, least, names_of, number, optional_text, read_list, span_of
from .offsets import from_utf16, to_utf16
from .types import Aside, Said, Tools, Wanted

NOBODY = "00000000-0000-0000-0000-000000000000"
"""Argilla wants to know whose a response is; gold does not say. Put your user's id in its place to upload it."""


def read(path: Path, wanted: Wanted) -> Iterator[Said]:
    """Read people's responses; of records without any, the suggestion.

    YIELDS (Said): One for each response. One that was discarded, or is a draft, is no answer, where the file says so.
    RAISES (InputError): A record that is not in Argilla's form.
    """
    for where, record in read_list(path):
        fields, metadata, suggestions, responses = (
            expect(record.get(name) or {}, dict, f"an object in {name!r}", where)
            for name in ("fields", "metadata", "suggestions", "responses")
        )
        text = text_of(fields, wanted.text, where)
        answered = {**suggestions, **{name: given for name, given in responses.items() if given}}
        if answered and wanted.label not in answered:
            names = ", ".join(map(repr, answered))
            raise InputError(f"{where}: no answer to {wanted.label!r}, only to {names}. Name one with --label-field.")
        people = expect(responses.get(wanted.label) or [], list, "a list of responses", where)
        suggested = suggestions.get(wanted.label)
        for given in people or [suggested or {}]:
            given = expect(given, dict, "an object with a value", where)
            status = given.get("status")
            answer: dict[str, Any] = {}
            if people and status in ("discarded", "draft"):
                answer["aside"] = str(status)
            elif given.get("value") is not None:
                answer = _answer(given["value"], text, wanted, where)
                answer |= {} if people else _scored(answer, given.get("score"), where)
            yield Said(
                where,
                text,
                optional_text(record.get("id")),
                optional_text(metadata.get(wanted.group)),
                person=bool(people),
                exported=_exported(metadata.get(KEY), where),
                **answer,
            )


def _answer(value: Any, text: str, wanted: Wanted, where: str) -> dict[str, Any]:
    if wanted.task == "textcat":
        return {"classes": (value,) if isinstance(value, str) else names_of(value, where)}
    spans = [span_of(item, where) for item in expect(value, list, "a list of spans", where)]
    return {"ents": tuple(_code_points(span, text, where) for span in spans)}


def _code_points(span: Span, text: str, where: str) -> Span:
    start, end = from_utf16(text, span.start), from_utf16(text, span.end)
    if start is None or end is None:
        raise InputError(
            f"{where}: {span.label} at {span.start}-{span.end} lies outside its text, or cuts a character in two."
            " Argilla's editor counts UTF-16 code units: count the same."
        )
    return replace(span, start=start, end=end)


def _scored(answer: dict[str, Any], score: Any, where: str) -> dict[str, Any]:
    """RETURNS (Dict[str, Any]): A suggestion's score: one for the answer, or one for each of its parts."""
    scores = score if isinstance(score, list) else [score]
    spans = answer.get("ents", ())
    if isinstance(score, list) and spans and len(scores) == len(spans):
        scored = zip(spans, scores, strict=True)
        return {"ents": tuple(replace(span, score=number(each, where)) for span, each in scored)}
    return {"confidence": least(scores, where)}


def _exported(carried: Any, where: str) -> dict[str, Any] | None:
    if carried is None:
        return None
    try:
        found = json.loads(carried)
    except (TypeError, ValueError) as error:
        raise InputError(f"{where}: the metadata {KEY!r} is not JSON. Take it out.") from error
    return dict(expect(found, dict, f"an object in {KEY!r}", where))


def write(annotations: Sequence[Annotation], path: Path, tools: Tools) -> list[Aside]:
    """Write records for settings with the field "text", the question "label" (label, multi-label or span), and the
    terms metadata "distill". What the teacher says is a suggestion, what is gold a response. Nothing is left out."""
    write_json(path, [_record(annotation) for annotation in annotations])
    return []


def _record(annotation: Annotation) -> dict[str, Any]:
    suggestions: dict[str, Any] = {}
    responses: dict[str, Any] = {}
    value, score = _value(annotation)
    if annotation.gold:
        responses["label"] = [{"value": value, "user_id": NOBODY}]
    elif annotation.status == "ok":
        agent = annotation.provenance.get("model")
        suggestions["label"] = {"value": value, "score": score, "agent": None if agent is None else str(agent)}
    return {
        "id": annotation.id,
        "fields": {"text": annotation.text},
        "metadata": {KEY: json.dumps(pack(annotation), ensure_ascii=False)},
        "suggestions": suggestions,
        "responses": responses,
        "vectors": {},
        "_server_id": None,
    }


def _value(annotation: Annotation) -> tuple[Any, Any]:
    text, positive, cats = annotation.text, list(annotation.positive()), annotation.cats or {}
    if annotation.task == "ner":
        spans = annotation.ents or ()
        value = [
            {"start": to_utf16(text, span.start), "end": to_utf16(text, span.end), "label": span.label}
            for span in spans
        ]
        scores = [span.score for span in spans]
        return value, scores if scores and None not in scores else None
    if annotation.exclusive:
        return (positive[0] if positive else None), annotation.confidence
    return positive, [cats[label] for label in positive] or None
