"""The wire format of batches, as OpenAI documents it: `/files` and `/batches`, and the lines of their files."""

from __future__ import annotations

import io
import json
import logging
import random
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

from ..errors import TeacherError
from .completions import Failure, error_code, read_response
from .transport import Broken, Response, Transport, Unreachable
from .types import Reply

logger = logging.getLogger("spacy_distill")

_URL = "/v1/chat/completions"
_OURS = "spacy_distill"
_PAGE = 100
_ENDED = {"completed", "failed", "expired", "cancelled"}

_FIRST_PAUSE_S = 2.0
_LONGEST_PAUSE_S = 60.0
_PATIENCE_S = 1800.0
"""A server may be away this long before a run that waits for it ends."""

_CALL_S = 30.0
_TRANSFER_S = 1800.0
"""For one try: of a call, and of 200 MB in either direction."""


def pause_s(nth: int) -> float:
    """RETURNS (float): Seconds to wait after the nth look, from 1: growing, with jitter."""
    return min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 1.5 ** min(nth - 1, 20)) * random.uniform(0.8, 1.0)


@dataclass(frozen=True, slots=True)
class Batch:
    """How a batch stands.

    id (str): The server's name for it.
    status (str): As the server puts it: "validating", "in_progress", "completed", …
    code (str): " (CODE)", why it failed, or "".
    answered (int): Requests that are done with, failures included.
    files (Tuple[str, ...]): Its output and error file, those that there are.
    """

    id: str
    status: str
    code: str
    answered: int
    files: tuple[str, ...]

    @property
    def ended(self) -> bool:
        """RETURNS (bool): Nothing more will come."""
        return self.status in _ENDED


class BatchFiles:
    """A server's batches, one call a method. A call that fails is tried again, unless it would do harm.

    transport (Transport): Who sends.
    endpoint (str): Base URL.
    """

    def __init__(self, transport: Transport, endpoint: str) -> None:
        self._transport = transport
        self._endpoint = endpoint

    def upload(self, name: str, lines: bytes) -> str:
        """RETURNS (str): The server's name for the file. A file that was uploaded twice costs nothing."""

        file = {"name": "file", "data": lines, "filename": f"{name}.jsonl", "content_type": "application/jsonl"}
        form = [{"name": "purpose", "data": "batch"}, file]
        return _id(self._json(self._insist("POST", "/files", form=form, timeout_s=_TRANSFER_S)), "/files")

    def create(self, file: str, submission: str) -> str | None:
        """Ask for a batch, once.

        RETURNS (Optional[str]): The server's name for it; None if it is not known whether there is one now, or there
            is none yet.
        RAISES (TeacherError): The server refuses, so there is none.
        """
        data = {
            "input_file_id": file,
            "endpoint": _URL,
            "completion_window": "24h",
            "metadata": {_OURS: submission},
        }
        outcome = self._try("POST", "/batches", body=json.dumps(data).encode())
        if isinstance(outcome, Response):
            try:
                return _id(self._json(outcome), "/batches")
            except TeacherError:  # There may be one all the same.
                return None
        if not outcome.retry:
            raise self._refused("/batches", outcome)
        logger.warning("%s/batches: %s.", self._endpoint, outcome.reason)
        return None

    def find(self, file: str, submission: str) -> str | None:
        """RETURNS (Optional[str]): The batch that was made of a file, if there is one."""
        after: str | None = None
        while True:
            params = {"limit": str(_PAGE), **({"after": after} if after else {})}
            page = self._json(self._insist("GET", f"/batches?{urlencode(params)}"))
            batches = [batch for batch in page.get("data") or () if isinstance(batch, dict)]
            for batch in batches:
                if batch.get("input_file_id") == file or (batch.get("metadata") or {}).get(_OURS) == submission:
                    return _id(batch, "/batches")
            last = _id(batches[-1], "/batches") if batches else None
            if last is None or last == after or not page.get("has_more"):
                return None
            after = last

    def look(self, batch: str) -> Batch:
        """RETURNS (Batch): How it stands now."""
        data = self._json(self._insist("GET", f"/batches/{quote(batch, safe='')}"))
        counts = data.get("request_counts") or {}
        errors = (data.get("errors") or {}).get("data") or []
        files = [data.get(name) for name in ("output_file_id", "error_file_id")]
        return Batch(
            id=batch,
            status=str(data.get("status")),
            code=error_code(errors[0]) if errors else "",
            answered=sum(counts.get(name) or 0 for name in ("completed", "failed")),
            files=tuple(file for file in files if isinstance(file, str) and file),
        )

    def read(
        self, file: str, choices: Callable[[str], Mapping[str, str] | None]
    ) -> Iterator[tuple[str, Reply | Failure]]:
        """Read a batch's output or errors.

        choices (Callable[[str], Optional[Mapping[str, str]]]): From a line's `custom_id` to the choices of its prompt.
        YIELDS (Tuple[str, Union[Reply, Failure]]): Each line's `custom_id`, and what came. Lines that are no JSON
            objects are left out.
        """
        path = f"/files/{quote(file, safe='')}/content"
        response = self._insist("GET", path, timeout_s=_TRANSFER_S)
        for line in io.BytesIO(response.body):
            try:
                data = json.loads(line)
                key = str(data["custom_id"])
                yield key, _outcome(data, choices(key))
            except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
                continue

    def _insist(self, method: str, path: str, **options: Any) -> Response:
        """Try until it works. RAISES (TeacherError): It will not."""
        start_s = time.monotonic()
        tries = 0
        while True:
            outcome = self._try(method, path, **options)
            if isinstance(outcome, Response):
                return outcome
            tries += 1
            wait_s = max(pause_s(tries), outcome.wait_s or 0.0)
            if not outcome.retry or time.monotonic() - start_s + wait_s > _PATIENCE_S:
                raise self._refused(path, outcome)
            logger.warning("%s%s: %s; again in %.0f s.", self._endpoint, path, outcome.reason, wait_s)
            time.sleep(wait_s)

    def _try(self, method: str, path: str, **options: Any) -> Response | Failure:
        try:
            url = self._endpoint + path
            response = self._transport.run(self._transport.send(method, url, **{"timeout_s": _CALL_S, **options}))
        except (Unreachable, Broken) as error:
            return Failure(str(error))
        if response is None:
            raise TeacherError(f"{self._endpoint}: closed before every batch was collected.")
        if 200 <= response.status < 300:
            return response
        outcome = read_response(response.status, response.headers, response.body)
        return outcome if isinstance(outcome, Failure) else Failure(f"HTTP {response.status}", response.status, False)

    def _refused(self, path: str, failure: Failure) -> TeacherError:
        remedy = {
            401: "Is the key (`key_env`) the one that the batches were submitted with?",
            403: "Is the key (`key_env`) the one that the batches were submitted with, and may it use batches?",
            404: "Either the endpoint offers no batches, or they belong to another key (`key_env`), or they are gone."
            " Without --batch the prompts are asked directly, at full price.",
            405: "The endpoint offers no batches: go without --batch.",
        }
        hint = remedy.get(failure.status, "Run this again later.")
        return TeacherError(f"{self._endpoint}{path}: {failure.reason}. {hint} Every reply so far is kept.")

    def _json(self, response: Response) -> dict[str, Any]:
        try:
            data = json.loads(response.body)
        except (ValueError, RecursionError):
            data = None
        if not isinstance(data, dict):
            raise TeacherError(f"{self._endpoint}: an answer that is no JSON object. Does it offer OpenAI's batches?")
        return data


def line(key: str, body: bytes) -> bytes:
    """RETURNS (bytes): A line of a file to upload: one request to `/chat/completions` under a name of ours."""
    head = json.dumps({"custom_id": key, "method": "POST", "url": _URL})
    return head[:-1].encode("ascii") + b', "body": ' + body + b"}\n"


def _id(data: dict[str, Any], path: str) -> str:
    found = data.get("id")
    if not isinstance(found, str) or not found:
        raise TeacherError(f"{path}: an answer without an `id`. Does the endpoint offer OpenAI's batches?")
    return found


def _outcome(data: dict[str, Any], choices: Mapping[str, str] | None) -> Reply | Failure:
    response = data.get("response")
    if response:
        body = json.dumps(response.get("body")).encode("ascii")
        return read_response(int(response["status_code"]), {}, body, choices)
    return Failure(f"no reply in the batch{error_code(data.get('error'))}")
