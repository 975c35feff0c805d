"""Both tasks as spaCy-llm runs them: from a config, in one pipeline, through a DocBin."""

import typing

import pytest
import spacy
from spacy.tokens import DocBin
from spacy_llm.registry import registry

from spacy_distill.docs import DOCBIN_ATTRS, annotations_of
from spacy_distill.errors import ConfigError

TEXTS = ["Ada likes Oslo.", "", "\U0001f600 Oslo is grim, says Bo."]


@registry.llm_models("test_tasks.echo.v1")
def make_echo() -> typing.Callable[..., typing.Any]:
    """Answers either task by looking for a few words."""

    def answer(prompt: str) -> str:
        text = prompt.rsplit("Text: ", 1)[1]
        if prompt.endswith("Entities:"):
            found = [word for word in ("Ada", "Oslo", "Bo") if word in text]
            labels = {"Oslo": "PLACE"}
            quotes = ", ".join(f'{{"text": "{word}", "label": "{labels.get(word, "PERSON")}"}}' for word in found)
            return f'{{"entities": [{quotes}]}}'
        return '{"label": "complaint"}' if "grim" in text else "praise."

    def run(prompts: typing.Iterable[typing.Iterable[str]]) -> typing.Iterable[typing.Iterable[str]]:
        return [[answer(prompt) for prompt in of_doc] for of_doc in prompts]

    return run


def pipeline(order):
    tasks = {
        "llm_textcat": {"@llm_tasks": "spacy_distill.TextCat.v1", "labels": ["praise", "complaint"]},
        "llm_ner": {"@llm_tasks": "spacy_distill.NER.v1", "labels": ["PERSON", "PLACE"]},
    }
    nlp = spacy.blank("en")
    for name in order:
        config = {"task": tasks[name], "model": {"@llm_models": "test_tasks.echo.v1"}, "validate_types": True}
        nlp.add_pipe(name, config=config)
    return nlp


@pytest.mark.parametrize("order", [("llm_textcat", "llm_ner"), ("llm_ner", "llm_textcat")])
def test_both_in_one_pipeline_keep_each_others_annotations(order):
    nlp = pipeline(order)
    docs = list(nlp.pipe(TEXTS, batch_size=2))
    assert [doc.cats for doc in docs] == [
        {"praise": 1.0, "complaint": 0.0},
        {"praise": 1.0, "complaint": 0.0},
        {"praise": 0.0, "complaint": 1.0},
    ]
    assert [[(ent.text, ent.label_) for ent in doc.ents] for doc in docs] == [
        [("Ada", "PERSON"), ("Oslo", "PLACE")],
        [],
        [("Oslo", "PLACE"), ("Bo", "PERSON")],
    ]
    assert all({"textcat", "ner"} == set(doc._.distill) for doc in docs)
    assert nlp("").cats == {"praise": 1.0, "complaint": 0.0}


def test_labels_are_seen_from_the_pipeline():
    nlp = pipeline(("llm_textcat", "llm_ner"))
    assert nlp.get_pipe("llm_textcat").labels == ("praise", "complaint")
    assert nlp.get_pipe("llm_ner").labels == ("PERSON", "PLACE")
    with pytest.raises(ConfigError):
        nlp.get_pipe("llm_ner").add_label("ORG")


def test_everything_survives_a_docbin():
    nlp = pipeline(("llm_textcat", "llm_ner"))
    docs = list(nlp.pipe(TEXTS))
    stored = DocBin(attrs=DOCBIN_ATTRS, store_user_data=True, docs=docs).to_bytes()
    back = list(DocBin(store_user_data=True).from_bytes(stored).get_docs(spacy.blank("en").vocab))
    assert [annotations_of(doc) for doc in back] == [annotations_of(doc) for doc in docs]
    for before, after in zip(docs, back, strict=True):
        assert [annotation.status for annotation in annotations_of(after)] == ["ok", "ok"]
        assert len(after.spans["teacher"]) == len(before.ents) == len(after.ents)


def test_a_pipeline_survives_the_disk(tmp_path):
    nlp = pipeline(("llm_textcat", "llm_ner"))
    nlp.to_disk(tmp_path)
    assert spacy.load(tmp_path)(TEXTS[0]).cats == nlp(TEXTS[0]).cats


def test_settings_are_checked_where_the_config_is_resolved():
    nlp = spacy.blank("en")
    task = {"@llm_tasks": "spacy_distill.TextCat.v1", "labels": "praise,complaint"}
    with pytest.raises(Exception, match="labels"):
        nlp.add_pipe("llm_textcat", config={"task": task, "model": {"@llm_models": "test_tasks.echo.v1"}})
