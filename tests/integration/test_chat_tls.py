"""`Chat` against a real server that speaks TLS, HTTP/1.1 and HTTP/2."""

import asyncio
import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme
from chat_server import completion, last_word
from hypercorn import Config
from hypercorn.asyncio import serve

from spacy_distill.errors import TeacherError
from spacy_distill.teacher.chat import Chat
from spacy_distill.teacher.transport import _trusted
from spacy_distill.teacher.types import Prompt

COUNT = 40


class TlsServer:
    """Says the last word of each prompt.

    versions (Set[str]): Of HTTP, in which it was asked.
    clients (Set[Any]): Addresses of those who asked: one for each connection.
    """

    def __init__(self, folder: Path) -> None:
        self.versions: set[str] = set()
        self.clients: set[Any] = set()
        authority = trustme.CA()
        self.authority = folder / "authority.pem"
        authority.cert_pem.write_to_path(str(self.authority))
        own = folder / "server.pem"
        authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(str(own))
        listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"https://localhost:{listening.getsockname()[1]}/v1"
        config = Config()
        config.bind = [f"fd://{listening.detach()}"]
        config.certfile = config.keyfile = str(own)
        config.alpn_protocols = ["h2", "http/1.1"]
        config.errorlog = None
        self._loop = asyncio.new_event_loop()
        self._stopped = asyncio.Event()
        serving = serve(self._answer, config, shutdown_trigger=self._stopped.wait)  # type: ignore[arg-type]
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(serving,))
        self._thread.start()

    async def _answer(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            return
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message["body"], message["more_body"]
        self.versions.add(scope["http_version"])
        self.clients.add(scope["client"])
        await asyncio.sleep(0.05)
        reply = json.dumps(completion(last_word(json.loads(body)["messages"][-1]["content"])))
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": reply.encode()})

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._stopped.set)
        self._thread.join(20)
        self._loop.close()


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TlsServer]:
    server = TlsServer(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(server.authority))
    _trusted.cache_clear()
    yield server
    _trusted.cache_clear()
    server.close()


def ask(url: str, **settings: Any) -> list[str]:
    chat = Chat("m", url, max_in_flight=8, logprobs=False, **settings)
    replies = dict(chat.stream([Prompt(f"text w{number}") for number in range(COUNT)]))
    chat.close()
    return [str(replies[index]) for index in range(COUNT)]


def test_each_request_in_flight_has_a_connection_that_is_kept(server: TlsServer) -> None:
    assert ask(server.url) == [f"w{number}" for number in range(COUNT)]
    assert server.versions == {"1.1"}
    assert len(server.clients) == 8


def test_with_http2_all_share_one(server: TlsServer) -> None:
    assert ask(server.url, http2=True) == [f"w{number}" for number in range(COUNT)]
    assert server.versions == {"2"}
    assert len(server.clients) == 1


def test_a_certificate_that_nobody_vouches_for(server: TlsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    _trusted.cache_clear()
    with pytest.raises(TeacherError, match="its certificate is not valid"):
        ask(server.url, max_tries=1)
    assert not server.clients
