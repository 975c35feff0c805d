"""spaCy-llm's own tasks and models: what they cannot read must not become a negative example."""

from __future__ import annotations

from typing import Any

import pytest
import spacy

from spacy_distill.annotate import annotate
from spacy_distill.docs import annotations_of, facts_of
from spacy_distill.teacher.foreign import Foreign
from spacy_distill.teacher.scripted import Scripted
from spacy_distill.teacher.types import Prompt, Reply, ReplyMeta
from spacy_distill.types import Text

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


def run(task: dict[str, Any], reply: str, text: str = "Ada met Bo", **model: Any) -> tuple[str, Any]:
    """RETURNS (Tuple[str, Any]): The status of one text, and its doc."""
    nlp = spacy.blank("en")
    teacher = {"@llm_models": "spacy_distill.Scripted.v1", "replies": []}
    component: Any = nlp.add_pipe("llm", config={"task": task, "model": teacher})
    component._model = Scripted([reply] * 9)
    for name, value in model.items():
        setattr(component._model, name, value)
    docs, _ = annotate(nlp, [Text("a", text)])
    (doc,) = docs
    (annotation,) = annotations_of(doc)
    return annotation.status, doc


TEXTCAT = {"@llm_tasks": "spacy.TextCat.v3", "labels": ["good", "bad"]}
NER = {"@llm_tasks": "spacy.NER.v3", "labels": ["PERSON"]}


@pytest.mark.parametrize(
    ("settings", "reply", "status"),
    [
        ({"exclusive_classes": True}, "good", "ok"),
        ({"exclusive_classes": True}, "I cannot say", "unparsed"),
        ({"exclusive_classes": True}, "==NONE==", "abstain"),
        ({"exclusive_classes": False}, "good, bad", "ok"),
        ({"exclusive_classes": False}, "==NONE==", "ok"),
        ({"exclusive_classes": False}, "I cannot say", "unparsed"),
        ({"labels": ["good"]}, "POS", "ok"),
        ({"labels": ["good"]}, "neg", "ok"),
        ({"labels": ["good"]}, "maybe", "unparsed"),
    ],
)
def test_classes_that_could_not_be_read_are_not_zeros(settings: dict[str, Any], reply: str, status: str) -> None:
    found, doc = run({**TEXTCAT, **settings}, reply)
    assert found == status
    assert ("raw" in (facts_of(doc, "textcat") or {})) == (status != "ok")


def test_the_provenance_adds_up_the_parts_of_a_text_that_was_cut_up() -> None:
    reply = Reply("good", ReplyMeta(model="m", prompt_tokens=9, reply_tokens=1))
    task = {**TEXTCAT, "template": "{{ text }}", "exclusive_classes": True}
    text = "one two three four five six seven eight nine ten"
    whole, parts = run(task, reply, text)[1], run(task, reply, text, context_length=6)[1]
    once, several = (facts_of(doc, "textcat")["provenance"] for doc in (whole, parts))  # type: ignore[index]
    assert (once["model"], once["prompt_tokens"], once["cost_usd"]) == ("m", 9, 0.0)
    count = several["reply_tokens"]
    assert count > 1
    assert several["prompt_tokens"] == 9 * count
    assert len(once["prompt_hash"]) == 64
    assert once["key"] == Scripted([]).key(Prompt(text))  # as in the ledger
    assert once["key"] != several["key"]


@pytest.mark.parametrize(
    ("reply", "status"),
    [
        ("1. Ada | True | PERSON | is a name", "ok"),
        ("1. met | False | ==NONE== | is a verb", "ok"),
        ("PERSON:", "ok"),
        ("Sorry, I am only a model.", "unparsed"),
        ("", "unparsed"),
    ],
)
def test_no_entities_is_an_answer_only_in_the_agreed_form(reply: str, status: str) -> None:
    assert run(NER, reply)[0] == status


@pytest.mark.parametrize(("meta", "status"), [("error", "error"), ("refused", "abstain"), ("truncated", "unparsed")])
def test_a_reply_that_is_none_is_not_parsed(meta: Any, status: str) -> None:
    found, doc = run(NER, Reply("1. Ada | True | PERSON | x", ReplyMeta(status=meta)))
    assert (found, len(doc.ents)) == (status, 0)


def test_long_docs_are_cut_up_as_in_the_component() -> None:
    text = "one two three four five six seven eight nine ten"
    task = {**TEXTCAT, "template": "{{ text }}", "exclusive_classes": True}
    assert run(task, "good", text)[0] == "ok"
    status, doc = run(task, "good", text, context_length=6)
    assert status == "ok"
    assert doc.text == text
    assert doc.cats == pytest.approx({"good": 1.0, "bad": 0.0})
    assert doc._.distill["id"] == "a"


def test_a_foreign_models_failure_is_one_texts_failure_and_quotes_nothing() -> None:
    def call(prompts: Any) -> Any:
        (((prompt,),),) = [prompts]
        if prompt == "b":
            raise RuntimeError("key sk-canary")
        return [["yes"]]

    replies = dict(Foreign(call, {"@llm_models": "mine.v1"}).stream(["a", "b"]))
    assert replies[0] == "yes"
    assert (replies[1].meta.status, replies[1].meta.error) == ("error", "RuntimeError")


def test_a_foreign_models_secrets_are_not_written_down() -> None:
    settings = {
        "@llm_models": "mine.v1",
        "config": {"api_key": "canary", "max_tokens": 7, "headers": [{"Authorization": "canary"}], "apiKey": "canary"},
        "hf_token": "canary",
        "client_secret": "canary",
        "temperature": 0.5,
    }
    model = Foreign(lambda prompts: prompts, settings)
    assert "canary" not in str(model.params)
    assert "'max_tokens': 7" in model.params["config"]
    assert model.params["temperature"] == "0.5"
    other = Foreign(lambda prompts: prompts, {**settings, "hf_token": "another", "temperature": 0.5})
    assert other.key(Prompt("a")) == model.key(Prompt("a"))  # The same replies under a new key.
