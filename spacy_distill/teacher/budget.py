"""Limits on what one run may spend: room is reserved before a request is sent, and given back when its reply came."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from typing import Any, NamedTuple

from .types import Prompt, ReplyMeta

_TEMPLATE_TOKENS = 64
"""What a server's chat template may add to a prompt."""

_SEAM_TOKENS = 8
"""How many more tokens a whole may have than its parts, where words are cut differently at the seams."""

UNKNOWN_REPLY_TOKENS = 4096
"""Of a reply that nothing cuts off, until longer ones were seen."""

_FRAMES = 64


class Spend(NamedTuple):
    """An amount of both currencies."""

    usd: float
    tokens: int


NOTHING = Spend(0.0, 0)


class Budget:
    """What one run may spend, over all of its models. Threads may share it.

    Counted is what the replies of this run report: tokens read and written, and their price. What the ledger has is
    free. A reply that reports no tokens counts as the most that it can have been; a request that failed counts as
    nothing, though a provider may charge for one that broke off.

    usd (Optional[float]): At most so much money. None: no limit.
    tokens (Optional[int]): At most so many tokens, read and written. None: no limit.
    """

    def __init__(self, usd: float | None = None, tokens: int | None = None) -> None:
        self.usd = usd
        self.tokens = tokens
        self.spent = NOTHING
        self.reached = False
        self._reserved = NOTHING
        self._lock = threading.Lock()

    def reserve(self, most: Spend) -> bool:
        """Set aside what a request may cost at most.

        RETURNS (bool): False if that could pass a limit, and nothing was set aside. There may be room once replies in
            flight turn out cheaper.
        """
        with self._lock:
            usd = self.spent.usd + self._reserved.usd + most.usd
            tokens = self.spent.tokens + self._reserved.tokens + most.tokens
            over_usd = self.usd is not None and usd > self.usd
            if self.reached or over_usd or (self.tokens is not None and tokens > self.tokens):
                return False
            self._reserved = _add(self._reserved, most)
            return True

    def settle(self, reserved: Spend, spent: Spend) -> None:
        """Put what a reply did cost in the place of what was set aside for it."""
        with self._lock:
            self._reserved = Spend(self._reserved.usd - reserved.usd, self._reserved.tokens - reserved.tokens)
            self.spent = _add(self.spent, spent)

    def close(self) -> str:
        """Hand out nothing more: what is not asked for after this is a matter of order, not of a text's length.

        RETURNS (str): Why, for the texts that are not asked for.
        """
        self.reached = True
        return f"budget of {self} reached"

    def __str__(self) -> str:
        limits = [f"${self.usd:,.2f}"] if self.usd is not None else []
        limits += [f"{self.tokens:,} tokens"] if self.tokens is not None else []
        return " or ".join(limits)


def _add(one: Spend, other: Spend) -> Spend:
    return Spend(one.usd + other.usd, one.tokens + other.tokens)


class Bounds:
    """The most tokens that a request can take. Learns from every reply, and stays an upper bound.

    Tokenizers of language models make no more tokens than a text has bytes. So a prompt has no more than its constant
    part has, plus the bytes of its text; and its constant part has no more than the shortest prompt around it had.
    Until one was seen, the constant part's bytes stand for it.

    Without a longest reply there is no upper bound; twice the longest one seen stands for it.

    longest_reply (Optional[int]): Tokens at which a reply is cut off.
    params (Mapping[str, Any]): What is sent with every prompt, such as a system message.
    """

    def __init__(self, longest_reply: int | None, params: Mapping[str, Any]) -> None:
        self._longest_reply = longest_reply
        self._around = _TEMPLATE_TOKENS + len(json.dumps(params, default=str))
        self._least: dict[tuple[str, str], int] = {}
        self._longest_seen = 0

    def most(self, prompt: Prompt) -> tuple[int, int]:
        """RETURNS (Tuple[int, int]): The most tokens that can be read, and written."""
        reply_tokens = self._longest_reply
        if reply_tokens is None:
            reply_tokens = 2 * self._longest_seen or UNKNOWN_REPLY_TOKENS
        least = self._least.get((prompt.prefix, prompt.suffix))
        whole = size(prompt) + self._around + (len(json.dumps(prompt.schema)) if prompt.schema and not least else 0)
        if least is None:
            return whole, reply_tokens
        return min(whole, least + size(prompt.text) + _SEAM_TOKENS), reply_tokens

    def learn(self, prompt: Prompt, meta: ReplyMeta) -> None:
        """Take a reply's tokens into account."""
        if meta.prompt_tokens:
            frame = (prompt.prefix, prompt.suffix)
            if frame not in self._least and len(self._least) >= _FRAMES:
                self._least.clear()
            self._least[frame] = min(meta.prompt_tokens, self._least.get(frame, meta.prompt_tokens))
        self._longest_seen = max(self._longest_seen, meta.reply_tokens or 0)


def size(text: str) -> int:
    """RETURNS (int): Bytes in UTF-8: of all rough measures of tokens the one that holds for every language."""
    return len(text) if text.isascii() else len(text.encode("utf8", "surrogatepass"))
