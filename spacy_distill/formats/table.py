"""Rows of a table, as CSV and Hugging Face datasets have them: `id`, `group`, `text`, `label`, `gold`, `distill`.

`label` is what the teacher says, `gold` what a person does, as elsewhere in this package: a label, a list of labels, or
a list of spans. People fill the column `gold`; a row without it stays as it was.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ..errors import InputError
from ..texts import text_of
from ..types import Annotation, Span
from .carry import KEY, pack
from .json_files import expect, optional_text, span_of
from .types import Said, Wanted

COLUMNS = ("id", "group", "text", "label", "gold", KEY)


def row_of(annotation: Annotation) -> dict[str, Any]:
    """RETURNS (Dict[str, Any]): A row; spans are objects with `start`, `end`, `label` and `score`."""
    answer: Any = None
    if annotation.ents is not None:
        names = ("start", "end", "label", "score")
        answer = [{name: getattr(span, name) for name in names} for span in annotation.ents]
    elif annotation.cats is not None:
        answer = annotation.label if annotation.exclusive else list(annotation.positive())
    return {
        "id": annotation.id,
        "group": annotation.group,
        "text": annotation.text,
        "label": answer,
        "gold": answer if annotation.gold else None,
        KEY: json.dumps(pack(annotation), ensure_ascii=False),
    }


def said_of(where: str, row: Mapping[str, Any], wanted: Wanted) -> Said:
    """RETURNS (Said): What a row says; a person's word before the teacher's.

    RAISES (InputError): A row without text, or an answer of another form.
    """
    person = row.get("gold") is not None
    answer = row["gold"] if person else row.get(wanted.label)
    said: dict[str, Any] = {}
    if answer is not None and wanted.task == "textcat":
        names = [answer] if isinstance(answer, str) else expect(answer, list, "a label or a list of labels", where)
        said["classes"] = tuple(expect(name, str, "a label", where) for name in names)
    elif answer is not None:
        said["ents"] = tuple(_span(item, where) for item in expect(answer, list, "a list of spans", where))
    carried = row.get(KEY)
    try:
        exported = None if carried is None else json.loads(carried)
    except (TypeError, ValueError) as error:
        raise InputError(f"{where}: what stands in {KEY!r} is not JSON. Take the column out.") from error
    return Said(
        where,
        text_of(row, wanted.text, where),
        optional_text(row.get(wanted.id)),
        optional_text(row.get(wanted.group)),
        person=person or None,
        exported=None if exported is None else expect(exported, dict, f"an object in {KEY!r}", where),
        **said,
    )


def _span(item: Any, where: str) -> Span:
    if isinstance(item, (list, tuple)) and len(item) == 3:
        item = dict(zip(("start", "end", "label"), item, strict=True))
    return span_of(item, where)
