"""One prompt to one server, until there is a reply or no hope for one."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

from ..errors import TeacherError
from .base import Request
from .completions import Failure, Features, ladder, read_quotas, read_response, request_body
from .ledger import Ledger
from .limits import LONGEST_WAIT_S, Limits, Permit, backoff_s
from .transport import Broken, TooLarge, TooSlow, Transport, Unreachable
from .types import Prompt, Reply, ReplyMeta

logger = logging.getLogger("spacy_distill")

_UNREACHABLE = -1

_WORTH_SAYING_S = 5.0
"""A person who watches should know why nothing happens for so long."""

_TRIES_AT_FIRST = 3
"""A server that was never reached is given up sooner than one that has gone away."""

_REFUSALS_AT_FIRST = 10
"""So many prompts refused, or given up, and none ever answered: the requests themselves are wrong, not the texts."""

_SENT_AWAY = 10
"""So many in a row asked to wait for longer than a run does: a quota is used up."""

_LONGEST_OVERLOAD_S = 1800.0
"""So long has the server taken nothing, however long the pauses."""

_KEYS_REFUSED = 10
"""So many keys refused in a row after others were accepted: it was revoked."""

_SERVER_ERRORS = 2
"""So many 500s to one prompt before anything was answered: the form that was asked for may be the reason."""

_LONGEST_LOADING_S = 300.0
_LOADING_PAUSE_S = 2.0


Deliver = Callable[[Reply, Permit | None], None]
"""Takes a reply, and the permit under which it came: to be given back when the reply is safe."""


class Asker:
    """What is known of one server: what it takes, whether it ever answered. Lives in the transport's thread.

    name (str): The model's name.
    endpoint (str): Base URL.
    params (Mapping[str, Any]): See `completions.request_body`; and what is asked for first, `structured` and
        `logprobs`.
    key_env (Optional[str]): The name of the key's environment variable, for messages.
    max_tries (int): Tries for one prompt.
    """

    def __init__(
        self,
        name: str,
        endpoint: str,
        params: Mapping[str, Any],
        *,
        key_env: str | None,
        max_tries: int,
    ) -> None:
        self._name = name
        self._endpoint = endpoint
        self._params = params
        self._key_env = key_env
        self._max_tries = max_tries
        self._ladder = ladder(params["structured"], params["logprobs"])
        self._rung = 0
        self._accepted: set[Features] = set()
        self._last_success_s: float | None = None
        self._refused = 0
        self._keys_refused = 0
        self._sent_away = 0
        self._overloaded_since_s: float | None = None
        self._overloaded_last_s = 0.0
        self._loading_since_s: float | None = None
        self._said: set[str] = set()

    async def answer(self, transport: Transport, request: Request, ledger: Ledger | None, deliver: Deliver) -> None:
        """Try until there is a reply, or no hope for one.

        ledger (Optional[Ledger]): Tells whether the server ever answered under these settings.
        deliver (Deliver): Takes the one reply, whose status is "error" if what failed is this prompt.
        RAISES (TeacherError): What failed is the teacher, whatever the prompt.
        """
        first_s = time.monotonic()
        if first_s - self._overloaded_last_s > LONGEST_WAIT_S:  # Nobody asked meanwhile: a run would have.
            self._overloaded_since_s, self._sent_away = None, 0
        prompt = request.prompt
        tries, rung, refusal = 0, self._rung, None
        while True:
            rung, outcome = await self._try(transport, prompt, rung, deliver)
            if isinstance(outcome, Reply):
                return
            if outcome.loading:
                self._wait_for_model()
                continue
            if self._features(prompt, rung) not in self._accepted and self._may_be_refused(outcome, tries):
                refusal = refusal or outcome
                lower = self._lower(prompt, rung, form=outcome.retry)
                if lower is not None:
                    rung = lower
                    continue
                outcome = outcome if outcome.retry else refusal
            tries += 1
            self._stop_if_hopeless(outcome, tries, first_s, ledger)
            too_long = (outcome.wait_s or 0.0) > LONGEST_WAIT_S
            if not outcome.retry or tries >= self._max_tries or too_long:
                asks = f", asks to wait {outcome.wait_s:.0f} s" if too_long else ""
                times = f" (tried {tries} times)" if tries > 1 else ""
                error = f"{outcome.reason}{asks}{times}"
                deliver(Reply("", ReplyMeta(status="error", error=error, model=self._name)), None)
                return
            if not outcome.overloaded:  # Else all pause, at the gate.
                await asyncio.sleep(backoff_s(tries))

    async def _try(
        self, transport: Transport, prompt: Prompt, rung: int, deliver: Deliver
    ) -> tuple[int, Reply | Failure]:
        """Ask once, when it is this prompt's turn.

        RETURNS (Tuple[int, Union[Reply, Failure]]): The rung at which it was asked in the end, and what came.
        """
        permit = await transport.gate.enter(len(prompt))
        delivered = False
        try:
            rung = max(rung, self._rung)  # Others may have found out meanwhile what the server takes.
            features = self._features(prompt, rung)
            limits = transport.gate.limits
            body = request_body(prompt, self._name, features, self._params)
            outcome = await self._send(transport, limits, permit, body, prompt.choices)
            if isinstance(outcome, Reply):
                read, written = outcome.meta.prompt_tokens, outcome.meta.reply_tokens
                limits.succeeded(permit, None if read is None else read + (written or 0))
                self._succeeded(prompt, features, rung)
                self._say_once(outcome.meta.error)
                deliver(outcome, permit)
                delivered = True
            elif outcome.loading:
                limits.overloaded(permit, _LOADING_PAUSE_S)
            elif outcome.overloaded:
                pause_s = limits.overloaded(permit, outcome.wait_s)
                if pause_s >= _WORTH_SAYING_S:
                    logger.warning("%s: %s. All requests wait for %.0f s.", self._endpoint, outcome.reason, pause_s)
            return rung, outcome
        finally:
            if not delivered:
                transport.gate.leave(permit)

    async def _send(
        self, transport: Transport, limits: Limits, permit: Permit, body: bytes, choices: Mapping[str, str]
    ) -> Reply | Failure:
        try:
            response = await transport.post(body)
        except Unreachable as error:
            return Failure(str(error), status=_UNREACHABLE)
        except Broken as error:
            if isinstance(error, TooSlow):
                limits.too_slow(permit)
            return Failure(str(error), retry=not isinstance(error, TooLarge))
        limits.heard(permit, *read_quotas(response.headers))
        return read_response(response.status, response.headers, response.body, choices, latency_s=response.latency_s)

    def body(self, prompt: Prompt) -> bytes:
        """RETURNS (bytes): The request for a prompt, with no more in it than the server is known to take."""
        return request_body(prompt, self._name, self._features(prompt, self._rung), self._params)

    def _features(self, prompt: Prompt, rung: int) -> Features:
        return self._ladder[rung].of(prompt)

    def _may_be_refused(self, failure: Failure, tries: int) -> bool:
        """RETURNS (bool): What was asked for beyond text may be more than the server takes."""
        if failure.status in (400, 422):
            return not failure.too_long
        first = self._last_success_s is None and tries + 1 >= _SERVER_ERRORS
        return failure.form or (failure.status == 500 and first)

    def _lower(self, prompt: Prompt, rung: int, *, form: bool) -> int | None:
        """RETURNS (Optional[int]): The next rung down on which something else is asked for; another form, if that is to
        be blamed."""
        sent = self._features(prompt, rung)
        for lower in range(rung + 1, len(self._ladder)):
            other = self._features(prompt, lower)
            if other.structured != sent.structured if form else other != sent:
                return lower
        return None

    def _wait_for_model(self) -> None:
        """RAISES (TeacherError): It has taken too long."""
        now_s = time.monotonic()
        if self._loading_since_s is None:
            self._loading_since_s = now_s
            self._say_once(f"the server is loading its model. All requests wait, up to {_LONGEST_LOADING_S:.0f} s.")
        elif now_s - self._loading_since_s > _LONGEST_LOADING_S:
            raise TeacherError(
                f"{self._endpoint} has been loading its model for {_LONGEST_LOADING_S:.0f} s. Run this again when it is"
                " ready."
            )

    def _say_once(self, remark: str | None) -> None:
        if remark is not None and remark not in self._said:
            self._said.add(remark)
            logger.warning("%s: %s", self._endpoint, remark)

    def _succeeded(self, prompt: Prompt, features: Features, rung: int) -> None:
        self._last_success_s = time.monotonic()
        self._loading_since_s = self._overloaded_since_s = None
        self._keys_refused = self._sent_away = 0
        self._accepted.add(features)
        if rung > self._rung and self._features(prompt, self._rung) not in self._accepted:
            self._rung = rung
            logger.warning(
                "%s does not take structured = %r with top_logprobs = %s; going on with %r and %s.",
                self._endpoint,
                *self._ladder[0],
                *self._ladder[rung],
            )

    def _stop_if_hopeless(self, failure: Failure, tries: int, first_s: float, ledger: Ledger | None) -> None:
        """RAISES (TeacherError): What failed is not this prompt but the teacher."""
        where = f"{self._endpoint}/chat/completions: {failure.reason}."
        safe = " Every reply so far is kept." if ledger else ""
        if failure.no_credit:
            raise TeacherError(f"{where} The account has no credit left.{safe}")
        if failure.overloaded:
            self._stop_if_overloaded(failure, where, safe)
        if failure.status == _UNREACHABLE:
            never = self._last_success_s is None
            enough = min(_TRIES_AT_FIRST, self._max_tries) if never else self._max_tries
            if tries >= enough and (self._last_success_s or 0.0) < first_s:
                raise TeacherError(f"{where} Is the server running, and `endpoint` its base URL?{safe}")
        elif self._last_success_s is None and failure.status in (401, 403):
            remedy = (
                "Name the environment variable that holds its key in `key_env`."
                if self._key_env is None
                else f"The key in the environment variable {self._key_env} (`key_env`) was not accepted for this model."
            )
            raise TeacherError(f"{where} {remedy}")
        elif failure.status == 401:
            self._keys_refused += 1
            if self._keys_refused >= _KEYS_REFUSED:
                raise TeacherError(
                    f"{where} The key was accepted before and is not any more, {_KEYS_REFUSED} times in a row.{safe}"
                )
        elif self._last_success_s is None and failure.status == 404:
            raise TeacherError(
                f"{where} Either `endpoint` is not the base URL (it usually ends in /v1), or there is no model"
                f" {self._name!r} there."
            )
        elif failure.overloaded or failure.too_long:
            return
        elif self._last_success_s is None and (not failure.retry or tries >= self._max_tries):
            self._refused += 1
            if self._refused < _REFUSALS_AT_FIRST:
                return
            self._refused = 0
            # A rerun may ask for nothing but the few texts that are refused every time.
            if ledger is None or not ledger.has_reply(self._name, dict(self._params)):
                look = "`endpoint` (it usually ends in /v1), `timeout_s`" if failure.retry else "`extra`"
                raise TeacherError(
                    f"{where} The first {_REFUSALS_AT_FIRST} prompts were refused and none was answered, so it is"
                    f" hardly the texts. Look at {look} and the model's other settings; the server's log says more."
                )

    def _stop_if_overloaded(self, failure: Failure, where: str, safe: str) -> None:
        """RAISES (TeacherError): It will not answer within this run."""
        now_s, wait_s = time.monotonic(), failure.wait_s or 0.0
        self._overloaded_last_s = now_s
        self._overloaded_since_s = self._overloaded_since_s or now_s
        self._sent_away += wait_s > LONGEST_WAIT_S
        if self._sent_away >= _SENT_AWAY and wait_s > LONGEST_WAIT_S:
            raise TeacherError(f"{where} It asks to wait {wait_s:.0f} s: run this again then.{safe}")
        if now_s - self._overloaded_since_s > _LONGEST_OVERLOAD_S:
            raise TeacherError(
                f"{where} It has taken nothing for {_LONGEST_OVERLOAD_S:.0f} s: run this again later.{safe}"
            )
