"""How fast a server may be asked: what the user allows, what the server says is left, what it turned out to take.

`Limits` decides; it is told what became of every request, does no I/O and reads the clock it was given. `Gate` makes
the requests of an event loop wait for their turn.
"""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

LONGEST_WAIT_S = 180.0
"""A server that asks for a longer pause than this will not answer within this run."""

_FIRST_PAUSE_S = 0.5
_LONGEST_PAUSE_S = 30.0

_DECREASE = 0.7
"""What an overload leaves of the requests in flight: the factor of CUBIC (RFC 9438, section 4.6)."""

_CATCH_UP_S = 0.05
"""A request that went late, because timers are coarse, does not delay all that come after it."""

_TOKENS_PER_CHAR = 0.3
"""Until replies have told: about what English text takes, and a short reply."""


def backoff_s(failures: int) -> float:
    """Exponential backoff with jitter, so that those who failed together do not come back together.

    failures (int): How many there were in a row, from 1.
    RETURNS (float): Seconds to wait.
    """
    return min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2.0 ** min(failures - 1, 30)) * random.uniform(0.5, 1.0)


class Quota(NamedTuple):
    """What a server says of one of its limits.

    remaining (float): Requests or tokens that it would still take.
    reset_s (float): Seconds until the limit is whole again.
    """

    remaining: float
    reset_s: float


class Permit(NamedTuple):
    """A request that was let through.

    number (int): How many were, this one included.
    chars (int): Characters of its prompt.
    tokens (float): Estimate of what it takes, prompt and reply.
    heard (int): Responses that had come before it was let through.
    """

    number: int
    chars: int
    tokens: float
    heard: int


class _Said(NamedTuple):
    """What a response said of one of the server's limits: how much may be spent in all before it is whole again, and
    when that is. `nth` counts the responses."""

    ends_at: float
    whole_at_s: float
    nth: int


class _Allowance:
    """One thing that is counted: requests, or tokens.

    The user's limit becomes an even pace (a leaky bucket as a meter: GCRA, ITU-T I.371), because servers enforce a
    limit a minute in shorter windows too. The server's own count is taken as it is: when nothing is left, nobody goes
    before it is whole again.
    """

    def __init__(self, per_minute: float | None) -> None:
        self.spent = 0.0
        self._each_s = 60.0 / per_minute if per_minute else 0.0
        self._next_s = -math.inf
        self._said: list[_Said] = []
        self._least = _Said(math.inf, -math.inf, 0)

    def wait_s(self, now_s: float, amount: float) -> float:
        wait_s = self._next_s - now_s if self._each_s else 0.0
        if self.spent + amount > self._least.ends_at:
            wait_s = max(wait_s, self._least.whole_at_s - now_s)
        return wait_s

    def spend(self, now_s: float, amount: float) -> None:
        self.spent += amount
        if self._each_s:
            self._next_s = max(self._next_s, now_s - _CATCH_UP_S) + amount * self._each_s

    def correct(self, amount: float) -> None:
        """It took so much more than was estimated, or less."""
        self._next_s += amount * self._each_s

    def heard(self, quota: Quota, now_s: float, unheard: float, nth: int, since: int) -> None:
        """The server's count, with the `nth` response. Of what was spent so much is `unheard` of, and may not be in it.

        Requests overtake each other, and so do responses: others that came `since` the request was let through may be
        in the server's count only after it. Of all these responses the one that was counted last is right, or says too
        little, so the least counts.
        """
        if quota.reset_s <= LONGEST_WAIT_S:
            self._said = [said for said in self._said if said.nth > since and said.whole_at_s > now_s]
            self._said.append(_Said(self.spent - unheard + quota.remaining, now_s + quota.reset_s, nth))
            self._least = min(self._said)


class Limits:
    """How many requests may be in flight to one server, and when the next may go.

    In flight: as many as allowed at first. A refusal leaves fewer, after a pause that all share; then one request goes
    to see, each success lets one more go until there are as many as were left, and from there on one more for as many
    successes as are in flight. A timeout leaves fewer at once. This is TCP's slow start and congestion avoidance (RFC
    5681): additive increase, multiplicative decrease.

    max_in_flight (int): Requests at a time, at most.
    requests_per_minute (Optional[float]): The user's limit. None: none.
    tokens_per_minute (Optional[float]): The same for tokens, of prompts and replies together.
    clock (Callable[[], float]): Seconds from anywhere, never going back.
    """

    def __init__(
        self,
        max_in_flight: int,
        *,
        requests_per_minute: float | None = None,
        tokens_per_minute: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.max_in_flight = max_in_flight
        self._out: dict[int, Permit] = {}
        self._unheard: dict[int, Permit] = {}
        self._clock = clock
        self._requests = _Allowance(requests_per_minute)
        self._tokens = _Allowance(tokens_per_minute)
        self._window = self._threshold = float(max_in_flight)
        self._lowered_at = 0
        self._heard = 0
        self._refused = 0
        self._paused_until_s = -math.inf
        self._known_chars = self._known_tokens = 0

    @property
    def in_flight(self) -> int:
        """RETURNS (int): Requests that were let through and have not ended."""
        return len(self._out)

    @property
    def window(self) -> int:
        """RETURNS (int): Requests that may be in flight now, at least 1."""
        return int(self._window)

    def wait_s(self, chars: int) -> float:
        """RETURNS (float): Seconds until a prompt of so many characters may go: 0 if now, infinite if not before
        another request has come back."""
        if self.in_flight >= self.window:
            return math.inf
        now_s = self._clock()
        return max(
            0.0,
            self._paused_until_s - now_s,
            self._requests.wait_s(now_s, 1),
            self._tokens.wait_s(now_s, self._estimate(chars)),
        )

    def start(self, chars: int) -> Permit:
        """Let a request through."""
        now_s, tokens = self._clock(), self._estimate(chars)
        self._requests.spend(now_s, 1)
        self._tokens.spend(now_s, tokens)
        permit = Permit(int(self._requests.spent), chars, tokens, self._heard)
        self._out[permit.number] = self._unheard[permit.number] = permit
        return permit

    def end(self, permit: Permit) -> None:
        """Nothing more comes of a request, and what it brought is safe."""
        del self._out[permit.number]
        self._unheard.pop(permit.number, None)

    def heard(self, permit: Permit, requests: Quota | None, tokens: Quota | None) -> None:
        """There is a response. The server may say with it what is left."""
        self._unheard.pop(permit.number, None)
        self._heard += 1
        now_s, order = self._clock(), (self._heard, permit.heard)
        if requests is not None:
            self._requests.heard(requests, now_s, len(self._unheard), *order)
        if tokens is not None:
            self._tokens.heard(tokens, now_s, sum(other.tokens for other in self._unheard.values()), *order)

    def succeeded(self, permit: Permit, tokens: int | None) -> None:
        """There is a reply.

        tokens (Optional[int]): What it took, prompt and reply, if the server says so.
        """
        if permit.number > self._lowered_at:
            self._refused = 0
        if self._window < self.max_in_flight:
            slow_start = self._window < self._threshold
            self._window = min(self.max_in_flight, self._window + (1.0 if slow_start else 1.0 / self._window))
        if tokens is not None:
            self._known_chars += permit.chars
            self._known_tokens += tokens
            self._tokens.correct(tokens - permit.tokens)

    def overloaded(self, permit: Permit, wait_s: float | None) -> float:
        """The server would not take it: all wait, and fewer go at a time.

        Those that were on their way when it said so for the first time say nothing new.

        wait_s (Optional[float]): What the server asked for. None: a pause that grows from refusal to refusal.
        RETURNS (float): Seconds of a pause that begins now; 0 if it began before.
        """
        first = self._lower(permit)
        if first:
            self._window = 1.0
            self._refused += 1
        if wait_s is not None and wait_s <= LONGEST_WAIT_S:
            pause_s = wait_s + random.uniform(0.0, min(wait_s, _FIRST_PAUSE_S))
        else:
            pause_s = backoff_s(self._refused) if first else 0.0
        self._paused_until_s = max(self._paused_until_s, self._clock() + pause_s)
        return pause_s if first else 0.0

    def too_slow(self, permit: Permit) -> None:
        """There was no response in time: fewer go at a time, but nobody need wait."""
        if self._lower(permit):
            self._window = self._threshold

    def _lower(self, permit: Permit) -> bool:
        first = permit.number > self._lowered_at
        if first:
            self._lowered_at = int(self._requests.spent)
            self._threshold = max(1.0, self._window * _DECREASE)
        return first

    def _estimate(self, chars: int) -> float:
        return chars * (self._known_tokens / self._known_chars if self._known_chars else _TOKENS_PER_CHAR)


class Gate:
    """Lets the requests of one event loop through as `Limits` allows, in the order in which they came.

    limits (Limits): Whose clock runs with the loop's.
    """

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._waiting: deque[tuple[int, asyncio.Future[Permit]]] = deque()
        self._timer: asyncio.TimerHandle | None = None

    async def enter(self, chars: int) -> Permit:
        """Wait for one's turn. Whoever enters has to `leave`.

        chars (int): Length of the prompt.
        """
        if not self._waiting and self.limits.wait_s(chars) <= 0.0:
            return self.limits.start(chars)
        turn: asyncio.Future[Permit] = asyncio.get_running_loop().create_future()
        self._waiting.append((chars, turn))
        self._admit()
        try:
            return await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.leave(turn.result())
            raise

    def leave(self, permit: Permit) -> None:
        """The request has come back, `limits` knows what it brought, and what was paid for is safe."""
        self.limits.end(permit)
        self._admit()

    def _admit(self) -> None:
        while self._waiting:
            chars, turn = self._waiting[0]
            if not turn.done():
                wait_s = self.limits.wait_s(chars)
                if wait_s > 0.0:
                    self._admit_in(wait_s)
                    return
                turn.set_result(self.limits.start(chars))
            self._waiting.popleft()

    def _admit_in(self, wait_s: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None if wait_s == math.inf else asyncio.get_running_loop().call_later(wait_s, self._admit)
