"""A frozen pipeline is stock spaCy, remembers no training text, and says what the trained one says."""

import json
import math
import re

import pytest
import small_models as small
import spacy
from spacy import util
from spacy.language import Language
from spacy.training import Example

from spacy_distill.errors import ConfigError, StageError
from spacy_distill.release.freeze import check_portable, freeze, needing_words
from spacy_distill.release.verify import SAMPLES, verify


@Language.component("local_habit")
def local_habit(doc):
    return doc


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    nlp = small.soft_student()
    path = tmp_path_factory.mktemp("training") / "model-best"
    nlp.config["paths"]["train"] = "/home/someone/corpus/train.spacy"
    nlp.config["initialize"]["vectors"] = "/home/someone/vectors"
    nlp.config["training"]["logger"] = {"@loggers": "spacy_distill.Logger.v1"}
    nlp.meta["performance"] = {"cats_score": 0.123}
    nlp.to_disk(path)
    return path


@pytest.fixture(scope="module")
def frozen(trained, tmp_path_factory):
    path = tmp_path_factory.mktemp("frozen") / "pipeline"
    freeze(trained, path)
    return path


def test_factories_are_stock_and_predictions_are_the_same(trained, frozen):
    nlp = spacy.load(frozen)
    assert nlp.get_pipe_meta("topic").factory == "textcat"
    assert type(nlp.get_pipe("topic")).__module__ == "spacy.pipeline.textcat"
    assert nlp.pipe_names == ["topic"]
    assert nlp.get_pipe("topic").labels == ("complaint", "praise")
    assert small.cats(nlp) == small.cats(spacy.load(trained))


def test_config_and_meta_are_scrubbed(frozen):
    written = (frozen / "config.cfg").read_text() + (frozen / "meta.json").read_text()
    for trace in ("spacy_distill", "soft_", "balance", "someone", "0.123"):
        assert trace not in written
    assert not re.search(r'"/\w', written)


def test_no_word_of_the_training_texts_is_left(trained, frozen):
    assert "Grubelwitz" in (trained / "vocab" / "strings.json").read_text()
    for file in frozen.rglob("*"):
        assert not file.is_file() or b"Grubelwitz" not in file.read_bytes(), file


@pytest.mark.parametrize(("name", "kept"), [("sentencizer", []), ("merge_entities", []), ("entity_ruler", ["extra"])])
def test_words_are_left_for_a_component_that_needs_them_alone(trained, tmp_path, name, kept):
    nlp = spacy.load(trained)
    nlp.add_pipe(name, name="extra", first=True)
    nlp.to_disk(tmp_path / "trained")
    frozen = freeze(tmp_path / "trained", tmp_path / "frozen")
    assert needing_words(frozen.config) == kept
    assert ("Grubelwitz" in (tmp_path / "frozen" / "vocab" / "strings.json").read_text()) == bool(kept)


def test_a_frozen_pipeline_runs_where_this_package_is_not(trained, frozen):
    checked = verify(spacy.load(trained), frozen, [*small.NEW, " "])
    assert checked >= len(small.NEW) + 5


def test_verify_sees_other_answers(trained, frozen, monkeypatch):
    other = spacy.load(trained)
    doc_cats = [dict(doc.cats) for doc in other.pipe(SAMPLES)]
    answers = [{"cats": cats, "ents": []} for cats in doc_cats]
    monkeypatch.setattr("spacy_distill.release.verify._answers_in_isolation", lambda *_: answers)
    assert verify(other, frozen) == len(SAMPLES)
    for wrong in (answers[2]["cats"]["praise"] + 1e-4, math.nan):
        answers[2]["cats"]["praise"] = wrong
        with pytest.raises(ConfigError, match="answers differently from the trained one, first for text 2"):
            verify(other, frozen)


def test_verify_sees_a_pipeline_that_needs_this_package(trained):
    with pytest.raises(ConfigError, match=r"does not load with spaCy alone: .*E002.*soft_textcat"):
        verify(spacy.load(trained), trained)


def test_a_shared_tok2vec_goes_along(tmp_path):
    nlp = small.shared_student()
    nlp.to_disk(tmp_path / "trained")
    frozen = freeze(tmp_path / "trained", tmp_path / "frozen")
    assert frozen.pipe_names == ["tok2vec", "soft_textcat"]
    assert small.cats(frozen) == small.cats(nlp)


def test_several_labels_a_text(tmp_path):
    nlp = spacy.blank("xx")
    nlp.add_pipe("soft_textcat_multilabel", config={"model": small.attention(exclusive=False), "threshold": 0.3})
    small.train(nlp).to_disk(tmp_path / "trained")
    frozen = freeze(tmp_path / "trained", tmp_path / "frozen")
    pipe = frozen.get_pipe("soft_textcat_multilabel")
    assert type(pipe).__name__ == "MultiLabel_TextCategorizer"
    assert pipe.cfg["threshold"] == pytest.approx(0.3)
    assert small.cats(frozen) == small.cats(nlp)


def test_entities(tmp_path):
    nlp = small.entity_student()
    assert any(small.entities(nlp))
    nlp.to_disk(tmp_path / "trained")
    freeze(tmp_path / "trained", tmp_path / "frozen")
    assert small.entities(spacy.load(tmp_path / "frozen")) == small.entities(nlp)


def test_word_vectors_go_along(tmp_path):
    nlp = small.word_vectors(spacy.blank("xx"))
    nlp.add_pipe("soft_textcat", config={"model": small.attention(vectors=True)})
    small.train(nlp).to_disk(tmp_path / "trained")
    frozen = freeze(tmp_path / "trained", tmp_path / "frozen")
    assert frozen.vocab.vectors.shape == nlp.vocab.vectors.shape
    assert small.cats(frozen) == small.cats(nlp)


def test_components_that_need_words_keep_them(tmp_path):
    nlp = spacy.blank("xx")
    nlp.add_pipe("tagger", config={"model": {"@architectures": "spacy.Tagger.v2", "tok2vec": small.tok2vec()}})
    nlp.add_pipe("soft_textcat", config={"model": small.attention()})
    examples = [
        Example.from_dict(nlp.make_doc("Rain fell"), {"tags": ["N", "V"], "cats": {"praise": 1.0, "complaint": 0.0}})
    ]
    nlp.initialize(lambda: examples)
    nlp.to_disk(tmp_path / "trained")
    frozen = freeze(tmp_path / "trained", tmp_path / "frozen")
    assert [token.tag_ for token in frozen("Rain fell")] == [token.tag_ for token in nlp("Rain fell")]


def test_an_llm_component_cannot_be_frozen(tmp_path):
    pytest.importorskip("spacy_llm")
    config = {"nlp": {"lang": "en"}, "components": {"llm_textcat": {"factory": "llm"}}}
    with pytest.raises(ConfigError, match=r"\[components.llm_textcat\] factory = 'llm' is code of spacy_llm"):
        check_portable(config)


def test_code_that_nobody_else_has_cannot_be_frozen(tmp_path):
    nlp = spacy.blank("xx")
    nlp.add_pipe("local_habit")
    nlp.to_disk(tmp_path / "trained")
    with pytest.raises(
        ConfigError, match=r"\[components.local_habit\] is code in 'test_freeze', which is not an instal"
    ):
        freeze(tmp_path / "trained", tmp_path / "frozen")
    assert not (tmp_path / "frozen").exists()


def test_a_path_in_a_component_is_named():
    config = {"nlp": {"lang": "en"}, "components": {"x": {"factory": "textcat", "table": "/home/someone/t.bin"}}}
    with pytest.raises(ConfigError, match=r"\[components.x\] table = '/home/someone/t.bin' is a path on this machine"):
        check_portable(config)


def test_freezing_nothing_says_what_to_run(tmp_path):
    with pytest.raises(StageError, match="Run `spacy train` first"):
        freeze(tmp_path / "nothing", tmp_path / "frozen")


def test_freezing_again_replaces_what_was_there(trained, tmp_path):
    target = tmp_path / "frozen"
    target.mkdir()
    (target / "old.bin").write_text("old")
    freeze(trained, target)
    assert not (target / "old.bin").exists()
    assert json.loads((target / "meta.json").read_text())["labels"] == {"topic": ["complaint", "praise"]}


def test_what_is_ours_goes_along_also_where_a_package_that_carries_it_was_first(monkeypatch):
    monkeypatch.setattr(util.registry, "find", lambda kind, name: {"module": "en_earlier.collapsed_textcat"})
    assert check_portable({"nlp": {"lang": "en"}, "components": {"textcat": {"factory": "collapsed_textcat"}}}) == {
        "spacy_distill.students.runtime.collapsed_textcat"
    }
