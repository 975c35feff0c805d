"""A large student labels more texts for a corpus: what is added, what is kept out, and that the books close."""

import json

import pytest
import small_models as small
import spacy
from typer.testing import CliRunner

from spacy_distill.cli import app
from spacy_distill.corpus.build import build
from spacy_distill.corpus.manifest import Manifest
from spacy_distill.docs import annotate_doc, confidence_of, make_doc, read_docs
from spacy_distill.errors import ConfigError, InputError, StageError
from spacy_distill.students.pseudo_labels import pseudo_label
from spacy_distill.types import Annotation, Span, Text

LABELS = ("complaint", "praise")
NEW = [Text("n0", "A lovely wok, great!"), Text("n1", "The pot broke, awful.")]


@pytest.fixture(scope="module")
def student():
    return small.soft_student()


def make_corpus(folder, labels=LABELS):
    nlp = spacy.blank("xx")
    records = [
        Annotation(
            f"r{i}",
            text,
            "textcat",
            labels,
            "ok",
            cats={name: float(name == label) for name in labels},
            confidence=0.75,
        )
        for i, (text, label) in enumerate(small.CATS)
    ]
    docs = [annotate_doc(make_doc(nlp, Text(record.id, record.text)), record) for record in records]
    build(docs, records, dev_share=0.34).write(folder, confidence=True)
    return folder


def texts_of(folder, name):
    return [doc.text for doc in read_docs(folder / f"{name}.spacy", spacy.blank("xx").vocab)]


def test_train_grows_and_dev_stays(student, tmp_path):
    folder = make_corpus(tmp_path / "corpus")
    train, dev = texts_of(folder, "train"), texts_of(folder, "dev")
    gold = Text("g", "Sturdy lid, and it pours without a drip!")
    texts = [
        *NEW,
        Text("old", train[0].upper()),
        Text("again", NEW[0].text + " "),
        Text("empty", "  "),
        Text("leak", dev[0], group="r1"),
        Text("near", "Sturdy lid, and it pours without a drip."),
        Text("leak again", dev[0], group="r2"),
        Text("same group", "I have had it for a year.", group="r1"),
    ]
    done = []
    made = pseudo_label(student, folder, texts, gold=[gold], progress=done.append)
    assert (made.given, made.known, made.leaking, made.added) == (9, 4, 3, 2)
    assert sum(done) == made.given
    made.corpus.write(tmp_path / "large", confidence=True)
    large = list(read_docs(tmp_path / "large" / "train.spacy", spacy.blank("xx").vocab))
    assert [confidence_of(doc) for doc in large[:-2]] == [0.75] * len(train)
    assert [confidence_of(doc) for doc in large[-2:]] == [max(doc.cats.values()) for doc in large[-2:]]
    assert texts_of(tmp_path / "large", "train") == [*train, *(text.text for text in NEW)]
    assert texts_of(tmp_path / "large", "dev") == dev
    for doc, text in zip(made.corpus.train[-2:], NEW, strict=True):
        assert doc.cats == pytest.approx(student(text.text).cats)
        assert 0 < doc.cats["praise"] < 1
    manifest = Manifest.read(tmp_path / "large" / "manifest.json")
    assert manifest.train.docs == sum(manifest.train.labels.values()) == len(train) + 2
    assert manifest.sources["pseudo_labelled"] == 2
    assert manifest.train.gold == 0
    assert manifest.train.models == {"an unrecorded source": len(train), "the student soft_textcat": 2}
    student.meta["name"] = "kitchen"
    named = pseudo_label(student, folder, NEW)
    student.meta["name"] = "pipeline"
    assert "the student xx_kitchen" in named.corpus.manifest.train.models


def test_a_student_of_other_labels_is_refused(student, tmp_path):
    folder = make_corpus(tmp_path / "corpus", labels=("praise", "complaint", "question"))
    with pytest.raises(ConfigError, match=r"gives the classes \['complaint', 'praise'\], the corpus .* has"):
        pseudo_label(student, folder, NEW)


def test_entities_are_labelled_too(tmp_path):
    nlp = spacy.blank("xx")
    names = ("FOOD", "TOOL", "SPICE")  # train may have none of a label, so the student does not know it
    found = [(text, tuple(Span(*span) for span in spans)) for text, spans in small.ENTS]
    records = [Annotation(f"r{i}", text, "ner", names, "ok", ents=ents) for i, (text, ents) in enumerate(found)]
    docs = [annotate_doc(make_doc(nlp, Text(record.id, record.text)), record) for record in records]
    build(docs, records, dev_share=0.5).write(tmp_path / "corpus")
    student = small.entity_student()
    texts = [*(Text(str(i), text) for i, (text, _) in enumerate(found)), Text("new", "Put the onions in a pot.")]
    made = pseudo_label(student, tmp_path / "corpus", texts)
    assert (made.given, made.known, made.leaking, made.added) == (3, 1, 1, 1)
    added = made.corpus.train[-1]
    (said,) = small.entities(student, [added.text])
    assert [(ent.start_char, ent.end_char, ent.label_) for ent in added.ents] == said
    assert added.ents
    assert all(token.ent_iob for token in added)
    assert not made.corpus.manifest.soft
    made.corpus.write(tmp_path / "larger")
    assert Manifest.read(tmp_path / "larger" / "manifest.json").train.docs == 2
    assert (tmp_path / "larger" / "labels.json").read_bytes() == (tmp_path / "corpus" / "labels.json").read_bytes()
    with pytest.raises(ConfigError, match=r"gives the entities \[\], the corpus .* has \['FOOD', 'SPICE', 'TOOL'\]"):
        pseudo_label(small.soft_student(), tmp_path / "corpus", texts)


def test_a_student_of_several_labels_a_text_is_refused_where_one_holds(tmp_path):
    nlp = spacy.blank("xx")
    nlp.add_pipe("soft_textcat_multilabel", config={"model": small.attention(exclusive=False)})
    folder = make_corpus(tmp_path / "corpus")
    with pytest.raises(ConfigError, match=r"gives any number of classes a text, the corpus .* has exactly one class a"):
        pseudo_label(small.train(nlp), folder, NEW)


def test_labels_of_a_student_with_a_threshold_hold_from_one_half_on(tmp_path):
    nlp = spacy.blank("xx")
    pipe = nlp.add_pipe("soft_textcat_multilabel", config={"model": small.attention(exclusive=False)})
    student = small.train(nlp)
    records = [
        Annotation(
            f"r{i}", text, "textcat", LABELS, "ok", exclusive=False, cats={name: float(name == said) for name in LABELS}
        )
        for i, (text, said) in enumerate(small.CATS)
    ]
    docs = [annotate_doc(make_doc(spacy.blank("xx"), Text(record.id, record.text)), record) for record in records]
    build(docs, records, dev_share=0.34).write(tmp_path / "corpus")
    words = ("pot", "lid", "wok", "jar", "fork", "cup")
    texts = [Text(word, f"{word}, the {word} of it.") for word in words]
    said = [student(text.text).cats for text in texts]
    threshold = pipe.cfg["threshold"] = sorted(cats[name] for cats in said for name in LABELS)[2] - 1e-6
    made = pseudo_label(student, tmp_path / "corpus", texts)
    for doc, cats in zip(made.corpus.train[-len(texts) :], said, strict=True):
        assert [doc.cats[name] >= 0.5 for name in LABELS] == [cats[name] >= threshold for name in LABELS]
    before = Manifest.read(tmp_path / "corpus" / "manifest.json").train.labels
    for name in LABELS:
        assert made.corpus.manifest.train.labels[name] - before[name] == sum(cats[name] >= threshold for cats in said)


def test_a_text_that_spacy_would_not_take_is_named(student, tmp_path, monkeypatch):
    folder = make_corpus(tmp_path / "corpus")
    monkeypatch.setattr(student, "max_length", 20)
    with pytest.raises(ConfigError, match=r"Text n1 has 21 characters, and spaCy takes 20 at most: split it"):
        pseudo_label(student, folder, NEW)


def test_a_second_round_is_added_to_the_first(student, tmp_path):
    folder = make_corpus(tmp_path / "corpus")
    pseudo_label(student, folder, NEW[:1]).corpus.write(tmp_path / "once")
    made = pseudo_label(student, tmp_path / "once", NEW)
    assert (made.known, made.added, made.corpus.manifest.sources["pseudo_labelled"]) == (1, 1, 2)


def test_nothing_left_to_label_is_said(student, tmp_path):
    folder = make_corpus(tmp_path / "corpus")
    with pytest.raises(StageError, match="None of 1 texts is left to label"):
        pseudo_label(student, folder, [Text("old", texts_of(folder, "train")[0])])


def test_the_command(student, tmp_path):
    student.to_disk(tmp_path / "model")
    make_corpus(tmp_path / "corpus")
    (tmp_path / "new.jsonl").write_text("".join(json.dumps({"text": text.text}) + "\n" for text in NEW))
    names = [str(tmp_path / name) for name in ("model", "new.jsonl", "corpus", "large")]
    result = CliRunner().invoke(app, ["pseudo-label", *names], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    said = " ".join(result.output.split())
    assert "of 2 texts 2 were added to train" in said
    assert "No --gold was given: nothing keeps the texts you evaluate on" in said
    assert len(texts_of(tmp_path / "large", "train")) == len(texts_of(tmp_path / "corpus", "train")) + 2
    same = ["pseudo-label", *names[:3], str(tmp_path / "large" / ".." / "corpus")]
    with pytest.raises(ConfigError, match="is the corpus itself: name another folder"):
        CliRunner().invoke(app, same, catch_exceptions=False)
    (tmp_path / "gold.jsonl").write_text("")
    again = ["pseudo-label", *names, "--gold", str(tmp_path / "gold.jsonl")]
    with pytest.raises(InputError, match=r"gold\.jsonl has no texts"):
        CliRunner().invoke(app, again, catch_exceptions=False)


def test_a_group_field_that_neither_texts_nor_gold_have_is_refused(student, tmp_path):
    student.to_disk(tmp_path / "model")
    make_corpus(tmp_path / "corpus")
    rows = [{"text": text.text, "topic": number} for number, text in enumerate(NEW)]
    (tmp_path / "new.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "gold.jsonl").write_text(json.dumps({"text": "Nothing like it."}) + "\n")
    names = [str(tmp_path / name) for name in ("model", "new.jsonl", "corpus", "large")]
    command = ["pseudo-label", *names, "--gold", str(tmp_path / "gold.jsonl"), "--group-field"]
    with pytest.raises(InputError, match=r"new\.jsonl, .*gold\.jsonl: no record has the field 'topci'"):
        CliRunner().invoke(app, [*command, "topci"], catch_exceptions=False)
    assert CliRunner().invoke(app, [*command, "topic"], catch_exceptions=False).exit_code == 0
