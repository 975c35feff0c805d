"""HTTP from a thread of its own: an event loop and libcurl, for callers with or without a loop of their own.

HTTP/1.1 with kept-alive connections, one for each request in flight; HTTP/2, many on one, where it is asked for and the
server speaks it.
"""

from __future__ import annotations

import asyncio
import io
import ipaddress
import os
import ssl
import threading
import time
import urllib.request
from collections import deque
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote, urlsplit

import certifi
import pycurl

from .limits import Gate, Limits

_Result = TypeVar("_Result")

_CLOSING_S = 5.0
_CONNECTING_S = 15.0

_AS_IN_URLS = ":/?#[]@!$&'()*+,;=%"

_ORPHANS: list[Transport] = []
"""Of a parent process: to end one here would say goodbye to the parent's servers, on connections that both hold."""

_LARGEST_REPLY = 64 * 2**20
"""Bytes, decompressed. A server that sends more is broken, or means harm."""

_UNREACHABLE = {
    pycurl.E_COULDNT_RESOLVE_PROXY: "no proxy is known by that name",
    pycurl.E_COULDNT_RESOLVE_HOST: "nothing is known by that name",
    pycurl.E_PEER_FAILED_VERIFICATION: "its certificate is not valid",
    pycurl.E_SSL_CACERT_BADFILE: "no certificates to check its own with: see SSL_CERT_FILE",
    pycurl.E_URL_MALFORMAT: "",
    pycurl.E_COULDNT_CONNECT: "",
    pycurl.E_SSL_CONNECT_ERROR: "",
}
"""Errors before anything was sent, and what to call them; "": as the system or libcurl does."""


class Unreachable(Exception):
    """No connection: nobody listens there, the name is unknown, or its certificate is not valid."""


class Broken(Exception):
    """A connection that broke, or took too long, before the response was whole. The message says which."""


class TooSlow(Broken):
    """No whole response in time."""


class TooLarge(Broken):
    """A response larger than any reply."""


@dataclass(frozen=True, slots=True)
class Response:
    """A whole response.

    status (int): HTTP status.
    headers (Mapping[str, str]): By their names in lower case.
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
    proxies = urllib.request.getproxies()
    return proxies.get(parts.scheme) or proxies.get("all")


class Transport:
    """One daemon thread with an event loop and libcurl's connections, kept alive.

    url (str): Where every prompt goes.
    headers (Mapping[str, str]): Sent with every request.
    limits (Limits): How many at a time, and when.
    timeout_s (float): For one request, from connecting to the last byte received.
    http2 (bool): Speak HTTP/2 with a server that does, over TLS.
    """

    def __init__(
        self, url: str, headers: Mapping[str, str], *, limits: Limits, timeout_s: float, http2: bool = False
    ) -> None:
        self.gate = Gate(limits)
        self.pid = os.getpid()
        self._url = url
        self._headers = dict(headers)
        self._timeout_s = timeout_s
        self._http2 = http2
        self._multi: pycurl.AsyncCurlMulti | None = None
        self._posts: list[pycurl.Curl] = []
        self._inbox: deque[Callable[[], object]] = deque()
        self._awake = False
        self._loop = asyncio.SelectorEventLoop()  # libcurl's sockets are its own: Windows' default cannot watch them.
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
        RAISES (Unreachable, TooSlow, TooLarge, Broken): There is no whole response.
        """
        if self._posts:
            curl = self._posts.pop()
        else:
            curl = self._curl("POST", self._url, self._timeout_s, json=True)
            curl.setopt(pycurl.MAXFILESIZE_LARGE, _LARGEST_REPLY)
        response = await self._perform(curl, body, self._timeout_s)
        self._posts.append(curl)  # One that failed, or was cancelled, is not used again.
        return response

    async def send(
        self,
        method: str,
        url: str,
        *,
        timeout_s: float,
        body: bytes | None = None,
        form: Sequence[Mapping[str, Any]] = (),
    ) -> Response:
        """Send any request. To be awaited in the loop's thread.

        timeout_s (float): Instead of the transport's own.
        body (Optional[bytes]): JSON.
        form (Sequence[Mapping[str, Any]]): Instead of a body: parts with `name` and `data`, of files with `filename`
            and `content_type` too.
        RETURNS (Response): Whatever the status. Redirects are not followed: no key goes where it was not sent.
        RAISES (Unreachable, TooSlow, Broken): There is no whole response.
        """
        curl = self._curl(method, url, timeout_s, json=body is not None)
        if form:
            parts = pycurl.CurlMime(curl)
            for part in form:
                parts.add(**part)
            curl.setopt(pycurl.MIMEPOST, parts)
        return await self._perform(curl, body, timeout_s)

    async def _perform(self, curl: pycurl.Curl, body: bytes | None, timeout_s: float) -> Response:
        if body is not None:
            # Where a kept-alive connection turns out to be dead, libcurl would send the request again by itself, up to
            # five times and uncounted, though each may be paid for. A body that it cannot rewind keeps it from that.
            curl.setopt(pycurl.POSTFIELDSIZE_LARGE, len(body))
            curl.setopt(pycurl.READFUNCTION, io.BytesIO(body).read)
        lines: list[bytes] = []
        chunks: list[bytes] = []
        curl.setopt(pycurl.HEADERFUNCTION, lines.append)
        curl.setopt(pycurl.WRITEFUNCTION, chunks.append)
        start_s = time.perf_counter()
        try:
            await self._opened().add_handle(curl)
        except pycurl.error as error:
            raise _failure(curl, error.args[0], timeout_s) from None
        latency_s = round(time.perf_counter() - start_s, 4)
        return Response(curl.getinfo(pycurl.RESPONSE_CODE), _headers(lines), b"".join(chunks), latency_s)

    def _curl(self, method: str, url: str, timeout_s: float, *, json: bool) -> pycurl.Curl:
        curl = pycurl.Curl()
        headers = {**self._headers, "User-Agent": "spacy-distill", "Expect": ""}  # "": none, where libcurl would.
        if json:
            headers["Content-Type"] = "application/json"
        options = {
            pycurl.URL: url,
            pycurl.CUSTOMREQUEST: method,
            pycurl.POST: json,
            pycurl.HTTPHEADER: [f"{name}: {value}" if value else f"{name}:" for name, value in headers.items()],
            pycurl.ACCEPT_ENCODING: "",  # Whatever libcurl can decode.
            pycurl.CONNECTTIMEOUT_MS: round(1000 * _CONNECTING_S),
            pycurl.TIMEOUT_MS: max(1, round(1000 * timeout_s)),
            pycurl.TCP_KEEPALIVE: True,
            pycurl.NOSIGNAL: True,
            pycurl.PROXY: quote(proxy_for(url) or "", safe=_AS_IN_URLS),
            pycurl.NOPROXY: "",
            pycurl.HTTP_VERSION: pycurl.CURL_HTTP_VERSION_2TLS if self._http2 else pycurl.CURL_HTTP_VERSION_1_1,
            pycurl.PIPEWAIT: self._http2,
        }
        if url.startswith("https:"):
            curl.unsetopt(pycurl.CAINFO)  # Else those are trusted that stand where libcurl was compiled.
            if trusted := _trusted():
                options[pycurl.CAINFO_BLOB] = trusted
            if folder := ssl.get_default_verify_paths().capath:
                options[pycurl.CAPATH] = folder
        for option, value in options.items():
            curl.setopt(option, value)
        return curl

    def _opened(self) -> pycurl.AsyncCurlMulti:
        if self._multi is None:
            self._multi = pycurl.AsyncCurlMulti()
            self._multi.setopt(pycurl.M_MAXCONNECTS, self.gate.limits.max_in_flight)
        return self._multi

    def close(self) -> None:
        """Close every connection and end the thread."""
        if self.pid != os.getpid():
            _ORPHANS.append(self)
            return
        if self.closed:
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
        if self._multi is not None:
            await self._multi.aclose()
        self._posts.clear()


@lru_cache(maxsize=1)
def _trusted() -> bytes:
    """RETURNS (bytes): The certificates that Python trusts here (see `SSL_CERT_FILE`), as PEM: libcurl would look where
    they were on the machine that compiled it. Certifi's, where Python finds none and was not told where to look."""
    place = ssl.get_default_verify_paths().cafile
    if place is not None:  # The file itself: a server's own certificate may be in it, which is no authority's.
        return Path(place).read_bytes()
    found = ssl.create_default_context().get_ca_certs(binary_form=True)
    if not found and not {"SSL_CERT_FILE", "SSL_CERT_DIR"} & os.environ.keys():
        return Path(certifi.where()).read_bytes()
    return "".join(map(ssl.DER_cert_to_PEM_cert, found)).encode("ascii")


def _failure(curl: pycurl.Curl, code: int, timeout_s: float) -> Exception:
    reason = pycurl.easy_strerror(code)
    if code == pycurl.E_OPERATION_TIMEDOUT:
        if not curl.getinfo(pycurl.REQUEST_SIZE):
            return Unreachable(f"no connection within {min(timeout_s, _CONNECTING_S):g} s")
        return TooSlow(f"no whole response within {timeout_s:g} s")
    if code in _UNREACHABLE:
        errno, refused = curl.getinfo(pycurl.OS_ERRNO), curl.getinfo(pycurl.HTTP_CONNECTCODE)
        known = f"the proxy refused: HTTP {refused}" if refused >= 400 else _UNREACHABLE[code]
        return Unreachable(f"no connection ({known or (os.strerror(errno) if errno else reason)})")
    if code == pycurl.E_FILESIZE_EXCEEDED:
        return TooLarge(f"a response of more than {_LARGEST_REPLY // 2**20} MB")
    if code == pycurl.E_SEND_FAIL_REWIND:  # See `_perform`.
        reason = "closed by the server"
    return Broken(f"the connection broke ({reason})")


def _headers(lines: list[bytes]) -> dict[str, str]:
    found: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.decode("latin-1").partition(":")
        if name.startswith("HTTP/"):  # Another response: the one before only said to go on.
            found.clear()
        elif colon:
            found[name.lower()] = value.strip()
    return found
