"""Which prompts are in which batch: in the ledger before a batch is asked for, so that no death of a run hides one."""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .base import Request
from .ledger import Ledger
from .types import Reply, ReplyMeta

_SCHEMA = """
CREATE TABLE IF NOT EXISTS batches (
    id        TEXT PRIMARY KEY,
    endpoint  TEXT NOT NULL,
    model     TEXT NOT NULL,
    file      TEXT,
    batch     TEXT,
    tried_s   REAL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS batch_keys (
    key       TEXT PRIMARY KEY,
    id        TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS batch_keys_by_id ON batch_keys (id);
"""
_WAITING = Reply("", ReplyMeta(status="error", error="in a batch that was not collected yet"))


@dataclass(frozen=True, slots=True)
class Submission:
    """Prompts on their way into a batch, or in one.

    id (str): Ours. It is in the batch's metadata, so that a batch can be found whose name nobody wrote down.
    file (Optional[str]): The server's name for the uploaded prompts.
    batch (Optional[str]): The server's name for the batch.
    tried_s (Optional[float]): When the batch was last asked for (Unix time). With no `batch`, there may be one or not.
        With no `file` either, the prompts were asked directly then.
    """

    id: str
    file: str | None = None
    batch: str | None = None
    tried_s: float | None = None


class Submissions:
    """What one model has submitted and not collected. The ledger's file holds it, in two tables of its own.

    A key belongs to one submission at most, so no two processes can submit the same prompt. A submitted prompt has a
    row in the ledger, without a reply: whoever collects the batch needs nothing else.

    ledger (Ledger): The ledger.
    endpoint (str): The model's endpoint.
    model (str): The model's name.
    params (Dict[str, Any]): The model's parameters.
    """

    def __init__(self, ledger: Ledger, endpoint: str, model: str, params: dict[str, Any]) -> None:
        self._ledger = ledger
        self._endpoint = endpoint
        self._model = model
        self._params = params
        self._ledger.connection.executescript(_SCHEMA)

    def claim(self, requests: Sequence[Request], *, directly: bool = False) -> tuple[Submission, list[Request]]:
        """Begin a submission, all or nothing.

        directly (bool): There will be no file: the requests are asked at once.
        RETURNS (Tuple[Submission, List[Request]]): The submission, and the requests that are its: not those that
            another one holds, nor those that were answered meanwhile.
        """
        submission = Submission(uuid.uuid4().hex, tried_s=time.time() if directly else None)
        mine = []
        with self._ledger.transaction():
            for request in requests:
                if self._ledger.get(request.key) is not None:
                    continue
                held = self._ledger.connection.execute(
                    "INSERT OR IGNORE INTO batch_keys (key, id) VALUES (?, ?)", (request.key, submission.id)
                )
                if held.rowcount:
                    mine.append(request)
                    self._ledger.put(request.key, request.prompt, _WAITING, model=self._model, params=self._params)
            if mine:
                self._ledger.connection.execute(
                    "INSERT INTO batches (id, endpoint, model, tried_s) VALUES (?, ?, ?, ?)",
                    (submission.id, self._endpoint, self._model, submission.tried_s),
                )
        return submission, mine

    def uploaded(self, submission: Submission, file: str) -> bool:
        """RETURNS (bool): False if another process, which took this one for dead, has released the submission."""
        return self._update("UPDATE batches SET file = ? WHERE id = ?", file, submission.id)

    def trying(self, submission: Submission) -> bool:
        """Note that the batch is going to be asked for now.

        RETURNS (bool): False if another process was faster.
        """
        return self._update(
            "UPDATE batches SET tried_s = ? WHERE id = ? AND batch IS NULL AND tried_s IS ?",
            time.time(),
            submission.id,
            submission.tried_s,
        )

    def created(self, submission: Submission, batch: str) -> None:
        """Note the server's name for the batch."""
        self._update("UPDATE batches SET batch = ? WHERE id = ?", batch, submission.id)

    def release(self, submission: Submission) -> None:
        """Forget a submission: it was collected, or there never was a batch."""
        with self._ledger.transaction():
            self._ledger.connection.execute("DELETE FROM batches WHERE id = ?", (submission.id,))
            self._ledger.connection.execute("DELETE FROM batch_keys WHERE id = ?", (submission.id,))

    def open(self) -> list[Submission]:
        """RETURNS (List[Submission]): All that are not collected, whoever began them."""
        rows = self._ledger.connection.execute(
            "SELECT id, file, batch, tried_s FROM batches WHERE endpoint = ? AND model = ? ORDER BY tried_s, id",
            (self._endpoint, self._model),
        )
        return [Submission(*row) for row in rows]

    def now(self, submission: Submission) -> Submission | None:
        """RETURNS (Optional[Submission]): How it stands in the ledger; None if it was released."""
        return next((other for other in self.open() if other.id == submission.id), None)

    def held(self, submission: Submission | None = None) -> set[str]:
        """RETURNS (Set[str]): The keys of one submission, or of all."""
        where, values = (" WHERE id = ?", (submission.id,)) if submission else ("", ())
        return {key for (key,) in self._ledger.connection.execute(f"SELECT key FROM batch_keys{where}", values)}

    def _update(self, statement: str, *values: object) -> bool:
        with self._ledger.transaction():
            return self._ledger.connection.execute(statement, values).rowcount > 0
