"""Texts and gold, as people bring them: JSONL, CSV, TSV, Parquet, plain text with one text a line; and gold as `import`
left it."""

from __future__ import annotations

import csv
import hashlib
import itertools
import json
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from .errors import ConfigError, InputError
from .types import Annotation, Span, TaskName, Text

FORMATS = (".jsonl", ".ndjson", ".csv", ".tsv", ".parquet", ".txt", ".spacy")


def read_records(path: Path, ending: str | None = None) -> Iterator[tuple[str, dict[str, Any]]]:
    """Read a file's records, whatever its format. A plain text line becomes `{"text": line}`; blank lines are skipped.
    Of a DocBin the texts are read that people checked, with their `gold`.

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
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file, delimiter="\t" if path.suffix.lower() == ".tsv" else ",", strict=True)
        try:
            for record in reader:
                if None in record:
                    raise InputError(f"{path}:{reader.line_num} has more fields than the header has names.")
                yield reader.line_num, {name: value for name, value in record.items() if value not in ("", None)}
        except csv.Error as error:
            raise InputError(
                f"{path}:{reader.line_num} is not readable as {path.suffix[1:].upper()} ({error})."
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
            yield number, {name: value for name, value in record.items() if value is not None}


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


def read_texts(
    path: Path,
    *,
    text_field: str = "text",
    id_field: str = "id",
    group_field: str = "group",
    gold_field: str = "gold",
) -> Iterator[Text]:
    """Read texts. A record without an id gets one made from its content, so that it stays the same when lines move.

    path (Path): See `read_records`.
    YIELDS (Text): In the file's order. Identical texts without ids get ids with a counter.
    RAISES (InputError): A record without text, a text that is not Unicode, or an id that occurs twice.
    """
    seen: dict[str, str] = {}
    counts: dict[str, int] = {}
    for where, record in read_records(path):
        text = record.get(text_field)
        if not isinstance(text, str):
            found = ", ".join(map(repr, record)) or "nothing"
            raise InputError(
                f"{where} has no text in {text_field!r} (it has: {found}). Name the field with --text-field."
            )
        if not _is_whole(text):
            raise InputError(
                f"{where}: the text holds half of a surrogate pair (\\ud800 to \\udfff), which is no character."
            )
        given = record.get(id_field)
        if given is None:
            digest = hashlib.sha256(text.encode("utf8")).hexdigest()[:16]
            counts[digest] = counts.get(digest, 0) + 1
            identifier = digest if counts[digest] == 1 else f"{digest}-{counts[digest]}"
        else:
            identifier = str(given)
            if identifier in seen:
                raise InputError(
                    f"{where}: the id {identifier!r} stands at {seen[identifier]} already. Ids must be unique."
                )
            seen[identifier] = where
        group = record.get(group_field)
        yield Text(identifier, text, None if group is None else str(group), record.get(gold_field), where)


def _is_whole(text: str) -> bool:
    return text.isascii() or not any("\ud800" <= char <= "\udfff" for char in text)


def gold_annotations(
    texts: Iterable[Text], task: TaskName, *, labels: Sequence[str] | None = None, exclusive: bool = True
) -> list[Annotation]:
    """Take what people said as annotations.

    labels (Optional[Sequence[str]]): The labels there are. None: those that occur, sorted.
    exclusive (bool): Text classification: exactly one label a text.
    RETURNS (List[Annotation]): With `gold` set, in order.
    RAISES (InputError): A text without gold, gold of the wrong form, or a label that does not exist; label names are
        compared to the letter, and the message names the one that was probably meant. Or entities that overlap.
    """
    texts = list(texts)
    parsed = [(text, _gold(text, task, exclusive)) for text in texts]
    names = [name for _, found in parsed for name in (found if task == "textcat" else [span.label for span in found])]
    known = tuple(labels) if labels is not None else tuple(sorted(set(names)))
    for text, found in parsed:
        for name in found if task == "textcat" else [span.label for span in found]:
            if name not in known:
                raise InputError(f"{_place(text)}: unknown label {name!r}.{suggestion(name, known)}")
    return [
        Annotation(
            id=text.id,
            text=text.text,
            task=task,
            labels=known,
            status="ok",
            exclusive=exclusive,
            cats={label: float(label in found) for label in known} if task == "textcat" else None,
            ents=tuple(found) if task == "ner" else None,
            confidence=1.0,
            group=text.group,
            gold=True,
        )
        for text, found in parsed
    ]


def _gold(text: Text, task: TaskName, exclusive: bool) -> list[Any]:
    gold = text.gold
    if gold is None:
        raise InputError(f"{_place(text)} has no gold. Name the field that holds it, or leave this text out.")
    if isinstance(gold, str) and gold.startswith("[") and (task == "ner" or not exclusive):  # a table's cell
        try:
            gold = json.loads(gold)
        except json.JSONDecodeError as error:
            raise InputError(f"{_place(text)}: the gold {gold!r} is not JSON ({error.msg}).") from error
    if task == "textcat":
        found = [gold] if isinstance(gold, str) else gold
        if not isinstance(found, (list, tuple)) or not all(isinstance(item, str) for item in found):
            raise InputError(f"{_place(text)}: expected a label or a list of labels, found {gold!r}.")
        if exclusive and len(found) != 1:
            raise InputError(f"{_place(text)}: expected exactly one label, found {len(found)}: {gold!r}.")
        return list(found)
    spans = []
    if not isinstance(gold, (list, tuple)):
        raise InputError(f"{_place(text)}: expected a list of [start, end, label], found {gold!r}.")
    for item in gold:
        if isinstance(item, Mapping):
            item = (item.get("start"), item.get("end"), item.get("label"))
        start, end, label = item if isinstance(item, (list, tuple)) and len(item) == 3 else (None, None, None)
        if not (isinstance(start, int) and isinstance(end, int) and isinstance(label, str)):
            raise InputError(f"{_place(text)}: expected [start, end, label], found {item!r}.")
        if not 0 <= start < end <= len(text.text):
            raise InputError(f"{_place(text)}: {start}-{end} lies outside its text of {len(text.text)} characters.")
        spans.append(Span(start, end, label))
    spans.sort(key=lambda span: (span.start, span.end))
    for one, other in itertools.pairwise(spans):
        if other.start < one.end:
            raise InputError(
                f"{_place(text)}: {one.label} at {one.start}-{one.end} and {other.label} at {other.start}-{other.end}"
                " overlap. An entity pipeline marks each character once: remove one."
            )
    return spans


def _place(text: Text) -> str:
    return text.where or f"Gold record {text.id}"


def suggestion(name: str, known: Sequence[str]) -> str:
    """RETURNS (str): " Did you mean …?" with the known name that differs in case, space or Unicode form only; else
    the known names."""
    close = [label for label in known if normal_form(label) == normal_form(name)]
    if close:
        return f" Did you mean {close[0]!r}?"
    return f" Known: {', '.join(map(repr, known[:20]))}{' …' if len(known) > 20 else ''}."


def check_gold_names(texts: Iterable[Text], labels: Sequence[str]) -> None:
    """Refuse gold that spells a label another way than the teacher: the two would never agree. Labels that the teacher
    was not offered at all are left alone.

    texts (Iterable[Text]): With or without gold, of either task.
    labels (Sequence[str]): What the teacher was offered.
    RAISES (InputError): A name that differs from a label in case, space or Unicode form only.
    """
    offered = {normal_form(label): label for label in labels}
    for text in texts:
        for item in text.gold if isinstance(text.gold, (list, tuple)) else [text.gold]:
            if isinstance(item, Mapping):
                item = item.get("label")
            elif isinstance(item, (list, tuple)):
                item = item[-1] if item else None
            twin = offered.get(normal_form(item)) if isinstance(item, str) and item not in labels else None
            if twin is not None:
                raise InputError(
                    f"{_place(text)}: the label {item!r} is {twin!r} in the annotations. Spell them the same way."
                )


def normal_form(text: str) -> str:
    """RETURNS (str): A label or a text folded for comparison: Unicode NFKC, no case, one space between words."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def is_config_key(label: str) -> bool:
    """RETURNS (bool): Whether a label can stand left of the equals sign in a spaCy config."""
    return not set(label) & set(":=") and label[0] not in "#;[@"


def check_labels(labels: Sequence[str]) -> tuple[str, ...]:
    """Refuse labels that cannot be told apart, or that would be lost on the way.

    RETURNS (Tuple[str, ...]): The labels as they are.
    RAISES (ConfigError): None at all, an empty, padded or broken name, or two that differ in case, space or form only.
    """
    if not labels:
        raise ConfigError("There are no labels. Name at least one in the task's `labels`.")
    folded: dict[str, str] = {}
    for label in labels:
        if not isinstance(label, str) or label != label.strip() or len(label.splitlines()) != 1:
            raise ConfigError(f"The label {label!r} is empty, has space around it or a line break. Write it without.")
        twin = folded.get(normal_form(label))
        if twin == label:
            raise ConfigError(f"The label {label!r} is there twice. Remove one.")
        if twin is not None:
            raise ConfigError(
                f"The labels {twin!r} and {label!r} differ in case, space or Unicode form only. Rename one."
            )
        folded[normal_form(label)] = label
    return tuple(labels)
