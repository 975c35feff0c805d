"""`Chat` when things go wrong: every failure is one prompt's failure, and nothing that was paid is lost."""

import logging
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from chat_server import LASTING, PASSING, Answer, ChatServer, Seen, completion, thirty_percent
from test_chat import MakeChat, ask, prompts

from spacy_distill.errors import TeacherError
from spacy_distill.teacher import asking, limits
from spacy_distill.teacher.chat import Chat
from spacy_distill.teacher.ledger import Ledger
from spacy_distill.teacher.types import Prompt


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "_FIRST_PAUSE_S", 0.02)


def once(fault: Answer) -> Callable[[Seen], Answer | None]:
    return lambda seen: fault if seen.nth == 1 and seen.prompt.endswith(("w1", "w3")) else None


def patience_s(fault: Answer) -> float:
    """Short only where nothing will come: good answers may be slow on a busy machine."""
    return 1.0 if fault.hang else 10.0


def always(fault: Answer) -> Callable[[Seen], Answer | None]:
    return lambda seen: fault if seen.prompt.endswith(("w1", "w3")) else None


@pytest.mark.parametrize("fault", PASSING)
def test_a_passing_fault_is_tried_again(make_chat: MakeChat, server: ChatServer, fault: str) -> None:
    server.behave = once(PASSING[fault])
    assert ask(make_chat(timeout_s=patience_s(PASSING[fault])), prompts(5)) == [f"w{number}" for number in range(5)]
    assert sorted(seen.nth for seen in server.seen) == [1, 1, 1, 1, 1, 2, 2]


def test_a_connection_that_dies_is_not_asked_again_behind_our_back(make_chat: MakeChat, server: ChatServer) -> None:
    """libcurl sends a request again by itself where a connection that had answered before breaks off without a word."""
    server.behave = lambda seen: Answer(reset=True) if seen.prompt.endswith("w1") else None
    replies = ask(make_chat(max_in_flight=1, max_tries=2), prompts(3))
    assert [reply.meta.status for reply in replies] == ["ok", "error", "ok"]
    assert "the connection broke" in str(replies[1].meta.error)
    assert [seen.nth for seen in server.seen if seen.prompt.endswith("w1")] == [1, 2]


def test_a_response_without_end_is_cut_off_and_not_paid_for_twice(
    make_chat: MakeChat, server: ChatServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("spacy_distill.teacher.transport._LARGEST_REPLY", 2**20)
    large = Answer(body=completion("x" * 2**21))
    server.behave = lambda seen: large if seen.prompt.endswith("w1") else None
    replies = ask(make_chat(), prompts(3))
    assert [reply.meta.status for reply in replies] == ["ok", "error", "ok"]
    assert replies[1].meta.error == "a response of more than 1 MB"
    assert len(server.seen) == 3


def test_a_host_that_takes_no_connection_stops_the_run() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listening, ExitStack() as held:
        for _ in range(4):  # It is never accepted from: soon nobody more fits into its queue.
            waiting = held.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listening.getsockname())
        chat = Chat("m", f"http://127.0.0.1:{listening.getsockname()[1]}/v1", timeout_s=0.5, max_tries=2)
        with pytest.raises(TeacherError, match=r"no connection within 0\.5 s"):
            ask(chat, prompts(2))
        chat.close()


def test_an_endpoint_that_has_moved(make_chat: MakeChat, server: ChatServer) -> None:
    server.behave = lambda seen: Answer(308, {}, {"Location": "http://127.0.0.1:9/v1/chat/completions"})
    (reply,) = ask(make_chat(), prompts(1))
    assert reply.meta.error == "HTTP 308: the server answers elsewhere; write that URL into `endpoint`"


@pytest.mark.parametrize("fault", PASSING)
def test_a_lasting_fault_is_its_own_texts_failure(
    make_chat: MakeChat, server: ChatServer, tmp_path: Path, fault: str
) -> None:
    server.behave = always(PASSING[fault])
    ledger = tmp_path / "ledger.sqlite"
    chat = make_chat(timeout_s=patience_s(PASSING[fault]), max_tries=2, ledger=ledger)
    replies = ask(chat, prompts(5))
    assert [reply.meta.status for reply in replies] == ["ok", "error", "ok", "error", "ok"]
    assert all("(tried 2 times)" in str(replies[index].meta.error) for index in (1, 3))
    assert len(server.seen) == 7
    server.behave = None
    assert ask(make_chat(ledger=ledger), prompts(5)) == [f"w{number}" for number in range(5)]
    assert len(server.seen) == 9  # What was paid is not asked again, what failed is.


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 422])
def test_a_refused_text_is_not_asked_again(make_chat: MakeChat, server: ChatServer, status: int) -> None:
    server.behave = always(Answer(status, {"error": {"message": "no", "type": "invalid_request_error"}}))
    replies = ask(make_chat(max_in_flight=1, logprobs=False), prompts(5))
    assert [reply.meta.status for reply in replies] == ["ok", "error", "ok", "error", "ok"]
    assert replies[1].meta.error == f"HTTP {status} (invalid_request_error)"
    assert len(server.seen) == 5


@pytest.mark.parametrize(
    ("answer", "status", "text"),
    [
        (Answer(200, completion("half an ans", finish="length")), "truncated", "half an ans"),
        (Answer(200, completion(None, refusal="I cannot.")), "refused", "I cannot."),
        (Answer(200, completion("", finish="content_filter")), "refused", ""),
        (Answer(400, {"error": {"message": "filtered", "code": "content_filter"}}), "refused", ""),
        (Answer(200, {"choices": [{"finish_reason": "content_filter: PROHIBITED_CONTENT"}]}), "refused", ""),
        (Answer(200, {"choices": [{"finish_reason": "length"}]}), "truncated", ""),
    ],
)
def test_refusals_and_cut_replies_are_kept_as_such(
    make_chat: MakeChat, server: ChatServer, tmp_path: Path, answer: Answer, status: str, text: str
) -> None:
    server.behave = always(answer)
    for _ in range(2):
        replies = ask(make_chat(ledger=tmp_path / "ledger.sqlite"), prompts(3))
        assert [reply.meta.status for reply in replies] == ["ok", status, "ok"]
        assert replies[1] == text
    assert len(server.seen) == 3


@pytest.mark.parametrize(("header", "value"), [("Retry-After", "1"), ("retry-after-ms", "600")])
def test_the_servers_wish_to_wait_is_respected(
    make_chat: MakeChat, server: ChatServer, header: str, value: str
) -> None:
    server.behave = once(Answer(429, b"", {header: value}))
    ask(make_chat(), prompts(2))
    first, second = (seen.time_s for seen in server.seen if seen.prompt.endswith("w1"))
    assert second - first >= 0.6


def test_a_server_that_asks_to_come_back_tomorrow_is_not_waited_for(make_chat: MakeChat, server: ChatServer) -> None:
    server.behave = always(Answer(429, b"", {"Retry-After": "86400"}))
    start = time.perf_counter()
    replies = ask(make_chat(), prompts(2))
    assert time.perf_counter() - start < 5
    assert replies[1].meta.error == "HTTP 429, asks to wait 86400 s"


@pytest.mark.parametrize("kept", [True, False])
def test_a_quota_that_is_used_up_stops_the_run(
    make_chat: MakeChat, server: ChatServer, tmp_path: Path, kept: bool
) -> None:
    server.behave = lambda seen: Answer(429, b"", {"Retry-After": "3600"}) if len(server.seen) > 30 else None
    chat = make_chat(ledger=tmp_path / "ledger.sqlite" if kept else None)
    with pytest.raises(TeacherError, match="asks to wait 3600 s: run this again then") as caught:
        ask(chat, prompts(200))
    assert ("Every reply so far is kept" in str(caught.value)) is kept
    assert len(server.seen) <= 30 + 10 + 8


def test_a_server_that_takes_nothing_for_long_stops_the_run(
    make_chat: MakeChat, server: ChatServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "_LONGEST_OVERLOAD_S", 0.5)
    server.behave = lambda seen: Answer(429, b"") if 5 < len(server.seen) <= 8 or len(server.seen) > 15 else None
    with pytest.raises(TeacherError, match=r"HTTP 429\. It has taken nothing for"):
        ask(make_chat(max_tries=1000, max_in_flight=1), prompts(200))
    assert len(server.seen) > 15  # A success begins it anew.


def test_a_server_that_is_overloaded_at_first_is_not_taken_for_a_wrong_one(
    make_chat: MakeChat, server: ChatServer
) -> None:
    server.behave = lambda seen: Answer(503, b"", {"Retry-After": "0"}) if len(server.seen) <= 60 else None
    replies = ask(make_chat(max_tries=2), prompts(100))
    assert sum(reply.meta.status == "ok" for reply in replies) >= 100 - 60 / 2
    assert replies[0].meta.error == "HTTP 503 (tried 2 times)"


@pytest.mark.parametrize("wait_s", ["0", "3600"])
def test_time_in_which_nobody_asked_is_no_overload(
    make_chat: MakeChat, server: ChatServer, monkeypatch: pytest.MonkeyPatch, wait_s: str
) -> None:
    monkeypatch.setattr(asking, "_LONGEST_OVERLOAD_S", 0.8)
    monkeypatch.setattr(asking, "_SENT_AWAY", 2)
    monkeypatch.setattr(asking, "LONGEST_WAIT_S", 0.5)
    server.behave = lambda seen: Answer(429, b"", {"Retry-After": wait_s})
    chat = make_chat(max_tries=1)
    for _ in range(2):
        assert [reply.meta.status for reply in ask(chat, prompts(1))] == ["error"]
        time.sleep(1.0)


@pytest.mark.parametrize(
    "fault",
    [Answer(200, {"error": "Unexpected endpoint or method."}), Answer(200, b"<html>"), Answer(502, b"oops")],
)
def test_a_server_that_answers_nothing_with_sense_stops_the_run(
    make_chat: MakeChat, server: ChatServer, fault: Answer
) -> None:
    server.behave = lambda seen: fault
    with pytest.raises(TeacherError, match=r"The first 10 prompts were refused.*`endpoint` \(it usually ends in /v1\)"):
        ask(make_chat(max_tries=2), prompts(200))
    assert len(server.seen) <= 80


@pytest.mark.parametrize(
    ("status", "settings", "remedy"),
    [
        (401, {}, "`key_env`"),
        (401, {"key_env": "TEACHER_KEY"}, "TEACHER_KEY"),
        (403, {"key_env": "TEACHER_KEY"}, "TEACHER_KEY"),
        (404, {}, "no model 'loopback-1'"),
        (402, {}, "no credit"),
    ],
)
def test_a_teacher_that_cannot_be_used_says_so_at_once(
    make_chat: MakeChat,
    server: ChatServer,
    monkeypatch: pytest.MonkeyPatch,
    status: int,
    settings: dict[str, Any],
    remedy: str,
) -> None:
    monkeypatch.setenv("TEACHER_KEY", "sk-canary")
    server.behave = lambda seen: Answer(status, {"error": {"message": "Incorrect API key provided: sk-canary"}})
    with pytest.raises(TeacherError) as caught:
        ask(make_chat(**settings), prompts(100))
    assert server.url in str(caught.value)
    assert remedy in str(caught.value)
    assert "sk-canary" not in str(caught.value)
    assert len(server.seen) <= 16  # Twice as many as are in flight.


def test_requests_that_are_refused_one_and_all_stop_the_run(make_chat: MakeChat, server: ChatServer) -> None:
    server.behave = lambda seen: Answer(400, {"error": {"type": "unknown_parameter"}})
    chat = make_chat(extra={"tempreture": 1}, logprobs=False)
    with pytest.raises(TeacherError, match=r"HTTP 400 \(unknown_parameter\).*`extra`"):
        ask(chat, prompts(100))
    assert len(server.seen) <= 26  # Ten, and those that were at hand.


def test_texts_too_long_for_the_model_are_asked_once_and_do_not_stop_the_run(
    make_chat: MakeChat, server: ChatServer
) -> None:
    """However many come first: it is the texts, and asking without log-probabilities or a schema does not help."""
    server.behave = lambda seen: (
        None if seen.prompt.endswith("w14") else Answer(400, {"error": {"type": "exceed_context_size_error"}})
    )
    asked = [Prompt(f"Say: w{number}", schema={"type": "object", "properties": {"a": {}}}) for number in range(15)]
    replies = ask(make_chat(max_in_flight=1), asked)
    assert [reply.meta.status for reply in replies] == [*["error"] * 14, "ok"]
    assert {reply.meta.error for reply in replies[:14]} == {
        "HTTP 400 (exceed_context_size_error): longer than the model's context"
    }
    assert len(server.seen) == 15


SCHEMA = {"type": "object", "properties": {"label": {"type": "string"}}}
UNUSABLE = {"error": {"message": "invalid JSON schema in format", "type": "api_error", "param": None, "code": None}}


@pytest.mark.parametrize("fault", [Answer(500, UNUSABLE), Answer(500, b"oops")], ids=["says so", "says nothing"])
def test_a_schema_that_ends_in_a_500_is_given_up(
    make_chat: MakeChat, server: ChatServer, caplog: pytest.LogCaptureFixture, fault: Answer
) -> None:
    server.behave = lambda seen: (
        fault if (seen.body.get("response_format") or {}).get("type") == "json_schema" else None
    )
    asked = [Prompt(f"Say: w{number}", schema=SCHEMA, choices={"a": " a"}) for number in range(30)]
    assert ask(make_chat(max_in_flight=2), asked) == [f"w{number}" for number in range(30)]
    assert len(server.seen) <= 30 + 2 * 4
    assert server.seen[-1].body["response_format"]["type"] == "json_object"
    assert server.seen[-1].body["top_logprobs"] == 20  # It was not these.
    assert len([record for record in caplog.records if "does not take" in record.message]) == 1


def test_a_500_after_a_success_is_no_reason_to_ask_for_less(make_chat: MakeChat, server: ChatServer) -> None:
    server.behave = lambda seen: Answer(500, b"oops") if seen.prompt.endswith("w3") else None
    asked = [Prompt(f"Say: w{number}", schema=SCHEMA) for number in range(6)]
    replies = ask(make_chat(max_in_flight=1, max_tries=4), asked)
    assert [reply.meta.status for reply in replies] == ["ok", "ok", "ok", "error", "ok", "ok"]
    assert {seen.body["response_format"]["type"] for seen in server.seen} == {"json_schema"}


def test_a_server_that_fails_whatever_is_asked_is_not_asked_forever(make_chat: MakeChat, server: ChatServer) -> None:
    server.behave = lambda seen: Answer(500, UNUSABLE)
    (reply,) = ask(make_chat(max_tries=3), [Prompt("Say: a", schema=SCHEMA)])
    assert reply.meta.error == "HTTP 500 (api_error) (tried 3 times)"
    assert len(server.seen) == 5  # Each form once, and the last one three times.


LOADING = Answer(503, {"error": {"code": 503, "message": "Loading model", "type": "unavailable_error"}})


def test_a_model_that_is_being_loaded_is_waited_for(
    make_chat: MakeChat, server: ChatServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(asking, "_LOADING_PAUSE_S", 0.05)
    server.behave = lambda seen: LOADING if len(server.seen) <= 20 else None
    assert ask(make_chat(max_tries=2, max_in_flight=4), prompts(6)) == [f"w{number}" for number in range(6)]
    (said,) = [record.getMessage() for record in caplog.records]
    assert said == f"{server.url}: the server is loading its model. All requests wait, up to 300 s."


def test_a_model_that_is_loaded_forever_is_not(
    make_chat: MakeChat, server: ChatServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "_LOADING_PAUSE_S", 0.05)
    monkeypatch.setattr(asking, "_LONGEST_LOADING_S", 0.3)
    server.behave = lambda seen: LOADING
    with pytest.raises(TeacherError, match="has been loading its model"):
        ask(make_chat(), prompts(6))


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, {"reasoning_content": "Let me see"}), ("", {"reasoning": "Let me see"}), ("", {})],
)
def test_a_reply_that_is_all_thinking_is_paid_for_once(
    make_chat: MakeChat,
    server: ChatServer,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    content: str | None,
    message: dict[str, Any],
) -> None:
    server.behave = always(Answer(200, completion(content, finish="length", **message)))
    for _ in range(2):
        replies = ask(make_chat(ledger=tmp_path / "ledger.sqlite"), prompts(5))
        assert [reply.meta.status for reply in replies] == ["ok", "truncated", "ok", "truncated", "ok"]
        assert "raise `max_tokens`" in str(replies[1].meta.error)
    assert len(server.seen) == 5
    assert len([record for record in caplog.records if "raise `max_tokens`" in record.getMessage()]) == 1


def test_that_replies_are_cut_off_is_said_once(
    make_chat: MakeChat, server: ChatServer, caplog: pytest.LogCaptureFixture
) -> None:
    """They are unparsed, and nothing else would say why."""
    server.behave = always(Answer(200, completion("<think>Let me see", finish="length")))
    replies = ask(make_chat(), prompts(5))
    assert [reply.meta.status for reply in replies] == ["ok", "truncated", "ok", "truncated", "ok"]
    (said,) = [record.getMessage() for record in caplog.records]
    assert said == f"{server.url}: cut off at the token limit: where many replies are, raise `max_tokens`"


@pytest.mark.parametrize("said", [{"reasoning_content": "Let me see"}, {"tool_calls": [{"id": "call_1"}]}])
def test_what_ends_in_no_text_is_paid_for_once(make_chat: MakeChat, server: ChatServer, said: dict[str, Any]) -> None:
    server.behave = always(Answer(200, completion(None, **said)))
    replies = ask(make_chat(), prompts(3))
    assert [(reply.meta.status, str(reply)) for reply in replies] == [("ok", "w0"), ("ok", ""), ("ok", "w2")]
    assert len(server.seen) == 3


@pytest.mark.parametrize("kept", [True, False])
def test_a_key_revoked_in_mid_run_stops_it(make_chat: MakeChat, server: ChatServer, tmp_path: Path, kept: bool) -> None:
    server.behave = lambda seen: Answer(401, {"error": {"code": "invalid_api_key"}}) if len(server.seen) > 30 else None
    chat = make_chat(ledger=tmp_path / "ledger.sqlite" if kept else None)
    with pytest.raises(TeacherError, match=r"HTTP 401 \(invalid_api_key\).*10 times in a row") as caught:
        ask(chat, prompts(200))
    assert ("Every reply so far is kept" in str(caught.value)) is kept
    assert len(server.seen) <= 30 + 10 + 16
    if kept:
        chat.close()
        assert Ledger(tmp_path / "ledger.sqlite").counts()["ok"] == 30


def test_a_key_refused_now_and_then_does_not(make_chat: MakeChat, server: ChatServer) -> None:
    server.behave = lambda seen: Answer(401) if int(seen.prompt.rpartition("w")[2]) % 3 else None
    replies = ask(make_chat(max_in_flight=1), prompts(60))
    assert [reply.meta.status for reply in replies] == ["ok", "error", "error"] * 20


def test_a_rerun_of_nothing_but_refused_texts_goes_on(make_chat: MakeChat, server: ChatServer, tmp_path: Path) -> None:
    ledger = tmp_path / "ledger.sqlite"
    ask(make_chat(ledger=ledger, logprobs=False), prompts(1))
    server.behave = lambda seen: Answer(400, {"error": {"code": "invalid_prompt"}})
    replies = ask(make_chat(ledger=ledger, logprobs=False), prompts(30))
    assert [reply.meta.status for reply in replies] == ["ok"] + ["error"] * 29


def test_an_account_that_runs_empty_stops_the_run_and_keeps_what_was_paid(
    make_chat: MakeChat, server: ChatServer, tmp_path: Path
) -> None:
    empty = Answer(429, {"error": {"message": "x", "code": "insufficient_quota"}})
    server.behave = lambda seen: empty if len(server.seen) > 30 else None
    with pytest.raises(TeacherError, match=r"no credit left\. Every reply so far is kept"):
        ask(make_chat(ledger=tmp_path / "ledger.sqlite"), prompts(100))
    assert Ledger(tmp_path / "ledger.sqlite").counts()["ok"] == 30


def test_nobody_there() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/v1"
        chat = Chat("m", url)
        with pytest.raises(TeacherError, match=r"Connection refused.*Is the server running") as caught:
            ask(chat, prompts(10))
        assert url in str(caught.value)
        chat.close()
    chat = Chat("m", "http://nowhere.invalid/v1")
    with pytest.raises(TeacherError, match="nothing is known by that name"):
        ask(chat, prompts(1))
    chat.close()


def test_a_server_that_dies_in_mid_run_stops_the_run(tmp_path: Path) -> None:
    server = ChatServer()
    chat = Chat("m", server.url, max_tries=3, max_in_flight=4, ledger=tmp_path / "ledger.sqlite")
    stream = chat.stream(prompts(1000))
    for _ in range(20):
        next(stream)
    server.close()
    with pytest.raises(TeacherError, match="Is the server running"):
        list(stream)
    chat.close()
    assert Ledger(tmp_path / "ledger.sqlite").counts()["ok"] >= 20


def test_thirty_percent_faults_and_every_text_accounted_for(
    make_chat: MakeChat, server: ChatServer, tmp_path: Path
) -> None:
    texts = 300
    met: dict[str, list[Answer]] = {}

    def behave(seen: Seen) -> Answer | None:
        answer = thirty_percent(seen)
        met.setdefault(seen.prompt, []).append(answer or Answer())
        return answer

    server.behave = behave
    ledger = tmp_path / "ledger.sqlite"
    asked = prompts(texts)
    replies = ask(make_chat(timeout_s=3.0, max_in_flight=32, max_tries=12, ledger=ledger, logprobs=False), asked)
    lasting = list(LASTING.values())
    for number, (prompt, reply) in enumerate(zip(asked, replies, strict=True)):
        *before, last = met[prompt]
        assert all(answer in PASSING.values() for answer in before)  # Nothing was asked again after it was paid.
        if last == Answer():
            assert (reply, reply.meta.status) == (f"w{number}", "ok")
        else:
            expected = ["refused", "truncated", "refused", "refused", "error"][lasting.index(last)]
            assert reply.meta.status == expected
    assert {id(answer) for answers in met.values() for answer in answers} >= {id(f) for f in PASSING.values()}
    counts = Ledger(ledger).counts()
    assert sum(counts.values()) == texts
    assert set(counts) == {"ok", "refused", "truncated", "error"}
    met.clear()
    server.behave = lambda seen: met.setdefault(seen.prompt, []).append(Answer())
    again = ask(make_chat(ledger=ledger, logprobs=False), asked)
    assert len(met) == counts["error"]
    assert all(new == old for new, old in zip(again, replies, strict=True) if old.meta.status != "error")


def test_a_429_is_a_pause_for_all(
    make_chat: MakeChat, server: ChatServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    refused_s: list[float] = []

    def behave(seen: Seen) -> Answer | None:
        if len(server.seen) == 40:
            refused_s.append(seen.time_s)
            return Answer(429, b"", {"Retry-After": "1"})
        return None

    server.behave = behave
    server.latency_s = 0.05
    monkeypatch.setattr(asking, "_WORTH_SAYING_S", 0.9)
    assert ask(make_chat(max_in_flight=8), prompts(120)) == [f"w{number}" for number in range(120)]
    assert len(server.seen) == 121
    (said,) = [record.getMessage() for record in caplog.records]
    assert said == f"{server.url}: HTTP 429. All requests wait for 1 s."
    (at_s,) = refused_s
    told_s = at_s + server.latency_s
    assert not [seen for seen in server.seen if told_s + 0.1 < seen.time_s < told_s + 0.95]
    assert [seen for seen in server.seen if seen.time_s > told_s + 0.95]


def test_as_many_at_a_time_as_the_server_takes(make_chat: MakeChat, server: ChatServer) -> None:
    server.latency_s = 0.02
    server.behave = lambda seen: Answer(429, b"", {"Retry-After": "0"}) if server.in_flight > 4 else None
    replies = ask(make_chat(max_in_flight=32, max_tries=50), prompts(400))
    assert all(reply.meta.status == "ok" for reply in replies)
    assert len(server.seen) < 1.5 * 400


def test_what_the_server_says_is_left_is_not_exceeded(make_chat: MakeChat, server: ChatServer) -> None:
    window_s, limit = 0.5, 10
    times_s: list[float] = []

    def behave(seen: Seen) -> Answer:
        recent = [time_s for time_s in times_s if seen.time_s - time_s < window_s]
        if len(recent) >= limit:
            return Answer(429, b"", {"Retry-After": "1"})
        times_s.append(seen.time_s)
        headers = {
            "x-ratelimit-remaining-requests": str(limit - 1 - len(recent)),
            "x-ratelimit-reset-requests": "500ms",
        }
        return Answer(200, completion(seen.prompt.split()[-1]), headers)

    server.behave = behave
    assert ask(make_chat(max_in_flight=4, logprobs=False), prompts(40)) == [f"w{number}" for number in range(40)]
    assert len(server.seen) == 40  # Not one 429.


def test_no_more_a_minute_than_the_user_allows(make_chat: MakeChat, server: ChatServer) -> None:
    ask(make_chat(requests_per_minute=600), prompts(11))
    times_s = [seen.time_s for seen in server.seen]
    assert times_s[-1] - times_s[0] >= 0.9
    server.seen.clear()
    ask(make_chat(tokens_per_minute=24 * 600), prompts(11))  # Every reply tells of 24 tokens.
    times_s = [seen.time_s for seen in server.seen]
    assert times_s[-1] - times_s[2] >= 0.6


def test_what_another_process_paid_meanwhile_is_not_asked(
    make_chat: MakeChat, server: ChatServer, tmp_path: Path
) -> None:
    """Two at a time on one ledger, each from its own end: they meet in the middle."""
    server.latency_s = 0.02
    ledger = tmp_path / "ledger.sqlite"
    asked = prompts(200)
    one, other = make_chat(ledger=ledger, max_in_flight=4), make_chat(ledger=ledger, max_in_flight=4)
    first, second = one.stream(asked), other.stream(asked[::-1])
    taken = [next(stream)[1] for _ in range(200) for stream in (first, second)]
    assert sorted(taken) == sorted([f"w{number}" for number in range(200)] * 2)
    assert len(server.seen) == 200
    assert any(reply.meta.from_ledger for reply in taken)


def test_a_key_and_a_document_are_nowhere_to_be_found(
    make_chat: MakeChat,
    server: ChatServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    key, secret = "sk-canary-7f3a", "diary of the canary"
    monkeypatch.setenv("TEACHER_KEY", key)
    caplog.set_level(logging.DEBUG)
    server.refuse = {"json_schema"}
    messages = [
        Prompt(f"{secret} w{number}", schema={"type": "object", "properties": {"a": {}}}) for number in range(8)
    ]

    def behave(seen: Seen) -> Answer | None:
        said = f"{seen.headers['authorization']} {seen.prompt}"
        bad = {"error": {"message": said, "code": said, "type": key}}
        return {
            "w1": Answer(400, bad),
            "w2": Answer(500, bad),
            "w3": Answer(200, bad),
            "w4": Answer(reset=True),
            "w5": Answer(hang=True),
            "w6": Answer(429, bad, {"Retry-After": said}),
        }.get(seen.prompt.split()[-1])

    server.behave = behave
    ledger = tmp_path / "ledger.sqlite"
    chat = make_chat(key_env="TEACHER_KEY", ledger=ledger, max_tries=2, timeout_s=1.0)
    replies = ask(chat, messages)
    assert [reply.meta.status for reply in replies] == ["ok", *["error"] * 6, "ok"]
    server.behave = lambda seen: behave(Seen(seen.path, seen.headers, seen.body, 1, 0.0)) or Answer(401, {"error": key})
    with pytest.raises(TeacherError) as caught:
        ask(make_chat(key_env="TEACHER_KEY"), messages)
    chat.close()
    out, err = capfd.readouterr()
    errors = [str(reply.meta.error) for reply in replies]
    for place in (caplog.text, out, err, str(caught.value), *errors, repr(vars(chat))):
        assert key not in place
        assert secret not in place
    files = [path.read_bytes() for path in tmp_path.iterdir()]
    assert files
    assert not any(key.encode() in content for content in files)


def test_at_any_moment_a_kill_would_lose_no_more_than_may_be_in_flight(server: ChatServer, tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    server.latency_s = 0.005
    at_stake: list[int] = []

    def behave(seen: Seen) -> None:
        reader = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
        (kept,) = reader.execute("SELECT COUNT(*) FROM replies").fetchone()
        reader.close()
        at_stake.append(len(server.seen) - kept)

    server.behave = behave
    chat = Chat("loopback-1", server.url, max_in_flight=8, ledger=path)
    assert len(ask(chat, prompts(400))) == 400
    chat.close()
    assert max(at_stake) == 8


_RUN = """
import sys
from spacy_distill.teacher.chat import Chat
from spacy_distill.teacher.types import Prompt
url, ledger = sys.argv[1:]
chat = Chat("loopback-1", url, max_in_flight=16, ledger=ledger)
for index, reply in chat.stream(Prompt(f"text w{n}", prefix="Say the last word: ") for n in range(400)):
    pass
"""


@pytest.mark.skipif(os.name != "posix", reason="kills")
@pytest.mark.parametrize("answered", [1, 57, 203])
def test_kill_in_mid_run_loses_only_what_was_in_flight(server: ChatServer, tmp_path: Path, answered: int) -> None:
    server.latency_s = 0.02
    path = tmp_path / "ledger.sqlite"
    run = subprocess.Popen([sys.executable, "-c", _RUN, server.url, str(path)])
    deadline = time.monotonic() + 60
    while server.answered < answered and time.monotonic() < deadline:
        time.sleep(0.001)
    run.send_signal(signal.SIGKILL)
    run.wait(10)
    time.sleep(0.1)
    before = server.answered
    assert answered <= before < 400
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()
    ledger = Ledger(path)
    kept = ledger.counts().get("ok", 0)
    assert before - 16 <= kept <= before
    paid = {row["prompt"] for row in ledger.rows()}
    ledger.close()
    server.seen.clear()
    chat = Chat("loopback-1", server.url, max_in_flight=16, ledger=path)
    assert ask(chat, prompts(400)) == [f"w{number}" for number in range(400)]
    chat.close()
    assert len(server.seen) == 400 - kept
    assert not paid & set(server.prompts())
