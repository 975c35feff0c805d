"""CoNLL: a token and its tag a line, a blank line after each text, tags as IOB2 (`B-PER`, `I-PER`, `O`).

Entities only. The text's own white space, which this form loses, stands with everything else in a comment,
`# distill = {"text": …}`. Without it, tokens are joined by one space. Columns between the first and the last are
passed over; so are comments and `-DOCSTART-`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ..errors import ConfigError, InputError
from ..files import whole_file
from ..types import Annotation, Span
from .carry import KEY, pack
from .json_files import expect
from .types import Aside, Said, Tools, Wanted

_COMMENT = f"# {KEY} = "
_START = "-DOCSTART-"


def read(path: Path, wanted: Wanted) -> Iterator[Said]:
    """YIELDS (Said): One a block of lines. RAISES (InputError): Lines of another form, or tags that are not IOB2."""
    if wanted.task != "ner":
        raise ConfigError("CoNLL holds entities: import it with --task ner.")
    if not path.is_file():
        raise InputError(f"{path} does not exist or is not a file.")
    try:
        with path.open(encoding="utf-8-sig", newline="\n") as file:
            block: list[tuple[int, str]] = []
            for number, line in enumerate(file, 1):
                line = line.rstrip("\r\n")
                if line.strip():
                    block.append((number, line))
                elif block:
                    yield from _block(path, block)
                    block = []
            if block:
                yield from _block(path, block)
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 (byte {error.start}). Convert it first.") from error


def _block(path: Path, lines: Sequence[tuple[int, str]]) -> Iterator[Said]:
    where = f"{path}:{lines[0][0]}"
    carried: dict[str, Any] | None = None
    tokens: list[tuple[str, str, str]] = []
    for number, line in lines:
        columns = line.split("\t") if "\t" in line else line.split()
        tag = columns[-1]
        if line.startswith(_COMMENT):
            carried = _carried(line.removeprefix(_COMMENT), f"{path}:{number}")
        elif len(columns) > 1 and (tag == "O" or tag[:2] in ("B-", "I-")):
            tokens.append((columns[0], tag, f"{path}:{number}"))
        elif not line.startswith("#"):
            raise InputError(f"{path}:{number}: expected a token and its tag (B-…, I-… or O), found {line!r:.80}.")
    if carried is None:
        tokens = [token for token in tokens if token[0] != _START]
        if not tokens:
            return
    text = " ".join(token for token, _, _ in tokens)
    if carried is not None:
        text = expect(carried.pop("text", None), str, f"the text in {_COMMENT!r}", where)
    yield Said(where, text, ents=_spans(text, tokens), exported=carried)


def _carried(value: str, where: str) -> dict[str, Any]:
    try:
        found = json.loads(value)
    except ValueError as error:
        raise InputError(f"{where}: the comment {KEY!r} is not JSON. Take it out.") from error
    return dict(expect(found, dict, "an object", where))


def _spans(text: str, tokens: Sequence[tuple[str, str, str]]) -> tuple[Span, ...]:
    spans: list[Span] = []
    position, inside = 0, ""
    for token, tag, where in tokens:
        start = text.find(token, position)
        if start < 0 or text[position:start].strip():
            raise InputError(f"{where}: the token {token!r} is not what its text goes on with. Was it changed?")
        position = start + len(token)
        label = tag[2:]
        if tag.startswith("B-"):
            spans.append(Span(start, position, label))
        elif tag.startswith("I-"):
            if label != inside:
                raise InputError(
                    f"{where}: {tag} follows {f'an entity {inside}' if inside else 'O'}, so these tags are not IOB2."
                    " Convert them: every entity starts with B-."
                )
            spans[-1] = Span(spans[-1].start, position, label)
        inside = label
    return tuple(spans)


def write(annotations: Sequence[Annotation], path: Path, tools: Tools) -> list[Aside]:
    """Write entities on the tokens of `tools.nlp`.

    RETURNS (List[Aside]): Records that IOB2 cannot say: no entities known, parts unknown, or an entity that does not
        stand on token boundaries. None is moved.
    RAISES (ConfigError): The annotations are classes.
    """
    if annotations[0].task != "ner":
        raise ConfigError("CoNLL holds entities, and these are classes. Choose another --format.")
    aside: list[Aside] = []
    blocks: list[str] = []
    for annotation in annotations:
        lines, reason = _lines(annotation, tools)
        if reason:
            aside.append((annotation.id, reason))
        else:
            blocks.append("\n".join(lines) + "\n\n")
    with whole_file(path) as part, part.open("w", encoding="utf8", newline="\n") as file:
        file.writelines(blocks)
    return aside


def _lines(annotation: Annotation, tools: Tools) -> tuple[list[str], str]:
    if annotation.ents is None:
        return [], f"status {annotation.status}"
    if annotation.missing:
        return [], "part of its text is unknown, which IOB2 cannot say"
    doc = tools.nlp.make_doc(annotation.text)
    tags: dict[int, str] = {}
    for span in annotation.ents:
        found = doc.char_span(span.start, span.end)
        if found is None or found[0].is_space or found[-1].is_space:
            return [], f"{span.label} at {span.start}-{span.end} does not stand on token boundaries"
        tags |= {token.i: f"{'B' if token.i == found.start else 'I'}-{span.label}" for token in found}
    lines = [_COMMENT + json.dumps({"text": annotation.text, **pack(annotation)}, ensure_ascii=False)]
    for token in doc:
        if not token.is_space:
            lines.append(f"{token.text}\t{tags.get(token.i, 'O')}")
    return lines, ""
