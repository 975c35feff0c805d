"""CSV with the columns of `table`; a list of labels or spans is JSON in its cell.

Texts are written as they are. A spreadsheet may take one that starts with =, +, - or @ for a formula: open files of
texts that you do not trust as text columns.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..files import whole_file
from ..records import LONGEST_CELL
from ..types import Annotation
from .table import COLUMNS, row_of, said_of
from .types import Aside, Said, Tools, Wanted


def read(path: Path, wanted: Wanted) -> Iterator[Said]:
    """YIELDS (Said): One a row. RAISES (InputError): No such file, or not a CSV with these columns."""
    if not path.is_file():
        raise InputError(f"{path} does not exist or is not a file.")
    csv.field_size_limit(LONGEST_CELL)
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file, strict=True)
        try:
            if wanted.text not in (reader.fieldnames or ()):
                found = ", ".join(map(repr, reader.fieldnames or ())) or "nothing"
                raise InputError(f"{path} has no column {wanted.text!r} (it has: {found}). Name it with --text-field.")
            for row in reader:
                where = f"{path}:{reader.line_num}"
                if None in row or None in row.values():
                    raise InputError(f"{where} has not as many fields as the header has names.")
                cells: dict[str, Any] = {name: cell for name, cell in row.items() if cell or name == wanted.text}
                for name in ("gold", wanted.label):
                    if name in cells:
                        cells[name] = _value(cells[name], wanted, where)
                yield said_of(where, cells, wanted)
        except csv.Error as error:
            raise InputError(f"{path}:{reader.reader.line_num} is not readable as CSV ({error}).") from error
        except UnicodeDecodeError as error:
            raise InputError(f"{path} is not UTF-8 (byte {error.start}). Save it as CSV UTF-8.") from error


def _value(cell: str, wanted: Wanted, where: str) -> Any:
    if wanted.task == "textcat" and not cell.lstrip().startswith("["):
        return cell
    try:
        return json.loads(cell)
    except ValueError as error:
        if wanted.task == "textcat":
            return cell
        raise InputError(f'{where}: expected spans as [[start, end, "LABEL"], ...], found {cell!r:.80}.') from error


def write(annotations: Sequence[Annotation], path: Path, tools: Tools) -> list[Aside]:
    """Write a row for each annotation. Nothing is left out."""
    with whole_file(path) as part, part.open("w", encoding="utf8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)  # ends lines with \r\n: only then does it quote a \r
        writer.writeheader()
        for annotation in annotations:
            writer.writerow({name: _cell(value) for name, value in row_of(annotation).items()})
    return []


def _cell(value: Any) -> str:
    if isinstance(value, list):
        plain = [[item["start"], item["end"], item["label"]] if isinstance(item, dict) else item for item in value]
        return json.dumps(plain, ensure_ascii=False)
    return "" if value is None else str(value)
