"""Write a curation: the docs it kept, what it rejected and why, and the books."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from spacy.tokens import Doc

from ..docs import facts_of, write_docs
from ..types import Rejection, TaskName
from .types import Curation

KEPT, REJECTED, BOOKS = "kept.spacy", "rejected.jsonl", "curation.json"


def write_curation(
    output_dir: Path, docs: Sequence[Doc], curation: Curation, *, task: TaskName, inputs: Mapping[str, Any]
) -> None:
    """Write `kept.spacy`, `rejected.jsonl` and `curation.json`. The kept docs are the originals, untouched.

    docs (Sequence[Doc]): The docs that the annotations were read from.
    inputs (Mapping[str, Any]): What the books should say of where all this came from: paths and hashes.
    """
    output_dir.mkdir(parents=True, exist_ok=True)
    kept = {annotation.id for annotation in curation.kept}
    write_docs(output_dir / KEPT, (doc for doc in docs if doc._.distill["id"] in kept))
    raw = {doc._.distill["id"]: (facts_of(doc, task) or {}).get("raw") for doc in docs}
    rows = (_row(rejection, raw.get(rejection.annotation.id)) for rejection in curation.rejected)
    _write(output_dir / REJECTED, (json.dumps(row, ensure_ascii=False) for row in rows))
    books = {
        "task": task,
        "given": len(curation.kept) + len(curation.rejected),
        "kept": len(curation.kept),
        "rejected": len(curation.rejected),
        **asdict(curation.books),
        **inputs,
    }
    _write(output_dir / BOOKS, [json.dumps(books, ensure_ascii=False, indent=2)])


def _row(rejection: Rejection, raw: str | None) -> dict[str, Any]:
    annotation = rejection.annotation
    said: dict[str, Any] = {"labels": list(annotation.positive())}
    if annotation.task == "ner":
        said = {"spans": [[span.start, span.end, span.label] for span in annotation.ents or ()]}
    row = {
        "rule": rejection.rule,
        "reason": rejection.reason,
        "id": annotation.id,
        "text": annotation.text,
        "status": annotation.status,
        **said,
        "confidence": annotation.confidence,
    }
    return row if raw is None else {**row, "raw": raw}


def _write(path: Path, lines: Iterable[str]) -> None:
    with path.open("w", encoding="utf8", newline="\n") as file:
        file.writelines(line + "\n" for line in lines)
