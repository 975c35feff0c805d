"""Label Studio's JSON: its export in, tasks with predictions out.

A task has `data`, `annotations` by people and `predictions` by models. Each of these has a `result`: items of the
type "choices" (classes) or "labels" (entities) that name their control tag in `from_name`. Offsets are code points;
versions before 2022 counted UTF-16, which the quote beside them gives away.
See https://labelstud.io/guide/task_format and /guide/predictions
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..files import write_json
from ..texts import text_of
from ..types import Annotation, Span
from .carry import KEY, pack
from .json_files import expect, names_of, number, optional_text, read_list
from .offsets import from_utf16
from .types import Aside, Said, Tools, Wanted

_KINDS = {"textcat": ("choices",), "ner": ("labels", "hypertextlabels")}


def read(path: Path, wanted: Wanted) -> Iterator[Said]:
    """Read what people annotated; of tasks that nobody did, the predictions.

    YIELDS (Said): One for each annotation of a task. A skipped one (`was_cancelled`) is no answer; one without any
        result says that no class holds, or that there are no entities.
    RAISES (InputError): A task that is not in Label Studio's form, or a span that is not where its quote is.
    """
    for where, task in read_list(path):
        data = task.get("data")
        if not isinstance(data, dict):
            raise InputError(f'{where} has no "data". Export the project as JSON, not as JSON-MIN or CSV.')
        people = _results(task, "annotations", where)
        for result in people or _results(task, "predictions", where) or [{}]:
            text = text_of(data, wanted.text, where)
            answer: dict[str, Any] = {}
            if result.get("was_cancelled"):
                answer["aside"] = "skipped"
            elif "result" in result:
                items = expect(result["result"], list, "a list of results", where)
                answer = _answer([expect(item, dict, "a result", where) for item in items], text, wanted, where)
                answer["confidence"] = None if people else number(result.get("score"), where)
            yield Said(
                where,
                text,
                optional_text(data.get(wanted.id, task.get("id") if wanted.id == "id" else None)),
                optional_text(data.get(wanted.group)),
                person=bool(people),
                exported=data.get(KEY),
                **answer,
            )


def _results(task: Mapping[str, Any], name: str, where: str) -> list[dict[str, Any]]:
    listed = expect(task.get(name) or [], list, f"a list of {name}", where)
    return [expect(item, dict, f"an object in {name!r}", where) for item in listed]


def _answer(items: Sequence[Mapping[str, Any]], text: str, wanted: Wanted, where: str) -> dict[str, Any]:
    of_kind = [item for item in items if item.get("type") in _KINDS[wanted.task]]
    ours = [item for item in of_kind if item.get("from_name") == wanted.label]
    if of_kind and not ours:
        names = ", ".join(sorted({repr(item.get("from_name")) for item in of_kind}))
        raise InputError(
            f"{where}: no result is from {wanted.label!r}, only from {names}. Name one with --label-field."
        )
    values = [expect(item.get("value"), dict, 'a "value"', where) for item in ours]
    if wanted.task == "textcat":
        chosen = [name for value in values for name in names_of(value.get("choices"), where)]
        return {"classes": tuple(dict.fromkeys(chosen))}
    spans = []
    for item, value in zip(ours, values, strict=True):
        start, end = _offsets(value, text, where)
        for label in names_of(value.get(item["type"]), where):
            spans.append(Span(start, end, label, number(item.get("score"), where)))
    return {"ents": tuple(spans)}


def _offsets(value: Mapping[str, Any], text: str, where: str) -> tuple[int, int]:
    start, end = (expect(value.get(name), int, f"a whole number as {name!r}", where) for name in ("start", "end"))
    quote = value.get("text")
    if not isinstance(quote, str) or _plain(text[start:end]) == _plain(quote):
        return start, end
    first, last = from_utf16(text, start), from_utf16(text, end)
    if first is not None and last is not None and _plain(text[first:last]) == _plain(quote):
        return first, last
    raise InputError(
        f"{where}: {quote!r} does not stand at {start}-{end} of its text; {text[start:end]!r} does. Was the text"
        " changed, or its line ends? Mend the task, or take it out."
    )


def _plain(quote: str) -> str:
    """RETURNS (str): A quote with all white space as one space: the editor writes line breaks as backslash and n."""
    return re.sub(r"(?:\\n|\s)+", " ", quote).strip()


def write(annotations: Sequence[Annotation], path: Path, tools: Tools) -> list[Aside]:
    """Write tasks for a labelling config with `<Text name="text" value="$text"/>` and a `<Choices>` or `<Labels>` tag
    named "label". What the teacher says is a prediction, what is gold an annotation. Nothing is left out."""
    write_json(path, [_task(annotation) for annotation in annotations])
    return []


def _task(annotation: Annotation) -> dict[str, Any]:
    task: dict[str, Any] = {"data": {"text": annotation.text, "id": annotation.id, KEY: pack(annotation)}}
    if annotation.status != "ok":
        return task
    item = {"from_name": "label", "to_name": "text"}
    positive = list(annotation.positive())
    result: list[dict[str, Any]] = []
    if annotation.task == "textcat" and positive:
        result = [{**item, "type": "choices", "value": {"choices": positive}}]
    for index, span in enumerate(annotation.ents or ()):
        quote = annotation.text[span.start : span.end]
        value = {"start": span.start, "end": span.end, "text": quote, "labels": [span.label]}
        scored = {} if span.score is None else {"score": span.score}
        result.append({**item, "id": f"span{index}", "type": "labels", "value": value, **scored})
    if annotation.gold:
        return {**task, "annotations": [{"result": result, "was_cancelled": False, "ground_truth": True}]}
    made: dict[str, Any] = {"model_version": str(annotation.provenance.get("model", "teacher")), "result": result}
    if annotation.confidence is not None:
        made["score"] = annotation.confidence
    return {**task, "predictions": [made]}
