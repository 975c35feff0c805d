"""HTTP from a thread of its own: an event loop and a session, for callers with or without a loop of their own.

HTTP/1.1 with kept-alive connections, one for each request in flight. aiohttp has no HTTP/2.
"""

from __future__ import annotations

import asyncio
import ipaddress
import os
import threading
import time
import urllib.request
from collections import deque
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import urlsplit

import aiohttp
from yarl import URL

from .limits import Gate, Limits

_Result = TypeVar("_Result")

_CLOSING_S = 5.0
_CONNECTING_S = 15.0


class Unreachable(Exception):
    """No connection: nobody listens there, the name is unknown, or its certificate is not valid."""


class Broken(Exception):
    """A connection that broke, or took too long, before the response was whole. The message says which."""


class TooSlow(Broken):
    """No whole response in time."""


@dataclass(frozen=True, slots=True)
class Response:
    """A whole response.

    status (int): HTTP status.
    headers (Mapping[str, str]): Names in any case.
    body (bytes): As it was sent, decompressed.
    latency_s (float): Seconds from the request to the last byte.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    latency_s: float


def is_loopback(url: str) -> bool:
    """RETURNS (bool): True if the URL names this machine."""
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def proxy_for(url: str) -> str | None:
    """RETURNS (Optional[str]): The proxy that the environment names for a URL; never one for this machine itself."""
    parts = urlsplit(url)
    if is_loopback(url) or urllib.request.proxy_bypass(parts.hostname or ""):
        return None
    return urllib.request.getproxies().get(parts.scheme)


class Transport:
    """One daemon thread with an event loop and one HTTP session with kept-alive connections.

    url (str): Where every request goes.
    headers (Mapping[str, str]): Sent with every request.
    limits (Limits): How many at a time, and when.
    timeout_s (float): For one request, from the first byte sent to the last received.
    """

    def __init__(self, url: str, headers: Mapping[str, str], *, limits: Limits, timeout_s: float) -> None:
        self.gate = Gate(limits)
        self.pid = os.getpid()
        self._url = URL(url)
        self._headers = dict(headers)
        self._timeout = _timeout(timeout_s)
        self._session: aiohttp.ClientSession | None = None
        self._inbox: deque[Callable[[], object]] = deque()
        self._awake = False
        self._loop = _new_event_loop()
        self._thread = threading.Thread(target=self._run, name="spacy-distill-http", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
        finally:
            self._loop.close()

    @property
    def closed(self) -> bool:
        """RETURNS (bool): True once the thread has ended."""
        return self._loop.is_closed() or not self._thread.is_alive()

    def call(self, function: Callable[[], object]) -> None:
        """Have a function called in the loop's thread, soon. Calls that come close together wake the loop once."""
        self._inbox.append(function)
        if not self._awake:
            self._awake = True
            self._loop.call_soon_threadsafe(self._read_inbox)

    def _read_inbox(self) -> None:
        self._awake = False
        while self._inbox:
            self._inbox.popleft()()

    def run(self, coroutine: Coroutine[Any, Any, _Result], timeout_s: float | None = None) -> _Result | None:
        """Run a coroutine in the loop's thread, and wait for its end.

        RETURNS (Optional[Any]): Its result; None if the thread has ended.
        """
        if self.closed:
            coroutine.close()
            return None
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(timeout_s)

    async def post(self, body: bytes) -> Response:
        """Send a JSON body. To be awaited in the loop's thread, between `gate.enter` and `gate.leave`.

        RETURNS (Response): See `send`.
        RAISES (Unreachable, TooSlow, Broken): There is no whole response.
        """
        return await self.send("POST", self._url, data=body)

    async def send(self, method: str, url: URL | str, *, timeout_s: float | None = None, **options: Any) -> Response:
        """Send any request. To be awaited in the loop's thread.

        timeout_s (Optional[float]): Instead of the transport's own.
        **options: As aiohttp takes them: `data`, `params`, `headers`.
        RETURNS (Response): Whatever the status. Redirects are not followed: no key goes where it was not sent.
        RAISES (Unreachable, TooSlow, Broken): There is no whole response.
        """
        timeout = self._timeout if timeout_s is None else _timeout(timeout_s)
        start_s = time.perf_counter()
        try:
            session = self._opened()
            async with session.request(method, url, timeout=timeout, allow_redirects=False, **options) as response:
                content = await response.read()
        except aiohttp.ConnectionTimeoutError:
            raise Unreachable(f"no connection within {_CONNECTING_S:g} s") from None
        except asyncio.TimeoutError:
            raise TooSlow(f"no whole response within {timeout.total:g} s") from None
        except aiohttp.ClientConnectorError as error:
            raise Unreachable(f"no connection ({_reason(error)})") from None
        except (aiohttp.ClientError, ConnectionError) as error:
            raise Broken(f"the connection broke ({type(error).__name__})") from None
        return Response(response.status, response.headers, content, round(time.perf_counter() - start_s, 4))

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=self.gate.limits.max_in_flight),
                headers=self._headers,
                timeout=self._timeout,
                cookie_jar=aiohttp.DummyCookieJar(),
                proxy=proxy_for(str(self._url)),
            )
        return self._session

    def close(self) -> None:
        """Close every connection and end the thread."""
        if self.pid != os.getpid() or self.closed:
            return
        self._loop.call_soon_threadsafe(self._begin_closing)
        if threading.current_thread() is not self._thread:  # The garbage collector may call from any thread.
            self._thread.join(_CLOSING_S)

    def _begin_closing(self) -> None:
        asyncio.ensure_future(self._close()).add_done_callback(lambda _: self._loop.stop())

    async def _close(self) -> None:
        others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        if self._session is not None:
            await self._session.close()


def _new_event_loop() -> asyncio.AbstractEventLoop:
    """RETURNS (AbstractEventLoop): uvloop's, which takes less CPU a request; asyncio's own where there is none, as on
    Windows."""
    try:
        from uvloop import new_event_loop
    except ImportError:
        return asyncio.new_event_loop()
    return new_event_loop()


def _reason(error: aiohttp.ClientConnectorError) -> str:
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return "nothing is known by that name"
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return "its certificate is not valid"
    code = error.os_error.errno
    return os.strerror(code) if code and code > 0 else type(error.os_error).__name__


def _timeout(total_s: float) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(total=total_s, sock_connect=_CONNECTING_S)
