"""Files as people bring them, record by record: JSONL, CSV, TSV, Parquet, plain text with one text a line; and gold as
`import` left it."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .errors import InputError

LONGEST_CELL = 2**31 - 1
"""Unless told so, Python's reader takes 128 kB at most."""

FORMATS = (".jsonl", ".ndjson", ".csv", ".tsv", ".parquet", ".txt", ".spacy")


def read_records(path: Path, ending: str | None = None) -> Iterator[tuple[str, dict[str, Any]]]:
    """Read a file's records, whatever its format. A plain text line becomes `{"text": line}`; blank lines are skipped;
    an empty cell is None. Of a DocBin the texts are read that people checked, with their `gold`.

    path (Path): Its ending says the format: one of `FORMATS`.
    ending (Optional[str]): Read the file as if it had this one.
    YIELDS (Tuple[str, Dict[str, Any]]): Where the record stands ("file:line"), and the record.
    RAISES (InputError): No such file, an unknown ending, or a line that is not a record.
    """
    if not path.is_file():
        raise InputError(f"{path} does not exist or is not a file.")
    readers = {
        ".jsonl": _jsonl, ".ndjson": _jsonl, ".csv": _csv, ".tsv": _csv, ".parquet": _parquet, ".txt": _lines,
        ".spacy": _docbin,
    }  # fmt: skip
    reader = readers.get(ending or path.suffix.lower())
    if reader is None:
        raise InputError(f"{path}: unknown ending {path.suffix!r}; expected one of {', '.join(FORMATS)}.")
    try:
        for line, record in reader(path):
            yield f"{path}:{line}", record
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 (byte {error.start}). Convert it first.") from error


def _lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    with path.open(encoding="utf-8-sig", newline="\n") as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                yield number, {"text": line.rstrip("\r\n")}


def _jsonl(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    with path.open(encoding="utf-8-sig", newline="\n") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                record = json.loads(line.rstrip("\r\n"))
            except json.JSONDecodeError as error:
                raise InputError(
                    f"{path}:{number} is not JSON ({error.msg} at column {error.colno}). Each line is one whole object."
                ) from error
            if not isinstance(record, dict):
                raise InputError(f"{path}:{number} is a JSON {type(record).__name__}; expected an object.")
            yield number, record


def _csv(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    csv.field_size_limit(LONGEST_CELL)
    with path.open(encoding="utf-8-sig", newline="") as file:
        separator = "\t" if path.suffix.lower() == ".tsv" else ","
        reader = csv.DictReader(file, delimiter=separator, strict=True)
        try:
            names = reader.fieldnames or []
            if len(names) == 1 and ";" in names[0]:
                raise InputError(f"{path} has its fields separated by semicolons: save it with commas, or as JSONL.")
            if twice := [name for name, count in Counter(names).items() if name and count > 1]:
                raise InputError(f"{path} has several columns named {twice[0]!r}. Rename all but one.")
            for record in reader:
                if None in record:
                    raise InputError(f"{path}:{reader.line_num} has more fields than the header has names.")
                yield reader.line_num, {name: value or None for name, value in record.items()}
        except csv.Error as error:
            # Of a row that cannot be read the DictReader has not taken the number over yet.
            raise InputError(
                f"{path}:{reader.reader.line_num} is not readable as {path.suffix[1:].upper()} ({error}). A field with"
                " quotation marks stands in quotation marks, and has its own doubled."
            ) from error


def _parquet(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    try:
        import pyarrow.parquet
    except ImportError as error:
        raise InputError(
            f"{path}: Parquet needs pyarrow. Install it with: pip install 'spacy-distill[parquet]'"
        ) from error
    try:
        file = pyarrow.parquet.ParquetFile(path)
    except pyarrow.ArrowInvalid as error:
        raise InputError(f"{path} is not a Parquet file.") from error
    number = 0
    for batch in file.iter_batches():
        for record in batch.to_pylist():
            number += 1
            yield number, record


def _docbin(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """YIELDS (Tuple[int, Dict[str, Any]]): A text's number, and what people say of it."""
    from spacy.vocab import Vocab

    from .docs import annotations_of, read_docs

    checked = 0
    for number, doc in enumerate(read_docs(path, Vocab()), 1):
        for record in annotations_of(doc):
            if not record.gold:
                continue
            if record.missing:
                raise InputError(
                    f"{path}:{number}: of {record.id} some tokens are unknown, since what people marked does not stand"
                    " on whole tokens. Correct it in the tool it came from, or leave it out."
                )
            checked += 1
            if record.ents is not None:
                gold: Any = [[span.start, span.end, span.label] for span in record.ents]
            else:
                gold = list(record.positive())
            yield number, {"id": record.id, "text": record.text, "group": record.group, "gold": gold}
    if not checked:
        raise InputError(f"{path}: nobody has checked any of its texts. `spacy-distill import` takes in corrections.")
