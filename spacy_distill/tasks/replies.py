"""What any reply may hold: JSON among prose, and the probabilities of its tokens."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

_BRACKET = re.compile(r"[{\[]")
_DECODER = json.JSONDecoder()
_DEEPEST = 20
"""Levels of JSON: no task asks for so many, and a model that goes on opening brackets has no answer."""

_MAX_BRACKETS = 200  # A reply with more than these that are not JSON inside each other is not worth the search.


def without_thinking(reply: str) -> str:
    """RETURNS (str): The reply with what a reasoning model thinks aloud (up to `</think>`) blanked out, as long as it
    was; blank altogether if it never stopped thinking."""
    end = reply.rfind("</think>")
    if end >= 0:
        end += len("</think>")
    elif reply.lstrip().startswith("<think>"):
        end = len(reply)
    return " " * max(end, 0) + reply[max(end, 0) :]


def json_values(reply: str) -> Iterator[tuple[int, int, Any]]:
    """YIELDS (Tuple[int, int, Any]): Start, end and value of each JSON object or list in a reply. Prose and code fences
    around it do not matter."""
    position = 0
    for _ in range(_MAX_BRACKETS):
        match = _BRACKET.search(reply, position)
        if match is None:
            return
        try:
            value, position = _DECODER.raw_decode(reply, match.start())
        except (ValueError, RecursionError):
            position = match.end()
        else:
            if not _nested(value, _DEEPEST):
                yield match.start(), position, value


def _nested(value: Any, levels: int) -> bool:
    """RETURNS (bool): Whether a JSON value has more levels than that. Told without recursion, which has an end."""
    level = [value]
    for _ in range(levels):
        level = [item for found in level for item in _children(found)]
        if not level:
            return False
    return True


def _children(value: Any) -> Iterable[Any]:
    return value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()


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
    shift = spelled.rfind(reply)  # Some servers put what was thought before it among the tokens.
    if not places or shift < 0:
        return None
    total, position = 0.0, -shift
    for token, logprob in tokens:
        end = position + len(token)
        if any(position < stop and start < end for start, stop in places):
            total += logprob
        position = end
    return min(1.0, math.exp(total))


def share(value: Any) -> float | None:
    """Read a confidence as models write it: 0.9, 90, "90 %". A figure from 1 to 10 might be of ten or of a hundred.

    RETURNS (Optional[float]): 0 to 1; None if it is no such figure.
    """
    if isinstance(value, bool):
        return None
    try:
        number = float(value.strip().rstrip("%")) if isinstance(value, str) else float(value)
    except (TypeError, ValueError):
        return None
    percent = isinstance(value, str) and "%" in value
    if 1.0 < number <= 10.0 and not percent:
        return None
    if number > 1.0 or percent:
        number /= 100.0
    return number if 0.0 <= number <= 1.0 else None
