"""Limits: room is set aside before a request and never exceeded, and nobody gives up while there may be room."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from spacy_distill.teacher.base import Request
from spacy_distill.teacher.budget import Bounds, Budget, Spend, size
from spacy_distill.teacher.ledger import Ledger
from spacy_distill.teacher.prices import constant
from spacy_distill.teacher.scripted import Scripted
from spacy_distill.teacher.types import Prompt, Reply, ReplyMeta


def test_what_is_set_aside_counts_until_it_is_settled() -> None:
    budget = Budget(usd=1.0)
    assert budget.reserve(Spend(0.6, 10))
    assert not budget.reserve(Spend(0.6, 10))
    budget.settle(Spend(0.6, 10), Spend(0.1, 4))
    assert budget.spent == Spend(0.1, 4)
    assert budget.reserve(Spend(0.6, 10))
    assert budget.reserve(Spend(0.25, 10))
    assert not budget.reserve(Spend(0.1, 10))


def test_tokens_and_money_are_limits_of_their_own() -> None:
    budget = Budget(usd=1.0, tokens=100)
    assert not budget.reserve(Spend(0.0, 101))
    assert not budget.reserve(Spend(1.01, 1))
    assert budget.reserve(Spend(1.0, 100))
    assert Budget().reserve(Spend(1e9, 10**9))
    assert not Budget(usd=0.0).reserve(Spend(0.01, 1))
    assert Budget(usd=0.0).reserve(Spend(0.0, 1))


def test_a_budget_that_was_reached_hands_out_nothing_more() -> None:
    budget = Budget(usd=1.0, tokens=1_000_000)
    assert budget.close() == "budget of $1.00 or 1,000,000 tokens reached"
    assert not budget.reserve(Spend(0.0, 0))


def test_threads_never_pass_a_budget_together() -> None:
    budget = Budget(tokens=10_000)
    most_spent = []

    def work(seed: int) -> None:
        draw = random.Random(seed)
        for _ in range(500):
            most = Spend(0.0, draw.randint(1, 200))
            if budget.reserve(most):
                budget.settle(most, Spend(0.0, draw.randint(0, most.tokens)))
                most_spent.append(budget.spent.tokens)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(most_spent) == budget.spent.tokens <= 10_000
    assert budget.spent.tokens > 9_700, "there was room for every request until the end"


def test_the_bound_learns_and_stays_a_bound() -> None:
    """Any tokenizer with at most a token a byte, over texts of all kinds, in any order."""
    draw = random.Random(5)
    kinds = ["plain words of a kind ", "ОченьХорошо ", "数据很好", "🙂🙃", "4f9c2e77"]
    for _ in range(200):
        bounds = Bounds(64, {"system": "Be brief."})
        prefix = draw.choice(kinds) * draw.randint(0, 60)
        frame_tokens = draw.randint(0, size(prefix)) + draw.randint(0, 30)
        for _ in range(20):
            text = draw.choice(kinds) * draw.randint(0, 40)
            prompt = Prompt(text, prefix=prefix)
            tokens = frame_tokens + draw.randint(0, size(text))
            read, written = bounds.most(prompt)
            assert read >= tokens
            assert written == 64
            bounds.learn(prompt, ReplyMeta(prompt_tokens=tokens, reply_tokens=3))


def test_the_bound_becomes_tight_where_the_constant_part_is_long() -> None:
    bounds = Bounds(10, {})
    prompt = Prompt("short text", prefix="Instructions at length. " * 200)
    assert bounds.most(prompt)[0] > 4_800
    bounds.learn(prompt, ReplyMeta(prompt_tokens=1_000))
    assert 1_000 <= bounds.most(prompt)[0] <= 1_030
    other = Prompt("short text", prefix="Other instructions. " * 200)
    assert bounds.most(other)[0] > 4_000, "nothing is known yet of another constant part"


def test_a_reply_without_limit_is_bounded_by_twice_the_longest_seen() -> None:
    bounds = Bounds(None, {})
    assert bounds.most(Prompt("x"))[1] > 1_000
    bounds.learn(Prompt("x"), ReplyMeta(prompt_tokens=1, reply_tokens=50))
    bounds.learn(Prompt("y"), ReplyMeta(prompt_tokens=1, reply_tokens=7))
    assert bounds.most(Prompt("z"))[1] == 100


class Batches(Scripted):
    """Takes four prompts at a time, and answers each with 10 tokens read and 2 written, at 1 USD a token."""

    price = constant("the test", 1e6, 1e6)
    longest_reply = 5

    def __init__(self, ledger: Path | None = None, **usage: Any) -> None:
        super().__init__([], ledger)
        self.usage = usage or {"prompt_tokens": 10, "reply_tokens": 2}
        self.sizes: list[int] = []

    def _ask(self, requests: Iterator[Request]) -> Iterator[tuple[Request, Reply]]:
        while batch := list(islice(requests, 4)):
            self.sizes.append(len(batch))
            for request in batch:
                self.asked.append(request.prompt)
                yield request, Reply("yes", ReplyMeta(**self.usage))


def statuses(model: Scripted, prompts: list[str]) -> list[str]:
    found = dict(model.stream(prompts))
    assert sorted(found) == list(range(len(prompts)))
    return [found[index].meta.error or found[index].meta.status for index in range(len(prompts))]


def test_a_run_stops_before_the_request_that_could_pass_the_budget(tmp_path: Path) -> None:
    path = tmp_path / "l.sqlite"
    prompts = [f"prompt {number:02}" for number in range(40)]
    model = Batches(path)
    model.budget = Budget(usd=300.0)
    found = statuses(model, prompts)
    asked = found.count("ok")
    assert model.budget.spent == Spend(12.0 * asked, 12 * asked)
    assert 300.0 - 36.0 <= model.budget.spent.usd <= 300.0, "what is left is less than one more could cost"
    assert found == ["ok"] * asked + ["budget of $300.00 reached"] * (40 - asked)
    assert Ledger(path).counts() == {"ok": asked}, "what was not asked for is no failure"
    assert 1 in model.sizes, "where there was no room for a whole batch, a part of it was asked"
    again = Batches(path)
    again.budget = Budget(usd=1_000.0)
    assert statuses(again, prompts) == ["ok"] * 40
    assert [str(prompt) for prompt in again.asked] == prompts[asked:]
    assert again.budget.spent.usd == 12.0 * (40 - asked), "what the ledger has is free"


def test_a_budget_in_tokens_holds_for_free_models_too() -> None:
    model = Batches()
    model.price = constant("free", 0.0, 0.0)
    model.budget = Budget(tokens=200)
    found = statuses(model, [f"prompt {number}" for number in range(40)])
    assert 0 < model.budget.spent.tokens <= 200
    assert found[-1] == "budget of 200 tokens reached"


def test_replies_that_report_no_tokens_count_as_the_most_they_can_have_been() -> None:
    model = Batches(prompt_tokens=None)
    model.budget = Budget(tokens=1_000)
    found = statuses(model, [f"prompt {number}" for number in range(100)])
    per_reply = Bounds(5, {}).most(Prompt("prompt 1"))
    assert found.count("ok") == pytest.approx(1_000 // sum(per_reply), abs=1)


def test_failures_cost_nothing() -> None:
    model = Batches(status="error", error="HTTP 500")
    model.budget = Budget(tokens=200)
    assert statuses(model, [f"prompt {number}" for number in range(40)]) == ["HTTP 500"] * 40
    assert model.budget.spent == Spend(0.0, 0)


def test_without_room_for_a_single_request_nothing_is_asked() -> None:
    model = Batches()
    model.budget = Budget(usd=5.0)
    assert set(statuses(model, ["a", "b", "a"])) == {"budget of $5.00 reached"}
    assert model.asked == []
