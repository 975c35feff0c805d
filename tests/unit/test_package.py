"""The package's name, meta and card."""

import json

import pytest

from spacy_distill.corpus.manifest import Part
from spacy_distill.errors import ConfigError, InputError, StageError
from spacy_distill.evaluation.evaluate import evaluate
from spacy_distill.evaluation.systems import System
from spacy_distill.release.package import (
    PEOPLE_NOTE,
    SILVER_NOTE,
    UNKNOWN_NOTE,
    card,
    check_name,
    describe,
    note,
    package,
    performance,
    read_evaluation,
)
from spacy_distill.types import Annotation

LABELS = ("a|b", "c")
META = {
    "lang": "en",
    "name": "tiny",
    "version": "1.0.0",
    "description": "Sorts.",
    "pipeline": ["textcat"],
    "labels": {"textcat": list(LABELS)},
    "spacy_version": ">=3.8.0,<3.9.0",
    "license": "",
    "notes": SILVER_NOTE,
    "distillation": {"teacher": "big-model", "train": None, "corpus": {"train.spacy": "f00"}},
}


@pytest.fixture
def evaluation():
    def one(i, label):
        return Annotation(str(i), f"t{i}", "textcat", LABELS, "ok", cats={label: 1.0})

    gold = [one(i, LABELS[i % 2]) for i in range(40)]
    student = System(
        "student", [one(i, LABELS[i % 2 and i > 3]) for i in range(40)], words_per_s=1234.56, files={"m": "d1"}
    )
    made = evaluate(gold, [student, System("teacher", gold, model="big-model")], resamples=50)
    return json.loads(made.to_json())


@pytest.mark.parametrize("name", ["Reviews", "my-reviews", "two__lines", "end_", "1st", "", "en_", "café"])
def test_names_that_pip_would_not_take_are_refused(name):
    with pytest.raises(ConfigError, match="cannot be installed"):
        check_name(name, "en")


def test_the_language_in_front_of_the_name_is_not_doubled():
    assert check_name("en_reviews", "en") == check_name("reviews", "en") == "reviews"


def test_a_version_that_pip_would_not_take_is_refused(tmp_path):
    (tmp_path / "meta.json").write_text(json.dumps(META))
    with pytest.raises(ConfigError, match="'one' is not one that pip understands"):
        package(tmp_path, tmp_path / "out", name="tiny", version="one")


def test_performance_is_against_gold(evaluation):
    found = performance(evaluation)
    assert found["cats_accuracy"] == 0.95
    assert found["speed"] == 1234.6
    assert found["cats_f_per_type"]["c"] == {"p": 1.0, "r": 0.9, "f": 0.9474}


def test_the_card_says_how_good_it_is_and_where_it_comes_from(evaluation):
    text = card(META, evaluation)
    assert "pip install en_tiny-1.0.0-py3-none-any.whl" in text
    assert 'spacy.load("en_tiny")' in text
    assert "| student | 95.0 (" in text
    assert evaluation["verdict"][0] in text
    assert "| words/s, warm |" in text
    assert "| 1\u202f200 |" in text
    assert SILVER_NOTE in text
    assert "| a\\|b | 90.9 | 100.0 | 95.2 | 20 |" in text
    assert "| train.spacy | `f00` |" in text
    assert "big-model" in text


def test_the_card_compares_with_no_teacher_that_was_not_reached():
    def one(i, status="ok"):
        cats = {LABELS[0]: 1.0} if status == "ok" else None
        return Annotation(str(i), f"t{i}", "textcat", LABELS, status, cats=cats)

    gold = [one(i) for i in range(40)]
    teacher = System("teacher", [one(i, "ok" if i < 30 else "error") for i in range(40)], model="big-model")
    evaluation = json.loads(evaluate(gold, [System("student", gold), teacher], resamples=50).to_json())
    text = card(META, evaluation)
    assert "The teacher was not reached for 10 of 40 texts" in text
    assert "| teacher |" not in text
    assert "better" not in text
    assert describe(META, evaluation).endswith("Distilled from big-model.")


def test_the_card_of_an_unevaluated_pipeline_says_so():
    assert "was not evaluated" in card(META, None)


def test_what_is_not_recorded_is_not_claimed(evaluation):
    assert note(evaluation) == SILVER_NOTE
    for given in ({**evaluation, "teacher": None}, None):
        assert note(given) == UNKNOWN_NOTE
        assert "Distilled" not in describe(META, given)


def test_the_note_counts_what_the_manifest_counted(evaluation):
    def said(gold, models, docs=494):
        part = Part(docs, {}, gold, models)
        return note(evaluation, part), describe(META, evaluation, part).partition(". ")[2]

    assert said(494, {}) == (PEOPLE_NOTE, "")
    both, described = said(54, {"gpt": 440})
    assert both.startswith("54 of 494 training texts were labelled by people, the rest by gpt. Before")
    assert described == "Distilled from gpt."
    silver, described = said(0, {"gpt": 490, "mini": 2, "an unrecorded source": 2})
    assert "come from gpt, mini, an unrecorded source; whether people made those of an unrecorded source is" in silver
    assert described == "Distilled from gpt, mini."
    assert said(0, {"an unrecorded source": 494}) == (UNKNOWN_NOTE, "")
    assert "the rest by an unrecorded source." in said(54, {"an unrecorded source": 440})[0]
    assert said(0, {"labels.jsonl": 494}) == (f"Its training labels come from labels.jsonl. {UNKNOWN_NOTE}", "")
    assert "were made by gpt, mini (silver), not by people" in said(0, {"gpt": 490, "mini": 4})[0]
    assert "whether people made those of labels.jsonl is" in said(0, {"labels.jsonl": 400, "gpt": 94})[0]
    assert said(None, {}) == (SILVER_NOTE, "Distilled from big-model.")  # a manifest of before


def test_the_card_of_what_people_labelled_names_no_teacher(evaluation):
    train = {"texts": 494, "people": 494, "models": {}}
    meta = {**META, "notes": PEOPLE_NOTE, "distillation": {"teacher": None, "train": train, "corpus": {}}}
    text = card(meta, evaluation)
    assert "| Teacher | none: people decided every label |" in text
    assert PEOPLE_NOTE in text
    assert "| Teacher | not recorded |" in card({**meta, "distillation": {**meta["distillation"], "train": None}}, None)


def test_the_card_of_entities_leaves_accuracy_out(evaluation):
    assert "| | accuracy | macro-F1 | micro-F1 |" in card(META, evaluation)
    assert "| | micro-F1 | macro-F1 | precision | recall |" in card(META, {**evaluation, "task": "ner"})


def test_the_card_of_several_labels_says_from_where_on_they_hold(evaluation):
    assert 'nlp("Your text").cats.items() if score >= threshold' in card(META, {**evaluation, "exclusive": False})
    assert "threshold" not in card(META, evaluation)


def test_the_description_names_labels_and_teacher(evaluation):
    assert describe(META, evaluation) == "Sorts texts into a|b, c. Distilled from big-model."
    assert describe(META, None) == "Sorts texts into a|b, c."


def test_an_evaluation_of_another_model_is_refused(evaluation, tmp_path):
    path = tmp_path / "evaluation.json"
    with pytest.raises(StageError, match="Run `spacy-distill evaluate` first"):
        read_evaluation(path, "d1")
    path.write_text(json.dumps(evaluation))
    assert read_evaluation(path, "d1")["texts"] == 40
    with pytest.raises(StageError, match="about another model"):
        read_evaluation(path, "d2")
    path.write_text("[]")
    with pytest.raises(InputError, match="not what `spacy-distill evaluate` writes"):
        read_evaluation(path, "d1")
