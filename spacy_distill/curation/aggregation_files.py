"""Aggregation from files to files: one DocBin a teacher in, one out, and the books beside it."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from spacy.tokens import Doc
from spacy.vocab import Vocab

from ..docs import annotate_doc, check_gold_kept, read_annotated, write_docs
from ..errors import InputError
from ..files import describe_file, shown_path, write_json
from ..types import Annotation, TaskName
from .aggregation import Aggregation, aggregate
from .aggregation_votes import Method


def aggregate_files(
    sources: Sequence[Path],
    output: Path,
    *,
    method: Method = "majority",
    weights: Sequence[float] | None = None,
    task: TaskName | None = None,
) -> Aggregation:
    """Aggregate annotated DocBins: see `aggregate`. The docs written have the tokens of the first source that has the
    text, and no annotation but the aggregated one.

    RAISES (InputError): A file given twice; or an output that is there and that no aggregation wrote, or that has
        people's decisions on texts on which no source has one.
    RAISES (StageError): No such file, or one without docs.
    """
    resolved = Counter(path.resolve() for path in sources)
    for path in sources:
        if resolved[path.resolve()] > 1:
            raise InputError(f"{path} is given twice: a teacher has one vote.")
    books_path = output.with_suffix(".json")
    if output.exists() and not _is_ours(books_path):
        raise InputError(
            f"{output} exists, and no aggregation wrote it. The last argument is where the result goes: if this is a"
            " source, name the result after it; otherwise remove the file."
        )
    vocab, names = Vocab(), _names(sources)
    docs: dict[str, Doc] = {}
    records: dict[str, list[Annotation]] = {}
    for name, path in zip(names, sources, strict=True):
        read, records[name] = read_annotated(path, vocab, task)
        for doc, record in zip(read, records[name], strict=True):
            if record.id not in docs:  # without its facts, which take up most of the room
                words, spaces = [token.text for token in doc], [bool(token.whitespace_) for token in doc]
                docs[record.id] = Doc(vocab, words=words, spaces=spaces)
        del read
    found = aggregate(records, method, weights)
    check_gold_kept(output, itertools.chain(*records.values()))
    write_docs(output, (annotate_doc(docs.pop(annotation.id), annotation) for annotation in found.annotations))
    write_json(books_path, _books(found, method, sources))
    return found


def _names(sources: Sequence[Path]) -> list[str]:
    """RETURNS (List[str]): File names without ending where they differ, else paths."""
    stems = [path.stem for path in sources]
    return stems if len(set(stems)) == len(stems) else [shown_path(path) for path in sources]


def _is_ours(books: Path) -> bool:
    try:
        return "aggregation" in json.loads(books.read_text(encoding="utf8"))
    except (OSError, ValueError):
        return False


def _books(found: Aggregation, method: Method, sources: Sequence[Path]) -> dict[str, Any]:
    names = [teacher.name for teacher in found.teachers]
    return {
        "aggregation": method,
        **found.counts,
        "statuses": dict(Counter(annotation.status for annotation in found.annotations).most_common()),
        "labels": dict(found.labels),
        "agreement": None if found.agreement is None else found.agreement.to_dict(names),
        "teachers": [
            {**asdict(teacher), **describe_file(path)} for teacher, path in zip(found.teachers, sources, strict=True)
        ],
    }
