"""A language model behind any OpenAI-compatible endpoint: hosted APIs, vLLM, Ollama, llama.cpp, LM Studio."""

import asyncio
import logging
import os
import random
import time
import weakref
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Dict, Optional, Set, Tuple, Union
from urllib.parse import urlsplit

from ..errors import ConfigError, TeacherError
from .base import Request, TeacherModel
from .completions import Failure, Features, Structured, ladder, read_response, request_body
from .transport import Broken, Transport, Unreachable
from .types import Prompt, Reply, ReplyMeta

logger = logging.getLogger("spacy_distill")

_FIRST_PAUSE_S = 0.5
_LONGEST_PAUSE_S = 30.0
_LONGEST_WAIT_S = 180.0
"""A server that asks for a longer pause than this will not answer within this run."""
_STOPPING_S = 10.0

_TRIES_AT_FIRST = 3
"""A server that was never reached is given up sooner than one that has gone away."""

_Arrival = Union[Tuple[Request, Reply], BaseException]


class Chat(TeacherModel):
    """A model that answers `/chat/completions`, many prompts at a time.

    Nothing is opened before the first prompt. Requests are sent from a thread of its own, so it works within a
    running event loop too, and a reply is in the ledger as soon as it is there, whether or not somebody takes it.
    A failure is one prompt's failure: tried again where that may help, else a reply with the status "error".

    name (str): The model's name, as the endpoint knows it.
    endpoint (str): Base URL, such as "http://127.0.0.1:11434/v1". There is no default: texts go where this says.
    key_env (Optional[str]): Name of the environment variable that holds the API key. None: no key is sent.
    system (Optional[str]): A system message before every prompt.
    temperature (Optional[float]): None leaves it to the server (some models refuse it).
    max_tokens (Optional[int]): Longest reply. None leaves it to the server, for models that want
        `extra = {"max_completion_tokens": …}` instead.
    structured (Structured): How replies are held to a prompt's JSON schema, if it has one: "json_schema",
        "json_object" or "none". A server that refuses is asked for less.
    logprobs (bool): Ask for the tokens' log-probabilities, from which a reply gets its confidence. A server that
        refuses is not asked again.
    extra (Optional[Dict[str, Any]]): Further fields of the request, as the endpoint documents them.
    max_in_flight (int): Requests at a time.
    timeout_s (float): For one try, from the first byte sent to the last received.
    max_tries (int): Tries for one prompt.
    context_length (Optional[int]): The model's window in tokens. With it spaCy-llm's own tasks cut long docs up.
    ledger (Optional[Path]): Where replies are kept and looked up. None: nothing is kept.
    RAISES (ConfigError): A setting that cannot work.
    """

    def __init__(
        self,
        name: str,
        endpoint: str,
        *,
        key_env: Optional[str] = None,
        system: Optional[str] = None,
        temperature: Optional[float] = 0.0,
        max_tokens: Optional[int] = 1024,
        structured: Structured = "json_schema",
        logprobs: bool = True,
        extra: Optional[Dict[str, Any]] = None,
        max_in_flight: int = 32,
        timeout_s: float = 120.0,
        max_tries: int = 6,
        context_length: Optional[int] = None,
        ledger: Optional[Path] = None,
    ) -> None:
        super().__init__(ledger)
        _check_endpoint(endpoint)
        for setting, value in (("max_in_flight", max_in_flight), ("timeout_s", timeout_s), ("max_tries", max_tries)):
            if value <= 0:
                raise ConfigError(f"Chat: {setting} is {value}; expected more than 0.")
        self._name = name
        self._endpoint = endpoint.rstrip("/").removesuffix("/chat/completions")
        self._params = {
            "system": system,
            "temperature": temperature,
            "max_tokens": max_tokens,
            "structured": structured,
            "logprobs": logprobs,
            "extra": extra or {},
        }
        self.context_length = context_length
        self._key_env = key_env
        self._max_in_flight = max_in_flight
        self._timeout_s = timeout_s
        self._max_tries = max_tries
        self._ladder = ladder(structured, logprobs)
        self._rung = 0
        self._accepted: Set[Features] = set()
        self._last_success_s: Optional[float] = None
        self._transport: Optional[Transport] = None

    @property
    def name(self) -> str:
        return self._name

    @property
    def endpoint(self) -> str:
        return self._endpoint

    @property
    def params(self) -> Dict[str, Any]:
        return self._params

    def close(self) -> None:
        """Close the connections and the ledger. The next prompt opens them again."""
        if self._transport is not None:
            self._transport.close()
            self._transport = None
        if self.ledger is not None:
            self.ledger.close()

    def _open(self) -> Transport:
        if self._transport is None or self._transport.pid != os.getpid():
            headers = {"Content-Type": "application/json", **self._authorization()}
            url = f"{self._endpoint}/chat/completions"
            transport = Transport(url, headers, connections=self._max_in_flight, timeout_s=self._timeout_s)
            weakref.finalize(self, transport.close)
            self._transport = transport
        return self._transport

    def _authorization(self) -> Dict[str, str]:
        if self._key_env is None:
            return {}
        key = os.environ.get(self._key_env, "").strip()
        if not key:
            raise TeacherError(
                f"{self._endpoint} wants a key from the environment variable {self._key_env} (`key_env`), which is not"
                " set. Set it, or take `key_env` out of the config if the endpoint needs none."
            )
        if not (key.isascii() and key.isprintable()) or " " in key:
            raise TeacherError(f"The environment variable {self._key_env} (`key_env`) does not hold a usable key.")
        return {"Authorization": f"Bearer {key}"}

    def _ask(self, requests: Iterator[Request]) -> Iterator[tuple[Request, Reply]]:
        transport = self._open()
        arrived: SimpleQueue[_Arrival] = SimpleQueue()
        tasks: Set[asyncio.Task[None]] = set()

        def start(request: Request) -> None:
            task = asyncio.ensure_future(self._deliver(transport, request, arrived))
            tasks.add(task)
            task.add_done_callback(tasks.discard)

        # As many again as are in flight stand by, so that a free connection never waits for this thread; and if nobody
        # takes the replies, that is how many there will be.
        most = 2 * self._max_in_flight
        asked = taken = 0
        more = True
        try:
            while True:
                while more and asked - taken < most:
                    request = next(requests, None)
                    if request is None:
                        more = False
                    elif transport.closed:
                        raise self._closed()
                    else:
                        asked += 1
                        transport.call(partial(start, request))
                if taken == asked:
                    return
                arrival = arrived.get()
                taken += 1
                if isinstance(arrival, BaseException):
                    raise arrival
                yield arrival
        finally:
            if taken < asked:
                transport.run(_cancel(tasks), _STOPPING_S)

    async def _deliver(self, transport: Transport, request: Request, arrived: "SimpleQueue[_Arrival]") -> None:
        """Answer one request, commit the reply, and hand it over. Runs in the transport's thread."""
        try:
            reply = await self._answer(transport, request.prompt)
            arrived.put((request, self._keep(request, reply)))
        except asyncio.CancelledError:
            arrived.put(self._closed())
            raise
        except Exception as error:
            arrived.put(error)

    def _closed(self) -> TeacherError:
        return TeacherError(f"{self._endpoint}: closed before every prompt was answered.")

    async def _answer(self, transport: Transport, prompt: Prompt) -> Reply:
        """Try until there is a reply, or no hope for one."""
        first_s = time.monotonic()
        tries, rung, refusal = 0, self._rung, None
        while True:
            rung, outcome = await self._try(transport, prompt, rung)
            features = self._features(prompt, rung)
            if isinstance(outcome, Reply):
                self._succeeded(prompt, features, rung)
                return outcome
            if outcome.status in (400, 422) and features not in self._accepted:
                refusal = refusal or outcome
                lower = self._lower(prompt, rung)
                if lower is not None:
                    rung = lower
                    continue
                outcome = refusal
            tries += 1
            self._stop_if_hopeless(outcome, tries, first_s)
            pause_s = _pause_s(tries, outcome.wait_s)
            if not outcome.retry or tries >= self._max_tries or pause_s > _LONGEST_WAIT_S:
                asks = f", asks to wait {outcome.wait_s:.0f} s" if pause_s > _LONGEST_WAIT_S else ""
                times = f" (tried {tries} times)" if tries > 1 else ""
                return Reply("", ReplyMeta(status="error", error=f"{outcome.reason}{asks}{times}", model=self._name))
            await asyncio.sleep(pause_s)

    async def _try(self, transport: Transport, prompt: Prompt, rung: int) -> Tuple[int, Union[Reply, Failure]]:
        """RETURNS (Tuple[int, Union[Reply, Failure]]): The rung at which it was asked in the end, and what came."""

        def body() -> bytes:
            nonlocal rung
            rung = max(rung, self._rung)  # Others may have found out meanwhile what the server takes.
            return request_body(prompt, self._name, self._features(prompt, rung), self._params)

        try:
            response = await transport.post(body)
        except (Unreachable, Broken) as error:
            return rung, Failure(str(error), status=-1 if isinstance(error, Unreachable) else 0)
        outcome = read_response(response.status, response.headers, response.body)
        if isinstance(outcome, Reply):
            outcome = Reply(outcome, replace(outcome.meta, latency_s=response.latency_s))
        return rung, outcome

    def _features(self, prompt: Prompt, rung: int) -> Features:
        features = self._ladder[rung]
        return features if prompt.schema is not None else features._replace(structured="none")

    def _lower(self, prompt: Prompt, rung: int) -> Optional[int]:
        """RETURNS (Optional[int]): The next rung down on which something else is asked for."""
        sent = self._features(prompt, rung)
        below = range(rung + 1, len(self._ladder))
        return next((lower for lower in below if self._features(prompt, lower) != sent), None)

    def _succeeded(self, prompt: Prompt, features: Features, rung: int) -> None:
        self._last_success_s = time.monotonic()
        self._accepted.add(features)
        if rung > self._rung and self._features(prompt, self._rung) not in self._accepted:
            self._rung = rung
            logger.warning(
                "%s does not take structured = %r with logprobs = %s; going on with %r and %s.",
                self._endpoint,
                *self._ladder[0],
                *self._ladder[rung],
            )

    def _stop_if_hopeless(self, failure: Failure, tries: int, first_s: float) -> None:
        """RAISES (TeacherError): What failed is not this prompt but the teacher."""
        where = f"{self._endpoint}/chat/completions: {failure.reason}."
        safe = " Every reply so far is kept." if self.ledger else ""
        if failure.no_credit:
            raise TeacherError(f"{where} The account has no credit left.{safe}")
        if failure.status == -1:
            never = self._last_success_s is None
            enough = min(_TRIES_AT_FIRST, self._max_tries) if never else self._max_tries
            if tries >= enough and (self._last_success_s or 0.0) < first_s:
                raise TeacherError(f"{where} Is the server running, and `endpoint` its base URL?{safe}")
        elif self._last_success_s is None and failure.status in (401, 403):
            remedy = (
                "Name the environment variable that holds its key in `key_env`."
                if self._key_env is None
                else f"The key in the environment variable {self._key_env} (`key_env`) was not accepted for this model."
            )
            raise TeacherError(f"{where} {remedy}")
        elif self._last_success_s is None and failure.status == 404:
            raise TeacherError(
                f"{where} Either `endpoint` is not the base URL (it usually ends in /v1), or there is no model"
                f" {self._name!r} there."
            )


def _check_endpoint(endpoint: str) -> None:
    parts = urlsplit(endpoint)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigError('Chat: `endpoint` is no URL; expected one such as "http://127.0.0.1:11434/v1".')
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ConfigError(
            "Chat: `endpoint` holds more than a base URL. A key belongs in the environment: name its variable in"
            " `key_env`."
        )


def _pause_s(tries: int, wait_s: Optional[float]) -> float:
    """Exponential backoff with jitter, so that those who failed together do not come back together; or what the server
    asked for, and a little more."""
    backoff_s = min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2.0 ** (tries - 1)) * random.uniform(0.5, 1.0)
    return backoff_s if wait_s is None else wait_s + random.uniform(0.0, min(wait_s, _FIRST_PAUSE_S))


async def _cancel(tasks: Set["asyncio.Task[None]"]) -> None:
    pending = list(tasks)
    for task in pending:
        task.cancel()
    await asyncio.gather(*pending, return_exceptions=True)


def make_chat(
    name: str,
    endpoint: str,
    key_env: Optional[str] = None,
    system: Optional[str] = None,
    temperature: Optional[float] = 0.0,
    max_tokens: Optional[int] = 1024,
    structured: Structured = "json_schema",
    logprobs: bool = True,
    extra: Optional[Dict[str, Any]] = None,
    max_in_flight: int = 32,
    timeout_s: float = 120.0,
    max_tries: int = 6,
    context_length: Optional[int] = None,
    ledger: Optional[Path] = None,
) -> Chat:
    """Make `spacy_distill.Chat.v1`. See `Chat` for the settings.

    RETURNS (Chat): The model. Nothing is opened yet.
    """
    return Chat(
        name,
        endpoint,
        key_env=key_env,
        system=system,
        temperature=temperature,
        max_tokens=max_tokens,
        structured=structured,
        logprobs=logprobs,
        extra=extra,
        max_in_flight=max_in_flight,
        timeout_s=timeout_s,
        max_tries=max_tries,
        context_length=context_length,
        ledger=ledger,
    )
