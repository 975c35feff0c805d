"""Prompts by way of batch files: half the price, within a day, through any number of interruptions."""

from __future__ import annotations

import logging
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

from ..errors import PendingError, TeacherError
from .base import Request
from .batch_files import Batch, BatchFiles, line, pause_s
from .claims import Claims
from .completions import Failure
from .submissions import Submission, Submissions
from .types import Prompt, Reply, ReplyMeta

logger = logging.getLogger("spacy_distill")

_MOST_REQUESTS = 50_000
_MOST_BYTES = 200_000_000
"""What OpenAI takes in one file."""

_SETTLING_S = 60.0
"""A batch asked for so long ago is in the server's list, or was never made."""

_TRIES = 10
_QUEUE_FULL = " (token_limit_exceeded)"

Answers = Iterator[tuple[Request, Reply]]


class Batches:
    """Answers requests in batches.

    What is open is in the ledger (see `Submissions`), and every round starts from there: this run's submissions,
    those of a run that died and those of another process are looked at alike. A prompt is claimed before its file is
    uploaded, and the attempt to make a batch is noted before it is made. After an attempt whose end nobody saw, the
    server's list decides, by the file's name and by our own in the batch's metadata. So nothing is submitted twice.

    The first prompt is asked directly: a wrong key, model or setting shows at once and not after a day, and what the
    server does not take is left out of the files.

    name (str): The model's name.
    files (BatchFiles): The server.
    claims (Claims): Who asks for what, in the ledger that keeps all of it.
    submissions (Submissions): What was submitted and not collected.
    body (Callable[[Prompt], bytes]): Makes a request's body.
    ask (Callable): Answers requests directly that are claimed.
    keep (Callable): Commits a reply.
    """

    def __init__(
        self,
        name: str,
        files: BatchFiles,
        claims: Claims,
        submissions: Submissions,
        *,
        body: Callable[[Prompt], bytes],
        ask: Callable[[Iterator[Request]], Answers],
        keep: Callable[[Request, Reply], Reply],
    ) -> None:
        self._name = name
        self._files = files
        self._claims = claims
        self._ledger = claims.ledger
        self._submissions = submissions
        self._body = body
        self._ask = ask
        self._keep = keep
        self._later: deque[list[Request]] = deque()
        self._full = False
        self._told: dict[str, str] = {}

    def answer(self, requests: Iterator[Request], *, wait: bool) -> Answers:
        """Answer requests, each exactly once. What earlier runs submitted is collected with them.

        wait (bool): Until every batch is done.
        YIELDS (Tuple[Request, Reply]): As their batches end.
        RAISES (PendingError): Nobody is to wait, and not every batch is done.
        """
        self._recover()
        wanted: dict[str, Request] = {}
        yield from self._submit_all(requests, wanted)
        looks = 0
        while wanted:
            for submission in self._submissions.open():
                yield from self._collect(submission, wanted)
            while self._later and not (self._full and self._submissions.open()):
                self._submit(self._later.popleft())
            yield from self._elsewhere(wanted)
            if wanted and not wait:
                raise self._pending(wanted)
            if wanted:
                looks += 1
                time.sleep(pause_s(looks))

    def _recover(self) -> None:
        """Bring to an end what a run that died had begun."""
        for submission in self._submissions.open():
            if submission.file is None:  # There is no batch of a file whose name nobody knows.
                self._submissions.abandon(submission)
            elif submission.batch is None:
                self._create(submission)

    def _submit_all(self, requests: Iterator[Request], wanted: dict[str, Request]) -> Answers:
        held = self._claims.keys()
        tested = False
        file: list[Request] = []
        size = 0
        for request in requests:
            if request.key not in held and not tested:
                mine = self._claims.claim([request]).mine
                try:
                    answered = list(self._ask(iter(mine)))
                finally:
                    self._claims.release([request.key])
                if answered:
                    tested = answered[0][1].meta.status != "error"
                    yield answered[0]
                    continue
            wanted[request.key] = request
            if request.key in held:
                continue
            more = len(self._line(request))
            if file and (len(file) == _MOST_REQUESTS or size + more > _MOST_BYTES):
                self._submit(file)
                file, size = [], 0
            file.append(request)
            size += more
        if file:
            self._submit(file)

    def _line(self, request: Request) -> bytes:
        return line(request.key, self._body(request.prompt))

    def _submit(self, requests: list[Request]) -> None:
        while requests:
            submission, requests = self._submissions.claim(requests)
            if not requests:
                return
            try:
                file = self._files.upload(submission.id, b"".join(map(self._line, requests)))
            except BaseException:
                self._submissions.abandon(submission)
                raise
            if self._submissions.uploaded(submission, file):
                self._create(replace(submission, file=file))
                return

    def _create(self, submission: Submission) -> None:
        """Have a submission's batch made, once, whoever else may have tried."""
        file = str(submission.file)
        for _ in range(_TRIES):
            if submission.tried_s is not None:
                time.sleep(_unsettled_s(submission.tried_s))
                found = self._files.find(file, submission.id)
                if found is not None:
                    self._submissions.created(submission, found)
                    return
            if self._submissions.trying(submission):
                try:
                    made = self._files.create(file, submission.id)
                except TeacherError:
                    self._submissions.release(submission)
                    raise
                if made is not None:
                    self._submissions.created(submission, made)
                    logger.info("%s: submitted, %d prompts.", made, len(self._submissions.held(submission)))
                    return
            now = self._submissions.now(submission)
            if now is None or now.batch is not None:
                return
            submission = now
        raise TeacherError(
            "The server took the prompts, but no batch could be made of them. They are kept: run this again later."
        )

    def _collect(self, submission: Submission, wanted: dict[str, Request]) -> Answers:
        """Look at a batch, and if it has ended commit all of it, wanted in this run or not."""
        if submission.batch is None:  # Another process is at it.
            return
        batch = self._files.look(submission.batch)
        keys = self._submissions.held(submission)
        if not batch.ended:
            self._tell(batch.id, f"{batch.status}, {batch.answered} of {len(keys)} done")
            return
        if batch.code == _QUEUE_FULL and not batch.files:
            self._submissions.release(submission)
            self._put_off(batch, [wanted[key] for key in keys if key in wanted])
            return
        reasons: Counter[str] = Counter()
        for key, outcome in self._outcomes(batch, keys, wanted):
            reply = self._reply(outcome, batch.id)
            reasons[reply.meta.error or "answered"] += 1
            request = wanted.pop(key, None)
            if request is not None:
                yield request, self._keep(request, reply)
            elif (prompt := self._ledger.prompt(key)) is not None:
                self._keep(Request(key, prompt), reply)
        self._submissions.release(submission)
        told = ", ".join(f"{count} {reason}" for reason, count in reasons.most_common())
        self._tell(batch.id, f"{batch.status}{batch.code}: {told}")

    def _tell(self, batch: str, news: str) -> None:
        if self._told.get(batch) != news:
            self._told[batch] = news
            logger.info("%s: %s.", batch, news)

    def _outcomes(
        self, batch: Batch, keys: set[str], wanted: Mapping[str, Request]
    ) -> Iterator[tuple[str, Reply | Failure]]:
        def choices(key: str) -> Mapping[str, str] | None:
            prompt = wanted[key].prompt if key in wanted else self._ledger.prompt(key)
            return prompt.choices if prompt else None

        left = set(keys)
        for file in batch.files:
            for key, outcome in self._files.read(file, choices):
                if key in left:
                    left.remove(key)
                    yield key, outcome
        for key in left:
            yield key, Failure(f"no reply in the batch, which {_FATE[batch.status]}{batch.code}")

    def _reply(self, outcome: Reply | Failure, batch: str | None = None) -> Reply:
        if isinstance(outcome, Failure):
            return Reply("", ReplyMeta(status="error", error=outcome.reason, model=self._name, batch=batch))
        return Reply(outcome, replace(outcome.meta, batch=batch))

    def _put_off(self, batch: Batch, requests: list[Request]) -> None:
        """The account's queue of batches is full: go on one by one, in smaller batches if one alone is too large."""
        self._full = True
        alone = not self._submissions.open()
        middle = (len(requests) + 1) // 2 if alone else len(requests)
        if alone and len(requests) == 1:
            raise TeacherError(f"{batch.id}: {batch.status}{batch.code}, with a single prompt. Run this again later.")
        self._later.extend(part for part in (requests[:middle], requests[middle:]) if part)
        logger.info("%s: the account's queue is full%s; %d prompts are put off.", batch.id, batch.code, len(requests))

    def _elsewhere(self, wanted: dict[str, Request]) -> Answers:
        """What another process collected meanwhile."""
        here = self._claims.keys().union(*({request.key for request in part} for part in self._later))
        for key in [key for key in wanted if key not in here]:
            failed = self._reply(Failure("no reply from another process that asked, or collected a batch"))
            known = self._ledger.get(key)  # It gets its key when it is kept, and is settled with the budget.
            yield wanted.pop(key), failed if known is None else Reply(known, replace(known.meta, key=None))

    def _pending(self, wanted: dict[str, Request]) -> PendingError:
        names = [submission.batch for submission in self._submissions.open() if submission.batch]
        return PendingError(
            f"{len(wanted)} prompts are under way, in batches that are not done ({', '.join(names[:5])}"
            f"{', …' if len(names) > 5 else ''}). Run the same command again to collect them."
        )


def _unsettled_s(tried_s: float | None) -> float:
    """RETURNS (float): Seconds until an attempt is settled, 0 if it is, or if there was none."""
    return 0.0 if tried_s is None else min(_SETTLING_S, max(0.0, tried_s + _SETTLING_S - time.time()))


_FATE = {"completed": "is complete", "failed": "failed", "expired": "expired", "cancelled": "was cancelled"}
