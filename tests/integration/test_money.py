"""What is spent, against a real server: budgets hold with many requests in flight, estimates, several teachers."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import spacy
import srsly
from chat_server import Answer, ChatServer, Seen, completion
from spacy.language import Language

from spacy_distill.annotate import annotate
from spacy_distill.cli import app
from spacy_distill.cli.common import usd
from spacy_distill.docs import annotations_of, read_annotations
from spacy_distill.errors import ConfigError
from spacy_distill.estimate import estimate
from spacy_distill.teacher.budget import Budget
from spacy_distill.teacher.chat import Chat
from spacy_distill.teacher.ledger import Ledger
from spacy_distill.teacher.types import Prompt, Reply, ReplyMeta
from spacy_distill.types import Text

MakeChat = Callable[..., Chat]
READ_USD, WRITTEN_USD = 3.0, 15.0
MAX_TOKENS = 50


class Till:
    """Bills what the server answers: a token a word, and a reply of any length that is allowed."""

    def __init__(self, seed: int, faults: float = 0.0) -> None:
        self.draw = random.Random(seed)
        self.faults = faults
        self.usd = 0.0
        self.tokens = 0

    def __call__(self, seen: Seen) -> Answer:
        if self.draw.random() < self.faults:
            return Answer(500, {"error": {"message": "trouble"}}, {"Retry-After": "0"})
        read = len(re.findall(r"\w+|\W", seen.prompt)) + 9
        written = self.draw.choice((1, 2, 3, MAX_TOKENS))
        self.tokens += read + written
        self.usd += (read * READ_USD + written * WRITTEN_USD) / 1e6
        body = completion('{"label": "praise"}')
        return Answer(200, {**body, "usage": {"prompt_tokens": read, "completion_tokens": written}})


@pytest.mark.parametrize("seed", range(6))
def test_the_bill_never_passes_the_budget_with_many_requests_in_flight(
    make_chat: MakeChat, server: ChatServer, seed: int, tmp_path: Path
) -> None:
    draw = random.Random(seed)
    till = server.behave = Till(seed, faults=0.1 * (seed % 2))
    server.latency_s = 0.002
    prefix = "Praise or complaint? " * draw.randint(1, 20)
    prompts = [Prompt(f"text {number} " + "word " * draw.randint(0, 40), prefix=prefix) for number in range(300)]
    chat = make_chat(
        max_in_flight=16, max_tokens=MAX_TOKENS, usd_per_million=[READ_USD, WRITTEN_USD], ledger=tmp_path / "l.sqlite"
    )
    limit_usd, limit_tokens = (draw.uniform(0.005, 0.05), None) if seed % 3 else (None, draw.randint(2_000, 15_000))
    chat.budget = Budget(limit_usd, limit_tokens)
    found = dict(chat.stream(prompts))
    assert sorted(found) == list(range(300))
    assert chat.budget.spent.tokens == till.tokens
    assert chat.budget.spent.usd == pytest.approx(till.usd)
    counted = sum(reply.meta.cost_usd or 0.0 for reply in found.values())
    assert counted == pytest.approx(till.usd)
    one_more = (len(prefix) + 300) * READ_USD / 1e6 + MAX_TOKENS * WRITTEN_USD / 1e6
    if limit_usd is not None:
        assert limit_usd - one_more < till.usd <= limit_usd
    else:
        assert limit_tokens is not None
        assert limit_tokens - len(prefix) - 300 - MAX_TOKENS < till.tokens <= limit_tokens
    turned_away = [reply for reply in found.values() if "budget" in (reply.meta.error or "")]
    assert turned_away
    assert Ledger(tmp_path / "l.sqlite").counts()["ok"] == 300 - len(turned_away)
    server.behave = more = Till(seed)
    chat.budget = Budget(usd=10.0)
    again = dict(chat.stream(prompts))
    assert {reply.meta.status for reply in again.values()} == {"ok"}
    assert chat.budget.spent.usd == pytest.approx(more.usd)
    assert sum(not reply.meta.from_ledger for reply in again.values()) == len(turned_away)


def pipeline(server: ChatServer, *names: str, instruction: str = "", **model: Any) -> Language:
    """A teacher for classes, and with a second name one for entities."""
    nlp = spacy.blank("en")
    tasks = (
        {"@llm_tasks": "spacy_distill.TextCat.v1", "labels": ["praise", "complaint"]},
        {"@llm_tasks": "spacy_distill.NER.v1", "labels": ["PLACE"]},
    )
    for name, task in zip(names, tasks, strict=False):
        if instruction and name == names[0]:
            task = {**task, "definitions": {"praise": instruction}}
        settings = {"@llm_models": "spacy_distill.Chat.v1", "name": name, "endpoint": server.url, **model}
        nlp.add_pipe("llm", name=f"llm_{name}", config={"task": task, "model": settings})
    return nlp


def texts(count: int) -> list[Text]:
    return [Text(f"t{number}", f"The room number {number} was fine.") for number in range(count)]


def by_model(seen: Seen) -> Answer:
    """Each model has an opinion of its own."""
    label = {"mild": "praise", "grim": "complaint"}.get(seen.body["model"])
    content = json.dumps({"label": label} if label else {"entities": []})
    return Answer(200, {**completion(content), "model": seen.body["model"]})


def test_two_models_and_two_prompts_share_a_ledger_without_mixing_anything_up(
    server: ChatServer, tmp_path: Path
) -> None:
    server.behave = by_model
    ledger, given = tmp_path / "l.sqlite", texts(8)
    said: dict[tuple[str, str], list[Any]] = {}
    for again in (False, True):
        before = len(server.seen)
        for name in ("mild", "grim"):
            for instruction in ("", "The guest is content."):
                nlp = pipeline(server, name, instruction=instruction, usd_per_million=[1.0, 1.0])
                docs, books = annotate(nlp, given, ledger=ledger)
                found = [annotations_of(doc)[0] for doc in docs]
                assert {one.label for one in found} == {{"mild": "praise", "grim": "complaint"}[name]}
                assert {one.provenance["model"] for one in found} == {name}
                assert all(one.provenance["prompt_tokens"] == 20 for one in found)
                assert all(one.provenance["cost_usd"] == pytest.approx(24e-6) for one in found)
                money = (books.cost_usd, books.saved_usd)
                assert money == pytest.approx((0.0, 8 * 24e-6) if again else (8 * 24e-6, 0.0))
                said.setdefault((name, instruction), []).append([one.provenance for one in found])
        assert len(server.seen) - before == (0 if again else 4 * 8)
    assert all(first == second for first, second in said.values())
    versions = {key: {one["prompt_hash"] for one in runs[0]} for key, runs in said.items()}
    assert all(len(hashes) == 1 for hashes in versions.values())
    assert versions["mild", ""] == versions["grim", ""] != versions["mild", "The guest is content."]
    holdings = Ledger(ledger).holdings()
    assert {(one.model, one.prompt_hash) for one in holdings} == {
        (name, next(iter(hashes))) for (name, _), hashes in versions.items()
    }
    assert all((one.replies, one.prompt_tokens, one.reply_tokens) == ({"ok": 8}, 160, 32) for one in holdings)
    assert sum(one.cost_usd for one in holdings) == pytest.approx(32 * 24e-6)


def test_one_budget_holds_for_all_teachers_of_a_pipeline(server: ChatServer, tmp_path: Path) -> None:
    server.behave = by_model
    nlp = pipeline(server, "mild", "places", max_tokens=20)
    budget = Budget(tokens=6_000)
    docs, books = annotate(nlp, texts(200), ledger=tmp_path / "l.sqlite", budget=budget)
    assert len(list(docs)) == 200
    assert budget.spent.tokens == 24 * len(server.seen) <= 6_000
    assert (books.asked, books.not_asked) == (len(server.seen), 400 - len(server.seen))
    assert books.failures == {"budget of 6,000 tokens reached": books.not_asked}
    assert {task: count["ok"] + count["error"] for task, count in books.statuses.items()} == {
        "textcat": 200,
        "ner": 200,
    }


def test_a_budget_in_money_needs_a_price() -> None:
    nlp = spacy.blank("en")
    task = {"@llm_tasks": "spacy_distill.TextCat.v1", "labels": ["praise", "complaint"]}
    model = {"@llm_models": "spacy_distill.Chat.v1", "name": "m", "endpoint": "https://gateway.example/v1"}
    nlp.add_pipe("llm", config={"task": task, "model": model})
    with pytest.raises(ConfigError, match=r"No price is known for m at https://gateway\.example/v1.*usd_per_million"):
        annotate(nlp, texts(1), budget=Budget(usd=1.0))
    annotate(nlp, texts(1), budget=Budget(tokens=1_000))


def test_an_estimate_sends_nothing_and_its_range_holds_the_truth(server: ChatServer, tmp_path: Path) -> None:
    till = server.behave = Till(1)
    ledger = tmp_path / "l.sqlite"
    nlp = pipeline(server, "mild", usd_per_million=[READ_USD, WRITTEN_USD], max_tokens=MAX_TOKENS)
    given = [*texts(100), *texts(20)]
    (rough,) = estimate(nlp, given, ledger=ledger)
    assert (server.seen, ledger.exists()) == ([], False)
    assert (rough.prompts, rough.requests, rough.repeated, rough.from_ledger, rough.seen) == (120, 100, 20, 0, 0)
    assert rough.reply_tokens.high == 100 * MAX_TOKENS
    assert rough.elapsed_s is None
    list(annotate(nlp, given[:40], ledger=ledger)[0])
    spent = till.usd, till.tokens
    (better,) = estimate(nlp, given, ledger=ledger)
    assert len(server.seen) == 40
    assert (better.requests, better.from_ledger, better.repeated, better.seen) == (60, 40, 20, 40)
    list(annotate(nlp, given, ledger=ledger)[0])
    assert rough.cost_usd is not None
    assert better.cost_usd is not None
    assert better.elapsed_s is not None
    assert rough.cost_usd.low < till.usd < rough.cost_usd.high
    assert better.cost_usd.low < till.usd - spent[0] < better.cost_usd.high
    assert better.cost_usd.high - better.cost_usd.low < (rough.cost_usd.high - rough.cost_usd.low) / 2
    read_written = better.prompt_tokens.expected + better.reply_tokens.expected
    assert read_written == pytest.approx(till.tokens - spent[1], rel=0.15)
    (nothing,) = estimate(nlp, given, ledger=ledger)
    assert nothing.requests == nothing.reply_tokens.high == 0
    assert nothing.cost_usd is not None
    assert nothing.cost_usd.high == 0.0


Run = Callable[..., str]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command in an empty folder and returns what it printed."""
    monkeypatch.chdir(tmp_path)

    def go(*args: object) -> str:
        with pytest.raises(SystemExit) as end:
            app([str(arg) for arg in args])
        assert end.value.code == 0
        return " ".join(capsys.readouterr().out.split())

    return go


def test_from_a_dry_run_to_a_run_with_a_budget_and_on(run: Run, server: ChatServer, tmp_path: Path) -> None:
    server.behave = by_model
    nlp = pipeline(server, "mild", usd_per_million=[1_000.0, 1_000.0], max_tokens=10)
    nlp.config.to_disk(tmp_path / "teacher.cfg")
    srsly.write_jsonl("t.jsonl", ({"id": text.id, "text": text.text} for text in texts(60)))
    given = ("annotate", "teacher.cfg", "t.jsonl", "out/pool.spacy")
    out = run(*given, "--dry-run", "--budget-usd", "0.1")
    assert "A guess" in out
    assert "preview" in out
    assert "Price: usd_per_million in the config." in out
    assert "requests │ 60 │ 60 │ 60" in out
    assert "A budget of $0.1000 would reach about" in out
    assert (server.seen, Path("out").exists()) == ([], False)
    out = run(*given, "--budget-usd", "1.2")
    asked = len(server.seen)
    assert 0 < asked * 0.024 <= 1.2
    assert f"{60 - asked} × budget of $1.20 reached: give a larger one" in out
    assert f"Spent {usd(asked * 0.024)}; saved $0.00" in out
    assert [one.status for one in read_annotations(Path("out/pool.spacy"), nlp.vocab)] == ["ok"] * asked + ["error"] * (
        60 - asked
    )
    out = run(*given, "--dry-run")
    assert f"Not asked: {asked} in the ledger, 0 repeated." in out
    assert f"Worked out from {asked} replies" in out
    out = run(*given, "--budget-usd", "5")
    assert len(server.seen) == 60
    assert f"Spent {usd((60 - asked) * 0.024)}; saved {usd(asked * 0.024)}" in out
    books = srsly.read_json("out/pool.json")
    assert (books["asked"], books["from_ledger"], books["not_asked"]) == (60 - asked, asked, 0)
    out = run("ledger", "out/ledger.sqlite")
    assert "60 ok" in out
    assert "1,200 │ 240 │ $1.44" in out
    assert "60 replies, $1.44 where prices are known." in out


def test_an_error_is_no_reply_in_the_list_of_what_a_ledger_holds(run: Run) -> None:
    ledger = Ledger("l.sqlite")
    for key, status in (("a", "ok"), ("b", "error"), ("c", "error")):
        ledger.put(key, Prompt(key), Reply("", ReplyMeta(status=status)), model="m", params={})  # type: ignore[arg-type]
    ledger.close()
    out = run("ledger", "l.sqlite")
    assert "2 error, 1 ok" in out
    assert "1 replies, $0.00" in out
