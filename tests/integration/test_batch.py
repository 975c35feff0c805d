"""Batch files against a server that behaves like OpenAI's: everything answered or accounted for, nothing paid twice."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from batch_server import BatchServer, Fate, Misbehaviour, Seen
from chat_server import completion
from thinc.api import Config

from spacy_distill.annotate import load_teacher, use_batches
from spacy_distill.errors import ConfigError, PendingError, TeacherError
from spacy_distill.teacher import batch, batch_files
from spacy_distill.teacher.base import Request
from spacy_distill.teacher.budget import NOTHING, Budget
from spacy_distill.teacher.chat import Chat
from spacy_distill.teacher.claims import Claims
from spacy_distill.teacher.ledger import Ledger
from spacy_distill.teacher.submissions import Submissions
from spacy_distill.teacher.types import Prompt, Reply, ReplyMeta

SCHEMA = {"type": "object", "properties": {"label": {"type": "string"}}}
OK = '{"label": "w%d"}'


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_files, "_FIRST_PAUSE_S", 0.005)
    monkeypatch.setattr(batch_files, "_LONGEST_PAUSE_S", 0.05)
    monkeypatch.setattr(batch_files, "_PATIENCE_S", 10.0)
    monkeypatch.setattr(batch, "_SETTLING_S", 0.1)


@pytest.fixture
def server() -> Iterator[BatchServer]:
    running = BatchServer()
    yield running
    running.close()


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    return tmp_path / "ledger.sqlite"


MakeChat = Callable[..., Chat]


@pytest.fixture
def make_chat(server: BatchServer, ledger: Path) -> Iterator[MakeChat]:
    """Makes `Chat` models on one ledger, using batches unless `wait` is None, and closes them."""
    made: list[Chat] = []

    def make(*, wait: bool | None = True, **settings: Any) -> Chat:
        made.append(Chat("loopback-1", server.url, **{"ledger": ledger, "timeout_s": 5.0, **settings}))
        if wait is not None:
            made[-1].use_batches(wait=wait)
        return made[-1]

    yield make
    for chat in made:
        chat.close()


def prompts(count: int, first: int = 0) -> list[Prompt]:
    return [Prompt(f"text w{n}", prefix="Say the last word: ", schema=SCHEMA) for n in range(first, first + count)]


def ask(chat: Chat, asked: list[Prompt]) -> list[Reply]:
    found = dict(chat.stream(asked))
    assert sorted(found) == list(range(len(asked)))
    return [found[index] for index in range(len(asked))]


def words(count: int) -> list[str]:
    return [OK % number for number in range(count)]


def test_prompts_become_replies_under_the_same_keys(make_chat: MakeChat, server: BatchServer, ledger: Path) -> None:
    replies = ask(make_chat(), prompts(40))
    assert replies == words(40)
    assert {reply.meta.batch for reply in replies} == {None, "batch_1"}
    assert replies[7].meta.prompt_tokens == 20
    assert replies[7].meta.tokens
    assert not replies[7].meta.from_ledger
    assert (server.count("POST chat/completions"), server.count("POST files"), len(server.batches)) == (1, 1, 1)
    before = len(server.seen)
    again = ask(make_chat(wait=None), prompts(40))  # The other way finds them all.
    assert again == replies
    assert all(reply.meta.from_ledger for reply in again)
    assert again[7].meta.batch == "batch_1"
    assert len(server.seen) == before
    assert set(server.billed.values()) == {1}


def test_a_line_is_the_request_that_is_made_directly(make_chat: MakeChat, server: BatchServer) -> None:
    bodies: list[dict[str, Any]] = []
    server.respond = lambda body: bodies.append(body)  # type: ignore[func-returns-value]
    chat = make_chat(system="Be brief.", extra={"seed": 1})
    ask(chat, prompts(2))
    (line,) = [json.loads(line) for line in server.files["file-1"].splitlines()]
    assert line["custom_id"] == chat.key(prompts(2)[1])
    assert line["body"] == json.loads(chat._asker.body(prompts(2)[1])) == bodies[0]
    assert line["body"]["seed"] == 1


def test_choices_have_a_probability_each_whoever_collects_them(make_chat: MakeChat, server: BatchServer) -> None:
    def respond(body: dict[str, Any]) -> tuple[Any, Any]:
        assert body["top_logprobs"] == 20
        said = completion("good", logprobs=True)
        top = [{"token": "good", "logprob": -1.0}, {"token": "bad", "logprob": -2.0}]
        said["choices"][0]["logprobs"]["content"][0]["top_logprobs"] = top
        return {"status_code": 200, "request_id": "r", "body": said}, None

    server.respond = respond
    asked = [Prompt(f"w{number}", choices={"+": " good", "-": " bad"}) for number in range(4)]
    with pytest.raises(PendingError):
        ask(make_chat(wait=False), asked)
    ask(make_chat(), asked[:2])  # What it does not want it knows from the ledger.
    for reply in ask(make_chat(wait=None), asked)[1:]:
        assert reply.meta.scores == {"+": pytest.approx(0.731, abs=1e-3), "-": pytest.approx(0.269, abs=1e-3)}


def test_a_reply_in_a_batch_costs_half(make_chat: MakeChat) -> None:
    first, *others = ask(make_chat(usd_per_million=[10.0, 50.0]), prompts(3))
    assert first.meta.cost_usd == pytest.approx((20 * 10 + 4 * 50) / 1e6)
    assert [reply.meta.cost_usd for reply in others] == [pytest.approx(first.meta.cost_usd / 2)] * 2


def test_a_budget_holds_for_batches_too(make_chat: MakeChat, server: BatchServer) -> None:
    chat = make_chat(max_tokens=4)
    chat.budget = Budget(tokens=1000)
    replies = ask(chat, prompts(100))
    answered = [reply for reply in replies if reply.meta.status == "ok"]
    assert len(answered) > 20
    assert sum((reply.meta.prompt_tokens or 0) + (reply.meta.reply_tokens or 0) for reply in answered) <= 1000
    assert chat.budget._reserved == NOTHING
    assert len(answered) == len(server.billed)
    assert set(server.billed.values()) == {1}


def test_only_what_the_ledger_does_not_have_is_submitted(make_chat: MakeChat, server: BatchServer) -> None:
    ask(make_chat(wait=None), prompts(600))
    mixed = [prompt for pair in zip(prompts(300), prompts(300, first=1000), strict=True) for prompt in pair]
    replies = ask(make_chat(), [*prompts(400, first=200), *mixed])
    assert all(reply.meta.status == "ok" for reply in replies)
    assert [len(batch.requests) for batch in server.batches] == [299]  # All in one, though hits come between.
    assert set(server.billed.values()) == {1}


@pytest.mark.parametrize(("limit", "value"), [("_MOST_REQUESTS", 10), ("_MOST_BYTES", 4000)])
def test_a_file_holds_no_more_than_the_server_takes(
    make_chat: MakeChat, server: BatchServer, monkeypatch: pytest.MonkeyPatch, limit: str, value: int
) -> None:
    monkeypatch.setattr(batch, limit, value)
    assert ask(make_chat(), prompts(41)) == words(41)
    assert len(server.batches) == 4 if limit == "_MOST_REQUESTS" else len(server.batches) > 3
    for made in server.batches:
        assert len(made.requests) <= 10
        assert len(server.files[made.file]) <= 4000 or limit == "_MOST_REQUESTS"
    assert sum(len(made.requests) for made in server.batches) == 40
    assert set(server.billed.values()) == {1}


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("wrong", [500, 429, "reset"])
@pytest.mark.parametrize("kind", ["POST files", "POST batches", "GET look", "GET content"])
def test_a_fault_on_the_way_is_overcome_and_nothing_made_twice(
    make_chat: MakeChat, server: BatchServer, kind: str, wrong: Misbehaviour, when: str
) -> None:
    def behave(seen: Seen) -> Misbehaviour | None:
        return wrong if str(seen) == kind and seen.nth <= 2 else None

    setattr(server, when, behave)
    assert ask(make_chat(), prompts(20)) == words(20)
    assert len(server.batches) == 1
    assert set(server.billed.values()) == {1}


def test_a_batch_is_found_among_many(make_chat: MakeChat, server: BatchServer, ledger: Path) -> None:
    server.page = 2
    for first in range(5):  # Another program's.
        other = make_chat(ledger=ledger.with_name(f"{first}.sqlite"), wait=False)
        with pytest.raises(PendingError):
            ask(other, prompts(3, first=100 * (first + 1)))
    server.after = lambda seen: "reset" if str(seen) == "POST batches" and seen.nth == 6 else None
    server.before = lambda seen: None
    listed: list[int] = []

    def before(seen: Seen) -> Misbehaviour | None:
        if str(seen) == "GET batches" and not listed:  # The orphan is by now the oldest but five.
            listed.append(1)
            server.batches.insert(0, server.batches.pop())
        return None

    server.before = before
    assert ask(make_chat(), prompts(20)) == words(20)
    assert server.count("GET batches") == 3
    assert len(server.batches) == 6
    assert set(server.billed.values()) == {1}


@pytest.mark.parametrize("status", ["expired", "cancelled"])
def test_a_batch_that_ends_early_gives_what_it_has(make_chat: MakeChat, server: BatchServer, status: str) -> None:
    server.fate = lambda nth, requests: Fate(status, done=12) if nth == 1 else Fate()
    replies = ask(make_chat(), prompts(20))
    assert [reply.meta.status for reply in replies] == ["ok"] * 13 + ["error"] * 7
    assert replies[-1].meta.error == f"no reply in the batch (batch_{status})"
    assert ask(make_chat(), prompts(20)) == words(20)
    assert [len(made.requests) for made in server.batches] == [19, 6]
    assert set(server.billed.values()) == {1}


def test_a_batch_that_fails_is_accounted_for(make_chat: MakeChat, server: BatchServer) -> None:
    server.fate = lambda nth, requests: Fate("failed", "invalid_json_line") if nth == 1 else Fate()
    replies = ask(make_chat(), prompts(5))
    assert [reply.meta.status for reply in replies] == ["ok", *["error"] * 4]
    assert replies[1].meta.error == "no reply in the batch, which failed (invalid_json_line)"
    assert ask(make_chat(), prompts(5)) == words(5)


def test_every_line_has_its_own_fate(make_chat: MakeChat, server: BatchServer) -> None:
    def respond(body: dict[str, Any]) -> tuple[Any, Any] | None:
        said = {"message": "no", "type": "invalid_request_error"}
        wrong = {
            "w1": ({"status_code": 400, "body": {"error": said}}, None),
            "w2": ({"status_code": 500, "body": None}, None),
            "w3": (None, {"code": "server_error", "message": "oops"}),
            "w4": ({"status_code": 400, "body": {"error": {"code": "content_filter"}}}, None),
            "w5": ({"status_code": "?"}, None),
            "w6": (None, None),
            "w7": ("gone", "gone"),
        }
        return wrong.get(body["messages"][-1]["content"].split()[-1])

    server.respond = respond
    replies = ask(make_chat(), prompts(10))
    assert [reply.meta.status for reply in replies] == ["ok", *["error"] * 3, "refused", *["error"] * 3, "ok", "ok"]
    assert [replies[index].meta.error for index in (1, 2, 3, 5)] == [
        "HTTP 400 (invalid_request_error)",
        "HTTP 500",
        "no reply in the batch (server_error)",
        "no reply in the batch, which is complete",
    ]
    server.respond = lambda body: None
    again = ask(make_chat(), prompts(10))
    assert [reply.meta.status for reply in again] == ["ok"] * 4 + ["refused"] + ["ok"] * 5
    assert set(server.billed.values()) == {1}


def test_what_the_server_does_not_take_is_found_out_by_the_first_prompt(
    make_chat: MakeChat, server: BatchServer
) -> None:
    server.refuse = {"json_schema", "logprobs"}
    replies = ask(make_chat(), prompts(20))
    assert all(reply.meta.status == "ok" for reply in replies)
    line = json.loads(server.files["file-1"].splitlines()[0])
    assert line["body"]["response_format"] == {"type": "json_object"}
    assert "logprobs" not in line["body"]
    assert set(server.billed.values()) == {1}


def test_a_form_refused_in_the_batch_alone_is_given_up_in_the_next_run(
    make_chat: MakeChat, server: BatchServer
) -> None:
    server.after = lambda seen: server.refuse.add("json_schema")  # Anybody's guess why; it happens.
    replies = ask(make_chat(), prompts(20))
    assert [reply.meta.error for reply in replies] == [None, *["HTTP 400 (invalid_request_error)"] * 19]
    replies = ask(make_chat(), prompts(20))
    assert all(reply.meta.status == "ok" for reply in replies)
    assert set(server.billed.values()) == {1}


def test_batches_that_the_accounts_queue_does_not_take_go_one_by_one(
    make_chat: MakeChat, server: BatchServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch, "_MOST_REQUESTS", 16)
    most = 10

    def fate(nth: int, requests: int) -> Fate:
        queued = [made for made in server.batches if made.looks < 4 and made.fate.status != "failed"]
        full = sum(len(made.requests) for made in queued) + requests > most
        return Fate("failed", "token_limit_exceeded") if full else Fate()

    server.fate = fate
    assert ask(make_chat(), prompts(41)) == words(41)
    assert set(server.billed.values()) == {1}
    most = 0
    with pytest.raises(TeacherError, match="token_limit_exceeded"):
        ask(make_chat(), prompts(10, first=100))


def test_no_wait_submits_once_and_collects_in_the_end(make_chat: MakeChat, server: BatchServer, ledger: Path) -> None:
    for _ in range(3):
        with pytest.raises(PendingError, match=r"19 prompts.*batch_1"):
            ask(make_chat(wait=False), prompts(20))
    assert ask(make_chat(wait=False), prompts(20)) == words(20)
    assert len(server.batches) == 1
    assert set(server.billed.values()) == {1}


def test_a_batch_is_collected_whole_whatever_the_run_asks(
    make_chat: MakeChat, server: BatchServer, ledger: Path
) -> None:
    with pytest.raises(PendingError):
        ask(make_chat(wait=False), prompts(20))
    assert Ledger(ledger).counts() == {"error": 19, "ok": 1}
    assert ask(make_chat(), prompts(5, first=3)) == [OK % number for number in range(3, 8)]
    assert Ledger(ledger).counts() == {"ok": 20}
    row = next(row for row in Ledger(ledger).rows() if row["prompt"].endswith("w19"))
    assert row["reply"] == OK % 19
    assert set(server.billed.values()) == {1}


def test_two_runs_on_one_ledger_submit_nothing_twice(make_chat: MakeChat, server: BatchServer) -> None:
    found: list[Reply] = []

    def run(asked: list[Prompt]) -> None:
        found.extend(ask(make_chat(), asked))

    for first in range(0, 500, 100):
        # From either end, because the first prompt is asked directly.
        orders = [prompts(60, first), prompts(60, first)[::-1]]
        runs = [threading.Thread(target=run, args=(order,)) for order in orders]
        for one in runs:
            one.start()
        for one in runs:
            one.join()
    assert [(i, reply.meta.error) for i, reply in enumerate(found) if reply.meta.status != "ok"] == []
    assert len(found) == 600
    assert len(server.billed) == 300
    assert set(server.billed.values()) == {1}


def test_a_submission_that_was_uploaded_just_now_is_not_taken_for_a_dead_runs(
    make_chat: MakeChat, server: BatchServer, ledger: Path
) -> None:
    one, other = (Submissions(Claims(Ledger(ledger)), server.url, "loopback-1", {}) for _ in range(2))
    asked = [Request(f"k{number}", prompt) for number, prompt in enumerate(prompts(3))]
    submission, mine = one.claim(asked)
    (seen,) = other.open()
    assert one.uploaded(submission, "file_1")
    other.abandon(seen)
    assert [(each.id, each.file) for each in one.open()] == [(submission.id, "file_1")]
    assert one.held(submission) == {request.key for request in mine} == {"k0", "k1", "k2"}
    second, mine = one.claim([Request("k3", prompts(4)[3])])
    other.abandon(second)
    assert not one.uploaded(second, "file_2")
    assert len(mine) == 1
    assert [each.id for each in one.open()] == [submission.id]
    assert one.held(second) == set()


def test_what_another_process_collected_is_taken_from_the_ledger_and_settled(
    make_chat: MakeChat, server: BatchServer, ledger: Path
) -> None:
    chat, asked, other = make_chat(), prompts(5), Ledger(ledger)
    chat.budget = Budget(tokens=100_000)
    submissions = Submissions(Claims(other), server.url, "loopback-1", {})

    def collect(seen: Seen) -> None:
        for submission in submissions.open() if seen.kind == "look" else ():
            for prompt in asked[1:]:
                refused = Reply("", ReplyMeta(status="refused"))
                other.put(chat.key(prompt), prompt, refused, model="loopback-1", params={})
            submissions.release(submission)

    server.before = collect
    replies = ask(chat, asked)
    other.close()
    assert [reply.meta.status for reply in replies] == ["ok"] + ["refused"] * 4
    assert [reply.meta.from_ledger for reply in replies] == [False] + [True] * 4
    assert chat.budget._reserved == NOTHING


def test_a_refused_batch_is_told_and_can_be_submitted_later(make_chat: MakeChat, server: BatchServer) -> None:
    server.before = lambda seen: 403 if str(seen) == "POST batches" else None
    with pytest.raises(TeacherError, match=r"/batches: HTTP 403.*may it use batches"):
        ask(make_chat(), prompts(5))
    server.before = lambda seen: 404 if str(seen) == "POST files" else None
    with pytest.raises(TeacherError, match=r"/files: HTTP 404.*Without --batch"):
        ask(make_chat(), prompts(5))
    server.before = lambda seen: None
    assert ask(make_chat(), prompts(5)) == words(5)
    assert len(server.batches) == 1


def test_what_an_endpoint_without_batches_did_not_take_is_asked_directly(
    make_chat: MakeChat, server: BatchServer
) -> None:
    server.before = lambda seen: 404 if str(seen) == "POST files" else None
    with pytest.raises(TeacherError, match=r"/files: HTTP 404.*Without --batch the prompts are asked directly"):
        ask(make_chat(), prompts(5))
    assert ask(make_chat(wait=None), prompts(5)) == words(5)
    assert set(server.billed.values()) == {1}


def test_a_server_that_stays_away_ends_the_run_and_the_next_goes_on(
    make_chat: MakeChat, server: BatchServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.before = lambda seen: "reset" if str(seen) == "GET look" else None
    with monkeypatch.context() as patch:
        patch.setattr(batch_files, "_PATIENCE_S", 0.3)
        with pytest.raises(TeacherError, match="the connection broke"):
            ask(make_chat(), prompts(5))
    server.before = lambda seen: None
    assert ask(make_chat(), prompts(5)) == words(5)
    assert len(server.batches) == 1
    assert set(server.billed.values()) == {1}


def test_what_waits_in_a_batch_is_not_asked_beside_it(
    make_chat: MakeChat, server: BatchServer, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(PendingError):
        ask(make_chat(wait=False), prompts(5))
    directly = make_chat(wait=None)
    directly.budget = Budget(tokens=100_000)
    replies = ask(directly, prompts(7))
    assert "batches are under way" in caplog.text
    assert [reply.meta.status for reply in replies] == ["ok", *["error"] * 4, "ok", "ok"]
    assert all("annotate with --batch to collect it" in str(reply.meta.error) for reply in replies[1:5])
    assert directly.budget._reserved == NOTHING
    assert ask(make_chat(), prompts(7)) == words(7)
    assert len(server.billed) == 7
    assert set(server.billed.values()) == {1}


def test_what_is_asked_directly_meanwhile_is_not_submitted(
    make_chat: MakeChat, server: BatchServer, ledger: Path
) -> None:
    chat, other = make_chat(), Claims(Ledger(ledger))
    held = [request for prompt in prompts(4) if (request := chat._admit(chat.key(prompt), prompt))]
    other.claim(held)

    def answer(seen: Seen) -> None:
        for request in held if seen.kind == "look" else ():
            reply = Reply("elsewhere", ReplyMeta())
            other.ledger.put(request.key, request.prompt, reply, model="loopback-1", params={})
            other.release([request.key])

    server.before = answer
    assert ask(chat, prompts(9)) == ["elsewhere"] * 4 + words(9)[4:]
    other.close()
    other.ledger.close()
    assert len(server.billed) == 5


def test_batches_need_a_ledger_and_a_model_behind_an_api(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="ledger"):
        Chat("m", "http://127.0.0.1:1/v1").use_batches()
    config = {
        "nlp": {"lang": "en", "pipeline": ["llm"]},
        "components": {
            "llm": {
                "factory": "llm",
                "model": {"@llm_models": "spacy_distill.Scripted.v1", "replies": []},
                "task": {"@llm_tasks": "spacy_distill.TextCat.v1", "labels": ["a", "b"]},
            }
        },
    }
    Config(config).to_disk(tmp_path / "teacher.cfg")
    with pytest.raises(ConfigError, match=r"spacy_distill\.Chat\.v1"):
        use_batches(load_teacher(tmp_path / "teacher.cfg", ledger=tmp_path / "ledger.sqlite"))


def test_a_key_and_a_document_are_nowhere_to_be_found(
    make_chat: MakeChat,
    server: BatchServer,
    ledger: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    key = "sk-canary-7f3a"
    monkeypatch.setenv("TEACHER_KEY", key)
    caplog.set_level(logging.DEBUG)
    server.before = lambda seen: 500 if seen.nth == 1 and seen.kind != "chat/completions" else None
    server.fate = lambda nth, requests: Fate(code=key)
    said = {"message": key, "code": key}
    server.respond = lambda body: (
        ({"status_code": 400, "body": {"error": said}}, None) if len(server.billed) > 4 else None
    )
    replies = ask(make_chat(key_env="TEACHER_KEY"), prompts(8))
    assert [reply.meta.status for reply in replies].count("ok") == 5
    server.before = lambda seen: 401
    with pytest.raises(TeacherError) as caught:
        ask(make_chat(key_env="TEACHER_KEY"), prompts(8))
    assert {seen.headers["Authorization"] for seen in server.seen} == {f"Bearer {key}"}
    out, err = capfd.readouterr()
    errors = [str(reply.meta.error) for reply in replies]
    for place in (caplog.text, out, err, str(caught.value), *errors):
        assert key not in place
        assert "text w" not in place
    files = [path.read_bytes() for path in ledger.parent.iterdir()]
    assert files
    uploaded = [server.files[made.file] for made in server.batches]
    assert not any(key.encode() in content for content in [*files, *uploaded])
