"""Write a curation: the docs it kept, what it corrected, what it rejected and why, and the books."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from spacy.tokens import Doc

from ..docs import correct_doc, facts_of, write_docs
from ..files import write_json, write_jsonl
from ..types import Annotation, Rejection, TaskName
from .types import Curation, Doubt

KEPT, CORRECTED, REJECTED, REVIEW = "kept.spacy", "corrected.jsonl", "rejected.jsonl", "review.jsonl"
BOOKS = "curation.json"


def write_curation(
    output_dir: Path,
    docs: Sequence[Doc],
    annotations: Sequence[Annotation],
    curation: Curation,
    *,
    task: TaskName,
    sources: Mapping[str, Any],
) -> None:
    """Write `kept.spacy`, `corrected.jsonl`, `rejected.jsonl`, `review.jsonl` and `curation.json`.

    The kept docs are the originals, those that a rule corrected excepted.

    docs (Sequence[Doc]): What was read, and `annotations` their records, in the same order.
    sources (Mapping[str, Any]): What the books are to say of where it came from: paths and hashes.
    """
    of_id = {annotation.id: doc for annotation, doc in zip(annotations, docs, strict=True)}
    corrected = {correction.after.id for correction in curation.corrected}
    (output_dir / BOOKS).unlink(missing_ok=True)  # They come last: those there are of other docs.
    write_docs(
        output_dir / KEPT,
        (
            correct_doc(of_id[annotation.id], annotation) if annotation.id in corrected else of_id[annotation.id]
            for annotation in curation.kept
        ),
    )
    write_jsonl(
        output_dir / CORRECTED,
        (
            {
                "rule": correction.rule,
                "id": correction.before.id,
                "text": correction.before.text,
                "before": _said(correction.before),
                "after": _said(correction.after),
            }
            for correction in curation.corrected
        ),
    )
    for name, items in ((REJECTED, curation.rejected), (REVIEW, curation.review)):
        rows = (_row(item, facts_of(of_id[item.annotation.id], task) or {}) for item in items)
        write_jsonl(output_dir / name, rows)
    books = {
        "task": task,
        "given": len(annotations),
        "kept": len(curation.kept),
        "corrected": len({correction.after.id for correction in curation.corrected}),
        "rejected": len(curation.rejected),
        "review": len(curation.review),
        **asdict(curation.books),
        "sources": dict(sources),
    }
    write_json(output_dir / BOOKS, books)


def _row(item: Rejection | Doubt, facts: Mapping[str, Any]) -> dict[str, Any]:
    annotation = item.annotation
    row = {
        "rule": item.rule,
        "reason": item.reason,
        "id": annotation.id,
        "text": annotation.text,
        "status": annotation.status,
        **_said(annotation),
        "confidence": annotation.confidence,
    }
    return {**row, "raw": facts["raw"]} if "raw" in facts else row


def _said(annotation: Annotation) -> dict[str, Any]:
    """RETURNS (Dict[str, Any]): The labels and their scores, or the spans and what is unknown, for JSON."""
    if annotation.task == "textcat":
        scores = {label: round(score, 4) for label, score in (annotation.cats or {}).items()}
        return {"labels": list(annotation.positive()), "scores": scores}
    said: dict[str, Any] = {"spans": [[span.start, span.end, span.label] for span in annotation.ents or ()]}
    unknown = [[span.start, span.end] for span in annotation.missing]
    return {**said, "unknown": unknown} if unknown else said
