"""A real HTTP server on loopback that behaves like an OpenAI-compatible endpoint, and misbehaves on request.

As a script it answers everything the same after a given time, at as little cost as can be, until it is killed; its
first line of output holds its port: `python tests/integration/chat_server.py --latency-s 0.1`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import socket
import struct
import threading
import time
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

try:
    from uvloop import new_event_loop
except ImportError:  # As on Windows.
    from asyncio import new_event_loop


@dataclass(frozen=True)
class Seen:
    """A request that arrived. `nth` counts the requests with the same prompt, from 1."""

    path: str
    headers: Mapping[str, str]
    body: Mapping[str, Any]
    nth: int
    time_s: float

    @property
    def prompt(self) -> str:
        return str(self.body["messages"][-1]["content"])


@dataclass(frozen=True)
class Answer:
    """What to send. `hang`: nothing, ever. `reset`: the connection is torn down. `cut`: half the body, then the end."""

    status: int = 200
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    hang: bool = False
    reset: bool = False
    cut: bool = False


def completion(content: str | None, *, finish: str = "stop", logprobs: bool = False, **message: Any) -> dict[str, Any]:
    """RETURNS (Dict[str, Any]): A response's body as OpenAI documents it; one token a word, each with p = 1/2."""
    choice: dict[str, Any] = {
        "index": 0,
        "finish_reason": finish,
        "message": {"role": "assistant", "content": content, **message},
    }
    if logprobs:
        tokens = (content or "").replace(" ", "\x00 ").split("\x00")
        choice["logprobs"] = {"content": [{"token": token, "logprob": -0.6931471805599453} for token in tokens]}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "model": "loopback-1",
        "choices": [choice],
        "usage": {"prompt_tokens": 20, "completion_tokens": 4, "total_tokens": 24},
    }


def last_word(prompt: str) -> str:
    """RETURNS (str): What the server says to a prompt unless told otherwise: its last word, lower case."""
    return (prompt.split() or [""])[-1].lower()


PASSING = {
    "429": Answer(429, {"error": {"message": "slow down", "code": "rate_limit_exceeded"}}),
    "429 with Retry-After": Answer(429, b"busy", {"Retry-After": "0"}),
    "408": Answer(408, b""),
    "500": Answer(500, b"oops"),
    "502": Answer(502, b"<html>bad gateway</html>"),
    "503": Answer(503, {"error": {"message": "overloaded"}}),
    "no answer": Answer(hang=True),
    "connection reset": Answer(reset=True),
    "connection cut in mid-body": Answer(200, completion("x" * 500), cut=True),
    "half a JSON": Answer(200, json.dumps(completion("x")).encode()[:40]),
    "no choices": Answer(200, {**completion("x"), "choices": []}),
    "no content": Answer(200, {**completion(None), "usage": {"prompt_tokens": 20, "completion_tokens": 0}}),
    "200 with an error": Answer(200, {"error": {"message": "upstream died", "code": 502}}),
}
"""Faults that asking again may mend."""

LASTING = {
    "refusal": Answer(200, completion(None, refusal="I cannot.")),
    "finish_reason: length": Answer(200, completion("half an ans", finish="length")),
    "content filter": Answer(200, completion("", finish="content_filter")),
    "content filter, 400": Answer(400, {"error": {"message": "filtered", "code": "content_filter"}}),
    "context length": Answer(400, {"error": {"message": "too long", "code": "context_length_exceeded"}}),
}
"""Faults that asking again will not mend."""


def thirty_percent(seen: Seen) -> Answer | None:
    """Three requests in ten meet with a fault, of all that there are; the same request always with the same."""
    faults = [*PASSING.values(), *LASTING.values()]
    draw = zlib.crc32(f"{seen.prompt} {seen.nth}".encode())
    return faults[draw // 10 % len(faults)] if draw % 10 < 3 else None


class ChatServer:
    """The server, in a thread of its own.

    latency_s (float): How long it thinks.
    behave (Optional[Callable]): What to do about a request; None, or an answer of None, is to answer it well.
    refuse (Set[str]): Fields of a request ("logprobs") or forms of `response_format` that get a 400.
    seen (List[Seen]): Every request that arrived.
    delivered (List[Tuple[Seen, Answer]]): Requests with their responses that were handed to the network whole.
    most_in_flight (int): The most requests there ever were at a time.
    connected (int): Connections that were ever opened.
    """

    def __init__(self, latency_s: float = 0.0, behave: Callable[[Seen], Answer | None] | None = None) -> None:
        self.latency_s = latency_s
        self.behave = behave
        self.refuse: set[str] = set()
        self.seen: list[Seen] = []
        self.delivered: list[tuple[Seen, Answer]] = []
        self.most_in_flight = 0
        self.connected = 0
        self.in_flight = 0
        self._times: dict[str, int] = {}
        self._loop = asyncio.new_event_loop()
        self._connections: set[_Connection] = set()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        started = threading.Event()
        self._loop.call_soon(started.set)
        self._server = self._loop.run_until_complete(
            self._loop.create_server(lambda: _Connection(self), "127.0.0.1", 0)
        )
        self.port: int = self._server.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/v1"
        self._thread.start()
        started.wait(5)

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()
        self._loop.run_until_complete(asyncio.sleep(0))
        self._loop.close()

    def close(self) -> None:
        def stop() -> None:
            self._server.close()
            for connection in list(self._connections):
                connection.transport.abort()
            self._loop.call_soon(self._loop.stop)

        self._loop.call_soon_threadsafe(stop)
        self._thread.join(5)

    def prompts(self) -> list[str]:
        return [seen.prompt for seen in self.seen]

    @property
    def answered(self) -> int:
        """RETURNS (int): How many were delivered with status 200."""
        return sum(answer.status == 200 for _, answer in self.delivered)

    def receive(self, path: str, headers: Mapping[str, str], raw: bytes) -> tuple[Seen, Answer]:
        """RETURNS (Tuple[Seen, Answer]): The request, and what is to be said to it."""
        body = json.loads(raw)
        prompt = str(body["messages"][-1]["content"])
        self._times[prompt] = self._times.get(prompt, 0) + 1
        seen = Seen(path, headers, body, self._times[prompt], time.monotonic())
        self.seen.append(seen)
        answer = self.behave(seen) if self.behave else None
        return seen, answer or self._well(prompt, body)

    def _well(self, prompt: str, body: Mapping[str, Any]) -> Answer:
        form = (body.get("response_format") or {}).get("type")
        refused = (
            form if form in self.refuse else "logprobs" if "logprobs" in body and "logprobs" in self.refuse else None
        )
        if refused is not None:
            return Answer(400, {"error": {"message": f"{refused}: unknown", "type": "invalid_request_error"}})
        content = last_word(prompt)
        if form == "json_schema":
            name = next(iter(body["response_format"]["json_schema"]["schema"]["properties"]))
            content = json.dumps({name: content})
        return Answer(200, completion(content, logprobs=bool(body.get("logprobs"))))


class _Connection(asyncio.Protocol):
    transport: asyncio.Transport

    def __init__(self, server: ChatServer) -> None:
        self.server = server
        self.buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.server._connections.add(self)
        self.server.connected += 1

    def connection_lost(self, exc: Exception | None) -> None:
        self.server._connections.discard(self)

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        end = self.buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        first, *lines = self.buffer[:end].decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        stop = end + 4 + int(headers.get("content-length", 0))
        if len(self.buffer) < stop:
            return
        raw, self.buffer = self.buffer[end + 4 : stop], self.buffer[stop:]
        server = self.server
        server.in_flight += 1
        server.most_in_flight = max(server.most_in_flight, server.in_flight)
        seen, answer = server.receive(first.split()[1], headers, raw)
        server._loop.call_later(server.latency_s, self.send, seen, answer)

    def send(self, seen: Seen, answer: Answer) -> None:
        self.server.in_flight -= 1
        if answer.hang or self.transport.is_closing():
            return
        if answer.reset:
            linger = struct.pack("ii", 1, 0)
            self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self.transport.abort()
            return
        body = answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
        headers = {"Content-Type": "application/json", "Content-Length": str(len(body)), **answer.headers}
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        whole = f"HTTP/1.1 {answer.status} X\r\n{head}\r\n".encode("latin-1") + body
        if answer.cut:
            self.transport.write(whole[: len(whole) - len(body) // 2])
            self.transport.close()
            return
        self.transport.write(whole)
        self.server.delivered.append((seen, answer))


class _Constant(asyncio.Protocol):
    """One connection of a server that must not be what is measured: it reads no more of a request than its length, and
    says the same to all, so many seconds after the request has arrived."""

    transport: asyncio.Transport

    def __init__(self, latency_s: float) -> None:
        self.latency_s = latency_s
        self.buffer = b""
        body = json.dumps(completion("ham")).encode()
        head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        self.response = head.encode() + body

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's are none by name.

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        head, end, body = self.buffer.partition(b"\r\n\r\n")
        length = re.search(rb"(?i)content-length: *(\d+)", head)
        if end and length and len(body) >= int(length[1]):
            self.buffer = b""
            asyncio.get_running_loop().call_later(self.latency_s, self.transport.write, self.response)


async def serve(latency_s: float) -> None:
    """Serve until killed."""
    server = await asyncio.get_running_loop().create_server(lambda: _Constant(latency_s), "127.0.0.1", 0)
    print(json.dumps({"port": server.sockets[0].getsockname()[1]}), flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--latency-s", type=float, default=0.1)
    loop = new_event_loop()
    loop.run_until_complete(serve(parser.parse_args().latency_s))
