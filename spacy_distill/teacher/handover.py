"""Requests on their way from the caller's thread to the transport's, and replies on their way back."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from functools import partial
from queue import SimpleQueue
from typing import Any

from .asking import Deliver
from .base import Request
from .claims import Claims
from .limits import Gate, Permit
from .transport import Transport
from .types import Reply, ReplyMeta

logger = logging.getLogger("spacy_distill")

_HAND_OVER_S = 0.005

_CLAIM_TOGETHER_S = 0.02
"""So long may a request wait to be claimed with others where it could not be sent yet anyway."""

_LOOK_AGAIN_S = 0.2
"""For replies that another process waits for."""

_WORTH_SAYING_S = 5.0

Answers = list[tuple[Request, Reply]]


class Departures:
    """Requests on their way from the caller's thread to the transport's, which all this runs in.

    Those that come in one turn of the event loop are claimed together, at its end; those that come while as many are in
    flight as may be, a moment later, since each claim is a write to the ledger. One whose key another has claimed
    stands aside, in nobody's way, until there is a reply or the other one has given up or died.

    arrivals (Arrivals): Where replies go.
    gate (Gate): Where requests wait for their turn.
    answer (Callable): Answers one request: delivers one reply.
    claims (Optional[Claims]): None: there is nothing to claim.
    closed (Callable): Makes the error for a transport that was closed.
    elsewhere (int): How many stand aside. May be read in any thread.
    """

    def __init__(
        self,
        arrivals: Arrivals,
        gate: Gate,
        answer: Callable[[Request, Deliver], Coroutine[Any, Any, None]],
        claims: Claims | None,
        closed: Callable[[], Exception],
    ) -> None:
        self.elsewhere = 0
        self.closed = closed
        self._arrivals = arrivals
        self._gate = gate
        self._answer = answer
        self._claims = claims
        self._new: list[Request] = []
        self._aside: list[Request] = []
        self._tasks: set[asyncio.Task[Any]] = set()

    def add(self, request: Request) -> None:
        """A request has come."""
        if self._claims is None:
            self._start(request)
            return
        if not self._new:
            limits = self._gate.limits
            room = limits.in_flight < limits.window
            asyncio.get_running_loop().call_later(0.0 if room else _CLAIM_TOGETHER_S, self._claim_new)
        self._new.append(request)

    def _claim_new(self) -> None:
        new, self._new = self._new, []
        watching = bool(self._aside)
        try:
            self._aside += self._claim(new)
        except Exception as error:
            self._arrivals.fail(error)
        else:
            if self._aside and not watching:
                watch = asyncio.ensure_future(self._watch())
                self._tasks.add(watch)
                watch.add_done_callback(self._watched)
            self._count()

    async def _watch(self) -> None:
        """Look again until nobody stands aside."""
        looks = 0
        while self._aside:
            await asyncio.sleep(_LOOK_AGAIN_S)
            aside, self._aside = self._aside, []
            self._aside = self._claim(aside)
            self._count()
            looks += 1
            if self._aside and looks == round(_WORTH_SAYING_S / _LOOK_AGAIN_S):
                logger.info("Another process is asking %d of these prompts: waiting for it.", len(self._aside))

    def _count(self) -> None:
        more = len(self._aside) > self.elsewhere
        self.elsewhere = len(self._aside)
        if more:
            self._arrivals.wake()

    def _claim(self, requests: list[Request]) -> list[Request]:
        """RETURNS (List[Request]): Those that another one is asking."""
        assert self._claims is not None
        claimed = self._claims.claim(requests)
        for request in claimed.mine:
            self._start(request)
        for request, reply in claimed.known:
            self._arrivals.add(request, reply)
        for request in claimed.in_batch:
            error = "waiting in a batch: annotate with --batch to collect it"
            self._arrivals.add(request, Reply("", ReplyMeta(status="error", error=error)))
        return claimed.elsewhere

    def _start(self, request: Request) -> None:
        task = asyncio.ensure_future(self._answer(request, partial(self._arrivals.add, request)))
        self._tasks.add(task)
        task.add_done_callback(partial(self._answered, request))

    def _answered(self, request: Request, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if self._failed(task) and self._claims is not None:
            self._claims.release([request.key])

    def _watched(self, watch: asyncio.Task[None]) -> None:
        self._tasks.discard(watch)
        self._failed(watch)

    def _failed(self, task: asyncio.Task[Any]) -> bool:
        error = self.closed() if task.cancelled() else task.exception()
        if error is not None:
            self._arrivals.fail(error)
        return error is not None

    async def cancel(self) -> None:
        """Ask no more. What had arrived before is committed first."""
        self._new.clear()
        self._aside.clear()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0)


class Arrivals:
    """Replies on their way from the transport's thread to the caller's.

    Those that arrive in one turn of the event loop are committed together, at its end: not one waits for a commit that
    is not its own. Only then are others sent in their place: whenever the process is killed, no more replies are lost
    than may be in flight. They are handed over in handfuls, because to wake a thread costs as much as to send a
    request.

    transport (Transport): In whose thread replies are added.
    keep (Callable): Commits replies to the ledger.
    handful (int): So many are handed over at once; fewer if no more come soon.
    """

    def __init__(self, transport: Transport, keep: Callable[[Answers], Answers], handful: int) -> None:
        self._transport = transport
        self._keep = keep
        self._handful = handful
        self._new: Answers = []
        self._permits: list[Permit] = []
        self._kept: Answers = []
        self._timer: asyncio.TimerHandle | None = None
        self._queue: SimpleQueue[Answers | BaseException] = SimpleQueue()

    def get(self) -> Answers:
        """In the caller's thread: wait for replies. RAISES (Exception): What stopped the run."""
        arrival = self._queue.get()
        if isinstance(arrival, BaseException):
            raise arrival
        return arrival

    def add(self, request: Request, reply: Reply, permit: Permit | None = None) -> None:
        """In the transport's thread: a reply has arrived. Its permit is given back when it is committed."""
        if not self._new:
            asyncio.get_running_loop().call_soon(self._commit)
        self._new.append((request, reply))
        if permit is not None:
            self._permits.append(permit)

    def wake(self) -> None:
        """In the transport's thread: have the caller look whether there is room for more."""
        self._queue.put([])

    def fail(self, error: BaseException) -> None:
        """In the transport's thread: no further reply can be had."""
        self._queue.put(error)

    def _commit(self) -> None:
        new, self._new = self._new, []
        permits, self._permits = self._permits, []
        try:
            self._kept += self._keep(new)
        except Exception as error:
            self.fail(error)
            self._give_back(permits)
        else:
            self._give_back(permits)
            if len(self._kept) >= self._handful or not self._transport.gate.limits.in_flight:
                self._hand_over()
            elif self._timer is None:
                self._timer = asyncio.get_running_loop().call_later(_HAND_OVER_S, self._hand_over)

    def _give_back(self, permits: list[Permit]) -> None:
        for permit in permits:
            self._transport.gate.leave(permit)

    def _hand_over(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        kept, self._kept = self._kept, []
        self._queue.put(kept)
