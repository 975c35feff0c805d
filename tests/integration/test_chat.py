"""`Chat` against a real HTTP server: what it sends, in which order, and what it keeps."""

import asyncio
import json
import logging
import multiprocessing
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import spacy
from chat_server import Answer, ChatServer, Seen, completion

from spacy_distill.errors import ConfigError, TeacherError
from spacy_distill.teacher.chat import Chat
from spacy_distill.teacher.ledger import Ledger
from spacy_distill.teacher.types import Prompt, Reply

MakeChat = Callable[..., Chat]
SCHEMA = {"type": "object", "properties": {"label": {"type": "string"}}}


def prompts(count: int) -> list[Prompt]:
    return [Prompt(f"text w{number}", prefix="Say the last word: ") for number in range(count)]


def ask(chat: Chat, asked: list[Prompt]) -> list[Reply]:
    found = dict(chat.stream(asked))
    assert sorted(found) == list(range(len(asked)))
    return [found[index] for index in range(len(asked))]


def test_every_prompt_gets_its_own_reply(make_chat: MakeChat, server: ChatServer) -> None:
    chat = make_chat(system="Be brief.")
    assert chat._transport is None  # Nothing is opened before the first prompt.
    replies = ask(chat, prompts(30))
    assert replies == [f"w{number}" for number in range(30)]
    meta = replies[0].meta
    assert (meta.status, meta.model, meta.prompt_tokens, meta.reply_tokens) == ("ok", "loopback-1", 20, 4)
    assert meta.tokens == [("w0", pytest.approx(-0.693147))]
    assert meta.latency_s is not None
    assert 0 < meta.latency_s < 5
    first = server.seen[0]
    assert first.path == "/v1/chat/completions"
    assert first.body["messages"][0] == {"role": "system", "content": "Be brief."}
    assert "authorization" not in first.headers
    assert "response_format" not in first.body


def test_spacy_llms_convention(make_chat: MakeChat) -> None:
    assert [list(doc) for doc in make_chat()([["a", "b"], ["c"]])] == [["a", "b"], ["c"]]


@pytest.mark.filterwarnings("ignore:Task supports sharding")
def test_a_task_of_spacy_llm_in_a_pipeline(server: ChatServer, tmp_path: Path) -> None:
    def behave(seen: Seen) -> None:
        assert "response_format" not in seen.body  # Its prompts have no schema.

    server.behave = behave
    server.latency_s = 0.0
    nlp = spacy.blank("en")
    nlp.add_pipe(
        "llm_textcat",
        config={
            "task": {
                "@llm_tasks": "spacy.TextCat.v3",
                "labels": ["good", "bad"],
                "exclusive_classes": True,
                "template": "Is the text good or bad?\n{{ text }}",
            },
            "model": {
                "@llm_models": "spacy_distill.Chat.v1",
                "name": "loopback-1",
                "endpoint": server.url,
                "ledger": str(tmp_path / "ledger.sqlite"),
                "extra": {"seed": 7},
            },
        },
    )
    docs = list(nlp.pipe(["it is good", "it is bad", "never again bad"]))
    assert [max(doc.cats, key=lambda label: doc.cats[label]) for doc in docs] == ["good", "bad", "bad"]
    assert all(seen.body["seed"] == 7 for seen in server.seen)
    assert Ledger(tmp_path / "ledger.sqlite").counts() == {"ok": 3}
    nlp.get_pipe("llm_textcat")._model.close()


def test_many_in_flight_and_never_too_many(make_chat: MakeChat, server: ChatServer) -> None:
    server.latency_s = 0.05
    ask(make_chat(max_in_flight=8), prompts(80))
    assert server.most_in_flight == 8
    assert server.connected == 8  # They are kept alive.


def test_no_reply_waits_for_a_slow_one(make_chat: MakeChat, server: ChatServer) -> None:
    def behave(seen: Seen) -> None:
        server.latency_s = 2.0 if seen.prompt.endswith("w0") else 0.0

    server.behave = behave
    order = [index for index, _ in make_chat(max_in_flight=4).stream(prompts(60))]
    assert order[-1] == 0


def test_prompts_are_pulled_as_slots_come_free(make_chat: MakeChat, server: ChatServer) -> None:
    pulled = 0
    caller = threading.get_ident()

    def endless() -> Iterator[Prompt]:
        nonlocal pulled
        while True:
            assert threading.get_ident() == caller
            pulled += 1
            yield Prompt(f"w{pulled}")

    stream = make_chat(max_in_flight=4).stream(endless())
    for taken in range(1, 41):
        next(stream)
        time.sleep(0.001)
        assert pulled <= taken + 2 * 4
    stream.close()  # type: ignore[attr-defined]


def test_a_ledger_asks_nothing_twice(make_chat: MakeChat, server: ChatServer, tmp_path: Path) -> None:
    ledger = tmp_path / "ledger.sqlite"
    asked = [*prompts(20), *prompts(20), *prompts(5)]
    first = ask(make_chat(ledger=ledger), asked)
    assert sorted(server.prompts()) == sorted(map(str, prompts(20)))
    again = ask(make_chat(ledger=ledger, timeout_s=9.0, max_in_flight=2), asked)
    assert again == first
    assert all(reply.meta.from_ledger for reply in again)
    assert len(server.seen) == 20
    ask(make_chat(ledger=ledger, temperature=1.0), asked)  # Another question.
    assert len(server.seen) == 40


def test_a_reply_is_kept_even_while_nobody_takes_it(make_chat: MakeChat, server: ChatServer, tmp_path: Path) -> None:
    chat = make_chat(ledger=tmp_path / "ledger.sqlite")
    stream = chat.stream(prompts(50))
    next(stream)
    time.sleep(0.3)
    assert chat.ledger is not None
    assert chat.ledger.counts()["ok"] == len(server.seen) >= 8
    assert len(server.seen) <= 17  # One taken, twice the limit at hand: the caller is not outrun.
    stream.close()  # type: ignore[attr-defined]


def test_an_abandoned_stream_loses_nothing_that_arrived(
    make_chat: MakeChat, server: ChatServer, tmp_path: Path
) -> None:
    server.latency_s = 0.1
    chat = make_chat(ledger=tmp_path / "ledger.sqlite")
    for count, _ in enumerate(chat.stream(prompts(50)), 1):
        if count == 10:
            break
    time.sleep(0.3)
    assert chat.ledger is not None
    kept = chat.ledger.counts()["ok"]
    asked = len(server.seen)
    assert 10 <= kept <= asked <= kept + 8  # Only what was in flight was cancelled.
    time.sleep(0.2)
    assert len(server.seen) == asked
    assert ask(chat, prompts(50)) == [f"w{number}" for number in range(50)]
    assert len(server.seen) == asked + 50 - kept


def test_it_works_within_a_running_event_loop(make_chat: MakeChat) -> None:
    async def notebook_cell() -> list[Reply]:
        return ask(make_chat(), prompts(3))

    assert asyncio.run(notebook_cell()) == ["w0", "w1", "w2"]


def test_closing_in_mid_stream_is_an_error_not_a_wait(make_chat: MakeChat, server: ChatServer) -> None:
    server.latency_s = 0.2
    chat = make_chat()
    stream = chat.stream(prompts(20))
    next(stream)
    chat.close()
    with pytest.raises(TeacherError, match="closed before every prompt was answered"):
        list(stream)
    assert ask(chat, prompts(2)) == ["w0", "w1"]


@pytest.mark.skipif(sys.platform != "linux", reason="forks")
def test_a_forked_process_opens_its_own_connections(make_chat: MakeChat, tmp_path: Path) -> None:
    chat = make_chat(ledger=tmp_path / "ledger.sqlite")
    ask(chat, prompts(1))
    context = multiprocessing.get_context("fork")
    results = context.SimpleQueue()

    def work() -> None:
        results.put([str(reply) for reply in ask(chat, prompts(3))])

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Forking while there are threads.
        process = context.Process(target=work)
        process.start()
    process.join(20)
    assert process.exitcode == 0
    assert results.get() == ["w0", "w1", "w2"]
    assert ask(chat, prompts(4))[3] == "w3"
    assert chat.ledger is not None
    assert chat.ledger.counts() == {"ok": 4}


def test_it_closes_itself_when_it_is_no_longer_needed(server: ChatServer) -> None:
    chat = Chat("m", server.url)
    ask(chat, prompts(1))
    assert chat._transport is not None
    thread = chat._transport._thread
    del chat
    thread.join(5)
    assert not thread.is_alive()


def test_a_schema_is_sent_along_and_kept_to(make_chat: MakeChat, server: ChatServer) -> None:
    (reply,) = ask(make_chat(), [Prompt("good", schema=SCHEMA)])
    assert json.loads(reply) == {"label": "good"}
    assert server.seen[0].body["response_format"]["json_schema"]["schema"] == SCHEMA
    assert server.seen[0].body["response_format"]["json_schema"]["strict"] is True


@pytest.mark.parametrize(
    ("refuse", "form", "logprobs", "refused"),
    [
        ({"json_schema"}, "json_object", True, 2),
        ({"json_schema", "json_object"}, None, True, 4),
        ({"logprobs"}, "json_schema", False, 1),
        ({"json_schema", "json_object", "logprobs"}, None, False, 5),
    ],
)
def test_a_server_that_takes_less_is_asked_for_less(
    make_chat: MakeChat,
    server: ChatServer,
    caplog: pytest.LogCaptureFixture,
    refuse: set[str],
    form: str | None,
    logprobs: bool,
    refused: int,
) -> None:
    server.refuse = refuse
    caplog.set_level(logging.WARNING, "spacy_distill")
    chat = make_chat(max_in_flight=4)
    asked = [Prompt(f"w{number}", schema=SCHEMA) for number in range(40)]
    assert all(reply.meta.status == "ok" for reply in ask(chat, asked))
    last = server.seen[-1].body
    assert (last.get("response_format") or {}).get("type") == form
    assert ("logprobs" in last) is logprobs
    assert len(server.seen) - 40 <= 8 * refused  # Only those that were at hand at first were refused.
    assert len([record for record in caplog.records if "does not take" in record.message]) == 1


@pytest.mark.parametrize(("most", "last"), [(20, 20), (5, 5), (4, None)])
def test_alternatives_are_asked_for_where_there_are_choices(
    make_chat: MakeChat, server: ChatServer, caplog: pytest.LogCaptureFixture, most: int, last: int | None
) -> None:
    """As many as the server gives; and none where nobody would read them."""

    def behave(seen: Seen) -> Answer:
        if seen.body.get("top_logprobs", 0) > most:
            return Answer(400, {"error": {"message": "top_logprobs", "type": "invalid_request_error"}})
        body = completion("good", logprobs=True)
        top = [{"token": "good", "logprob": -0.5}, {"token": "bad", "logprob": -1.5}, {"token": "The", "logprob": -2}]
        body["choices"][0]["logprobs"]["content"][0]["top_logprobs"] = top[: seen.body.get("top_logprobs", 0)]
        return Answer(200, body)

    server.behave = behave
    asked = [Prompt("with", choices={"+": " good", "-": " bad"}), Prompt("without")]
    chosen, plain = ask(make_chat(max_in_flight=1), asked)
    assert plain.meta.scores is None
    tops = {
        prompt: [seen.body.get("top_logprobs") for seen in server.seen if seen.prompt == prompt] for prompt in asked
    }
    assert (tops["with"][-1], tops["without"]) == (last, [None])
    assert all(seen.body["logprobs"] for seen in server.seen)
    expected = {"+": pytest.approx(0.731, abs=1e-3), "-": pytest.approx(0.269, abs=1e-3)}
    assert chosen.meta.scores == (None if last is None else expected)
    assert len(caplog.records) == (most < 20)


def test_one_text_that_is_refused_changes_nothing_for_the_others(
    make_chat: MakeChat, server: ChatServer, caplog: pytest.LogCaptureFixture
) -> None:
    def behave(seen: Seen) -> Answer | None:
        if seen.prompt.endswith("long"):
            return Answer(400, {"error": {"message": "too long", "code": "context_length_exceeded"}})
        return None

    server.behave = behave
    asked = [Prompt("a", schema=SCHEMA), *[Prompt(f"{number} long", schema=SCHEMA) for number in range(5)]]
    chat = make_chat(max_in_flight=1)
    replies = ask(chat, [*asked, Prompt("b", schema=SCHEMA)])
    assert [reply.meta.status for reply in replies] == ["ok", *["error"] * 5, "ok"]
    assert replies[1].meta.error == "HTTP 400 (context_length_exceeded): longer than the model's context"
    assert len(server.seen) == 7
    assert not caplog.records


def test_a_key_is_sent_only_where_it_is_asked_for(
    make_chat: MakeChat, server: ChatServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-someone-elses")
    monkeypatch.setenv("TEACHER_KEY", " sk-canary-1 \n")
    ask(make_chat(), prompts(1))
    assert "authorization" not in server.seen[0].headers
    ask(make_chat(key_env="TEACHER_KEY"), prompts(1))
    assert server.seen[1].headers["authorization"] == "Bearer sk-canary-1"


@pytest.mark.parametrize("value", [None, "", "sk-with\nnewline", "sk-\u00e9"])
def test_an_unusable_key_is_named_by_its_variable(
    make_chat: MakeChat, server: ChatServer, monkeypatch: pytest.MonkeyPatch, value: str | None
) -> None:
    monkeypatch.delenv("TEACHER_KEY", raising=False)
    if value is not None:
        monkeypatch.setenv("TEACHER_KEY", value)
    with pytest.raises(TeacherError, match="environment variable") as caught:
        ask(make_chat(key_env="TEACHER_KEY"), prompts(1))
    assert "TEACHER_KEY" in str(caught.value)
    assert "sk-" not in str(caught.value)
    assert not server.seen


def test_loopback_never_goes_through_a_proxy(
    make_chat: MakeChat, server: ChatServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    assert ask(make_chat(), prompts(1)) == ["w0"]


@pytest.mark.parametrize(
    "endpoint",
    [
        "127.0.0.1:11434/v1",
        "ftp://127.0.0.1/v1",
        "https://user:sk-secret@host/v1",
        "https://host/v1?key=sk-secret",
        "",
        "http://127.0.0.1:99999/v1",
        "http://127.0.0.1:port/v1",
        "http://[::1/v1",
        "http://büro.example/v1",
        "http://127.0.0.1/ v1",
        "http://127.0.0.1/\nv1",
    ],
)
def test_an_endpoint_that_cannot_be_is_refused_at_once(endpoint: str) -> None:
    with pytest.raises(ConfigError, match="endpoint") as caught:
        Chat("m", endpoint)
    assert "sk-secret" not in str(caught.value)


@pytest.mark.parametrize(
    "settings",
    [
        {"max_in_flight": 0},
        {"timeout_s": 0.0},
        {"max_tries": -1},
        {"requests_per_minute": 0},
        {"tokens_per_minute": -1},
    ],
)
def test_limits_are_more_than_nothing(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(settings))):
        Chat("m", "http://127.0.0.1:9/v1", **settings)


def test_the_full_url_is_taken_as_well(server: ChatServer) -> None:
    chat = Chat("m", server.url + "/chat/completions/")
    assert chat.endpoint == server.url
