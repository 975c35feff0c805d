import random
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from spacy_distill.errors import TeacherError
from spacy_distill.teacher.base import Request, TeacherModel
from spacy_distill.teacher.scripted import Scripted
from spacy_distill.teacher.types import Prompt, Reply, ReplyMeta


class Backwards(TeacherModel):
    """Answers in groups, the last of each first; calls prompts with "bad" in them failures."""

    group = 3

    def __init__(self, ledger: Path | None = None, params: dict[str, Any] | None = None) -> None:
        super().__init__(ledger)
        self.asked: list[str] = []
        self._params = params or {}

    @property
    def name(self) -> str:
        return "backwards"

    @property
    def endpoint(self) -> str:
        return "test"

    @property
    def params(self) -> dict[str, Any]:
        return self._params

    def _ask(self, requests: Iterator[Request]) -> Iterator[tuple[Request, Reply]]:
        while group := list(islice(requests, self.group)):
            for request in reversed(group):
                self.asked.append(str(request.prompt))
                failed = ReplyMeta(status="error", error="it is bad") if "bad" in request.prompt else None
                yield request, Reply("" if failed else f"re: {request.prompt}", failed)


def answers(model: TeacherModel, prompts: list[str]) -> list[str]:
    found = dict(model.stream(prompts))
    assert sorted(found) == list(range(len(prompts)))
    return [str(found[index]) for index in range(len(prompts))]


def test_every_prompt_gets_its_own_reply_whatever_the_order() -> None:
    prompts = [f"p{number}" for number in range(10)]
    assert answers(Backwards(), prompts) == [f"re: {prompt}" for prompt in prompts]


def test_spacy_llms_convention_keeps_order_and_nesting() -> None:
    replies = Backwards()([["a", "b"], [], ["c"], ["a"]])
    assert [list(doc) for doc in replies] == [["re: a", "re: b"], [], ["re: c"], ["re: a"]]
    assert list(Backwards()([])) == []


def test_the_same_prompt_is_asked_once(tmp_path: Path) -> None:
    prompts = ["x", "y", "x", "x", *[f"p{number}" for number in range(7)], "x"]
    model = Backwards(tmp_path / "ledger.sqlite")
    assert answers(model, prompts) == [f"re: {prompt}" for prompt in prompts]
    assert model.asked.count("x") == 1


@pytest.mark.parametrize("handful", [1, 3, 8])
def test_the_same_prompt_is_asked_once_however_its_copies_fall(tmp_path: Path, handful: int) -> None:
    class Wide(Backwards):
        max_in_flight = 4 * handful

    rng = random.Random(0)
    for number in range(100):
        model = Wide(tmp_path / f"{number}.sqlite")
        prompts = [f"p{rng.randrange(30)}" for _ in range(60)]
        assert answers(model, prompts) == [f"re: {prompt}" for prompt in prompts]
        assert sorted(model.asked) == sorted(set(prompts))


def test_a_rerun_asks_only_for_what_is_missing(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    answers(Backwards(path), ["a", "bad b", "c"])
    again = Backwards(path)
    found = dict(again.stream(["a", "bad b", "c", "d"]))
    assert sorted(again.asked) == ["bad b", "d"]
    assert found[0].meta.from_ledger
    assert not found[3].meta.from_ledger
    assert found[1].meta.error == "it is bad"
    assert len({reply.meta.key for reply in found.values()}) == 4


def test_anything_that_could_change_an_answer_changes_the_key() -> None:
    model = Backwards()
    prompts = [
        Prompt("a"),
        Prompt("b"),
        Prompt("a", choices={"x": " x"}),
        Prompt("a", schema={"type": "object"}),
    ]
    keys = {model.key(prompt) for prompt in prompts} | {
        Backwards(params={"temperature": 1}).key(prompts[0]),
        Scripted([]).key(prompts[0]),
        model.key(prompts[0].with_sample(1)),
    }
    assert len(keys) == len(prompts) + 3
    assert model.key(Prompt("b", prefix="a", suffix="c")) == model.key(Prompt("abc"))  # The model reads the same.


def test_prompts_are_pulled_as_the_model_takes_them() -> None:
    pulled: list[int] = []

    def endless() -> Iterator[str]:
        number = 0
        while True:
            pulled.append(number)
            yield f"p{number}"
            number += 1

    stream = Backwards().stream(endless())
    for _ in range(4):
        next(stream)
    assert len(pulled) <= 2 * Backwards.group


def test_hits_are_handed_on_and_not_gathered(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    prompts = [f"p{number}" for number in range(1500)]
    answers(Backwards(path), prompts)
    pulled: list[str] = []

    def noted() -> Iterator[str]:
        for prompt in ["new", *prompts, "newer"]:
            pulled.append(prompt)
            yield prompt

    again = Backwards(path)
    ahead = []
    found = {}
    for index, reply in again.stream(noted()):
        found[index] = reply
        ahead.append(len(pulled) - len(found))
    assert max(ahead) < 500
    assert len(found) == 1502
    assert again.asked == ["new", "newer"]


def test_what_arrived_is_in_the_ledger_before_it_is_handed_on(tmp_path: Path) -> None:
    model = Backwards(tmp_path / "ledger.sqlite")
    for count, _ in enumerate(model.stream(["a", "b", "c", "d"]), 1):
        assert model.ledger is not None
        assert model.ledger.counts() == {"ok": count}


def test_scripted_answers_in_order_and_says_when_it_runs_dry(tmp_path: Path) -> None:
    model = Scripted(["one", Reply("two", ReplyMeta(status="truncated"))], tmp_path / "ledger.sqlite")
    replies = dict(model.stream(["a", "b", "a"]))
    assert [str(replies[index]) for index in range(3)] == ["one", "two", "one"]
    assert replies[1].meta.status == "truncated"
    assert model.asked == ["a", "b"]
    with pytest.raises(TeacherError, match="no reply left for prompt 3"):
        list(model.stream(["c"]))
