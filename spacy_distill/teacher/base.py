"""What every teacher model of this package shares: the ledger, and spaCy-llm's calling convention."""

import typing
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain, islice
from pathlib import Path
from typing import Any, ClassVar, Optional

from ..errors import ConfigError
from .budget import NOTHING, Bounds, Budget, Spend
from .ledger import Ledger
from .prices import BATCH_SHARE, FREE, Price
from .types import Prompt, Reply, ReplyMeta, sha256

_MANY_HITS = 256

# spaCy-llm compares the hints of `__call__` literally: they must be typing.Iterable, not collections.abc's.


@dataclass(frozen=True)
class Request:
    """A prompt that has to be asked, its key in the ledger, and what is set aside for it of the budget."""

    key: str
    prompt: Prompt
    reserved: Spend = NOTHING


class TeacherModel(ABC):
    """A language model that answers prompts, one reply each, with a ledger in front.

    A subclass says who it is (`name`, `endpoint`, `params`: everything that could change an answer, and no secret)
    and answers requests (`_ask`). Constructors do no I/O: weights, files and sockets are opened by the first prompt.

    ledger (Optional[Path]): Where replies are kept and looked up. None: nothing is kept.
    budget (Optional[Budget]): What may be spent, shared with other models of the run. None: no limit.
    all_at_once (bool): Takes all prompts there are before it answers the first: they go in batches.
    costs (ClassVar[bool]): A reply costs money or time. One that does not is never kept, and so never out of date.
    """

    costs: ClassVar[bool] = True

    def __init__(self, ledger: Optional[Path] = None) -> None:
        self.all_at_once = False
        self.ledger: Optional[Ledger] = Ledger(ledger) if ledger else None
        self.budget: Optional[Budget] = None

    @property
    @abstractmethod
    def name(self) -> str:
        """The model's name."""

    @property
    @abstractmethod
    def endpoint(self) -> str:
        """Where it answers: a URL, a file's name, or what kind of thing it is. Part of the ledger's key."""

    @property
    @abstractmethod
    def params(self) -> dict[str, Any]:
        """Every parameter that could change a raw reply. Part of the ledger's key; plain types, no secrets."""

    @property
    def always_the_same(self) -> Optional[str]:
        """Why this model answers the same words in the same way each time, and what to do about it; None if it does
        not. Such a model is never asked for a second sample."""
        return None

    @abstractmethod
    def _ask(self, requests: Iterator[Request]) -> Iterator[tuple[Request, Reply]]:
        """Answer requests in any order, each exactly once.

        Pull `requests` lazily and from the calling thread, no further ahead than can be kept in flight. They may end
        before the stream does, as where the budget has no room for more in flight: answer those that were taken, and
        return; the rest comes in another call. One request's failure is that request's reply, with status "error":
        raise TeacherError only when no request can succeed.
        """

    def _finish(self, prompt: Prompt, reply: Reply) -> Reply:
        """Work out what need not be paid for, such as a calibration, from a raw reply: fresh or from the ledger."""
        return reply

    @property
    def price(self) -> Optional[Price]:
        """What its tokens cost. None: not known."""
        return FREE

    @property
    def max_in_flight(self) -> int:
        """Requests at a time."""
        return 1

    @property
    def longest_reply(self) -> Optional[int]:
        """Tokens at which a reply is cut off. None: not known."""
        params = {**self.params, **(self.params.get("extra") or {})}
        limit = params.get("max_completion_tokens") or params.get("max_tokens")
        return limit if isinstance(limit, int) else None

    @cached_property
    def _bounds(self) -> Bounds:
        return Bounds(self.longest_reply, self.params)

    def key(self, prompt: Prompt) -> str:
        """RETURNS (str): The ledger's key: sha256 of endpoint, model, parameters, rendered prompt, sample index."""
        asked = [str(prompt), prompt.choices, prompt.schema]
        return sha256(self.endpoint, self.name, self.params, asked, prompt.sample)

    def check(self, prompt: Prompt) -> None:
        """RAISES (ConfigError): The prompt asks for a second sample of what is always the same."""
        if prompt.sample and (reason := self.always_the_same):
            raise ConfigError(f'confidence = "votes" asks the same prompt several times. {reason}')

    def _admit(self, key: str, prompt: Prompt) -> Optional[Request]:
        """RETURNS (Optional[Request]): The prompt as a request, with room set aside for it. None: there is no room."""
        if self.budget is None:
            return Request(key, prompt)
        read, written = self._bounds.most(prompt)
        most = Spend(self.price.usd(read, written) if self.price else 0.0, read + written)
        return Request(key, prompt, most) if self.budget.reserve(most) else None

    def _keep(self, request: Request, reply: Reply) -> Reply:
        """Price a reply, commit it to the ledger and settle it with the budget, once.

        `stream` does it for every reply. A model whose replies arrive in another thread does it there, so that they
        are safe even while nobody takes them.

        RETURNS (Reply): The same reply, knowing its key and what it cost.
        """
        if reply.meta.key is not None:
            return reply
        meta = replace(reply.meta, key=request.key, prompt_hash=request.prompt.frame, cost_usd=self._cost(reply.meta))
        reply = Reply(str(reply), meta)
        if self.ledger is not None:
            self.ledger.put(request.key, request.prompt, reply, model=self.name, params=self.params)
        self._bounds.learn(request.prompt, meta)
        if self.budget is not None:
            self.budget.settle(request.reserved, self._spend(request, meta))
        return reply

    def _cost(self, meta: ReplyMeta) -> Optional[float]:
        """RETURNS (Optional[float]): A reply's price in USD. None: the price or the tokens are not known."""
        if meta.cost_usd is not None or self.price is None or meta.status == "error":
            return meta.cost_usd
        if self.price.free:
            return 0.0
        if meta.prompt_tokens is None or meta.reply_tokens is None:
            return None
        usd = self.price.usd(meta.prompt_tokens, meta.reply_tokens)
        return usd if meta.batch is None else usd * BATCH_SHARE

    def _spend(self, request: Request, meta: ReplyMeta) -> Spend:
        if meta.status == "error" or meta.from_ledger:
            return NOTHING
        known = meta.prompt_tokens is not None
        return Spend(
            request.reserved.usd if meta.cost_usd is None else meta.cost_usd,
            (meta.prompt_tokens or 0) + (meta.reply_tokens or 0) if known else request.reserved.tokens,
        )

    def stream(self, prompts: Iterable[str]) -> Iterator[tuple[int, Reply]]:
        """Answer a stream of prompts. Each reply is in the ledger before it is handed on.

        With a ledger, the same prompt is asked once, however often it comes; without one, once at a time. Prompts are
        pulled as the model can take them and looked up by the handful, up to a quarter of `max_in_flight` ahead, so the
        stream may be endless.

        prompts (Iterable[str]): Prompts; `Prompt` objects give a model more to work with.
        YIELDS (Tuple[int, Reply]): The prompt's index and its reply, as they arrive, not in order.
        """
        for index, prompt, reply in self._stream_raw(prompts):
            yield index, self._finish(prompt, reply)

    def _stream_raw(self, prompts: Iterable[str]) -> Iterator[tuple[int, Prompt, Reply]]:
        """The same stream before `_finish`, for a model that needs raw replies of its own to finish others with."""
        waiting: dict[str, list[tuple[int, Prompt]]] = {}
        ready: deque[tuple[int, Prompt, Reply]] = deque()
        coming = self._looked_up(prompts, waiting)
        held: list[tuple[int, Prompt, str, bool]] = []
        exhausted = False

        def misses() -> Iterator[Request]:
            """Ends early when many hits have piled up, so that they are handed on and not gathered; and when the
            budget has no room, until what is in flight is settled."""
            nonlocal exhausted
            while (item := held.pop() if held else next(coming, None)) is not None:
                index, prompt, key, new = item
                self.check(prompt)
                if key in waiting:
                    waiting[key].append((index, prompt))
                    continue
                known = self.ledger.get(key) if self.ledger and not new else None
                if known is not None:
                    known = Reply(known, replace(known.meta, cost_usd=self._cost(known.meta)))
                else:
                    request = self._admit(key, prompt)
                    if request is not None:
                        waiting[key] = [(index, prompt)]
                        yield request
                        continue
                    if waiting:
                        held.append(item)
                        return
                    known = self._turned_away()
                ready.append((index, prompt, known))
                if len(ready) >= _MANY_HITS and not self.all_at_once:
                    return
            exhausted = True

        while not exhausted:
            pending = misses()
            first = next(pending, None)
            if first is not None:
                for request, answer in self._ask(chain([first], pending)):
                    reply = self._keep(request, answer)
                    while ready:
                        yield ready.popleft()
                    for index, prompt in waiting.pop(request.key):
                        yield index, prompt, reply
                        if not reply.meta.from_ledger:
                            reply = Reply(reply, replace(reply.meta, from_ledger=True))
            while ready:
                yield ready.popleft()

    def _looked_up(self, prompts: Iterable[str], waiting: Container[str]) -> Iterator[tuple[int, Prompt, str, bool]]:
        """Look a handful of prompts up together, as many as come back together.

        waiting (Container[str]): Keys that are being asked for.
        YIELDS (Tuple[int, Prompt, str, bool]): Index, prompt, key, and whether it is new: not in the ledger and not
            asked for when it was looked up, nor there earlier in the same handful. Only what is not new can have been
            answered meanwhile.
        """
        numbered = enumerate(prompts)
        while some := list(islice(numbered, max(1, self.max_in_flight // 4))):
            keyed = [(index, prompt := Prompt.of(text), self.key(prompt)) for index, text in some]
            seen = self.ledger.answered([key for _, _, key in keyed]) if self.ledger else set()
            seen.update(key for _, _, key in keyed if key in waiting)
            for index, prompt, key in keyed:
                yield index, prompt, key, key not in seen
                seen.add(key)

    def _turned_away(self) -> Reply:
        """RETURNS (Reply): What a text gets that is not asked for because the budget is spent. Nothing is kept."""
        assert self.budget is not None
        return Reply("", ReplyMeta(status="error", error=self.budget.close(), model=self.name))

    def __call__(self, prompts: typing.Iterable[typing.Iterable[str]]) -> typing.Iterable[typing.Iterable[str]]:
        """spaCy-llm's interface: for each doc its prompts, in order; for each doc its replies, in order."""
        per_doc = [list(doc_prompts) for doc_prompts in prompts]
        flat = [prompt for doc_prompts in per_doc for prompt in doc_prompts]
        replies: list[Reply] = [Reply("", ReplyMeta(status="error", error="no reply"))] * len(flat)
        for index, reply in self.stream(flat):
            replies[index] = reply
        in_order = iter(replies)
        return [[next(in_order) for _ in doc_prompts] for doc_prompts in per_doc]
