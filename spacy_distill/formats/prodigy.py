"""Prodigy's JSONL: `db-out` in, tasks for `textcat.manual`, `choice` and `ner.manual` out.

A record has `text` and, once a person saw it, `answer`: "accept", "reject" or "ignore". Classes are `options` with
`accept` (the ids of the chosen ones), or in binary form one `label` to accept or reject. Entities are `spans`; their
offsets are Python's, code points. See https://prodi.gy/docs/api-interfaces
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..files import write_jsonl
from ..records import read_records
from ..texts import text_of
from ..types import Annotation
from .carry import KEY, pack
from .json_files import expect, names_of, optional_text, span_of
from .types import Aside, Said, Tools, Wanted


def read(path: Path, wanted: Wanted) -> Iterator[Said]:
    """Read what people answered; tasks without an answer are what was exported.

    YIELDS (Said): "ignore" is no answer. "reject" is one where it is about a single class: that class does not hold.
        About a choice or spans it says only that they are wrong. Accepted spans of a binary interface say nothing of
        the rest of the text.
    RAISES (InputError): A record that is not in Prodigy's form.
    """
    for where, record in read_records(path, ".jsonl"):
        text = text_of(record, wanted.text, where)
        answer = record.get("answer")
        if answer not in (None, "accept", "reject", "ignore"):
            raise InputError(f'{where}: expected the answer "accept", "reject" or "ignore", found {answer!r}.')
        single = record.get(wanted.label) if wanted.task == "textcat" and "options" not in record else None
        offered = tuple(
            str(expect(option, dict, "an option", where).get("id")) for option in record.get("options") or ()
        )
        said: dict[str, Any] = {}
        if isinstance(single, str):
            said["decisions"] = {single: answer == "accept"} if answer else {}
        elif answer == "reject":
            said["aside"] = "rejected, without saying what is right"
        elif wanted.task == "textcat" and (answer or "accept" in record):
            if "accept" not in record and not offered:
                said["aside"] = "it has no options and no label"
            else:
                chosen = expect(record.get("accept", []), list, "a list in 'accept'", where)
                said["classes"] = names_of([str(item) for item in chosen], where)
        elif wanted.task == "ner" and (record.get("_is_binary") or record.get("_view_id") == "ner"):
            said["aside"] = "a binary answer says nothing of the rest of its text"
        elif wanted.task == "ner" and (answer or "spans" in record):
            spans = expect(record.get("spans") or [], list, "a list of spans", where)
            said["ents"] = tuple(span_of(item, where) for item in spans)
        if answer == "ignore":
            said = {"aside": "ignored"}
        yield Said(
            where,
            text,
            optional_text(record.get(wanted.id)),
            optional_text(record.get(wanted.group)),
            offered=offered,
            person=answer is not None,
            exported=record.get(KEY),
            **said,
        )


def write(annotations: Sequence[Annotation], path: Path, tools: Tools) -> list[Aside]:
    """Write tasks: what the teacher says is chosen already; what is gold is answered already. Nothing is left out."""
    write_jsonl(path, map(_task, annotations))
    return []


def _task(annotation: Annotation) -> dict[str, Any]:
    task: dict[str, Any] = {"text": annotation.text}
    if annotation.task == "textcat":
        task["options"] = [{"id": label, "text": label} for label in annotation.labels]
    if annotation.cats is not None:
        task["accept"] = list(annotation.positive())
    if annotation.ents is not None:
        task["spans"] = [{"start": span.start, "end": span.end, "label": span.label} for span in annotation.ents]
    if annotation.gold:
        task["answer"] = "accept"
    return {**task, "meta": {"id": annotation.id}, KEY: pack(annotation)}
