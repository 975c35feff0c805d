"""What the readers of JSON share: every value of a tool's file is checked before it is used."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..types import Span


def read_list(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Read a file that is one JSON list of objects.

    YIELDS (Tuple[str, Mapping[str, Any]]): Where an object stands, and the object.
    RAISES (InputError): No such file, or another content.
    """
    if not path.is_file():
        raise InputError(f"{path} does not exist or is not a file.")
    try:
        records = json.loads(path.read_text(encoding="utf-8-sig"))
    except json.JSONDecodeError as error:
        raise InputError(f"{path}:{error.lineno} is not JSON ({error.msg} at column {error.colno}).") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 (byte {error.start}). Convert it first.") from error
    if not isinstance(records, list):
        raise InputError(f"{path}: expected a JSON list of records, found a {type(records).__name__}.")
    for number, record in enumerate(records, 1):
        yield f"{path}, record {number}", expect(record, dict, "an object", f"{path}, record {number}")


def expect(value: Any, kind: type | tuple[type, ...], name: str, where: str) -> Any:
    """RETURNS (Any): The value. RAISES (InputError): It is of another type; `True` is no number."""
    kinds = kind if isinstance(kind, tuple) else (kind,)
    if not isinstance(value, kind) or (isinstance(value, bool) and bool not in kinds):
        raise InputError(f"{where}: expected {name}, found {value!r:.80}.")
    return value


def optional_text(value: Any) -> str | None:
    """RETURNS (Optional[str]): An id or a group as text."""
    return None if value is None or value == "" else str(value)


def span_of(item: Any, where: str) -> Span:
    """RETURNS (Span): From `{"start", "end", "label"}`, and a `score` if there is one; not yet compared with a text."""
    found = expect(item, dict, 'a span {"start", "end", "label"}', where)
    start, end = (
        expect(found.get(name), int, f"a whole number as the span's {name!r}", where) for name in ("start", "end")
    )
    label = expect(found.get("label"), str, "the span's label", where)
    return Span(start, end, label, number(found.get("score"), where))


def names_of(value: Any, where: str) -> tuple[str, ...]:
    """RETURNS (Tuple[str, ...]): Labels from a list of them. RAISES (InputError): It is none."""
    return tuple(
        expect(item, str, "a label", where) for item in expect(value, (list, tuple), "a list of labels", where)
    )


def number(value: Any, where: str) -> float | None:
    """RETURNS (Optional[float]): A score, 0 to 1."""
    if value is None:
        return None
    found = float(expect(value, (int, float), "a score", where))
    if not 0.0 <= found <= 1.0:
        raise InputError(f"{where}: expected a score from 0 to 1, found {value!r}.")
    return found


def least(scores: Iterable[Any], where: str) -> float | None:
    """RETURNS (Optional[float]): The lowest of some scores, if all are known."""
    found = [number(score, where) for score in scores]
    known = [score for score in found if score is not None]
    return min(known) if known and len(known) == len(found) else None
