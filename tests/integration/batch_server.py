"""A real HTTP server on loopback that behaves like OpenAI's files and batches, and misbehaves on request.

Every request that would be on the bill is counted when its batch is made, whether or not anybody looks at it again.
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from aiohttp import web
from chat_server import completion, last_word

Misbehaviour = int | Literal["reset", "hold"]
"""A status to send; "reset", the connection ends without a response; "hold", there is none until the client is gone."""

STAGES = ("validating", "in_progress", "finalizing")


@dataclass(frozen=True)
class Seen:
    """A request that arrived. `nth` counts those with the same method and kind of path, from 1."""

    method: str
    kind: str
    headers: Mapping[str, str]
    nth: int

    def __str__(self) -> str:
        return f"{self.method} {self.kind}"


@dataclass(frozen=True)
class Fate:
    """What becomes of a batch. `done`: how many of its requests are done before it ends; None for all."""

    status: str = "completed"
    code: str | None = None
    done: int | None = None


@dataclass
class Batch:
    id: str
    file: str
    metadata: Any
    requests: list[dict[str, Any]]
    fate: Fate
    looks: int = 0
    files: dict[str, str] = field(default_factory=dict)


class BatchServer:
    """The server, in a thread of its own. Each look at a batch brings it one stage further.

    fate (Callable): What becomes of the nth batch (from 1) with so many requests.
    before, after (Callable): Whether to misbehave instead of doing what a request asks for; or having done it.
    say (Callable): A prompt to what the model says.
    refuse (Set[str]): Fields of a request ("logprobs") or forms of `response_format` that get a 400.
    respond (Callable): A request's body to None, to answer it well, or the line's `response` and `error`.
    billed (Counter): Prompt to the number of times that it was paid for.
    direct (Counter): Prompt to the number of times that it was asked outside of a batch.
    seen (List[Seen]): Every request that arrived.
    holding (threading.Event): Set while a response is held back.
    """

    def __init__(self) -> None:
        self.fate: Callable[[int, int], Fate] = lambda nth, requests: Fate()
        self.before: Callable[[Seen], Misbehaviour | None] = lambda seen: None
        self.after: Callable[[Seen], Misbehaviour | None] = lambda seen: None
        self.respond: Callable[[dict[str, Any]], tuple[Any, Any] | None] = lambda body: None
        self.say: Callable[[str], str] = last_word
        self.refuse: set[str] = set()
        self.page = 100
        self.billed: Counter[str] = Counter()
        self.direct: Counter[str] = Counter()
        self.seen: list[Seen] = []
        self.files: dict[str, bytes] = {}
        self.batches: list[Batch] = []
        self.holding = threading.Event()
        self._counts: Counter[str] = Counter()
        self._loop = asyncio.new_event_loop()
        app = web.Application(client_max_size=1 << 30, middlewares=[self._middleware])
        app.router.add_post("/v1/chat/completions", self._chat)
        app.router.add_post("/v1/files", self._upload)
        app.router.add_get("/v1/files/{id}/content", self._content)
        app.router.add_post("/v1/batches", self._create)
        app.router.add_get("/v1/batches", self._list)
        app.router.add_get("/v1/batches/{id}", self._look)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        self._loop.run_until_complete(self._runner.setup())
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        self._loop.run_until_complete(site.start())
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}/v1"
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def close(self) -> None:
        asyncio.run_coroutine_threadsafe(self._runner.cleanup(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def count(self, what: str) -> int:
        """RETURNS (int): Requests of a kind that arrived, such as "POST batches"."""
        return self._counts[what]

    @web.middleware
    async def _middleware(self, request: web.Request, handler: Any) -> web.StreamResponse:
        kind = request.path.removeprefix("/v1/").replace("/content", "")
        kind = "content" if request.path.endswith("/content") else "look" if "/batch_" in request.path else kind
        self._counts[f"{request.method} {kind}"] += 1
        seen = Seen(request.method, kind, request.headers, self._counts[f"{request.method} {kind}"])
        self.seen.append(seen)
        wrong = self.before(seen)
        response: web.StreamResponse | None = None
        if wrong is None:
            response = await handler(request)
            wrong = self.after(seen)
        if isinstance(wrong, int):
            return web.json_response({"error": {"message": f"{seen.headers.get('Authorization')}"}}, status=wrong)
        if wrong == "hold":
            self.holding.set()
            while request.transport is not None and not request.transport.is_closing():
                await asyncio.sleep(0.005)
            wrong = "reset"
        if wrong == "reset":
            if request.transport is not None:
                request.transport.abort()
            return web.Response()
        assert response is not None
        return response

    async def _chat(self, request: web.Request) -> web.Response:
        asked = await request.json()
        status, body = self._reply(asked)
        self.direct[str(asked["messages"][-1]["content"])] += 1
        return web.json_response(body, status=status)

    def _reply(self, body: dict[str, Any]) -> tuple[int, Any]:
        prompt = str(body["messages"][-1]["content"])
        form = (body.get("response_format") or {}).get("type")
        if form in self.refuse or ("logprobs" in body and "logprobs" in self.refuse):
            return 400, {"error": {"message": prompt, "type": "invalid_request_error"}}
        self.billed[prompt] += 1
        content = self.say(prompt)
        if form == "json_schema":
            name = next(iter(body["response_format"]["json_schema"]["schema"]["properties"]))
            content = json.dumps({name: content})
        return 200, completion(content, logprobs=bool(body.get("logprobs")))

    async def _upload(self, request: web.Request) -> web.Response:
        form = await request.post()
        assert form["purpose"] == "batch"
        upload = form["file"]
        assert isinstance(upload, web.FileField)
        return web.json_response({"id": self._file(upload.file.read()), "object": "file", "purpose": "batch"})

    def _file(self, content: bytes) -> str:
        name = f"file-{len(self.files) + 1}"
        self.files[name] = content
        return name

    async def _content(self, request: web.Request) -> web.Response:
        return web.Response(body=self.files[request.match_info["id"]])

    async def _create(self, request: web.Request) -> web.Response:
        asked = await request.json()
        assert asked["endpoint"] == "/v1/chat/completions"
        assert asked["completion_window"] == "24h"
        requests = [json.loads(line) for line in self.files[asked["input_file_id"]].splitlines()]
        assert len({line["custom_id"] for line in requests}) == len(requests)
        assert all((line["method"], line["url"]) == ("POST", "/v1/chat/completions") for line in requests)
        number = len(self.batches) + 1
        fate = self.fate(number, len(requests))
        batch = Batch(f"batch_{number}", asked["input_file_id"], asked.get("metadata"), requests, fate)
        self.batches.append(batch)
        self._execute(batch)
        return web.json_response(self._shown(batch))

    def _execute(self, batch: Batch) -> None:
        if batch.fate.status == "failed":
            return
        good, bad = [], []
        for line in batch.requests[: batch.fate.done]:
            own = self.respond(line["body"])
            status, body = (0, None) if own else self._reply(line["body"])
            response, error = own or ({"status_code": status, "request_id": "r", "body": body}, None)
            (good if status == 200 else bad).append(
                {"id": "batch_req_1", "custom_id": line["custom_id"], "response": response, "error": error}
            )
        if batch.fate.done is not None:
            code = {"code": f"batch_{batch.fate.status}", "message": "This request could not be executed."}
            for line in batch.requests[batch.fate.done :]:
                bad.append({"id": "batch_req_1", "custom_id": line["custom_id"], "response": None, "error": code})
        for name, lines in (("output_file_id", good), ("error_file_id", bad)):
            if lines:  # Not in the order of the requests: nobody promises that.
                batch.files[name] = self._file("".join(f"{json.dumps(line)}\n" for line in lines[::-1]).encode())

    def _shown(self, batch: Batch) -> dict[str, Any]:
        stages = (STAGES[0],) if batch.fate.status == "failed" else STAGES
        ended = batch.looks > len(stages)
        total = 0 if batch.looks < 2 else len(batch.requests)
        failed = batch.fate.status == "failed" and ended
        return {
            "id": batch.id,
            "object": "batch",
            "endpoint": "/v1/chat/completions",
            "errors": {"object": "list", "data": [{"code": batch.fate.code, "line": 1}]} if failed else None,
            "input_file_id": batch.file,
            "status": batch.fate.status if ended else stages[max(batch.looks - 1, 0)],
            "output_file_id": batch.files.get("output_file_id") if ended else None,
            "error_file_id": batch.files.get("error_file_id") if ended else None,
            "created_at": int(time.time()),
            "request_counts": {"total": total, "completed": total // 2, "failed": 0},
            "metadata": batch.metadata,
        }

    async def _look(self, request: web.Request) -> web.Response:
        for batch in self.batches:
            if batch.id == request.match_info["id"]:
                batch.looks += 1
                return web.json_response(self._shown(batch))
        return web.json_response({"error": {"message": "No such batch"}}, status=404)

    async def _list(self, request: web.Request) -> web.Response:
        newest_first = self.batches[::-1]
        after = request.query.get("after")
        start = [batch.id for batch in newest_first].index(after) + 1 if after else 0
        stop = start + min(self.page, int(request.query.get("limit", 20)))
        page = [self._shown(batch) for batch in newest_first[start:stop]]
        return web.json_response({"object": "list", "data": page, "has_more": stop < len(newest_first)})
