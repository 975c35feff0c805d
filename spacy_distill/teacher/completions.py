"""The wire format of `/chat/completions`: a prompt to a request body, whatever a server sends to a reply or a failure.

Pure functions. Nothing a server says reaches a failure's reason but a short code: servers quote keys and documents.
"""

from __future__ import annotations

import codecs
import json
import math
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any, Literal, NamedTuple

from .choice_scores import Token, choice_scores
from .limits import Quota
from .types import Prompt, Reply, ReplyMeta, ReplyStatus

Structured = Literal["json_schema", "json_object", "none"]
"""How a server is asked to keep to a prompt's JSON schema: `json_schema`, it is sent along and enforced;
`json_object`, any JSON; `none`, the prompt alone has to do."""

_WORTH_RETRYING = {408, 409, 425, 429}
_FILTERED = ("content_filter", "content_policy_violation")
_NO_CREDIT = ("insufficient_quota", "billing_hard_limit_reached")
_OVERLOADED = {429, 503, 529}
_CODE = re.compile(r"[a-z]+(?:_[a-z]+)*")
_UTF8 = codecs.getincrementaldecoder("utf-8")
_TOO_LONG = re.compile(
    r"context_(?:length|size)|(?:maximum|available|with|than the) context (?:length|size)", re.IGNORECASE
)
"""What servers say of a prompt that their model cannot hold: in a code (OpenAI, llama.cpp) or a sentence (vLLM, LM
Studio)."""
_UNITS_S = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|us|µs|ns|d|h|m|s)", re.ASCII)
_DURATION = re.compile(rf"(?:{_PART.pattern})+", re.ASCII)


class Features(NamedTuple):
    """What is asked of a server beyond text, and what not every server takes.

    structured (Structured): The reply's form.
    top_logprobs (Optional[int]): How many alternatives to each token, with log-probabilities. 0: the token's own
        log-probability alone. None: not even that.
    """

    structured: Structured
    top_logprobs: int | None

    def of(self, prompt: Prompt) -> Features:
        """RETURNS (Features): What of this a prompt has a use for."""
        wanted = self.top_logprobs if prompt.choices or self.top_logprobs is None else 0
        return Features(self.structured if prompt.schema is not None else "none", wanted)


_TOP_LOGPROBS = (20, 5, 0, None)
"""20 is what OpenAI and vLLM allow, 5 what others do."""


def ladder(structured: Structured, logprobs: bool) -> tuple[Features, ...]:
    """RETURNS (Tuple[Features, ...]): What to ask for, from everything wanted down to nothing: a form is given up
    only after log-probabilities alone did not help."""
    forms: tuple[Structured, ...] = ("json_schema", "json_object", "none")
    forms = forms[forms.index(structured) :]
    return tuple(Features(form, top) for form in forms for top in (_TOP_LOGPROBS if logprobs else (None,)))


@dataclass(frozen=True, slots=True)
class Failure:
    """Why there is no reply.

    reason (str): For the ledger and for people; never a key, never a document's text.
    status (int): The HTTP status; 0 if there was none.
    retry (bool): Asking again may help.
    wait_s (Optional[float]): How long the server asked to be left alone, in seconds.
    overloaded (bool): The server has too much to do, whoever asks.
    no_credit (bool): The account is empty: no text can be answered.
    too_long (bool): The prompt does not fit the model's context: asking in another way does not help.
    """

    reason: str
    status: int = 0
    retry: bool = True
    wait_s: float | None = None
    overloaded: bool = False
    no_credit: bool = False
    too_long: bool = False


def request_body(prompt: Prompt, model: str, features: Features, params: Mapping[str, Any]) -> bytes:
    """Write a request.

    params (Mapping[str, Any]): `system`, `temperature` and `max_tokens`, left to the server where None; `extra`, fields
        that win over every other.
    RETURNS (bytes): JSON.
    """
    system, extra = params["system"], params["extra"]
    messages = [{"role": "system", "content": system}] if system else []
    body: dict[str, Any] = {"model": model, "messages": [*messages, {"role": "user", "content": str(prompt)}]}
    for name in ("temperature", "max_tokens"):
        if params[name] is not None:
            body[name] = params[name]
    if features.top_logprobs is not None:
        body["logprobs"] = True
    if features.top_logprobs:
        body["top_logprobs"] = features.top_logprobs
    if features.structured == "json_object":
        body["response_format"] = {"type": "json_object"}
    elif features.structured == "json_schema":
        schema = {"name": "reply", "strict": True, "schema": prompt.schema}
        body["response_format"] = {"type": "json_schema", "json_schema": schema}
    return json.dumps({**body, **extra}).encode("ascii")


def read_response(
    status: int, headers: Mapping[str, str], body: bytes, choices: Mapping[str, str] | None = None
) -> Reply | Failure:
    """Read what a server sent.

    status (int): The HTTP status.
    headers (Mapping[str, str]): The response's headers; names in any case, if the mapping takes them so.
    body (bytes): The response's body, whole.
    choices (Optional[Mapping[str, str]]): Those of the prompt, for their probabilities.
    RETURNS (Union[Reply, Failure]): The reply, refused and truncated ones included; or why there is none.
    """
    try:
        data = json.loads(body)
    except (ValueError, RecursionError):
        data = None
    error = data.get("error") if isinstance(data, dict) else None
    if status == 200 and error:
        code = error.get("code") if isinstance(error, dict) else None
        inner = code if isinstance(code, int) and 400 <= code < 600 else 500
        return _failure(inner, headers, error, f"HTTP 200 with an error{_code(error)}")
    if status != 200:
        return _failure(status, headers, error, f"HTTP {status}{_code(error)}")
    if not isinstance(data, dict):
        return Failure("HTTP 200, but its body is not a JSON object", status)
    return _reply(data, choices or {})


def _failure(status: int, headers: Mapping[str, str], error: Any, reason: str) -> Reply | Failure:
    code = error.get("code") or error.get("type") if isinstance(error, dict) else None
    if code in _FILTERED:
        return Reply("", ReplyMeta(status="refused"))
    no_credit = code in _NO_CREDIT or status == 402
    said = [error.get(name) for name in ("code", "type", "message")] if isinstance(error, dict) else [error]
    if status in (400, 413, 422) and any(isinstance(words, str) and _TOO_LONG.search(words) for words in said):
        return Failure(f"{reason}: longer than the model's context", status, retry=False, too_long=True)
    retry = (status in _WORTH_RETRYING or status >= 500) and not no_credit
    wait_s = retry_after_s(headers)
    overloaded = retry and (status in _OVERLOADED or wait_s is not None)
    return Failure(reason, status, retry, wait_s, overloaded, no_credit)


def _code(error: Any) -> str:
    """Error codes are words joined by underscores; anything else may be a quotation."""
    if isinstance(error, dict):
        for code in (error.get("code"), error.get("type")):
            if isinstance(code, str) and len(code) <= 40 and "_" in code and _CODE.fullmatch(code):
                return f" ({code})"
    return ""


def _reply(data: Mapping[str, Any], choices: Mapping[str, str]) -> Reply | Failure:
    candidates = data.get("choices")
    if not isinstance(candidates, list) or not candidates:
        return Failure("HTTP 200 without choices", 200)
    choice = candidates[0]
    message = choice.get("message") if isinstance(choice, dict) else None
    if not isinstance(message, dict):
        return Failure("HTTP 200 with a choice that has no message", 200)
    content, refusal, finish = message.get("content"), message.get("refusal"), choice.get("finish_reason")
    if isinstance(content, list):
        content = "".join(str(part.get("text") or "") for part in content if isinstance(part, dict))
    refused = bool(refusal) or finish == "content_filter"
    if finish == "error" or not (isinstance(content, str) or refused or finish == "length"):
        return Failure("HTTP 200 with a message that has no content", 200)
    usage = data.get("usage") if isinstance(data.get("usage"), dict) else {}
    status: ReplyStatus = "refused" if refused else "truncated" if finish == "length" else "ok"
    text = _whole(str(content or refusal or ""))
    tokens = _tokens(choice.get("logprobs"))
    meta = ReplyMeta(
        status=status,
        scores=choice_scores(text, tokens, choices) if status == "ok" and tokens and choices else None,
        tokens=_characters(tokens) if tokens else None,
        model=data.get("model") if isinstance(data.get("model"), str) else None,
        prompt_tokens=_count(usage, "prompt_tokens"),
        reply_tokens=_count(usage, "completion_tokens"),
    )
    return Reply(text, meta)


def _tokens(logprobs: Any) -> list[Token] | None:
    content = logprobs.get("content") if isinstance(logprobs, dict) else None
    try:
        tokens = [Token(*_token(item), _listed(item.get("top_logprobs"))) for item in content or ()]
    except (TypeError, KeyError, ValueError, AttributeError):
        return None
    return tokens if all(math.isfinite(token.logprob) for token in tokens) else None


def _token(item: Any) -> tuple[bytes, float]:
    raw = item.get("bytes")
    return _whole(item["token"]).encode() if raw is None else bytes(raw), float(item["logprob"])


def _listed(alternatives: Any) -> dict[bytes, float]:
    try:
        listed = dict(map(_token, alternatives or ()))
    except (TypeError, KeyError, ValueError, AttributeError):
        return {}
    return {said: logprob for said, logprob in listed.items() if not math.isnan(logprob)}


def _characters(tokens: Sequence[Token]) -> list[tuple[str, float]]:
    """A character may take several tokens, which are no text by themselves: they are put together."""
    found: list[tuple[str, float]] = []
    decoder = _UTF8("replace")
    text, logprob = "", 0.0
    for token in tokens:
        text += decoder.decode(token.said)
        logprob += token.logprob
        if not decoder.getstate()[0]:
            found.append((text, logprob))
            text, logprob = "", 0.0
    if decoder.getstate()[0]:
        found.append((text + decoder.decode(b"", final=True), logprob))
    return found


def _count(usage: Any, name: str) -> int | None:
    value = usage.get(name)
    return value if isinstance(value, int) and value >= 0 else None


def _whole(text: str) -> str:
    """Half a surrogate pair, as JSON can smuggle it in, can be stored nowhere: it becomes U+FFFD."""
    return text if text.isascii() else text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """RETURNS (Optional[float]): The seconds a server asks to wait (`Retry-After`, RFC 9110: seconds or a date;
    `retry-after-ms`, as OpenAI sends it); None if it does not, or not in a form we know."""
    exact, wait = headers.get("retry-after-ms"), headers.get("Retry-After")
    try:
        if exact is not None:
            return max(0.0, float(exact) / 1000)
        if wait is None:
            return None
        return max(0.0, float(wait))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(wait or "").timestamp() - time.time())
    except (TypeError, ValueError, OverflowError):
        return None


def read_quotas(headers: Mapping[str, str]) -> tuple[Quota | None, Quota | None]:
    """Read what a server says is left of its limits, in OpenAI's words (`x-ratelimit-remaining-requests: 59`,
    `x-ratelimit-reset-requests: 6m0s`) or Anthropic's (`anthropic-ratelimit-requests-remaining: 59`,
    `anthropic-ratelimit-requests-reset: 2026-01-01T00:00:00Z`).

    RETURNS (Tuple[Optional[Quota], Optional[Quota]]): For requests and for tokens; None if it does not say, or not in
        a form we know.
    """
    return _quota(headers, "requests"), _quota(headers, "tokens")


def _quota(headers: Mapping[str, str], what: str) -> Quota | None:
    remaining = headers.get(f"x-ratelimit-remaining-{what}")
    if remaining is not None:
        reset = headers.get(f"x-ratelimit-reset-{what}", "")
    else:
        remaining = headers.get(f"anthropic-ratelimit-{what}-remaining")
        if remaining is None:
            return None
        reset = headers.get(f"anthropic-ratelimit-{what}-reset", "")
    reset_s = _reset_s(reset)
    return Quota(float(remaining), reset_s) if remaining.isdecimal() and reset_s is not None else None


def _reset_s(reset: str) -> float | None:
    """Seconds from "6m0s", "120ms", "1.5" or a date as in RFC 3339."""
    if _DURATION.fullmatch(reset):
        return sum(float(number) * _UNITS_S[unit] for number, unit in _PART.findall(reset))
    try:
        if reset.replace(".", "", 1).isdecimal():
            return float(reset)
        return max(0.0, datetime.fromisoformat(reset.replace("Z", "+00:00")).timestamp() - time.time())
    except (ValueError, OverflowError):
        return None
