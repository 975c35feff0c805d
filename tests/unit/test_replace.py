"""A student in the LLM component's place: same name, same slot, same labels, nothing else changed."""

import subprocess
import sys
import warnings
from typing import Iterable  # noqa: UP035  (spaCy-llm compares hints literally)

import pytest
import small_models as small
import spacy
from spacy.language import Language

pytest.importorskip("spacy_llm")
from spacy_llm.registry import registry

import spacy_distill
from spacy_distill.errors import ConfigError

LABELS = ["complaint", "praise"]


class Complainer:
    """Says "complaint" to everything."""

    context_length = 4096

    def __call__(self, prompts: Iterable[Iterable[str]]) -> Iterable[Iterable[str]]:
        return [["complaint" for _ in doc_prompts] for doc_prompts in prompts]


@registry.llm_models("test.Complainer.v1")
def complainer():
    return Complainer()


@Language.component("note_the_end")
def note_the_end(doc):
    doc.user_data["end"] = max(doc.cats, key=doc.cats.get, default=None)
    return doc


def teacher(labels=LABELS, lang="xx", task="spacy.TextCat.v3", **extra):
    nlp = spacy.blank(lang)
    nlp.add_pipe("sentencizer")
    config = {
        "task": {"@llm_tasks": task, "labels": labels, **extra},
        "model": {"@llm_models": "test.Complainer.v1"},
    }
    nlp.add_pipe("llm", name="llm_textcat", config=config)
    nlp.add_pipe("note_the_end")
    return nlp


@pytest.fixture(scope="module")
def student():
    return small.soft_student()


@pytest.mark.parametrize("threshold", [0.5, 0.2])
def test_it_says_from_which_score_on_labels_hold_where_that_is_new(threshold):
    nlp = spacy.blank("xx")
    settings = {"model": small.attention(exclusive=False), "threshold": threshold}
    nlp.add_pipe("soft_textcat_multilabel", config=settings)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        spacy_distill.replace(teacher(exclusive_classes=False), "llm_textcat", small.train(nlp))
    said = [str(warning.message) for warning in caught if "hold from" in str(warning.message)]
    if threshold == 0.5:
        assert said == []
    else:
        assert said == [
            "Labels of 'llm_textcat' held from .5 on; the student's hold from 0.2 on, which"
            " nlp.get_pipe('llm_textcat').cfg['threshold'] says."
        ]


def test_it_takes_name_slot_and_labels(student):
    nlp = teacher(exclusive_classes=True)
    before = nlp(small.NEW[0])
    assert before.user_data["end"] == "complaint"
    assert spacy_distill.replace(nlp, "llm_textcat", student) is nlp
    assert nlp.pipe_names == ["sentencizer", "llm_textcat", "note_the_end"]
    after = nlp(small.NEW[0])
    assert set(after.cats) == set(before.cats)
    assert small.cats(nlp) == small.cats(student)
    assert after.user_data["end"] == max(after.cats, key=after.cats.get)
    assert nlp.get_pipe("llm_textcat").name == "llm_textcat"
    assert student.pipe_names == ["topic"]
    assert student.get_pipe("topic").name == "topic"
    assert student.get_pipe("topic") is not nlp.get_pipe("llm_textcat")


def test_it_takes_the_last_place_and_can_be_saved(student, tmp_path):
    nlp = teacher()
    nlp.remove_pipe("note_the_end")
    spacy_distill.replace(nlp, "llm_textcat", student)
    assert nlp.pipe_names == ["sentencizer", "llm_textcat"]
    nlp.to_disk(tmp_path / "nlp")
    assert small.cats(spacy.load(tmp_path / "nlp")) == small.cats(student)


def test_it_takes_a_path(student, tmp_path):
    student.to_disk(tmp_path / "student")
    nlp = teacher()
    for path in (tmp_path / "student", str(tmp_path / "student")):
        replaced = spacy_distill.replace(teacher(), "llm_textcat", path)
        assert small.cats(replaced) == small.cats(student)
    assert nlp.pipe_names == replaced.pipe_names


def test_a_disabled_component_stays_disabled(student):
    nlp = teacher()
    nlp.disable_pipe("llm_textcat")
    spacy_distill.replace(nlp, "llm_textcat", student)
    assert nlp.disabled == ["llm_textcat"]
    nlp.enable_pipe("llm_textcat")
    assert nlp.component_names == ["sentencizer", "llm_textcat", "note_the_end"]


def test_a_listener_gets_its_own_tok2vec():
    shared = small.shared_student()
    expected = small.cats(shared)
    nlp = spacy_distill.replace(teacher(), "llm_textcat", shared)
    assert "tok2vec" not in nlp.pipe_names
    assert small.cats(nlp) == expected
    assert small.cats(shared) == expected
    assert "Listener" not in nlp.config.to_str()


def test_a_listener_does_not_listen_to_the_pipelines_own_tok2vec():
    shared = small.shared_student()
    expected = small.cats(shared)
    nlp = teacher()
    nlp.add_pipe("tok2vec", first=True, config={"model": small.tok2vec()})
    nlp.get_pipe("tok2vec").model.initialize()
    spacy_distill.replace(nlp, "llm_textcat", shared)
    assert small.cats(nlp) == expected


def test_entities_of_a_student_that_does_both():
    both = spacy.blank("xx")
    both.add_pipe("ner")
    both.add_pipe("soft_textcat", config={"model": small.attention()})
    small.train(both, ents=small.ENTS)
    nlp = spacy.blank("xx")
    task = {"@llm_tasks": "spacy.NER.v2", "labels": ["FOOD", "TOOL"]}
    nlp.add_pipe("llm", name="llm_ner", config={"task": task, "model": {"@llm_models": "test.Complainer.v1"}})
    spacy_distill.replace(nlp, "llm_ner", both)
    assert nlp.get_pipe_meta("llm_ner").factory == "ner"
    assert small.entities(nlp) == small.entities(both)


def test_it_takes_the_place_of_our_own_task(student):
    nlp = spacy.blank("xx")
    config = {
        "task": {"@llm_tasks": "spacy_distill.TextCat.v1", "labels": ["praise", "complaint"]},
        "model": {"@llm_models": "spacy_distill.Scripted.v1", "replies": ["praise"]},
    }
    nlp.add_pipe("llm", name="llm_textcat", config=config)
    before = nlp("A lovely wok, great!")
    assert set(before.cats) == set(LABELS)
    spacy_distill.replace(nlp, "llm_textcat", student)
    assert small.cats(nlp) == small.cats(student)


def test_one_label_a_text_is_not_any_number_of_them(student):
    nlp = spacy.blank("xx")
    config = {
        "task": {"@llm_tasks": "spacy_distill.TextCat.v1", "labels": LABELS, "exclusive": False},
        "model": {"@llm_models": "spacy_distill.Scripted.v1", "replies": []},
    }
    nlp.add_pipe("llm", name="llm_textcat", config=config)
    with pytest.raises(ConfigError, match="gives any number of labels a text, the student gives exactly one"):
        spacy_distill.replace(nlp, "llm_textcat", student)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (["complaint", "praise", "question"], "'llm_textcat' also has 'question'"),
        (["complaint"], "the student also has 'praise'"),
        (["complaint", "Praise"], "also has 'Praise'; the student also has 'praise'"),
    ],
)
def test_other_labels_are_named_and_nothing_changes(student, labels, message):
    nlp = teacher(labels)
    component = nlp.get_pipe("llm_textcat")
    with pytest.raises(ConfigError, match=message):
        spacy_distill.replace(nlp, "llm_textcat", student)
    assert nlp.get_pipe("llm_textcat") is component
    assert nlp.pipe_names == ["sentencizer", "llm_textcat", "note_the_end"]


def test_another_language_is_refused(student):
    with pytest.raises(ConfigError, match="language is 'de', the student's 'xx'"):
        spacy_distill.replace(teacher(lang="de"), "llm_textcat", student)


def test_another_tokenizer_is_pointed_out(student):
    nlp = teacher()
    nlp.tokenizer.add_special_case("hinge", [{"ORTH": "hin"}, {"ORTH": "ge"}])
    with pytest.warns(UserWarning, match="tokenizer is not the one the student was trained with"):
        spacy_distill.replace(nlp, "llm_textcat", student)


def test_an_unknown_component_is_named(student):
    with pytest.raises(ConfigError, match=r"no component 'llm_ner' in the pipeline \[sentencizer, llm_textcat"):
        spacy_distill.replace(teacher(), "llm_ner", student)


def with_vectors(seed=0):
    nlp = small.word_vectors(spacy.blank("xx"), seed=seed)
    nlp.add_pipe("soft_textcat", config={"model": small.attention(vectors=True)})
    return small.train(nlp)


def test_word_vectors_are_adopted():
    student = with_vectors()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        nlp = spacy_distill.replace(teacher(), "llm_textcat", student)
    assert small.cats(nlp) == small.cats(student)


def test_other_word_vectors_are_refused():
    nlp = teacher()
    small.word_vectors(nlp, seed=1)
    with pytest.raises(ConfigError, match="other word vectors than the student"):
        spacy_distill.replace(nlp, "llm_textcat", with_vectors())
    assert nlp.get_pipe_meta("llm_textcat").factory == "llm"


def test_word_vectors_that_the_student_does_not_use_do_not_matter(student):
    nlp = small.word_vectors(teacher(), seed=1)
    spacy_distill.replace(nlp, "llm_textcat", student)
    assert small.cats(nlp) == small.cats(student)


def test_importing_the_package_imports_nothing_heavy():
    program = (
        "import sys, spacy_distill; assert 'replace' in spacy_distill.__all__;"
        "print([name for name in ('spacy', 'torch', 'httpx', 'spacy_llm', 'jinja2') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_unknown_names_of_the_package_are_errors():
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        spacy_distill.nonsense  # noqa: B018
