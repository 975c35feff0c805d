"""From a raw reply to labels: whatever form models answer in, and never a guess.

A reply is read as JSON if there is any in it, else line by line (`Category: x`, or a line that is nothing but labels),
else as a sentence that states one label. What cannot be read is a status, not an exception.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from ..texts import normal_form
from ..types import Status
from .names import NONE, OUTER, Names
from .replies import json_values, place_of, share, without_thinking

_SEPARATORS = re.compile(r"[,;/|&+\n]|\b(?:or|and)\b", re.IGNORECASE)
_COMMENT = re.compile(r"\s*[(.:–—]|\s+-\s|\s*,?\s*\b(?:because|since|as|due)\b", re.IGNORECASE)
_DENIED = re.compile(r"\s*[:(–—-]\s*(?:no|false)\s*(?:[.,;!)]|$)", re.IGNORECASE)
_DOUBTED = re.compile(
    r"\b(?:not|no(?!\s+doubt\b)|never|cannot|neither|nor|hardly|unlikely|whether|if(?!\s+I\s+ha(?:d|ve)\s+to\b)|than"
    r"|instead\s+of)\b|n['’]t\b",
    re.IGNORECASE,
)
_CLAUSE = re.compile(
    r"[.!?:;,\n—]|\s[–-]\s|\bbut\b|\bso(?=\s+(?:I|we|it|its|this|the)\b)|\b(?:and|is)\s+(?:hence|thus|therefore)\b",
    re.IGNORECASE,
)
_QUOTED = re.compile(r"\"[^\"\n]*\"|“[^”\n]*”")
"""The text itself may hold a "not"."""
_FIELDS = ("label", "labels", "category", "categories", "class", "classes", "answer")
_NAME_WORDS = 6
"""A longer answer that holds no label is prose, not the name of an unknown label."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a reply says.

    status (Status): "ok", "abstain", "unparsed" or "unknown_label".
    labels (Tuple[str, ...]): The labels it names, if "ok", each once, as they come.
    unknown (Tuple[str, ...]): Names it gives that are no labels, as they stand in the reply.
    confidence (Optional[float]): What the model says of its own confidence, 0 to 1.
    places (Tuple[Tuple[int, int], ...]): Where in the reply each label stands, as far as that is known.
    """

    status: Status
    labels: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    confidence: float | None = None
    places: tuple[tuple[int, int], ...] = ()


def parse_labels(
    reply: str,
    names: Names,
    *,
    exclusive: bool,
    allow_none: bool = False,
    truncated: bool = False,
    field: str = "Label",
) -> Answer:
    """Read the labels off a reply.

    reply (str): The raw reply.
    names (Names): The labels on offer.
    exclusive (bool): Exactly one label is expected: several different ones are "unparsed".
    allow_none (bool): "none" is an answer: it abstains from an exclusive choice, and is no label otherwise.
    truncated (bool): The reply was cut: a name that might be half a name counts for nothing.
    field (str): What the prompt calls the answer, beside "Label", "Category", "Class" and "Answer".
    RETURNS (Answer): Labels only if the status is "ok".
    """
    reply = without_thinking(reply)
    said = _from_json(reply, names, field, exclusive)
    if said is None and (exclusive or not (truncated or reply.count("[") > reply.count("]"))):
        said = _from_lines(reply, names, field) or (_from_sentence(reply, names) if exclusive else None)
    if said is None:
        return Answer("unparsed")
    declined = not said.labels and (not said.unknown or all(normal_form(name) == NONE for name in said.unknown))
    if declined and (allow_none or not said.unknown):
        return Answer("ok" if allow_none and not exclusive else "abstain", confidence=said.confidence)
    labels = tuple(dict.fromkeys(said.labels))
    if truncated and (said.unknown or (labels and names.is_start_of_another(labels[-1], reply))):
        return Answer("unparsed")
    if exclusive and len(labels) + len(set(said.unknown)) > 1:
        return Answer("unparsed")
    if said.unknown:
        prose = any(len(name.split()) > _NAME_WORDS for name in said.unknown)
        return Answer("unparsed") if prose else Answer("unknown_label", unknown=tuple(dict.fromkeys(said.unknown)))
    return Answer("ok", labels, confidence=said.confidence, places=tuple(said.places))


@dataclass
class _Said:
    labels: list[str]
    unknown: list[str]
    places: list[tuple[int, int]]
    confidence: float | None = None
    denied: bool = False  # "refund: no"


def _resolve(value: str, names: Names, offset: int = 0) -> _Said:
    """Take apart a value that should be a label, or several. Names may hold commas: known ones are found first."""
    if (label := names.find(value.strip())) or (label := names.find(value.strip(OUTER))):
        start = offset + len(value) - len(value.lstrip(OUTER))
        return _Said([label], [], [(start, start + len(value.strip(OUTER)))])
    mentions = names.mentions(value)
    gaps, end = [], 0
    for start, stop, _ in mentions:
        gaps.append(value[end:start])
        end = stop
    rest = value[end:]
    comment = _COMMENT.match(rest) if mentions else _COMMENT.search(rest.strip(OUTER))
    gaps.append(rest if comment is None else "" if mentions else rest.strip(OUTER)[: comment.start()])
    unknown = [said for gap in gaps for part in _SEPARATORS.split(gap) if (said := part.strip(OUTER))]
    if comment and mentions and not unknown and _DENIED.match(rest):
        return _Said([], [], [], denied=True)
    return _Said(
        [label for _, _, label in mentions],
        unknown,
        [(offset + start, offset + stop) for start, stop, _ in mentions],
    )


def _from_json(reply: str, names: Names, field: str, exclusive: bool) -> _Said | None:
    read_to = 0
    for start, end, value in json_values(reply):
        # One of several labels is not all of them: an object after a list that never closed does not count.
        broken = not exclusive and isinstance(value, dict) and "[" in reply[read_to:start]
        read_to = end
        if broken:
            continue
        if (said := _said_in_json(value, names, reply, start, (*_FIELDS, normal_form(field)))) is not None:
            return said
    return None


def _said_in_json(value: Any, names: Names, reply: str, start: int, fields: tuple[str, ...]) -> _Said | None:
    if value is None:
        return _Said([], [], [])
    if isinstance(value, (bool, int, float)):  # A label such as "1", written without quotation marks.
        label = names.find(json.dumps(value))
        return None if label is None else _Said([label], [], [])
    if isinstance(value, str):
        said = _resolve(value, names)
        place = place_of(value, reply, start)
        said.places = [(place[0] + begin, place[0] + end) for begin, end in said.places] if place else []
        return said
    if isinstance(value, list):
        items = [_said_in_json(item, names, reply, start, fields) for item in value]
        found = [item for item in items if item is not None]
        if len(found) < len(items):
            return None
        sure = [item.confidence for item in found if item.confidence is not None]
        return _Said(
            [label for item in found for label in item.labels],
            [name for item in found for name in item.unknown],
            [place for item in found for place in item.places],
            min(sure, default=None),
        )
    if isinstance(value, dict):
        folded = {normal_form(key): item for key, item in value.items()}
        for field in fields if len(folded) > 1 else folded:
            if field in folded and not isinstance(folded[field], dict):
                answer = _said_in_json(folded[field], names, reply, start, fields)
                if answer is not None and answer.confidence is None:
                    answer.confidence = share(folded.get("confidence"))
                return answer
    return None


def _from_lines(reply: str, names: Names, field: str) -> _Said | None:
    """The first run of lines that hold an answer. A completion model may run on and invent further texts: what follows
    the first answer counts only as long as it is labels without a blank line between."""
    fields = "|".join(map(re.escape, sorted({*_FIELDS, field}, key=len, reverse=True)))
    stated = re.compile(rf"[\W_]*(?:{fields})[\s\"'`*_]*[:=](.*)", re.IGNORECASE | re.DOTALL)
    answer: _Said | None = None
    offset = 0
    for line in reply.splitlines(keepends=True):
        match = stated.match(line)
        value, start = (match.group(1), match.start(1)) if match else (line, 0)
        said = _resolve(value, names, offset + start) if value.strip() else None
        offset += len(line)
        if said is not None and said.denied:
            continue
        if said is not None and (match or (said.labels and not said.unknown)):
            if answer is None:
                answer = said
            else:
                answer.labels += said.labels
                answer.unknown += said.unknown
                answer.places += said.places
        elif answer is not None:
            break
    if answer is None and len(reply.strip().splitlines()) == 1 and len(reply.split()) <= 3:
        answer = _resolve(reply, names)
    return answer if answer and (answer.labels or answer.unknown) else None


def _from_sentence(reply: str, names: Names) -> _Said | None:
    """The one label that a sentence sets apart: in bold or code, or at the end of "… is x.", "… as x."; unless the
    clause denies or doubts it."""
    found = []
    for start, end, label in names.mentions(reply):
        before, after = reply[:start], reply[end:]
        marked = re.search(r"(\*\*|`)$", before) and re.match(r"[.,]?(\*\*|`)", after)
        closes = re.search(r"(?:\b(?:is|be|as)|:)\s+[\"'“‘]?$", before) and re.match(r"[\"'”’]?\s*(?:[.,;!]|$)", after)
        if (marked or closes) and not _DOUBTED.search(_CLAUSE.split(_QUOTED.sub("", before))[-1]):
            found.append((start, end, label))
    if len({label for _, _, label in found}) != 1:
        return None
    return _Said([found[0][2]], [], [found[0][:2]])
