"""Systems: a pipeline's answers and costs, a teacher's, and the majority's."""

import json

import pytest
import small_models as small
import spacy

from spacy_distill.corpus.build import DEV, TRAIN
from spacy_distill.corpus.manifest import Manifest, Part
from spacy_distill.docs import write_docs
from spacy_distill.errors import ConfigError, InputError, StageError
from spacy_distill.evaluation.pipelines import find_component, predict, sha256_of, size_mb, words_per_s
from spacy_distill.evaluation.run import evaluate_files, seen_in
from spacy_distill.evaluation.systems import (
    check_label_names,
    majority_label,
    majority_system,
    student_system,
    teacher_system,
)
from spacy_distill.types import Annotation

LABELS = ("complaint", "praise")


def record(id, text, **rest):
    return Annotation(id, text, "textcat", LABELS, "ok", cats={"praise": 1.0, "complaint": 0.0}, **rest)


@pytest.fixture(scope="module")
def student():
    return small.soft_student()


def test_the_answering_component_is_found(student):
    found = find_component(student)
    assert (found.name, found.task, found.labels, found.exclusive) == ("topic", "textcat", LABELS, True)
    assert find_component(small.entity_student()).labels == ("FOOD", "TOOL")


def test_a_pipeline_without_an_answer_is_refused(student):
    nlp = spacy.blank("xx")
    nlp.add_pipe("sentencizer")
    with pytest.raises(ConfigError, match=r"one trained component that answers in the pipeline \[sentencizer\]"):
        find_component(nlp)
    with pytest.raises(ConfigError, match="one trained component for ner"):
        find_component(student, "ner")


def test_a_pipeline_that_does_both_needs_to_be_told():
    nlp = spacy.blank("xx")
    nlp.add_pipe("ner")
    nlp.add_pipe("textcat_multilabel")
    with pytest.raises(ConfigError, match=r"'ner' \(ner\), 'textcat_multilabel' \(textcat\). Say which with --task"):
        find_component(nlp)
    assert find_component(nlp, "textcat").exclusive is False


def test_answers_are_in_order_and_empty_texts_abstain(student):
    records = [record("a", small.NEW[0], group="g"), record("b", " \n"), record("c", small.NEW[1]), record("d", "")]
    found = predict(student, find_component(student), records, batch_size=2)
    assert [(r.id, r.status) for r in found] == [("a", "ok"), ("b", "abstain"), ("c", "ok"), ("d", "abstain")]
    assert found[0].cats == pytest.approx(small.cats(student)[0])
    assert found[0].group == "g"
    assert found[0].confidence == pytest.approx(max(found[0].cats.values()))
    assert found[0].confidence_kind == "logprob"
    assert found[1].cats is None


def test_a_class_holds_from_the_components_own_threshold_on():
    nlp = spacy.blank("en")
    nlp.add_pipe("textcat_multilabel", config={"threshold": 0.0})
    for label in ("praise", "complaint"):
        nlp.get_pipe("textcat_multilabel").add_label(label)
    nlp.initialize()
    (found,) = predict(nlp, find_component(nlp), [record("a", "Lovely screen.", exclusive=False)])
    assert found.threshold == 0.0
    assert found.positive() == ("praise", "complaint")


def test_speed_and_size_are_measured(student, tmp_path):
    student.to_disk(tmp_path / "model")
    system = student_system(student, find_component(student), [record("a", small.NEW[0])], tmp_path / "model")
    assert system.words_per_s > 0
    assert system.size_mb == pytest.approx(
        sum(file.stat().st_size for file in (tmp_path / "model").rglob("*") if file.is_file()) / 1e6
    )
    assert "batches of 256 texts, median of 5 passes" in system.speed
    assert words_per_s(student, [" ", ""]) is None


def test_a_directory_has_a_digest_of_names_and_contents(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text("content")
    assert sha256_of(tmp_path / "one") == sha256_of(tmp_path / "two")
    (tmp_path / "two" / "file").rename(tmp_path / "two" / "other")
    assert sha256_of(tmp_path / "one") != sha256_of(tmp_path / "two")
    assert size_mb(tmp_path) == pytest.approx(14 / 1e6)
    with pytest.raises(InputError, match="does not exist"):
        size_mb(tmp_path / "nothing")


def test_a_teachers_speed_comes_from_its_latencies(tmp_path):
    (tmp_path / "gold.spacy").write_text("x")
    gold = [record("a", "one two three"), record("b", "four five"), record("c", "six")]
    said = [
        record("a", "one two three", provenance={"latency_s": 0.5, "model": "big"}),
        record("b", "four five", provenance={"latency_s": 0.75, "model": "big"}),
        record("c", "six"),
        record("z", "not in gold", provenance={"latency_s": 100.0}),
    ]
    system = teacher_system(said, gold, tmp_path / "gold.spacy")
    assert system.words_per_s == pytest.approx(5 / 1.25)
    assert (system.model, system.size_mb, len(system.annotations)) == ("big", None, 3)
    assert teacher_system([record("a", "one two three")], gold, tmp_path / "gold.spacy").words_per_s is None


def test_a_teacher_of_other_texts_is_refused(tmp_path):
    with pytest.raises(InputError, match="no text of the gold file"):
        teacher_system([record("z", "else")], [record("a", "one")], tmp_path / "gold.spacy")


def test_the_majority_comes_from_training(tmp_path):
    train = Part(3, {"praise": 1, "complaint": 2})
    manifest = Manifest("textcat", LABELS, True, True, train, Part(2, {"praise": 2}), "silver", 0.1, 0, 5, {}, None, {})
    assert majority_label(manifest) == "complaint"
    manifest.write(tmp_path / "manifest.json")
    system = majority_system([record("a", "one")], "complaint", tmp_path / "manifest.json")
    assert [r.label for r in system.annotations] == ["complaint"]
    assert list(system.files.values()) == [sha256_of(tmp_path / "manifest.json")]


def corpus_of(path, train, dev):
    nlp = spacy.blank("xx")
    for file, texts in ((TRAIN, train), (DEV, dev)):
        write_docs(path / file, [nlp.make_doc(text) for text in texts])
    return path


def test_gold_is_found_in_the_corpus_by_its_normal_form(tmp_path):
    gold = [record("a", "One two"), record("b", "one  TWO\u200b"), record("c", "Three"), record("d", "four")]
    corpus = corpus_of(tmp_path / "corpus", ["ONE TWO", "one two", "three four"], ["three"])
    assert seen_in(corpus, gold) == {"train": 2, "dev": 1}
    (corpus / TRAIN).unlink()
    with pytest.raises(StageError, match=r"train\.spacy does not exist"):
        seen_in(corpus, gold)


@pytest.mark.parametrize(("train", "told"), [(1, True), (0, False)])
def test_entities_in_training_are_told_too(tmp_path, train, told):
    small.entity_student().to_disk(tmp_path / "model")
    texts = [text for text, _ in small.ENTS]
    lines = [json.dumps({"text": text, "gold": [[*ent] for ent in ents]}) for text, ents in small.ENTS]
    (tmp_path / "gold.jsonl").write_text("\n".join(lines), encoding="utf8")
    corpus = corpus_of(tmp_path / "corpus", ["something else", *texts[:train]], ["another"])
    found = evaluate_files(tmp_path / "model", tmp_path / "gold.jsonl", tmp_path / "evaluation", corpus=corpus)
    assert found.seen == {"train": train, "dev": 0}
    assert any(f"was trained on 1 of {len(texts)} gold texts" in sentence for sentence in found.verdict) is told
    assert not any("was chosen by" in sentence for sentence in found.verdict)


@pytest.mark.parametrize("theirs", ["Praise", "PRAISE", "ｐraise"])
def test_labels_spelt_another_way_are_pointed_out(theirs):
    with pytest.raises(InputError, match=f"Gold has the label 'praise', the student '{theirs}'"):
        check_label_names([record("a", "one")], (theirs, "complaint"), "student")


def test_labels_with_nothing_in_common_are_refused():
    with pytest.raises(InputError, match="have none in common"):
        check_label_names([record("a", "one")], ("x",), "student")
    check_label_names([record("a", "one")], ("praise", "more"), "student")
