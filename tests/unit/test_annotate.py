"""Texts and a teacher pipeline in, docs and the books out: with our models and tasks, and with spaCy-llm's own."""

from __future__ import annotations

import json
import typing
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import spacy
from spacy.language import Language
from spacy.tokens import Doc
from spacy_llm.registry import registry

from spacy_distill.annotate import annotate as stream
from spacy_distill.annotate import load_teacher
from spacy_distill.books import Books
from spacy_distill.docs import annotations_of
from spacy_distill.errors import ConfigError, TeacherError
from spacy_distill.teacher.base import Request
from spacy_distill.teacher.ledger import Ledger
from spacy_distill.teacher.scripted import Scripted
from spacy_distill.teacher.types import Reply, ReplyMeta
from spacy_distill.types import Text

ASKED: list[str] = []


class Echo:
    """A model that is none of ours: answers by a few words of the text; fails on "boom", gives up on "quit"."""

    def __init__(self, context_length: int | None = None) -> None:
        if context_length is not None:
            self.context_length = context_length

    def __call__(self, prompts: typing.Iterable[typing.Iterable[typing.Any]]) -> typing.Iterable[typing.Iterable[str]]:
        return [[self.answer(str(prompt)) for prompt in of_doc] for of_doc in prompts]

    def answer(self, prompt: str) -> str:
        ASKED.append(prompt)
        if "boom" in prompt:
            raise RuntimeError("the secret text: boom")
        if "quit" in prompt:
            raise TeacherError("No key.")
        if "entities" in prompt:
            return (
                "1. Oslo | True | PLACE | is a city" if "Oslo" in prompt else "1. grim | False | ==NONE== | is a mood"
            )
        return "complaint" if "grim" in prompt else "praise" if "good" in prompt else "I wonder"


@registry.llm_models("test_annotate.echo.v1")
def make_echo(context_length: typing.Optional[int] = None) -> Callable[..., Any]:  # noqa: UP045
    """Make the model."""
    return Echo(context_length)


@Language.component("test_annotate_remember")
def remember(doc: Doc) -> Doc:
    """A component of the user's that keeps something on the doc."""
    doc.user_data["length"] = len(doc.text)
    return doc


@pytest.fixture(autouse=True)
def _fresh() -> None:
    ASKED.clear()


def annotate(nlp: Language, given: list[Text], **settings: Any) -> tuple[list[Doc], Books]:
    """All docs, and the books."""
    docs, books = stream(nlp, given, **settings)
    return list(docs), books


def texts(*contents: str) -> list[Text]:
    return [Text(f"t{number}", content) for number, content in enumerate(contents)]


def says(label: str) -> str:
    return json.dumps({"label": label})


def quotes(*pairs: tuple[str, str]) -> str:
    return json.dumps({"entities": [{"text": text, "label": label} for text, label in pairs]})


def scripted(*replies: str) -> Language:
    """One of our models, one of our tasks."""
    nlp = spacy.blank("en")
    task = {"@llm_tasks": "spacy_distill.TextCat.v1", "labels": ["praise", "complaint"]}
    model = {"@llm_models": "spacy_distill.Scripted.v1", "replies": list(replies)}
    nlp.add_pipe("llm", config={"task": task, "model": model})
    return nlp


BUILT_IN = {
    "textcat": {"@llm_tasks": "spacy.TextCat.v3", "labels": ["praise", "complaint"], "exclusive_classes": True},
    "ner": {"@llm_tasks": "spacy.NER.v3", "labels": ["PLACE"]},
}


def foreign(*tasks: str, context_length: int = 100_000) -> Language:
    """A registered function as the model, spaCy-llm's own tasks."""
    nlp = spacy.blank("en")
    model = {"@llm_models": "test_annotate.echo.v1", "context_length": context_length}
    for task in tasks:
        nlp.add_pipe("llm", name=task, config={"task": BUILT_IN[task], "model": model})
    return nlp


def asked_of(nlp: Language) -> list[str]:
    return list(nlp.get_pipe("llm")._model.asked)


def test_the_books_close() -> None:
    nlp = scripted(says("praise"), "{}", says("refund"), says("complaint"), says("praise"))
    docs, summary = annotate(nlp, texts("one word", "two", "three", "four", "five"))
    assert summary.statuses == {"textcat": {"ok": 3, "unparsed": 1, "unknown_label": 1}}
    assert sum(summary.statuses["textcat"].values()) == summary.texts == len(docs) == 5
    assert summary.labels == {"textcat": {"praise": 2, "complaint": 1}}
    assert (summary.words, summary.asked, summary.from_ledger) == (6, 5, 0)
    assert json.loads(json.dumps(summary.to_dict()))["statuses"] == summary.statuses


def test_docs_come_in_the_order_of_the_texts(tmp_path: Path) -> None:
    contents = [f"text {number}" for number in range(6)]
    path = tmp_path / "ledger.sqlite"
    annotate(scripted(says("praise"), says("praise")), texts(contents[4], contents[1]), ledger=path)
    rest = [says("complaint")] * 4
    docs, _ = annotate(scripted(*rest), texts(*contents), ledger=path)
    assert [doc.text for doc in docs] == contents
    assert [doc._.distill["id"] for doc in docs] == [f"t{number}" for number in range(6)]
    praised = [number for number, doc in enumerate(docs) if doc.cats["praise"] == 1.0]
    assert praised == [1, 4]


def test_the_same_text_is_asked_once(tmp_path: Path) -> None:
    nlp = scripted(says("praise"), says("complaint"))
    steps: list[int] = []
    docs, summary = annotate(nlp, texts("a", "b", "a", "a"), ledger=tmp_path / "l.sqlite", progress=steps.append)
    assert len(asked_of(nlp)) == summary.asked == 2
    assert [doc.cats["praise"] for doc in docs] == [1.0, 0.0, 1.0, 1.0]
    assert summary.statuses == {"textcat": {"ok": 4}}
    assert steps == [1] * 4


def test_a_rerun_asks_nothing_and_says_the_same(tmp_path: Path) -> None:
    path = tmp_path / "l.sqlite"
    given = texts("a", "b", "c")
    first, before = annotate(scripted(says("praise"), "what?", says("complaint")), given, ledger=path)
    nlp = scripted()
    second, after = annotate(nlp, given, ledger=path)
    assert asked_of(nlp) == []
    assert [annotations_of(doc) for doc in second] == [annotations_of(doc) for doc in first]
    assert (before.asked, before.from_ledger) == (3, 0)
    assert (after.asked, after.from_ledger, after.cost_usd, after.prompt_tokens) == (0, 3, 0.0, 0)
    assert after.statuses == before.statuses


def test_a_teacher_that_stops_midway_keeps_what_arrived(tmp_path: Path) -> None:
    path = tmp_path / "l.sqlite"
    given = texts("a", "b", "c")
    with pytest.raises(TeacherError, match="no reply left for prompt 3"):
        annotate(scripted(says("praise"), says("complaint")), given, ledger=path)
    assert Ledger(path).counts() == {"ok": 2}
    nlp = scripted(says("praise"))
    docs, summary = annotate(nlp, given, ledger=path)
    assert len(asked_of(nlp)) == 1
    assert (summary.asked, summary.from_ledger) == (1, 2)
    assert [doc.cats["praise"] for doc in docs] == [1.0, 0.0, 1.0]


def test_a_ledger_in_the_config_comes_first(tmp_path: Path) -> None:
    nlp = spacy.blank("en")
    task = {"@llm_tasks": "spacy_distill.TextCat.v1", "labels": ["praise", "complaint"]}
    own = tmp_path / "own.sqlite"
    model = {"@llm_models": "spacy_distill.Scripted.v1", "replies": [says("praise")], "ledger": str(own)}
    nlp.add_pipe("llm", config={"task": task, "model": model})
    annotate(nlp, texts("a"), ledger=tmp_path / "other.sqlite")
    assert Ledger(own).counts() == {"ok": 1}
    assert not (tmp_path / "other.sqlite").exists()


def test_empty_and_very_long_texts_are_texts() -> None:
    long = "word " * 30_000
    docs, summary = annotate(scripted(says("praise"), says("complaint")), texts("", long))
    assert [doc.text for doc in docs] == ["", long]
    assert [doc.cats["praise"] for doc in docs] == [1.0, 0.0]
    assert (summary.texts, summary.words) == (2, 30_000)
    assert annotate(scripted(), [])[1].texts == 0


def test_without_a_ledger_a_repeated_prompt_is_counted_for_what_it_is() -> None:
    docs, books = annotate(foreign("textcat"), texts("good", "good", "grim"))
    assert (books.asked, books.from_ledger, len(ASKED)) == (3, 0, 3), "one at a time, and nothing is kept"
    nlp = scripted()
    nlp.get_pipe("llm")._model = Window([says("complaint"), says("praise")])
    docs, books = annotate(nlp, texts("a", "b", "a", "a"))
    assert (books.asked, books.from_ledger) == (2, 2), "asked for once while it is in flight"
    assert [doc.cats["praise"] for doc in docs] == [1.0, 0.0, 1.0, 1.0]


class Window(Scripted):
    """Keeps up to `width` prompts in flight and answers the last first; the very first one only when it must."""

    width = 8

    def _ask(self, requests: Iterator[Request]) -> Iterator[tuple[Request, Reply]]:
        begun: list[Request] = []
        while True:
            begun += islice(requests, self.width - len(begun))
            if not begun:
                return
            yield begun.pop(), self.replies.popleft()


def test_texts_are_taken_as_docs_are_and_may_be_endless() -> None:
    taken = 0

    def endless() -> Iterator[Text]:
        nonlocal taken
        while True:
            taken += 1
            yield Text(str(taken), f"text {taken}")

    nlp = scripted(*[says("praise")] * 1000)
    docs, books = stream(nlp, endless())
    assert taken == 0
    for number, doc in enumerate(islice(docs, 500), 1):
        assert doc._.distill["id"] == str(number)
        assert taken <= number + 2
        assert books.texts == number


def test_docs_that_wait_for_a_slow_one_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spacy_distill.annotate._LOOK_AHEAD", 50)
    taken, most = 0, 0

    def some() -> Iterator[Text]:
        nonlocal taken
        for taken in range(1, 501):
            yield Text(str(taken), f"text {taken}")

    nlp = scripted()
    nlp.get_pipe("llm")._model = Window([says("praise")] * 500)
    docs, books = stream(nlp, some())
    ids = []
    for doc in docs:
        ids.append(doc._.distill["id"])
        most = max(most, taken - len(ids))
    assert ids == [str(number) for number in range(1, 501)]
    assert 40 <= most <= 50, "the first reply comes last, and no more than these wait for it"
    assert (books.texts, books.asked) == (500, 500)


def test_two_teachers_take_turns_and_nothing_is_lost_between_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spacy_distill.annotate._CHUNK", 7)
    steps: list[int] = []
    given = texts(*[f"good Oslo {number}" for number in range(20)])
    docs, books = annotate(foreign("textcat", "ner"), given, progress=steps.append)
    assert [doc._.distill["id"] for doc in docs] == [text.id for text in given]
    assert books.statuses == {"textcat": {"ok": 20}, "ner": {"ok": 20}}
    assert (len(ASKED), sum(steps)) == (40, 40)
    assert ["entities" in prompt for prompt in ASKED[:15]] == [False] * 7 + [True] * 7 + [False]


def test_provenance_tells_the_prompts_version_and_what_the_reply_cost(tmp_path: Path) -> None:
    nlp = scripted()
    reply = Reply(says("praise"), ReplyMeta(model="m", prompt_tokens=9, reply_tokens=3))
    nlp.get_pipe("llm")._model = Scripted([reply, reply])
    docs, books = annotate(nlp, texts("a", "b"), ledger=tmp_path / "l.sqlite")
    first, second = (annotations_of(doc)[0].provenance for doc in docs)
    told = {name: first[name] for name in ("model", "prompt_tokens", "reply_tokens", "cost_usd")}
    assert told == {"model": "m", "prompt_tokens": 9, "reply_tokens": 3, "cost_usd": 0.0}
    assert first["key"] != second["key"]
    assert first["prompt_hash"] == second["prompt_hash"] == nlp.get_pipe("llm").task.prompt("another").frame
    assert (books.prompt_tokens, books.reply_tokens) == (18, 6)


def test_it_is_what_the_pipeline_itself_says() -> None:
    contents = ["good Oslo", "grim", "", "good"]
    replies = [says("praise"), "hm", says("praise"), says("complaint")]
    docs, _ = annotate(scripted(*replies), texts(*contents))
    piped = list(scripted(*replies).pipe(contents))
    assert [doc.cats for doc in docs] == [doc.cats for doc in piped]
    assert [doc._.distill["textcat"] for doc in docs] == [doc._.distill["textcat"] for doc in piped]


def test_both_tasks_keep_each_others_annotations(tmp_path: Path) -> None:
    config = tmp_path / "teacher.cfg"
    config.write_text(
        f"""
        [nlp]
        lang = "en"
        pipeline = ["llm_textcat", "sentencizer", "llm_ner"]
        [components]
        [components.sentencizer]
        factory = "sentencizer"
        [components.llm_textcat]
        factory = "llm_textcat"
        [components.llm_textcat.task]
        @llm_tasks = "spacy_distill.TextCat.v1"
        labels = ["praise", "complaint"]
        [components.llm_textcat.model]
        @llm_models = "spacy_distill.Scripted.v1"
        replies = {json.dumps([says("praise"), "{}"])}
        [components.llm_ner]
        factory = "llm_ner"
        [components.llm_ner.task]
        @llm_tasks = "spacy_distill.NER.v1"
        labels = ["PLACE"]
        [components.llm_ner.model]
        @llm_models = "spacy_distill.Scripted.v1"
        replies = {json.dumps([quotes(("Oslo", "PLACE"), ("Rome", "PLACE")), quotes()])}
        """.replace("\n        ", "\n"),
        encoding="utf8",
    )
    docs, summary = annotate(load_teacher(config, ledger=tmp_path / "l.sqlite"), texts("I love Oslo. It rains.", "No."))
    assert docs[0].cats == {"praise": 1.0, "complaint": 0.0}
    assert [(ent.text, ent.label_) for ent in docs[0].ents] == [("Oslo", "PLACE")]
    assert len(list(docs[0].sents)) == 2, "components that are no teacher run too"
    assert [found.status for found in annotations_of(docs[1])] == ["unparsed", "ok"]
    assert summary.statuses == {"textcat": {"ok": 1, "unparsed": 1}, "ner": {"ok": 2}}
    assert summary.labels == {"textcat": {"praise": 1}, "ner": {"PLACE": 1}}
    assert (summary.unaligned, summary.asked) == ({"not_found": 1}, 4)


def test_one_failing_prompt_is_one_texts_failure(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "l.sqlite"
    given = texts("good", "boom", "grim", "neither")
    docs, summary = annotate(foreign("textcat"), given, ledger=path)
    assert [annotations_of(doc)[0].status for doc in docs] == ["ok", "error", "ok", "unparsed"]
    assert [annotations_of(doc)[0].label for doc in docs] == ["praise", None, "complaint", None]
    assert summary.statuses == {"textcat": {"ok": 2, "error": 1, "unparsed": 1}}
    assert "secret" not in caplog.text
    assert "RuntimeError" in caplog.text
    ASKED.clear()
    again, summary = annotate(foreign("textcat"), given, ledger=path)
    assert len(ASKED) == 1, "failures are asked again, and nothing else"
    assert summary.from_ledger == 3
    assert [doc.cats for doc in again] == [doc.cats for doc in docs]


def test_a_foreign_model_that_cannot_be_used_at_all_stops_the_run(tmp_path: Path) -> None:
    path = tmp_path / "l.sqlite"
    with pytest.raises(TeacherError, match="No key"):
        annotate(foreign("textcat"), texts("good", "quit", "grim"), ledger=path)
    assert Ledger(path).counts() == {"ok": 1}


@pytest.mark.parametrize("order", [("textcat", "ner"), ("ner", "textcat")])
def test_spacy_llms_own_tasks_keep_each_others_annotations(order: tuple[str, str]) -> None:
    nlp = foreign(*order)
    nlp.add_pipe("test_annotate_remember", first=True)
    docs, summary = annotate(nlp, texts("good Oslo", "grim"))
    assert [doc.user_data["length"] for doc in docs] == [9, 4], "what other components kept is there too"
    assert [annotation.task for annotation in annotations_of(docs[0])] == ["textcat", "ner"]
    assert docs[0].cats == {"praise": 1.0, "complaint": 0.0}
    assert [(ent.text, ent.label_) for ent in docs[0].ents] == [("Oslo", "PLACE")]
    assert [doc._.distill["id"] for doc in docs] == ["t0", "t1"]
    assert summary.statuses == {"textcat": {"ok": 2}, "ner": {"ok": 2}}
    assert summary.labels == {"textcat": {"praise": 1, "complaint": 1}, "ner": {"PLACE": 1}}


def test_spacy_llms_own_tasks_say_what_they_say_in_the_pipeline() -> None:
    contents = ["good Oslo", "grim", "neither"]
    for task in BUILT_IN:
        docs, _ = annotate(foreign(task), texts(*contents))
        piped = list(foreign(task).pipe(contents))
        assert [doc.cats for doc in docs] == [doc.cats for doc in piped]
        assert [[str(ent) for ent in doc.ents] for doc in docs] == [[str(ent) for ent in doc.ents] for doc in piped]


def test_a_text_longer_than_the_models_window_is_cut_up_as_in_the_pipeline() -> None:
    long = "The hotel was good, I think. " * 100 + "Then we went to Oslo and it was grim."
    for task in BUILT_IN:
        (piped,) = foreign(task, context_length=500).pipe([long])
        in_pipeline = list(ASKED)
        ASKED.clear()
        (doc,), summary = annotate(foreign(task, context_length=500), texts(long))
        assert len(ASKED) > 1
        assert in_pipeline == ASKED
        assert (doc.text, doc.cats) == (long, piped.cats)
        assert [ent.text for ent in doc.ents] == [ent.text for ent in piped.ents]
        assert summary.statuses == {task: {"ok": 1}}
        ASKED.clear()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"teacher\.cfg does not exist.*init"),
        ("nonsense", r"teacher\.cfg cannot be read as a config: look at line 1\.$"),
        ('[nlp]\nlang = "en"\npipeline = []\n', r"teacher\.cfg has no LLM component.*add llm_textcat"),
        ('labels = ["a", "a"]', r"teacher\.cfg does not load.*The label 'a' is there twice"),
        ('labels = ["a"]\nlabel = "b"', r"teacher\.cfg does not load.*unexpected argument: 'label'"),
    ],
)
def test_a_config_that_does_not_load_is_named(tmp_path: Path, content: str | None, message: str) -> None:
    path = tmp_path / "teacher.cfg"
    if content is not None and content.startswith("labels"):
        content = (
            '[nlp]\nlang = "en"\npipeline = ["llm"]\n[components]\n[components.llm]\nfactory = "llm"\n'
            '[components.llm.model]\n@llm_models = "spacy_distill.Scripted.v1"\nreplies = []\n'
            f'[components.llm.task]\n@llm_tasks = "spacy_distill.TextCat.v1"\n{content}\n'
        )
    if content is not None:
        path.write_text(content, encoding="utf8")
    with pytest.raises(ConfigError, match=f"(?s){message}"):
        load_teacher(path)
