"""Write a curation: the docs it kept, what it rejected and why, and the books."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from spacy.tokens import Doc

from ..docs import facts_of, write_docs
from ..files import write_json, write_jsonl
from ..types import Annotation, Rejection, TaskName
from .types import Curation

KEPT, REJECTED, BOOKS = "kept.spacy", "rejected.jsonl", "curation.json"


def write_curation(
    output_dir: Path,
    docs: Sequence[Doc],
    annotations: Sequence[Annotation],
    curation: Curation,
    *,
    task: TaskName,
    sources: Mapping[str, Any],
) -> None:
    """Write `kept.spacy`, `rejected.jsonl` and `curation.json`. The kept docs are the originals, untouched.

    docs (Sequence[Doc]): What was read, and `annotations` their records, in the same order.
    sources (Mapping[str, Any]): What the books are to say of where it came from: paths and hashes.
    """
    of_id = {annotation.id: doc for annotation, doc in zip(annotations, docs, strict=True)}
    write_docs(output_dir / KEPT, (of_id[annotation.id] for annotation in curation.kept))
    write_jsonl(
        output_dir / REJECTED,
        (_row(rejection, facts_of(of_id[rejection.annotation.id], task) or {}) for rejection in curation.rejected),
    )
    books = {
        "task": task,
        "given": len(annotations),
        "kept": len(curation.kept),
        "rejected": len(curation.rejected),
        **asdict(curation.books),
        "sources": dict(sources),
    }
    write_json(output_dir / BOOKS, books)


def _row(rejection: Rejection, facts: Mapping[str, Any]) -> dict[str, Any]:
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
    return {**row, "raw": facts["raw"]} if "raw" in facts else row
