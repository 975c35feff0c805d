"""From a raw reply to labels: whatever form models answer in, and never a guess.

A reply is read as JSON if there is any in it, else line by line (`Category: x`, or a line that is nothing but labels),
else as a sentence that states one label. What cannot be read is a status, not an exception.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import ConfigError
from ..texts import normal_form
from ..types import Status

NONE = "none"
"""How a teacher says that no label fits, where it may."""

_OUTER = " \t\r\n\"'`*_“”‘’«»()[]{}<>.,;:!?-"
_SEPARATORS = re.compile(r"[,;/|&+\n]|\b(?:or|and)\b", re.IGNORECASE)
_COMMENT = re.compile(r"\s*[(.:–—]|\s+-\s|\s*,?\s*\b(?:because|since|as|due)\b", re.IGNORECASE)
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


class Names:
    """The ways in which a reply may say each label.

    Exactly, else folded (case, spaces, Unicode form), else with `_`, `-` and spaces as one and without outer
    punctuation. A form that could mean two labels means neither.

    words (Mapping[str, str]): Label to how it is said.
    RAISES (ConfigError): Two labels are said alike.
    """

    def __init__(self, words: Mapping[str, str]) -> None:
        self._forms: tuple[dict[str, str | None], ...] = ({}, {}, {})
        for label, word in words.items():
            for other, its_word in words.items():
                if other != label and normal_form(word) in (normal_form(its_word), normal_form(other)):
                    raise ConfigError(
                        f"The word {word!r} for the label {label!r} also means {other!r}. Change it in `words`."
                    )
        for label, word in words.items():
            for said in {label, word}:
                for forms, key in zip(self._forms, _foldings(said), strict=True):
                    forms[key] = label if forms.get(key, label) == label else None
        said_longest_first = sorted({*words, *words.values()}, key=len, reverse=True)
        flexible = (r"[\s_\-]+".join(map(re.escape, re.split(r"[\s_\-]+", said))) for said in said_longest_first)
        self._mention = re.compile(rf"(?<![\w\-])(?:{'|'.join(flexible)})(?![\w\-])", re.IGNORECASE)

    def find(self, said: str) -> str | None:
        """RETURNS (Optional[str]): The label this says, with nothing else; None if it says none."""
        for forms, key in zip(self._forms, _foldings(said), strict=True):
            if (label := forms.get(key)) is not None:
                return label
        return None

    def mentions(self, text: str) -> list[tuple[int, int, str]]:
        """RETURNS (List[Tuple[int, int, str]]): Start, end and label of every label in a text; longer names first."""
        found = ((match.start(), match.end(), self.find(match.group())) for match in self._mention.finditer(text))
        return [(start, end, label) for start, end, label in found if label is not None]

    def is_start_of_another(self, label: str, text: str) -> bool:
        """RETURNS (bool): Whether a text that was cut off after this label might have gone on to a longer one."""
        tail = normal_form(text)
        return any(
            other != label and other_form.startswith(form) and tail.endswith(form)
            for form, its_label in self._forms[1].items()
            if its_label == label
            for other_form, other in self._forms[1].items()
        )


def _foldings(said: str) -> tuple[str, str, str]:
    folded = normal_form(said)
    return said, folded, " ".join(re.split(r"[\s_\-]+", folded.strip(_OUTER)))


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
    said = _from_json(reply, names) or _from_lines(reply, names, field) or _from_sentence(reply, names, exclusive)
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


def _resolve(value: str, names: Names, offset: int = 0) -> _Said:
    """Take apart a value that should be a label, or several. Names may hold commas: known ones are found first."""
    if (label := names.find(value.strip())) or (label := names.find(value.strip(_OUTER))):
        start = offset + len(value) - len(value.lstrip(_OUTER))
        return _Said([label], [], [(start, start + len(value.strip(_OUTER)))])
    mentions = names.mentions(value)
    gaps, end = [], 0
    for start, stop, _ in mentions:
        gaps.append(value[end:start])
        end = stop
    rest = value[end:]
    comment = _COMMENT.match(rest) if mentions else _COMMENT.search(rest.strip(_OUTER))
    gaps.append(rest if comment is None else "" if mentions else rest.strip(_OUTER)[: comment.start()])
    unknown = [part.strip(_OUTER) for gap in gaps for part in _SEPARATORS.split(gap)]
    return _Said(
        [label for _, _, label in mentions],
        [part for part in unknown if part],
        [(offset + start, offset + stop) for start, stop, _ in mentions],
    )


def _from_json(reply: str, names: Names) -> _Said | None:
    for start, value in json_values(reply):
        if (said := _said_in_json(value, names, reply, start)) is not None:
            return said
    return None


def _said_in_json(value: Any, names: Names, reply: str, start: int) -> _Said | None:
    if value is None:
        return _Said([], [], [])
    if isinstance(value, str):
        said = _resolve(value, names)
        place = place_of(value, reply, start)
        said.places = [(place[0] + begin, place[0] + end) for begin, end in said.places] if place else []
        return said
    if isinstance(value, list):
        items = [_said_in_json(item, names, reply, start) for item in value]
        if not all(items):
            return None
        found = [item for item in items if item is not None]
        sure = [item.confidence for item in found if item.confidence is not None]
        return _Said(
            [label for item in found for label in item.labels],
            [name for item in found for name in item.unknown],
            [place for item in found for place in item.places],
            min(sure, default=None),
        )
    if isinstance(value, dict):
        folded = {normal_form(key): item for key, item in value.items()}
        for field in _FIELDS:
            if field in folded and not isinstance(folded[field], dict):
                answer = _said_in_json(folded[field], names, reply, start)
                if answer is not None and answer.confidence is None:
                    answer.confidence = _share(folded.get("confidence"))
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
        return _resolve(reply, names)
    return answer


def _from_sentence(reply: str, names: Names, exclusive: bool) -> _Said | None:
    """A label that a sentence sets apart: in bold or code, or at the end of "… is x.", "… as x.". One only: prose does
    not say whether a list is complete."""
    if not exclusive:
        return None
    found = []
    for start, end, label in names.mentions(reply):
        before, after = reply[:start], reply[end:]
        marked = re.search(r"(\*\*|`)$", before) and re.match(r"[.,]?(\*\*|`)", after)
        closes = re.search(r"(?:\b(?:is|be|as)|:)\s+[\"'“‘]?$", before) and re.match(r"[\"'”’]?\s*(?:[.,;!]|$)", after)
        if marked or closes:
            found.append((start, end, label))
    if len({label for _, _, label in found}) != 1:
        return None
    return _Said([found[0][2]], [], [found[0][:2]])


def json_values(reply: str) -> Iterator[tuple[int, Any]]:
    """YIELDS (Tuple[int, Any]): Where each JSON object or list in a reply starts, and its value. Prose and code fences
    around it do not matter."""
    decoder = json.JSONDecoder()
    position = 0
    while (match := re.compile(r"[{\[]").search(reply, position)) is not None:
        try:
            value, position = decoder.raw_decode(reply, match.start())
        except (ValueError, RecursionError):
            position = match.end()
        else:
            yield match.start(), value


def place_of(value: str, reply: str, start: int = 0) -> tuple[int, int] | None:
    """RETURNS (Optional[Tuple[int, int]]): Where a JSON string's content stands in a reply, as a value and not as a
    key; None if it is written in another way."""
    for written in (json.dumps(value, ensure_ascii=False), json.dumps(value)):
        match = re.compile(rf"[:\[,]\s*\"({re.escape(written[1:-1])})\"").search(reply, start)
        if match:
            return match.span(1)
    return None


def probability_of(places: Sequence[tuple[int, int]], reply: str, tokens: Sequence[tuple[str, float]]) -> float | None:
    """The probability that the model gave to what stands at some places of its reply: exp of the sum of the
    log-probabilities of every token that overlaps them.

    RETURNS (Optional[float]): 0 to 1; None if the tokens do not spell the reply.
    """
    spelled = "".join(token for token, _ in tokens)
    shift = spelled.find(reply)
    if not places or shift < 0:
        return None
    total, position = 0.0, -shift
    for token, logprob in tokens:
        end = position + len(token)
        if any(position < stop and start < end for start, stop in places):
            total += logprob
        position = end
    return min(1.0, math.exp(total))


def _share(value: Any) -> float | None:
    """A confidence as models write it: 0.9, 90, "90 %"."""
    if isinstance(value, bool):
        return None
    try:
        number = float(value.strip().rstrip("%")) if isinstance(value, str) else float(value)
    except (TypeError, ValueError):
        return None
    if number > 1.0 or (isinstance(value, str) and "%" in value):
        number /= 100.0
    return number if 0.0 <= number <= 1.0 else None
