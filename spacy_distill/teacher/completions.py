"""The wire format of `/chat/completions`: a prompt to a request body, whatever a server sends to a reply or a failure.

Pure functions. Nothing a server says reaches a failure's reason but a short code: servers quote keys and documents.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any, Literal, NamedTuple

from .choice_scores import choice_scores
from .limits import Quota
from .tokens import characters, read_tokens, whole
from .types import Prompt, Reply, ReplyMeta, ReplyStatus

Structured = Literal["json_schema", "json_object", "none"]
"""How a server is asked to keep to a prompt's JSON schema: `json_schema`, it is sent along and enforced;
`json_object`, any JSON; `none`, the prompt alone has to do."""

_WORTH_RETRYING = {408, 409, 425, 429}
_FILTERED = ("content_filter", "content_policy_violation")
_NO_CREDIT = ("insufficient_quota", "billing_hard_limit_reached")
_OVERLOADED = {429, 503, 529}
_CODE = re.compile(r"[a-z]+(?:_[a-z]+)+|[A-Z]+(?:_[A-Z]+)+")
_TOO_LONG = re.compile(
    r"context_(?:length|size)|(?:maximum|available|with|than the(?: model's)?) context (?:length|size)"
    r"|maximum prompt length|prompt is too long",
    re.IGNORECASE,
)
"""What servers say of a prompt that their model cannot hold: in a code (OpenAI, llama.cpp) or a sentence (vLLM, SGLang,
LM Studio, xAI, Anthropic)."""
_FORM = re.compile(r"\b(?:json_schema|schema|grammar|response_format|format)\b", re.IGNORECASE)
"""What servers say that fail, with a 500, over a schema they cannot use (Ollama)."""
_LOADING = re.compile("loading model", re.IGNORECASE)
"""What llama.cpp's server says, with a 503, until it has read its weights."""
_FIELD = re.compile(r"[a-z]+(?:[_.][a-z]+|\[\d+\])*")
_FILE = re.compile(r"[/\\~.]|[A-Za-z]:[/\\]|.*\.gguf$")
_NOTHING_SAID = (
    "the token limit was reached before the first word, perhaps by thinking: raise `max_tokens`, or turn thinking off"
)
_CUT_OFF = "cut off at the token limit: where many replies are, raise `max_tokens`"
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
    form (bool): It failed over the form of the reply that was asked for.
    loading (bool): The server is not ready yet: its model is still being loaded.
    """

    reason: str
    status: int = 0
    retry: bool = True
    wait_s: float | None = None
    overloaded: bool = False
    no_credit: bool = False
    too_long: bool = False
    form: bool = False
    loading: bool = False


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
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    choices: Mapping[str, str] | None = None,
    *,
    latency_s: float | None = None,
) -> Reply | Failure:
    """Read what a server sent.

    status (int): The HTTP status.
    headers (Mapping[str, str]): The response's headers, by their names in lower case.
    body (bytes): The response's body, whole.
    choices (Optional[Mapping[str, str]]): Those of the prompt, for their probabilities.
    latency_s (Optional[float]): How long it took.
    RETURNS (Union[Reply, Failure]): The reply, refused and truncated ones included; or why there is none.
    """
    try:
        data = json.loads(body)
    except (ValueError, RecursionError):
        data = None
    if isinstance(data, list) and len(data) == 1:  # Gemini's errors come in a list.
        (data,) = data
    flat = data if status != 200 else None  # As of SGLang, and older vLLM.
    error = data.get("error", flat) if isinstance(data, dict) else None
    if status == 200 and error:
        code = error.get("code") if isinstance(error, dict) else None
        inner = code if isinstance(code, int) and 400 <= code < 600 else 500
        return _failure(inner, headers, error, f"HTTP 200 with an error{error_code(error)}")
    if status != 200:
        return _failure(status, headers, error, f"HTTP {status}{error_code(error)}")
    if not isinstance(data, dict):
        return Failure("HTTP 200, but its body is not a JSON object", status)
    return _reply(data, choices or {}, latency_s)


def _failure(status: int, headers: Mapping[str, str], error: Any, reason: str) -> Reply | Failure:
    code = error.get("code") or error.get("type") if isinstance(error, dict) else None
    if code in _FILTERED:
        return Reply("", ReplyMeta(status="refused"))
    if 300 <= status < 400:
        return Failure(f"{reason}: the server answers elsewhere; write that URL into `endpoint`", status, retry=False)
    no_credit = code in _NO_CREDIT or status == 402
    said = [error.get(name) for name in ("code", "type", "message")] if isinstance(error, dict) else [error]
    words = "\n".join(each for each in said if isinstance(each, str))
    if status in (400, 413, 422) and _TOO_LONG.search(words):
        return Failure(f"{reason}: longer than the model's context", status, retry=False, too_long=True)
    retry = (status in _WORTH_RETRYING or status >= 500) and not no_credit
    wait_s = retry_after_s(headers)
    overloaded = retry and (status in _OVERLOADED or wait_s is not None)
    return Failure(
        reason,
        status,
        retry,
        wait_s,
        overloaded,
        no_credit,
        form=status >= 500 and _FORM.search(words) is not None,
        loading=status == 503 and _LOADING.search(words) is not None,
    )


def error_code(error: Any) -> str:
    """RETURNS (str): " (CODE)", " (CODE, `FIELD`)" or nothing. Codes are words joined by underscores, fields are paths;
    anything else may be a quotation."""
    if not isinstance(error, dict):
        return ""
    codes = [error.get(name) for name in ("code", "type", "status")]
    said = [code for code in codes if isinstance(code, str) and len(code) <= 40 and _CODE.fullmatch(code)][:1]
    field = error.get("param")
    if isinstance(field, str) and len(field) <= 40 and _FIELD.fullmatch(field):
        said.append(f"`{field}`")
    return f" ({', '.join(said)})" if said else ""


def _reply(data: Mapping[str, Any], choices: Mapping[str, str], latency_s: float | None) -> Reply | Failure:
    candidates = data.get("choices")
    if not isinstance(candidates, list) or not candidates:
        return Failure("HTTP 200 without choices", 200)
    choice = candidates[0]
    finish = choice.get("finish_reason") if isinstance(choice, dict) else None
    filtered = str(finish).startswith("content_filter")  # Gemini adds the reason, and leaves the message out.
    message = choice.get("message") if isinstance(choice, dict) else None
    if message is None and (filtered or finish == "length"):
        message = {}
    if not isinstance(message, dict):
        return Failure("HTTP 200 with a choice that has no message", 200)
    content, refusal = message.get("content"), message.get("refusal")
    if isinstance(content, list):
        content = "".join(str(part.get("text") or "") for part in content if isinstance(part, dict))
    refused = bool(refusal) or filtered
    thought = message.get("reasoning_content") or message.get("reasoning")
    usage = data.get("usage") if isinstance(data.get("usage"), dict) else {}
    paid = bool(_written(usage))  # Asking again, for what is no text, would be paid for again.
    if finish == "error" or not (isinstance(content, str) or refused or finish == "length" or thought or paid):
        return Failure("HTTP 200 with a message that has no content", 200)
    status: ReplyStatus = "refused" if refused else "truncated" if finish == "length" else "ok"
    text = whole(str(content or refusal or ""))
    tokens = read_tokens(choice.get("logprobs"))
    meta = ReplyMeta(
        status=status,
        error=None if status != "truncated" else _CUT_OFF if text.strip() else _NOTHING_SAID,
        scores=choice_scores(text, tokens, choices) if status == "ok" and tokens and choices else None,
        tokens=characters(tokens) if tokens else None,
        model=_name(data.get("model")),
        prompt_tokens=_count(usage, "prompt_tokens"),
        reply_tokens=_written(usage),
        latency_s=latency_s,
    )
    return Reply(text, meta)


def _name(model: Any) -> str | None:
    """A file's name without the folders on somebody's machine; other names may hold slashes."""
    if not isinstance(model, str):
        return None
    return re.split(r"[/\\]", model.rstrip("/\\"))[-1] if _FILE.match(model) else model


def _count(usage: Any, name: str) -> int | None:
    value = usage.get(name)
    return value if isinstance(value, int) and value >= 0 else None


def _written(usage: Any) -> int | None:
    """What was thought is paid for like what was written, but some count it in the total alone (Gemini, xAI)."""
    read, written, total = (_count(usage, f"{name}_tokens") for name in ("prompt", "completion", "total"))
    return written if read is None or total is None else max(written or 0, total - read)


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """RETURNS (Optional[float]): The seconds a server asks to wait (`Retry-After`, RFC 9110: seconds or a date;
    `retry-after-ms`, as OpenAI sends it); None if it does not, or not in a form we know."""
    exact, wait = headers.get("retry-after-ms"), headers.get("retry-after")
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
