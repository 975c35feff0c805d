"""What every teacher model of this package shares: the ledger, and spaCy-llm's calling convention."""

import typing
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, ClassVar, Optional

from ..errors import ConfigError
from .ledger import Ledger
from .types import Prompt, Reply, ReplyMeta, sha256

_MANY_HITS = 256

# spaCy-llm compares the hints of `__call__` literally: they must be typing.Iterable, not collections.abc's.


@dataclass(frozen=True)
class Request:
    """A prompt that has to be asked, and its key in the ledger."""

    key: str
    prompt: Prompt


class TeacherModel(ABC):
    """A language model that answers prompts, one reply each, with a ledger in front.

    A subclass says who it is (`name`, `endpoint`, `params`: everything that could change an answer, and no secret)
    and answers requests (`_ask`). Constructors do no I/O: weights, files and sockets are opened by the first prompt.

    ledger (Optional[Path]): Where replies are kept and looked up. None: nothing is kept.
    costs (ClassVar[bool]): A reply costs money or time. One that does not is never kept, and so never out of date.
    """

    costs: ClassVar[bool] = True

    def __init__(self, ledger: Optional[Path] = None) -> None:
        self.ledger: Optional[Ledger] = Ledger(ledger) if ledger else None

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

        Pull `requests` lazily and from the calling thread, no further ahead than can be kept in flight. One request's
        failure is that request's reply, with status "error": raise TeacherError only when no request can succeed.
        """

    def _finish(self, prompt: Prompt, reply: Reply) -> Reply:
        """Work out what need not be paid for, such as a calibration, from a raw reply: fresh or from the ledger."""
        return reply

    def key(self, prompt: Prompt) -> str:
        """RETURNS (str): The ledger's key: sha256 of endpoint, model, parameters, rendered prompt, sample index."""
        asked = [str(prompt), prompt.choices, prompt.schema]
        return sha256(self.endpoint, self.name, self.params, asked, prompt.sample)

    def _keep(self, request: Request, reply: Reply) -> Reply:
        """Commit a reply to the ledger, once.

        `stream` does it for every reply. A model whose replies arrive in another thread does it there, so that they
        are safe even while nobody takes them.

        RETURNS (Reply): The same reply, knowing its key.
        """
        if self.ledger is None or reply.meta.key is not None:
            return reply
        return self.ledger.put(request.key, request.prompt, reply, model=self.name, params=self.params)

    def stream(self, prompts: Iterable[str]) -> Iterator[tuple[int, Reply]]:
        """Answer a stream of prompts. Each reply is in the ledger before it is handed on.

        With a ledger, the same prompt is asked once, however often it comes; without one, once at a time. Prompts are
        pulled as the model can take them, so the stream may be endless.

        prompts (Iterable[str]): Prompts; `Prompt` objects give a model more to work with.
        YIELDS (Tuple[int, Reply]): The prompt's index and its reply, as they arrive, not in order.
        """
        for index, prompt, reply in self._stream_raw(prompts):
            yield index, self._finish(prompt, reply)

    def _stream_raw(self, prompts: Iterable[str]) -> Iterator[tuple[int, Prompt, Reply]]:
        """The same stream before `_finish`, for a model that needs raw replies of its own to finish others with."""
        waiting: dict[str, list[tuple[int, Prompt]]] = {}
        ready: deque[tuple[int, Prompt, Reply]] = deque()
        numbered = enumerate(prompts)
        exhausted = False

        def misses() -> Iterator[Request]:
            """Ends early when many hits have piled up, so that they are handed on and not gathered."""
            nonlocal exhausted
            for index, item in numbered:
                prompt = Prompt.of(item)
                if prompt.sample and (reason := self.always_the_same):
                    raise ConfigError(f'confidence = "votes" asks the same prompt several times. {reason}')
                key = self.key(prompt)
                if key in waiting:
                    waiting[key].append((index, prompt))
                    continue
                known = self.ledger.get(key) if self.ledger else None
                if known is not None:
                    ready.append((index, prompt, known))
                    if len(ready) >= _MANY_HITS:
                        return
                    continue
                waiting[key] = [(index, prompt)]
                yield Request(key, prompt)
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
            while ready:
                yield ready.popleft()

    def __call__(self, prompts: typing.Iterable[typing.Iterable[str]]) -> typing.Iterable[typing.Iterable[str]]:
        """spaCy-llm's interface: for each doc its prompts, in order; for each doc its replies, in order."""
        per_doc = [list(doc_prompts) for doc_prompts in prompts]
        flat = [prompt for doc_prompts in per_doc for prompt in doc_prompts]
        replies: list[Reply] = [Reply("", ReplyMeta(status="error", error="no reply"))] * len(flat)
        for index, reply in self.stream(flat):
            replies[index] = reply
        in_order = iter(replies)
        return [[next(in_order) for _ in doc_prompts] for doc_prompts in per_doc]
