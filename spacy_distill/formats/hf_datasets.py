"""Hugging Face datasets on disk, as `save_to_disk` leaves them, with the columns of `table`. Needs the extra
`datasets`. Classes are `ClassLabel`; those of other data sets may be that or strings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import ConfigError, InputError
from ..files import whole_file
from ..types import Annotation
from .carry import KEY
from .table import row_of, said_of
from .types import Aside, Said, Tools, Wanted


def read(path: Path, wanted: Wanted) -> Iterator[Said]:
    """Read a data set, or all splits of one.

    YIELDS (Said): One a row.
    RAISES (InputError): No data set on disk there. RAISES (ConfigError): The extra is missing.
    """
    datasets = _library()
    try:
        found = datasets.load_from_disk(str(path))
    except (FileNotFoundError, ValueError) as error:
        raise InputError(f"{path} is no data set on disk. Save it with `save_to_disk` first.") from error
    splits: Mapping[str, Any] = found if isinstance(found, datasets.DatasetDict) else {"": found}
    for split, rows in splits.items():
        for number, row in enumerate(rows, 1):
            where = f"{path}, {f'{split} ' if split else ''}row {number}"
            named = {name: _named(rows.features[name], value, datasets) for name, value in row.items()}
            yield said_of(where, named, wanted)


def _named(feature: Any, value: Any, datasets: Any) -> Any:
    """RETURNS (Any): The value with class numbers as names."""
    if isinstance(feature, datasets.ClassLabel):
        return None if value is None or value < 0 else feature.int2str(value)
    inner = getattr(feature, "feature", None)
    if isinstance(inner, datasets.ClassLabel) and value is not None:
        return [inner.int2str(item) for item in value]
    return value


def write(annotations: Sequence[Annotation], path: Path, tools: Tools) -> list[Aside]:
    """Write a row for each annotation. Nothing is left out. RAISES (ConfigError): The extra is missing."""
    datasets = _library()
    first = annotations[0]
    text = datasets.Value("string")
    if first.task == "ner":
        offset = datasets.Value("int64")
        span = {"start": offset, "end": offset, "label": text, "score": datasets.Value("float64")}
        answer: Any = datasets.List(span)
    else:
        one = datasets.ClassLabel(names=list(first.labels))
        answer = one if first.exclusive else datasets.List(one)
    features = {"id": text, "group": text, "text": text, "label": answer, "gold": answer, KEY: text}
    rows = [row_of(annotation) for annotation in annotations]
    with whole_file(path) as part:
        datasets.Dataset.from_list(rows, features=datasets.Features(features)).save_to_disk(str(part))
    return []


def _library() -> Any:
    try:
        import datasets
    except ImportError as error:
        raise ConfigError("This format needs datasets. Install it: pip install 'spacy-distill[datasets]'") from error
    datasets.disable_progress_bars()
    return datasets
