"""A language model behind any OpenAI-compatible endpoint: hosted APIs, vLLM, Ollama, llama.cpp, LM Studio."""

import logging
import os
import re
import weakref
from collections.abc import Iterator
from contextlib import nullcontext
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple
from urllib.parse import urlsplit

from ..errors import ConfigError, TeacherError
from .asking import Asker
from .base import Request, TeacherModel
from .batch import Batches
from .batch_files import BatchFiles
from .claims import Claims
from .completions import Structured
from .handover import Arrivals, Departures
from .limits import Limits
from .prices import Price, find_price
from .submissions import Submissions
from .transport import Transport, is_loopback
from .types import Reply

logger = logging.getLogger("spacy_distill")

_STOPPING_S = 10.0


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
    logprobs (bool): Ask for the tokens' log-probabilities, from which a reply gets its confidence; where the prompt has
        choices, for the likeliest alternatives too, from which each choice gets a probability. A server that refuses is
        asked for less.
    extra (Optional[Dict[str, Any]]): Further fields of the request, as the endpoint documents them.
    max_in_flight (int): Requests at a time, at most. There are fewer while the server is overloaded.
    http2 (bool): All of them on one connection, where the server speaks HTTP/2 (over TLS). Otherwise each has its own.
    requests_per_minute (Optional[float]): How many the endpoint allows. None: what it says itself in its responses.
    tokens_per_minute (Optional[float]): The same for tokens, of prompts and replies together.
    timeout_s (float): For one try, from the first byte sent to the last received.
    max_tries (int): Tries for one prompt.
    usd_per_million (Optional[List[float]]): What a million tokens read and a million tokens written cost, in USD. None:
        as listed for this model at this endpoint; on this machine nothing.
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
        http2: bool = False,
        requests_per_minute: Optional[float] = None,
        tokens_per_minute: Optional[float] = None,
        timeout_s: float = 120.0,
        max_tries: int = 6,
        usd_per_million: Optional[List[float]] = None,
        context_length: Optional[int] = None,
        ledger: Optional[Path] = None,
    ) -> None:
        super().__init__(ledger)
        check_endpoint(endpoint)
        check_key_env(key_env)
        more_than_nothing = {
            "max_in_flight": max_in_flight,
            "requests_per_minute": requests_per_minute,
            "tokens_per_minute": tokens_per_minute,
            "timeout_s": timeout_s,
            "max_tries": max_tries,
        }
        for setting, value in more_than_nothing.items():
            if value is not None and value <= 0:
                raise ConfigError(f"Chat: {setting} is {value}; expected more than 0.")
        if usd_per_million is not None and (len(usd_per_million) != 2 or min(usd_per_million) < 0):
            raise ConfigError(
                f"Chat: usd_per_million is {usd_per_million}; expected two prices of 0 or more: for tokens read and for"
                " tokens written."
            )
        self._name = name
        self._endpoint = endpoint.rstrip("/").removesuffix("/chat/completions")
        self._extra = extra or {}
        self._params = {
            "system": system,
            "temperature": temperature,
            "max_tokens": max_tokens,
            "structured": structured,
            "logprobs": logprobs,
            "extra": self._extra,
        }
        self.context_length = context_length
        self._key_env = key_env
        self._usd_per_million = usd_per_million
        self._max_in_flight = max_in_flight
        self._http2 = http2
        self._requests_per_minute = requests_per_minute
        self._tokens_per_minute = tokens_per_minute
        self._timeout_s = timeout_s
        self._asker = Asker(self._name, self._endpoint, self._params, key_env=key_env, max_tries=max_tries)
        self._transport: Optional[Transport] = None
        self._claims: Optional[Claims] = None
        self._wait: Optional[bool] = None

    @property
    def name(self) -> str:
        return self._name

    @property
    def endpoint(self) -> str:
        return self._endpoint

    @property
    def params(self) -> Dict[str, Any]:
        return self._params

    def use_batches(self, *, wait: bool = True) -> None:
        """From now on have prompts answered by way of OpenAI's batch files: half the price, within a day.

        Replies have the same keys, so that either way finds what the other one left in the ledger.

        wait (bool): Until every batch is done. Otherwise what is not done raises PendingError.
        RAISES (ConfigError): There is no ledger to keep what was submitted.
        """
        if self.ledger is None:
            raise ConfigError("Chat: batches need a `ledger`, which knows what was submitted.")
        self._wait = wait
        self.all_at_once = True

    @property
    def max_in_flight(self) -> int:
        return self._max_in_flight

    @cached_property
    def price(self) -> Optional[Price]:
        return find_price(self._name, self._endpoint, self._usd_per_million)

    @property
    def always_the_same(self) -> Optional[str]:
        if self._extra.get("temperature", self._params["temperature"]) == 0:
            return "With temperature = 0 every answer is the same: set the model's `temperature` to about 0.7."
        return None

    def close(self) -> None:
        """Close the connections and the ledger. The next prompt opens them again."""
        if self._transport is not None:
            self._transport.close()
            self._transport = None
        if self._claims is not None:
            self._claims.close()
        if self.ledger is not None:
            self.ledger.close()

    def _open(self) -> Transport:
        if self._transport is None or self._transport.pid != os.getpid():
            url = f"{self._endpoint}/chat/completions"
            limits = Limits(
                self._max_in_flight,
                requests_per_minute=self._requests_per_minute,
                tokens_per_minute=self._tokens_per_minute,
            )
            headers = self._authorization()
            transport = Transport(url, headers, limits=limits, timeout_s=self._timeout_s, http2=self._http2)
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
        if self._endpoint.startswith("http://") and not is_loopback(self._endpoint):
            logger.warning("%s is not encrypted: the key can be read on its way. Use https.", self._endpoint)
        return {"Authorization": f"Bearer {key}"}

    def _ask(self, requests: Iterator[Request]) -> Iterator[tuple[Request, Reply]]:
        if self.ledger is None:
            return self._ask_directly(requests, None)
        if self._claims is None or self._claims.ledger is not self.ledger:
            self._claims = Claims(self.ledger)
        submissions = Submissions(self._claims, self._endpoint, self._name, self._params)
        if self._wait is None:
            if submissions.open():
                logger.warning(
                    "%s: batches are under way. The prompts in them are not asked again; --batch collects them.",
                    self._endpoint,
                )
            return self._ask_directly(requests, self._claims)
        batches = Batches(
            self._name,
            BatchFiles(self._open(), self._endpoint),
            self._claims,
            submissions,
            body=self._asker.body,
            ask=partial(self._ask_directly, claims=None),
            keep=self._keep,
        )
        return batches.answer(requests, wait=self._wait)

    def _ask_directly(self, requests: Iterator[Request], claims: Optional[Claims]) -> Iterator[tuple[Request, Reply]]:
        """claims (Optional[Claims]): None: there is no ledger, or all is claimed."""
        transport = self._open()
        arrivals = Arrivals(transport, self._keep_all, max(1, self._max_in_flight // 4))
        departures = Departures(
            arrivals,
            transport.gate,
            lambda request, deliver: self._asker.answer(transport, request, self.ledger, deliver),
            claims,
            lambda: TeacherError(f"{self._endpoint}: closed before every prompt was answered."),
        )
        # As many again as are in flight stand by, so that a free connection never waits for this thread; and if nobody
        # takes the replies, that is how many there will be.
        most = 2 * self._max_in_flight
        asked = taken = 0
        more = True
        try:
            while True:
                while more and asked - taken - departures.elsewhere < most:
                    request = next(requests, None)
                    if request is None:
                        more = False
                    elif transport.closed:
                        raise departures.closed()
                    else:
                        asked += 1
                        transport.call(partial(departures.add, request))
                if taken == asked:
                    return
                for answer in arrivals.get():
                    taken += 1
                    yield answer
        finally:
            if taken < asked:
                transport.run(departures.cancel(), _STOPPING_S)

    def _keep_all(self, answers: List[Tuple[Request, Reply]]) -> List[Tuple[Request, Reply]]:
        with self.ledger.transaction() if self.ledger is not None else nullcontext():
            if self._claims is not None:
                self._claims.release(request.key for request, _ in answers)
            return [(request, self._keep(request, reply)) for request, reply in answers]


def check_endpoint(endpoint: str) -> None:
    """RAISES (ConfigError): This is no base URL, or it holds a key."""
    parts = urlsplit(endpoint)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigError('Chat: `endpoint` is no URL; expected one such as "http://127.0.0.1:11434/v1".')
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ConfigError(
            "Chat: `endpoint` holds more than a base URL. A key belongs in the environment: name its variable in"
            " `key_env`."
        )


def check_key_env(name: Optional[str]) -> None:
    """RAISES (ConfigError): This is no variable's name, but perhaps a key. It is not repeated."""
    if name is not None and not re.fullmatch(r"[A-Z_][A-Z0-9_]*", name):
        raise ConfigError(
            "Chat: `key_env` is the name of an environment variable, in capitals, such as OPENAI_API_KEY. The key"
            " itself belongs in that variable, and in no config: take it out if it is there."
        )


make_chat = Chat
"""`spacy_distill.Chat.v1`: spaCy-llm reads the settings off the constructor."""
