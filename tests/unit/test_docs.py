"""Between `Doc` and the records: there and back, through a file, and what a doc cannot hold."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import spacy

from spacy_distill.docs import annotate_doc, annotations_of, read_annotated, read_annotations, read_docs, write_docs
from spacy_distill.errors import InputError, StageError
from spacy_distill.types import Annotation, Span, Status

NLP = spacy.blank("en")
TEXT = "Zoë met Ada Byron 🙂 in Oslo."
CLASSES = Annotation(
    id="r1",
    text=TEXT,
    task="textcat",
    labels=("a, b", "ünï"),
    status="ok",
    cats={"a, b": 0.25, "ünï": 0.75},
    confidence=0.75,
    confidence_kind="logprob",
    group="g",
    provenance={"model": "m", "prompt_tokens": 7},
)
ENTITIES = Annotation(
    id="r1",
    text=TEXT,
    task="ner",
    labels=("WHO", "WHERE"),
    status="ok",
    ents=(Span(0, 3, "WHO", 0.5), Span(8, 17, "WHO"), Span(23, 27, "WHERE", 0.25)),
    doubtful=(Span(4, 17, "WHERE", 0.125), Span(8, 11, "WHO")),
    group="g",
    gold=True,
    notes={"raw": "{", "unaligned": [{"quote": "Zoe", "label": "WHO", "reason": "not found"}]},
)


def test_annotations_go_to_a_file_and_come_back(tmp_path: Path) -> None:
    doc = annotate_doc(annotate_doc(NLP.make_doc(TEXT), ENTITIES), CLASSES)
    assert [ent.text for ent in doc.ents] == ["Zoë", "Ada Byron", "Oslo"]
    write_docs(tmp_path / "made" / "docs.spacy", [doc])
    (back,) = read_docs(tmp_path / "made" / "docs.spacy", spacy.blank("en").vocab)
    assert back.text == TEXT
    classes, entities = annotations_of(back)
    assert classes.cats == pytest.approx(CLASSES.cats)
    assert entities == ENTITIES
    assert [str(span) for span in back.spans["teacher"]] == ["Zoë", "met Ada Byron", "Ada", "Ada Byron", "Oslo"]
    assert list(back.spans["teacher"].attrs["scores"]) == [0.5, 0.125, None, None, 0.25]
    assert (classes.provenance, classes.confidence, classes.group) == (CLASSES.provenance, 0.75, "g")


def test_labels_may_come_from_an_array() -> None:
    labels = tuple(np.unique(["b", "a", "b"]))
    record = Annotation(id="r1", text=TEXT, task="textcat", labels=labels, status="abstain")
    (found,) = annotations_of(annotate_doc(NLP.make_doc(TEXT), record))
    assert found == record


def test_no_doc_of_a_file_makes_srsly_look_through_the_installed_packages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_registry: object) -> None:
        raise AssertionError("looked through the installed packages")

    monkeypatch.setattr("catalogue.Registry._get_entry_points", fail)
    write_docs(tmp_path / "docs.spacy", [annotate_doc(NLP.make_doc(TEXT), CLASSES)])
    (back,) = read_docs(tmp_path / "docs.spacy", NLP.vocab)
    assert back._.distill["id"] == "r1"


@pytest.mark.parametrize("status", ["abstain", "unparsed", "unknown_label", "error"])
def test_only_ok_has_classes(status: Status) -> None:
    doc = annotate_doc(NLP.make_doc("x"), Annotation("r", "x", "textcat", ("a",), status))
    (found,) = annotations_of(doc)
    assert (found.status, found.cats, doc.cats) == (status, None, {})


def test_what_a_doc_cannot_hold_is_named() -> None:
    def of(*ents: Span) -> Annotation:
        return Annotation("r7", TEXT, "ner", ("WHO", "WHERE"), "ok", ents=ents)

    with pytest.raises(InputError, match="Record r7: WHO at 0-11 and WHERE at 8-17 overlap"):
        annotate_doc(NLP.make_doc(TEXT), of(Span(8, 17, "WHERE"), Span(0, 11, "WHO")))
    with pytest.raises(InputError, match=r"Record r7: WHO at 0-2 \('Zo'\) does not stand on token boundaries"):
        annotate_doc(NLP.make_doc(TEXT), of(Span(0, 2, "WHO")))
    with pytest.raises(InputError, match="Record r7: the doc's text is not the record's"):
        annotate_doc(NLP.make_doc("other"), of())


def test_files_that_are_not_ours_are_named(tmp_path: Path) -> None:
    path = tmp_path / "docs.spacy"
    with pytest.raises(StageError, match=r"docs\.spacy does not exist"):
        list(read_docs(path, NLP.vocab))
    path.write_bytes(b"nonsense")
    with pytest.raises(InputError, match="is not a spaCy DocBin"):
        list(read_docs(path, NLP.vocab))
    write_docs(path, [])
    with pytest.raises(StageError, match="has no docs"):
        read_annotations(path, NLP.vocab)
    write_docs(path, [NLP.make_doc("x")])
    with pytest.raises(InputError, match="no annotations of ours"):
        read_annotations(path, NLP.vocab)


def test_which_task_must_be_said_where_there_are_two(tmp_path: Path) -> None:
    path = tmp_path / "docs.spacy"
    both = annotate_doc(annotate_doc(NLP.make_doc(TEXT), ENTITIES), CLASSES)
    write_docs(path, [both])
    with pytest.raises(InputError, match="ner and textcat: say which with --task"):
        read_annotations(path, NLP.vocab)
    docs, records = read_annotated(path, NLP.vocab, "ner")
    assert len(docs) == 1
    assert records[0].task == "ner"
    write_docs(path, [both, annotate_doc(NLP.make_doc(TEXT), CLASSES)])
    with pytest.raises(InputError, match="doc 2 was never annotated for ner"):
        read_annotations(path, NLP.vocab, "ner")


def test_many_records_share_the_names_of_their_labels(tmp_path: Path) -> None:
    path = tmp_path / "docs.spacy"
    write_docs(path, [annotate_doc(NLP.make_doc(TEXT), CLASSES) for _ in range(2)])
    one, other = read_annotations(path, NLP.vocab)
    assert all(label is same for label, same in zip(one.labels, other.labels, strict=True))
