"""The formats by name, and what to do with one: read, write, and look at what is there before that."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import ConfigError, InputError
from ..files import same_content
from ..texts import gold_annotations
from ..types import Annotation, Text
from . import argilla, conll, csv_table, hf_datasets, label_studio, openai_finetune, prodigy
from .combine import combine
from .types import Aside, FormatName, Imported, Said, Tools, Wanted


@dataclass(frozen=True, slots=True)
class Format:
    """One format.

    write (Callable): Annotations to a file; gives back what it had to leave out.
    read (Optional[Callable]): A file's records. None: it is written only.
    """

    write: Callable[[Sequence[Annotation], Path, Tools], list[Aside]]
    read: Callable[[Path, Wanted], Iterator[Said]] | None = None


FORMATS: dict[FormatName, Format] = {
    "prodigy": Format(prodigy.write, prodigy.read),
    "label-studio": Format(label_studio.write, label_studio.read),
    "argilla": Format(argilla.write, argilla.read),
    "datasets": Format(hf_datasets.write, hf_datasets.read),
    "csv": Format(csv_table.write, csv_table.read),
    "conll": Format(conll.write, conll.read),
    "openai-finetune": Format(openai_finetune.write),
}


def read(
    path: Path,
    name: FormatName,
    wanted: Wanted,
    *,
    labels: Sequence[str] | None = None,
    exclusive: bool = True,
    gold: bool = False,
) -> Imported:
    """Read a file of another tool's. See `combine` for what becomes of its records.

    RAISES (ConfigError): The format is written only. RAISES (InputError): The file is not in this format, or no
        record has the field that was named for the id or the group.
    """
    reader = FORMATS[name].read
    if reader is None:
        raise ConfigError(f"The format {name} is written only: there is nothing to import from it.")
    said = list(reader(path, wanted))
    for usual, field, values in (
        ("id", wanted.id, (record.id for record in said)),
        ("group", wanted.group, (record.group for record in said)),
    ):
        if said and field != usual and all(value is None for value in values):
            raise InputError(f"{path}: no record has the field {field!r}. Correct --{usual}-field, or leave it out.")
    return combine(said, wanted, labels=labels, exclusive=exclusive, gold=gold)


def write(annotations: Sequence[Annotation], path: Path, name: FormatName, tools: Tools) -> list[Aside]:
    """Write annotations of one task for another tool.

    RETURNS (List[Aside]): What the format cannot hold, by id, and why.
    RAISES (InputError): No annotations, an id that occurs twice, or spans that overlap or lie outside their text.
    """
    if not annotations:
        raise InputError("There are no annotations to write.")
    seen: set[str] = set()
    for annotation in annotations:
        if annotation.id in seen:
            raise InputError(f"The id {annotation.id!r} occurs twice in the annotations. Ids must be unique.")
        seen.add(annotation.id)
        if annotation.ents:
            spans = [[span.start, span.end, span.label] for span in annotation.ents]
            text = Text(annotation.id, annotation.text, gold=spans, where=f"Record {annotation.id}")
            gold_annotations([text], "ner", labels=annotation.labels)
    return FORMATS[name].write(annotations, path, tools)


def holds_other(annotations: Sequence[Annotation], path: Path, name: FormatName, tools: Tools) -> bool:
    """Look at a place before annotations are written there: people may have filled in the file since it was exported.

    RETURNS (bool): Whether there is something that `write` would not write just so.
    RAISES (InputError): See `write`.
    """
    if not path.is_dir() and not (path.is_file() and path.stat().st_size):
        return False
    with tempfile.TemporaryDirectory() as folder:
        fresh = Path(folder) / "fresh"
        write(annotations, fresh, name, tools)
        return not same_content(fresh, path)
