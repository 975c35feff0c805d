"""Texts and gold, as people bring them, and the names of labels."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from .errors import ConfigError, InputError
from .records import read_records
from .types import Annotation, Span, TaskName, Text

_MOST_CHARS = 1_000_000
"""spaCy tokenizes no longer texts, here and in training."""


def read_texts(
    path: Path,
    beside: Sequence[Path] = (),
    /,
    *,
    text_field: str = "text",
    id_field: str = "id",
    group_field: str = "group",
    gold_field: str = "gold",
    need_gold: bool = False,
) -> Iterator[Text]:
    """Read texts. A record without an id gets one made from its content, so that it stays the same when lines move.

    path (Path): See `read_records`.
    beside (Sequence[Path]): What else is read by the same field names: not every file needs a group or gold.
    need_gold (bool): Refuse a record without gold.
    YIELDS (Text): In the file's order. Identical texts without ids get ids with a counter.
    RAISES (InputError): A record without text, a text that is not Unicode or too long for spaCy, an id that occurs
        twice, or a field of another name than the usual one that no record of any of the files has.
    """
    _check_fields((path, *beside), {"id": id_field, "group": group_field, "gold": gold_field})
    seen: dict[str, str] = {}
    counts: dict[str, int] = {}
    for where, record in read_records(path):
        text = text_of(record, text_field, where)
        if not _is_whole(text):
            raise InputError(
                f"{where}: the text holds half of a surrogate pair (\\ud800 to \\udfff), which is no character."
            )
        if len(text) > _MOST_CHARS:
            raise InputError(
                f"{where}: the text has {len(text):,} characters, and spaCy takes {_MOST_CHARS:,} at most. Split it, or"
                " leave it out."
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
        group, gold = record.get(group_field), record.get(gold_field)
        if need_gold and gold is None:
            if gold_field in record:
                raise InputError(f"{where}: {gold_field!r} is empty. Fill it, or leave this text out.")
            raise InputError(
                f"{where} has no field {gold_field!r} (it has: {names_in(record)}). Name the field that holds the gold"
                " with --gold-field, or leave this text out."
            )
        yield Text(identifier, text, None if group is None else str(group), gold, where)


def text_of(
    record: Mapping[str, Any], field: str, where: str, remedy: str = "Name the field with --text-field."
) -> str:
    """RETURNS (str): A record's text. RAISES (InputError): It has none; `remedy` says how to name its field."""
    text = record.get(field)
    if isinstance(text, str):
        return text
    if field not in record:
        raise InputError(f"{where} has no text in {field!r} (it has: {names_in(record)}). {remedy}")
    if text is None:
        raise InputError(f"{where}: {field!r} is empty. Write a text there, or leave the record out.")
    raise InputError(f"{where} has no text in {field!r}, but {text!r:.80}. {remedy}")


def names_in(record: Iterable[str]) -> str:
    """RETURNS (str): The names of a record's fields, for messages."""
    return ", ".join(map(repr, record)) or "nothing"


def _check_fields(paths: Sequence[Path], names: Mapping[str, str]) -> None:
    """Refuse a misspelt field: without its groups or ids, texts would seem to have none. It reads on only until each
    field has been seen.

    names (Mapping[str, str]): The usual name of a field to the one it was given. The usual one may be missing.
    """
    wanted = {name: usual for usual, name in names.items() if name != usual}
    found: dict[str, None] = {}
    for path in paths if wanted else ():
        for _, record in read_records(path):
            found.update(dict.fromkeys(record))
            if wanted.keys() <= found.keys():
                return
    for name, usual in wanted.items():
        if found and name not in found:  # A file without records is its reader's to refuse.
            files = ", ".join(map(str, dict.fromkeys(paths)))
            raise InputError(
                f"{files}: no record has the field {name!r} (they have: {names_in(found)}). Correct"
                f" --{usual}-field, or leave it out."
            )


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
            raise InputError(
                f"{_place(text)}: expected a label or a list of labels, found {gold!r}. Write each label as text."
            )
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
    """RETURNS (str): " Did you mean …?" with the known name that differs in form only (see `twin_of`), or how to write
    several; else the known names."""
    twin = twin_of(name, known)
    if twin is not None:
        one, other = told_apart(twin, name)
        return f" Did you mean {one}{f', not {other}' if other == ascii(name) != repr(name) else ''}?"
    several = [part.strip() for part in name.split(",")]
    if len(several) > 1 and set(several) <= set(known):
        return f" Write several labels as {json.dumps(several, ensure_ascii=False)}."
    return f" Known: {', '.join(map(repr, known[:20]))}{' …' if len(known) > 20 else ''}."


def twin_of(name: str, labels: Iterable[str]) -> str | None:
    """RETURNS (Optional[str]): The label that differs from a name in case, space, Unicode form or characters that
    nobody sees, and in nothing else; None if there is none."""
    return next((label for label in labels if label != name and _label_form(label) == _label_form(name)), None)


def told_apart(one: str, other: str) -> tuple[str, str]:
    """RETURNS (Tuple[str, str]): Two names in quotes; with escapes where they look the same without."""
    same = unicodedata.normalize("NFC", one) == unicodedata.normalize("NFC", other)
    return (ascii(one), ascii(other)) if same else (repr(one), repr(other))


def check_gold_names(texts: Iterable[Text], labels: Sequence[str]) -> Counter[str]:
    """Refuse gold that spells a label another way than the teacher: the two would never agree.

    texts (Iterable[Text]): With or without gold, of either task.
    labels (Sequence[str]): What the teacher was offered.
    RETURNS (Counter[str]): Names that the teacher was not offered at all, and how often they occur.
    RAISES (InputError): A name that differs from a label in form only, see `twin_of`.
    """
    unheard: Counter[str] = Counter()
    for text in texts:
        for name in _gold_names(text.gold):
            if name in labels:
                continue
            twin = None if name in unheard else twin_of(name, labels)
            if twin is not None:
                said, meant = told_apart(name, twin)
                raise InputError(
                    f"{_place(text)}: the label {said} is {meant} in the annotations. Spell them the same way."
                )
            unheard[name] += 1
    return unheard


def from_cell(value: Any) -> Any:
    """RETURNS (Any): The list that a table's cell holds as JSON, of labels or spans; any other value as it is."""
    if isinstance(value, str) and value.startswith("["):
        with contextlib.suppress(json.JSONDecodeError):
            found = json.loads(value)
            if isinstance(found, list) and all(isinstance(item, (str, list, dict)) for item in found):
                return found
    return value


def _gold_names(gold: Any) -> Iterator[str]:
    """YIELDS (str): The labels in gold of any form."""
    gold = from_cell(gold)
    for item in gold if isinstance(gold, (list, tuple)) else [gold]:
        if isinstance(item, Mapping):
            item = item.get("label")
        elif isinstance(item, (list, tuple)):
            item = item[-1] if item else None
        if isinstance(item, str):
            yield item


def normal_form(text: str) -> str:
    """RETURNS (str): A label or a text folded for comparison: Unicode NFKC, no case, one space between words, without
    characters that nobody sees (category Cf: zero-width space, soft hyphen, byte order mark)."""
    if not text.isascii():
        text = "".join(char for char in unicodedata.normalize("NFKC", text) if unicodedata.category(char) != "Cf")
    return " ".join(text.casefold().split())


def _label_form(label: str) -> str:
    """RETURNS (str): The normal form, without space around commas."""
    return ",".join(part.strip() for part in normal_form(label).split(","))


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
        if (
            not isinstance(label, str)
            or label != label.strip()
            or len(label.splitlines()) != 1
            or not _label_form(label)
        ):
            raise ConfigError(f"The label {label!r} is empty, has space around it or a line break. Write it without.")
        twin = folded.get(_label_form(label))
        if twin == label:
            raise ConfigError(f"The label {label!r} is there twice. Remove one.")
        if twin is not None:
            one, other = told_apart(twin, label)
            raise ConfigError(f"The labels {one} and {other} differ in case, space or Unicode form only. Rename one.")
        folded[_label_form(label)] = label
    return tuple(labels)
