"""A language model behind any OpenAI-compatible endpoint: hosted APIs, vLLM, Ollama, llama.cpp, LM Studio."""

import asyncio
import logging
import os
import weakref
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Dict, Optional, Set, Tuple, Union
from urllib.parse import urlsplit

from ..errors import ConfigError, TeacherError
from .asking import Asker
from .base import Request, TeacherModel
from .completions import Structured
from .transport import Transport, is_loopback
from .types import Reply

logger = logging.getLogger("spacy_distill")

_STOPPING_S = 10.0

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
        self._max_in_flight = max_in_flight
        self._timeout_s = timeout_s
        self._asker = Asker(self._name, self._endpoint, self._params, key_env=key_env, max_tries=max_tries)
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
        if self._endpoint.startswith("http://") and not is_loopback(self._endpoint):
            logger.warning("%s is not encrypted: the key can be read on its way. Use https.", self._endpoint)
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
            reply = await self._asker.answer(transport, request.prompt, self.ledger)
            arrived.put((request, self._keep(request, reply)))
        except asyncio.CancelledError:
            arrived.put(self._closed())
            raise
        except Exception as error:
            arrived.put(error)

    def _closed(self) -> TeacherError:
        return TeacherError(f"{self._endpoint}: closed before every prompt was answered.")


def _check_endpoint(endpoint: str) -> None:
    parts = urlsplit(endpoint)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigError('Chat: `endpoint` is no URL; expected one such as "http://127.0.0.1:11434/v1".')
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ConfigError(
            "Chat: `endpoint` holds more than a base URL. A key belongs in the environment: name its variable in"
            " `key_env`."
        )


async def _cancel(tasks: Set["asyncio.Task[None]"]) -> None:
    pending = list(tasks)
    for task in pending:
        task.cancel()
    await asyncio.gather(*pending, return_exceptions=True)


make_chat = Chat
"""`spacy_distill.Chat.v1`: spaCy-llm reads the settings off the constructor."""
