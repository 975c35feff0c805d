"""The tokens of a reply with their log-probabilities, and what else could have stood there, as servers send them."""

from __future__ import annotations

import codecs
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

_UTF8 = codecs.getincrementaldecoder("utf-8")


class Token(NamedTuple):
    """A token of a reply, and what else could have stood there.

    said (bytes): The token, in UTF-8; it may end within a character.
    logprob (float): Its log-probability.
    listed (Mapping[bytes, float]): The likeliest tokens there with their log-probabilities, this one among them if it
        is one of these.
    """

    said: bytes
    logprob: float
    listed: Mapping[bytes, float]


def read_tokens(logprobs: Any) -> list[Token] | None:
    """Read a choice's `logprobs`.

    logprobs (Any): As a server sent them.
    RETURNS (Optional[List[Token]]): None if they are not there, or not in a form we know.
    """
    content = logprobs.get("content") if isinstance(logprobs, dict) else None
    try:
        tokens = [Token(*_token(item), _listed(item.get("top_logprobs"))) for item in content or ()]
    except (TypeError, KeyError, ValueError, AttributeError):
        return None
    return tokens if all(math.isfinite(token.logprob) for token in tokens) else None


def _token(item: Any) -> tuple[bytes, float]:
    raw = item.get("bytes")
    return whole(item["token"]).encode() if raw is None else bytes(raw), float(item["logprob"])


def _listed(alternatives: Any) -> dict[bytes, float]:
    try:
        listed = dict(map(_token, alternatives or ()))
    except (TypeError, KeyError, ValueError, AttributeError):
        return {}
    return {said: logprob for said, logprob in listed.items() if not math.isnan(logprob)}


def characters(tokens: Sequence[Token]) -> list[tuple[str, float]]:
    """A character may take several tokens, which are no text by themselves: they are put together.

    RETURNS (List[Tuple[str, float]]): Tokens as text, with log-probabilities.
    """
    found: list[tuple[str, float]] = []
    decoder = _UTF8("replace")
    text, logprob = "", 0.0
    for token in tokens:
        text += decoder.decode(token.said)
        logprob += token.logprob
        if not decoder.getstate()[0]:
            found.append((text, logprob))
            text, logprob = "", 0.0
    if decoder.getstate()[0]:
        found.append((text + decoder.decode(b"", final=True), logprob))
    return found


def whole(text: str) -> str:
    """RETURNS (str): The same text. Half a surrogate pair, as JSON can smuggle it in, can be stored nowhere: it becomes
    U+FFFD."""
    return text if text.isascii() else text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
