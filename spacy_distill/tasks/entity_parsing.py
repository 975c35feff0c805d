"""From a raw reply to quoted entities: JSON in either direction, or lines of `LABEL: quote, quote`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from ..texts import normal_form
from .names import NONE, OUTER, Names
from .replies import json_values, place_of, share, without_thinking

_QUOTE_FIELDS = ("text", "quote", "entity", "span")
_TYPE_FIELDS = ("label", "type", "category")
_NOTHING = (NONE, "n/a", "null", "")
_HEADER = re.compile(r"[\W_]*(\w[^:\n]{0,60}?)[\s*_`\"']*:(?=[\s*]|$)\**")
_JSON_START = re.compile(r"\s*(?:```\w*)?\s*[{\[]")
_QUOTES = re.compile(r"(?:[^,;]|,(?=\d))+")


@dataclass(frozen=True, slots=True)
class Entity:
    """An entity as a reply gives it.

    quote (str): Its words.
    label (Optional[str]): Its label; None if that was not offered.
    said (str): The label as it stands in the reply.
    places (Tuple[Tuple[int, int], ...]): Where in the reply the quote and its label stand, as far as that is known.
    confidence (Optional[float]): What the model says of its own confidence in it, 0 to 1.
    """

    quote: str
    label: str | None
    said: str
    places: tuple[tuple[int, int], ...] = ()
    confidence: float | None = None


def parse_entities(reply: str, names: Names, *, truncated: bool = False) -> list[Entity] | None:
    """Read quoted entities off a reply: `{"entities": [{"text": ..., "label": ...}]}` or the list alone,
    `{"LABEL": ["quote", ...]}`, or lines of `LABEL: quote, quote`.

    truncated (bool): The reply was cut: only a list that was closed before counts.
    RETURNS (Optional[List[Entity]]): In order; None if the reply cannot be read.
    """
    reply = without_thinking(reply)
    found: list[Entity] | None = None
    read_to = 0
    for start, end, value in json_values(reply):
        # What follows a bracket that never closed is the rest of something that was cut off: only a whole list counts.
        broken = any(bracket in reply[read_to:start] for bracket in "[{")
        read_to = end
        if broken and not (value and isinstance(value, list)) and not (isinstance(value, dict) and "entities" in value):
            continue
        entities = _entities_in_json(value, names, reply, start)
        if entities is not None:
            found = (found or []) + entities
    if found is not None or truncated or _JSON_START.match(reply):
        return found
    return _entities_in_lines(reply, names)


def _entities_in_json(value: Any, names: Names, reply: str, start: int) -> list[Entity] | None:
    if isinstance(value, list):
        found: list[Entity] = []
        for item in value:
            entity = _entity_in_json(item, names, reply, start) if isinstance(item, dict) else None
            if entity is None:
                return None
            found.append(entity)
            start = max((end for _, end in entity.places), default=start)
        return found
    if not isinstance(value, dict):
        return None
    folded = {normal_form(key): item for key, item in value.items()}
    if "entities" in folded:
        return _entities_in_json(folded["entities"], names, reply, start)
    if (entity := _entity_in_json(value, names, reply, start)) is not None:
        return [entity]
    listed = {key: [item] if isinstance(item, str) else item or [] for key, item in value.items()}
    if not all(isinstance(item, list) and all(isinstance(quote, str) for quote in item) for item in listed.values()):
        return None
    if value and not any(map(names.find, value)) and any(isinstance(item, str) for item in value.values()):
        return None
    found = []
    for key, quotes in listed.items():
        for quote in quotes:
            place = place_of(quote, reply, start)
            start = place[1] if place else start
            if normal_form(quote) not in _NOTHING:
                found.append(Entity(quote, names.find(key), key, (place,) if place else ()))
    return found


def _entity_in_json(value: dict[str, Any], names: Names, reply: str, start: int) -> Entity | None:
    folded = {normal_form(key): item for key, item in value.items()}
    quote = next((folded[key] for key in _QUOTE_FIELDS if key in folded), None)
    label = next((folded[key] for key in _TYPE_FIELDS if key in folded), None)
    if not isinstance(quote, str) or not isinstance(label, str):
        return None
    places = [place for said in (quote, label) if (place := place_of(said, reply, start)) is not None]
    stated = share(folded.get("confidence"))
    return Entity(quote, names.find(label), label, tuple(places) if len(places) == 2 else (), stated)


def _entities_in_lines(reply: str, names: Names) -> list[Entity] | None:
    """Sections that start with a label and a colon; quotes with commas between, on the same line or on those below."""
    if normal_form(reply).strip(OUTER) == NONE:
        return []
    found: list[Entity] = []
    section, known = None, False
    offset = 0
    for line in reply.splitlines(keepends=True):
        header = _HEADER.match(line)
        if header:
            section = header.group(1)
            known = known or names.find(section) is not None
        start = header.end() if header else 0
        for match in _QUOTES.finditer(line, start) if section is not None else ():
            quote = match.group().strip(' \t\r\n"`*-•')
            if section is not None and quote and normal_form(quote) not in _NOTHING:
                place = offset + match.start() + match.group().index(quote)
                found.append(Entity(quote, names.find(section), section, ((place, place + len(quote)),)))
        offset += len(line)
    return found if known else None
