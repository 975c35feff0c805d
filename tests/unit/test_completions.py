import json
import math
import time
from datetime import datetime, timezone
from email.utils import formatdate
from typing import Any

import pytest

from spacy_distill.teacher.completions import (
    Failure,
    Features,
    ladder,
    read_quotas,
    read_response,
    request_body,
    retry_after_s,
)
from spacy_distill.teacher.types import Prompt, Reply

PLAIN = Features("none", None)
DEFAULTS = {"system": None, "temperature": 0.0, "max_tokens": 100, "extra": {}}


def respond(body: Any, status: int = 200, **headers: str) -> Reply | Failure:
    return read_response(status, headers, body if isinstance(body, bytes) else json.dumps(body).encode())


def choice(**fields: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "finish_reason": "stop", **fields}]}


def test_a_request_says_what_was_set_and_no_more() -> None:
    prompt = Prompt("caf\u00e9", prefix="Text: ", schema={"type": "object"})
    body = json.loads(request_body(prompt, "m", PLAIN, DEFAULTS))
    assert body == {
        "model": "m",
        "messages": [{"role": "user", "content": "Text: caf\u00e9"}],
        "temperature": 0.0,
        "max_tokens": 100,
    }
    params = {"system": "Be brief.", "temperature": None, "max_tokens": None, "extra": {"seed": 1, "model": "other"}}
    body = json.loads(request_body(prompt, "m", Features("json_schema", 20), params))
    assert body == {
        "model": "other",
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Text: caf\u00e9"}],
        "seed": 1,
        "logprobs": True,
        "top_logprobs": 20,
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "reply", "strict": True, "schema": {"type": "object"}},
        },
    }
    body = json.loads(request_body(prompt, "m", Features("json_object", 0), DEFAULTS))
    assert body["response_format"] == {"type": "json_object"}
    assert body["logprobs"] is True
    assert "top_logprobs" not in body


def test_the_ladder_gives_up_log_probabilities_before_a_form() -> None:
    forms = ("json_schema", "json_object", "none")
    assert [tuple(rung) for rung in ladder("json_schema", True)] == [
        (form, top) for form in forms for top in (20, 5, 0, None)
    ]
    assert ladder("none", False) == (PLAIN,)


def test_a_prompt_is_asked_for_what_it_has_a_use_for() -> None:
    everything = Features("json_schema", 20)
    assert everything.of(Prompt("x")) == ("none", 0)
    assert everything.of(Prompt("x", schema={})) == ("json_schema", 0)
    assert everything.of(Prompt("x", choices={"a": " a"})) == ("none", 20)
    assert Features("json_object", None).of(Prompt("x", choices={"a": " a"})) == ("none", None)


def test_a_good_response_is_read_whole() -> None:
    body = {
        **choice(
            message={"role": "assistant", "content": '{"label": "a"}'},
            logprobs={"content": [{"token": '{"label": "', "logprob": -0.1}, {"token": 'a"}', "logprob": -2}]},
        ),
        "model": "m-2026",
        "usage": {"prompt_tokens": 12, "completion_tokens": 3},
    }
    reply = respond(body)
    assert reply == '{"label": "a"}'
    assert isinstance(reply, Reply)
    assert reply.meta.tokens == [('{"label": "', -0.1), ('a"}', -2.0)]
    assert (reply.meta.model, reply.meta.prompt_tokens, reply.meta.reply_tokens) == ("m-2026", 12, 3)


@pytest.mark.parametrize(
    ("completion", "total", "written"), [(3, 15, 3), (3, 615, 603), (None, 615, 603), (3, None, 3), (3, 12, 3)]
)
def test_tokens_of_thinking_that_only_the_total_counts_are_counted(
    completion: int | None, total: int | None, written: int
) -> None:
    usage = {"prompt_tokens": 12, "completion_tokens": completion, "total_tokens": total}
    reply = respond({**choice(message={"content": "a"}), "usage": usage})
    assert isinstance(reply, Reply)
    assert (reply.meta.prompt_tokens, reply.meta.reply_tokens) == (12, written)


def test_a_character_of_several_tokens_is_put_together() -> None:
    """As OpenAI sends them: what is no character yet has an escape for `token`. Others leave `bytes` out."""
    content = [
        {"token": "tea ", "bytes": list(b"tea "), "logprob": -0.1},
        {"token": "\\xf0\\x9f", "bytes": [0xF0, 0x9F], "logprob": -0.5},
        {"token": "\\x98\\x80", "bytes": [0x98, 0x80], "logprob": -0.25},
        {"token": "ü", "bytes": None, "logprob": -1},
        {"token": "", "bytes": [], "logprob": -2},
    ]
    reply = respond(choice(message={"content": "tea 😀ü"}, logprobs={"content": content}))
    assert isinstance(reply, Reply)
    assert reply.meta.tokens == [("tea ", -0.1), ("😀", -0.75), ("ü", -1.0), ("", -2.0)]
    cut = respond(choice(message={"content": "tea \ufffd"}, logprobs={"content": content[:2]}))
    assert isinstance(cut, Reply)
    assert cut.meta.tokens == [("tea ", -0.1), ("\ufffd", -0.5)]


def test_choices_get_a_probability_each_and_nothing_more_is_kept() -> None:
    others = [{"token": "b", "logprob": -2.0}, {"token": "a", "logprob": -1.0}, {"token": "The", "logprob": -0.5}]
    content = [
        {"token": '{"label": "', "logprob": -0.1, "top_logprobs": [{"token": "I", "logprob": -0.2}]},
        {"token": "a", "logprob": -1.0, "top_logprobs": others},
        {"token": '"}', "logprob": 0.0, "top_logprobs": []},
    ]
    body = choice(message={"content": '{"label": "a"}'}, logprobs={"content": content})
    choices = {"A": ' {"label": "a"}', "B": ' {"label": "b"}'}
    reply = read_response(200, {}, json.dumps(body).encode(), choices)
    assert isinstance(reply, Reply)
    assert reply.meta.scores == pytest.approx({"A": 1 / (1 + math.exp(-1)), "B": 1 / (1 + math.exp(1))})
    assert reply.meta.tokens == [('{"label": "', -0.1), ("a", -1.0), ('"}', 0.0)]
    assert len(json.dumps(reply.meta.to_dict())) < 300
    for broken in ("x", [1], [{"token": "b"}], [{"token": "b", "logprob": "NaN"}], None):
        content[1]["top_logprobs"] = broken
        reply = read_response(200, {}, json.dumps(body).encode(), choices)
        assert isinstance(reply, Reply)
        assert (reply.meta.scores, reply.meta.tokens) == (None, [('{"label": "', -0.1), ("a", -1.0), ('"}', 0.0)])
    cut = {**body, "choices": [{**body["choices"][0], "finish_reason": "length"}]}
    reply = read_response(200, {}, json.dumps(cut).encode(), choices)
    assert isinstance(reply, Reply)
    assert (reply.meta.status, reply.meta.scores) == ("truncated", None)


@pytest.mark.parametrize(
    "error",
    [
        {"message": "This is long.", "type": "invalid_request_error", "code": "context_length_exceeded"},  # OpenAI
        {"message": "request (932 tokens) exceeds …", "type": "exceed_context_size_error", "code": 400},  # llama.cpp
        {"message": "This model's maximum context length is 512 tokens. …", "type": "BadRequestError", "code": 400},
        "The number of tokens to keep is greater than the context length.",  # LM Studio
        {"message": "The input (99 tokens) is longer than the model's context length (9 tokens)."},  # SGLang, Together
        {"message": "This model's maximum prompt length is 9 but the request contains 99 tokens"},  # xAI
        {"message": "prompt is too long: 99 tokens > 9 maximum"},  # Anthropic
    ],
)
@pytest.mark.parametrize("flat", [True, False])
def test_servers_say_in_many_ways_that_a_text_is_too_long(error: Any, flat: bool) -> None:
    body = {"object": "error", **error} if flat and isinstance(error, dict) else {"error": error}
    failure = read_response(400, {}, json.dumps(body).encode())
    assert isinstance(failure, Failure)
    assert (failure.too_long, failure.retry) == (True, False)
    assert failure.reason.endswith("longer than the model's context")
    other = read_response(400, {}, b'{"error": {"message": "context: unknown field", "code": 400}}')
    assert isinstance(other, Failure)
    assert not other.too_long


@pytest.mark.parametrize(
    ("fields", "status", "text"),
    [
        ({"message": {"content": "a"}}, "ok", "a"),
        ({"message": {"content": ""}}, "ok", ""),
        ({"message": {"content": "a"}, "logprobs": None}, "ok", "a"),
        ({"message": {"content": "a"}, "logprobs": {"content": [{"tok": 1}]}}, "ok", "a"),
        ({"message": {"content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}}, "ok", "ab"),
        ({"message": {"content": "half"}, "finish_reason": "length"}, "truncated", "half"),
        ({"message": {"content": None}, "finish_reason": "length"}, "truncated", ""),
        ({"message": {"content": None, "refusal": "I won't."}}, "refused", "I won't."),
        ({"message": {"content": None}, "finish_reason": "content_filter"}, "refused", ""),
    ],
)
def test_what_a_choice_means(fields: dict[str, Any], status: str, text: str) -> None:
    reply = respond(choice(**fields))
    assert isinstance(reply, Reply)
    assert (reply.meta.status, str(reply)) == (status, text)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b'{"choices": [{"message": {"content": "ab',
        b"<html>busy</html>",
        b"[" * 100_000,
        b"[]",
        b"null",
        {},
        {"choices": []},
        {"choices": None},
        {"choices": [None]},
        {"choices": [{}]},
        choice(message={"content": None}),
        choice(message={"content": None}, finish_reason="error"),
        {"error": {"message": "overloaded", "code": None}},
        {"error": {"message": "slow down", "code": 429}},
        {"error": "broken"},
    ],
)
def test_a_200_that_answers_nothing_is_worth_another_try(body: Any) -> None:
    failure = respond(body)
    assert isinstance(failure, Failure)
    assert failure.retry
    assert failure.reason.startswith("HTTP 200")


def test_a_200_can_hide_an_error_that_is_final() -> None:
    failure = respond({"error": {"message": "bad", "code": 400}})
    assert isinstance(failure, Failure)
    assert (failure.retry, failure.status) == (False, 400)


@pytest.mark.parametrize(("status", "retry"), [(429, True), (500, True), (503, True), (529, True), (408, True)])
def test_which_statuses_are_worth_another_try(status: int, retry: bool) -> None:
    failure = respond({"error": {"message": "x"}}, status)
    assert isinstance(failure, Failure)
    assert failure.retry is retry


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 422])
def test_which_statuses_are_final(status: int) -> None:
    failure = respond(b"<html>", status)
    assert isinstance(failure, Failure)
    assert not failure.retry
    assert failure.reason == f"HTTP {status}"


def test_an_empty_account_is_told_from_a_rate_limit() -> None:
    for status, code in ((429, "insufficient_quota"), (402, "whatever_else")):
        failure = respond({"error": {"message": "x", "code": code}}, status)
        assert isinstance(failure, Failure)
        assert failure.no_credit
        assert not failure.retry


def test_a_filter_that_answers_400_is_a_refusal() -> None:
    reply = respond({"error": {"message": "x", "code": "content_filter"}}, 400)
    assert isinstance(reply, Reply)
    assert reply.meta.status == "refused"


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        ({"code": "unknown_parameter", "param": "top_logprobs"}, "HTTP 400 (unknown_parameter, `top_logprobs`)"),
        ({"type": "invalid_request_error", "param": "messages[0].content", "code": None}, "HTTP 400 ({}, `{}`)"),
        ({"code": None, "param": "tools"}, "HTTP 400 (`tools`)"),
        ({"code": 400, "status": "INVALID_ARGUMENT"}, "HTTP 400 (INVALID_ARGUMENT)"),
        ({"param": "My diary"}, "HTTP 400"),
        ({"param": "sk-live9"}, "HTTP 400"),
        ({"param": "x" * 41}, "HTTP 400"),
        ({"param": ["model"]}, "HTTP 400"),
    ],
)
def test_a_failure_names_the_field(error: dict[str, Any], reason: str) -> None:
    failure = respond({"error": {"message": "My diary", **error}}, 400)
    assert isinstance(failure, Failure)
    assert failure.reason == reason.format(error.get("type"), error.get("param"))


def test_geminis_errors_come_in_a_list() -> None:
    failure = respond([{"error": {"code": 429, "message": "x", "status": "RESOURCE_EXHAUSTED"}}], 429)
    assert isinstance(failure, Failure)
    assert (failure.reason, failure.overloaded) == ("HTTP 429 (RESOURCE_EXHAUSTED)", True)


@pytest.mark.parametrize(
    ("said", "name"),
    [
        ("/home/ada/models/tiny.Q4_1.gguf", "tiny.Q4_1.gguf"),
        ("C:\\models\\tiny.gguf", "tiny.gguf"),
        ("models/tiny.gguf", "tiny.gguf"),
        ("./checkpoints/last/", "last"),
        ("~/tiny", "tiny"),
        ("org/tiny-GGUF:Q4", "org/tiny-GGUF:Q4"),
        ("models/tiny-2.0", "models/tiny-2.0"),
        ("tiny", "tiny"),
        (7, None),
    ],
)
def test_a_model_is_not_known_by_somebodys_folders(said: Any, name: str | None) -> None:
    reply = respond({**choice(message={"content": "a"}), "model": said})
    assert isinstance(reply, Reply)
    assert reply.meta.model == name


@pytest.mark.parametrize(
    ("status", "message", "form"),
    [
        (500, "failed to load model vocabulary required for format", True),
        (500, "invalid grammar", True),
        (500, "out of information", False),
        (400, "format", False),
    ],
)
def test_which_failures_are_over_the_form(status: int, message: str, form: bool) -> None:
    for error in ({"message": message}, message):
        failure = respond({"error": error}, status)
        assert isinstance(failure, Failure)
        assert failure.form is form


@pytest.mark.parametrize("code", ["sk-abc_def", "sk_live9", "Some document text", "x" * 41, "secret", 17, None])
def test_only_plain_error_codes_reach_the_reason(code: Any) -> None:
    failure = respond({"error": {"message": "your text was: My diary", "code": code}}, 400)
    assert isinstance(failure, Failure)
    assert failure.reason == "HTTP 400"
    failure = respond({"error": {"message": "My diary", "code": code, "type": "invalid_request_error"}}, 400)
    assert isinstance(failure, Failure)
    assert failure.reason == "HTTP 400 (invalid_request_error)"


def test_half_a_character_can_be_stored() -> None:
    reply = respond(b'{"choices": [{"message": {"content": "a\\ud83d \\ud83d\\ude00"}}]}')
    assert reply == "a\ufffd \U0001f600"


def test_retry_after_in_every_form() -> None:
    assert retry_after_s({}) is None
    assert retry_after_s({"retry-after": "2.5"}) == 2.5
    assert retry_after_s({"retry-after": "-1"}) == 0.0
    assert retry_after_s({"retry-after": "9", "retry-after-ms": "250"}) == 0.25
    assert retry_after_s({"retry-after": "soon"}) is None
    assert retry_after_s({"retry-after": formatdate(time.time() + 30, usegmt=True)}) == pytest.approx(30, abs=2)
    assert retry_after_s({"retry-after": formatdate(time.time() - 30, usegmt=True)}) == 0.0


@pytest.mark.parametrize(
    ("reset", "expected_s"),
    [
        ("6m0s", 360.0),
        ("120ms", 0.12),
        ("1h2m3.5s", 3723.5),
        ("1d", 86400.0),
        ("250us", 0.00025),
        ("7.66s", 7.66),
        ("12", 12.0),
        ("0.5", 0.5),
        ("0s", 0.0),
        ("soon", None),
        ("", None),
        ("-5s", None),
        ("5s ago", None),
        ("1" * 5000 + "x", None),
    ],
)
def test_what_is_left_in_openais_words(reset: str, expected_s: float | None) -> None:
    headers = {"x-ratelimit-remaining-requests": "59", "x-ratelimit-reset-requests": reset}
    requests, tokens = read_quotas(headers)
    assert tokens is None
    assert requests == (None if expected_s is None else (59.0, pytest.approx(expected_s)))


def test_what_is_left_in_anthropics_words() -> None:
    soon = datetime.fromtimestamp(time.time() + 30, timezone.utc).isoformat(timespec="seconds")
    headers = {
        "anthropic-ratelimit-requests-remaining": "0",
        "anthropic-ratelimit-requests-reset": "2020-01-01T00:00:00Z",
        "anthropic-ratelimit-tokens-remaining": "80000",
        "anthropic-ratelimit-tokens-reset": soon.replace("+00:00", "Z"),
    }
    assert read_quotas(headers) == ((0.0, 0.0), (80000.0, pytest.approx(30, abs=2)))


@pytest.mark.parametrize("remaining", ["-1", "many", "", "1e9", "nan", None])
def test_what_is_left_in_no_form_we_know(remaining: str | None) -> None:
    headers = {"x-ratelimit-reset-tokens": "1s"} | ({"x-ratelimit-remaining-tokens": remaining} if remaining else {})
    assert read_quotas(headers) == (None, None)


@pytest.mark.parametrize(
    ("status", "headers", "overloaded"),
    [
        (429, {}, True),
        (503, {}, True),
        (529, {}, True),
        (500, {}, False),
        (500, {"retry-after": "3"}, True),
        (400, {"retry-after": "3"}, False),
    ],
)
def test_overload_is_told_from_other_failures(status: int, headers: dict[str, str], overloaded: bool) -> None:
    failure = read_response(status, headers, b"{}")
    assert isinstance(failure, Failure)
    assert failure.overloaded is overloaded


@pytest.mark.parametrize("logprob", ["NaN", "-Infinity", "1e999", '"x"', "null"])
def test_log_probabilities_that_are_no_numbers_are_none(logprob: str) -> None:
    body = '{"choices": [{"message": {"content": "ab"}, "logprobs": {"content": [{"token": "a", "logprob": X}]}}]}'
    reply = respond(body.replace("X", logprob).encode())
    assert reply == "ab"
    assert isinstance(reply, Reply)
    assert reply.meta.tokens is None
