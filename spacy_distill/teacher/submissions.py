"""Which prompts are in which batch: in the ledger before a batch is asked for, so that no death of a run hides one."""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .base import Request
from .claims import Claims
from .types import Reply, ReplyMeta

_WAITING = Reply("", ReplyMeta(status="error", error="in a batch that was not collected yet"))


@dataclass(frozen=True, slots=True)
class Submission:
    """Prompts on their way into a batch, or in one.

    id (str): Ours. It is in the batch's metadata, so that a batch can be found whose name nobody wrote down.
    file (Optional[str]): The server's name for the uploaded prompts.
    batch (Optional[str]): The server's name for the batch.
    tried_s (Optional[float]): When the batch was last asked for (Unix time). With no `batch`, there may be one or not.
    """

    id: str
    file: str | None = None
    batch: str | None = None
    tried_s: float | None = None


class Submissions:
    """What one model has submitted and not collected, in the ledger's file.

    A submission claims its prompts' keys, so no two processes can submit or ask the same prompt. A submitted prompt has
    a row in the ledger, without a reply: whoever collects the batch needs nothing else.

    claims (Claims): The ledger's claims.
    endpoint (str): The model's endpoint.
    model (str): The model's name.
    params (Dict[str, Any]): The model's parameters.
    """

    def __init__(self, claims: Claims, endpoint: str, model: str, params: dict[str, Any]) -> None:
        self._claims = claims
        self._ledger = claims.ledger
        self._endpoint = endpoint
        self._model = model
        self._params = params

    def claim(self, requests: Sequence[Request]) -> tuple[Submission, list[Request]]:
        """Begin a submission, all or nothing.

        RETURNS (Tuple[Submission, List[Request]]): The submission, and the requests that are its: not those that
            somebody else has claimed, nor those that were answered meanwhile.
        """
        submission = Submission(uuid.uuid4().hex)
        with self._ledger.transaction() as connection:
            mine = self._claims.claim(requests, submission.id).mine
            for request in mine:
                self._ledger.put(request.key, request.prompt, _WAITING, model=self._model, params=self._params)
            if mine:
                connection.execute(
                    "INSERT INTO batches (id, endpoint, model) VALUES (?, ?, ?)",
                    (submission.id, self._endpoint, self._model),
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

    def abandon(self, submission: Submission) -> None:
        """Forget a submission if its prompts were not uploaded. Whoever is just uploading them notices, and claims them
        anew; if it was faster, nothing is forgotten: there may be a batch of them."""
        with self._ledger.transaction():
            if self._update("DELETE FROM batches WHERE id = ? AND file IS NULL", submission.id):
                self.release(submission)

    def release(self, submission: Submission) -> None:
        """Forget a submission: it was collected, or there never was a batch."""
        with self._ledger.transaction() as connection:
            connection.execute("DELETE FROM batches WHERE id = ?", (submission.id,))
            connection.execute("DELETE FROM claims WHERE owner = ?", (submission.id,))

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

    def held(self, submission: Submission) -> set[str]:
        """RETURNS (Set[str]): The keys of a submission."""
        rows = self._ledger.connection.execute("SELECT key FROM claims WHERE owner = ?", (submission.id,))
        return {key for (key,) in rows}

    def _update(self, statement: str, *values: object) -> bool:
        with self._ledger.transaction():
            return self._ledger.connection.execute(statement, values).rowcount > 0
