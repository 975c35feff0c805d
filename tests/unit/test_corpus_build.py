"""Curated docs to a corpus: targets, labels, manifest, and what is refused."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import spacy
from spacy.tokens import Doc

from spacy_distill.corpus.build import build
from spacy_distill.corpus.manifest import Manifest
from spacy_distill.docs import annotate_doc, make_doc, read_docs, write_docs
from spacy_distill.errors import ConfigError, InputError, StageError
from spacy_distill.evaluation.race_files import read_corpus
from spacy_distill.types import Annotation, Span, Text

LABELS = ("fruit", "tool", "bird")
nlp = spacy.blank("en")


def textcat(count: int = 40) -> list[Annotation]:
    return [
        Annotation(
            f"r{index}",
            f"thing number {index}",
            "textcat",
            LABELS,
            "ok",
            cats={"fruit": 0.75, "tool": 0.25, "bird": 0.0}
            if index % 2
            else {"fruit": 0.25, "tool": 0.75, "bird": 0.0},
        )
        for index in range(count)
    ]


def docs_of(annotations: list[Annotation]) -> list[Doc]:
    return [annotate_doc(make_doc(nlp, Text(item.id, item.text, item.group)), item) for item in annotations]


def test_train_is_soft_and_dev_is_hard() -> None:
    records = textcat()
    docs = docs_of(records)
    corpus = build(docs, records, dev_share=0.25)
    assert {value for doc in corpus.train for value in doc.cats.values()} == {0.75, 0.25, 0.0}
    assert {value for doc in corpus.dev for value in doc.cats.values()} == {1.0, 0.0}
    assert all(sum(doc.cats.values()) == 1.0 for doc in corpus.dev)
    assert {value for doc in docs for value in doc.cats.values()} == {0.75, 0.25, 0.0}, "the input was changed"
    hard = build(docs, records, dev_share=0.25, soft=False)
    assert {value for doc in hard.train for value in doc.cats.values()} == {1.0, 0.0}


def test_a_temperature_flattens_or_sharpens_train_alone() -> None:
    records = textcat()
    flat = build(docs_of(records), records, dev_share=0.25, temperature=2.0)
    highest = 0.75**0.5 / (0.75**0.5 + 0.25**0.5)
    assert {round(max(doc.cats.values()), 9) for doc in flat.train} == {round(highest, 9)}
    assert all(doc.cats["bird"] == 0.0 for doc in flat.train)
    assert {value for doc in flat.dev for value in doc.cats.values()} == {1.0, 0.0}
    assert flat.manifest.temperature == 2.0
    sharp = build(docs_of(records), records, dev_share=0.25, temperature=0.001)
    assert {max(doc.cats.values()) for doc in sharp.train} == {1.0}


def test_classes_that_do_not_exclude_each_other_have_a_temperature_each() -> None:
    records = [replace(item, exclusive=False, cats={"fruit": 0.8, "tool": 0.5, "bird": 0.0}) for item in textcat()]
    cats = build(docs_of(records), records, temperature=0.5).train[0].cats
    assert cats == pytest.approx({"fruit": 0.64 / (0.64 + 0.04), "tool": 0.5, "bird": 0.0})


def test_a_temperature_of_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match="temperature is 0"):
        build(docs_of(textcat()), textcat(), temperature=0.0)


def test_a_temperature_of_what_has_no_probabilities_is_refused() -> None:
    with pytest.raises(ConfigError, match="Hard labels are no probabilities"):
        build(docs_of(textcat()), textcat(), soft=False, temperature=2.0)
    entities = [Annotation("e", "a red apple", "ner", LABELS, "ok", ents=(Span(6, 11, "fruit"),))]
    with pytest.raises(ConfigError, match="Entities have no probabilities"):
        build(docs_of(entities), entities, temperature=2.0)


def test_a_multi_label_dev_takes_every_class_at_half_or_more() -> None:
    cats = {"fruit": 0.9, "tool": 0.5, "bird": 0.4}
    records = [replace(item, exclusive=False, cats=cats) for item in textcat()]
    assert build(docs_of(records), records).dev[0].cats == {"fruit": 1.0, "tool": 1.0, "bird": 0.0}


def test_labels_hold_all_on_offer_and_the_unseen_are_named() -> None:
    records = textcat()
    corpus = build(docs_of(records), records)
    assert corpus.labels == list(LABELS)
    assert corpus.manifest.unseen_labels == ["bird"]


def test_twice_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        records = textcat()
        build(docs_of(records), records, sources={"curated": {"path": "kept.spacy"}}).write(tmp_path / name)
    files = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert files == ["dev.spacy", "labels.json", "manifest.json", "train.spacy"]
    for name in files:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_the_manifest_is_read_back_and_counts_what_is_there(tmp_path: Path) -> None:
    records = textcat()
    corpus = build(docs_of(records), records, dev_share=0.25, seed=3)
    corpus.write(tmp_path)
    manifest = Manifest.read(tmp_path / "manifest.json")
    assert manifest == corpus.manifest
    assert manifest.train.docs == len(list(read_docs(tmp_path / "train.spacy", nlp.vocab))) == 30
    assert manifest.dev.docs == len(list(read_docs(tmp_path / "dev.spacy", nlp.vocab))) == 10
    assert manifest.dev.labels == {"fruit": 5, "tool": 5, "bird": 0}
    with pytest.raises(StageError, match="spacy-distill corpus"):
        Manifest.read(tmp_path / "none.json")


def test_dev_keeps_who_belongs_together_by_number(tmp_path: Path) -> None:
    records = [
        replace(item, group=f"review {index // 4}" if index < 32 else None) for index, item in enumerate(textcat())
    ]
    corpus = build(docs_of(records), records, dev_share=0.5)
    corpus.write(tmp_path)
    assert "review" not in (tmp_path / "manifest.json").read_text("utf8")
    of_text = {record.text: record.group for record in records}
    expected = [of_text[doc.text] for doc in corpus.dev]
    found, _ = read_corpus(tmp_path)
    assert len({record.group for record in found}) == len({group for group in expected if group}) + expected.count(None)
    for i, record in enumerate(found):
        for j, other in enumerate(found):
            assert (record.group == other.group) == (i == j or (expected[i] is not None and expected[i] == expected[j]))
    assert build(docs_of(textcat()), textcat()).manifest.dev_groups == []
    number_of: dict[str | None, set[int]] = {}
    for seed in range(4):  # A group has the same number in whatever split it is.
        other = build(docs_of(records), records, dev_share=0.5, seed=seed)
        for doc, number in zip(other.dev, other.manifest.dev_groups, strict=True):
            number_of.setdefault(of_text[doc.text] or doc.text, set()).add(number)
    assert all(len(numbers) == 1 for numbers in number_of.values())
    assert len(set.union(*number_of.values())) == len(number_of)


def test_the_files_hold_what_training_needs_and_no_more(tmp_path: Path) -> None:
    for records in (textcat(), [replace(item, provenance={"model": "m"}) for item in ner()]):
        docs = docs_of(records)
        build(docs, records).write(tmp_path)
        for name in ("train.spacy", "dev.spacy"):
            for doc in read_docs(tmp_path / name, nlp.vocab):
                assert doc._.distill is None
                assert not doc.spans
                assert doc.cats or [ent.label_ for ent in doc.ents] == ["FRUIT"]
        assert all(doc._.distill for doc in docs)
        assert all("teacher" in doc.spans for doc in docs if doc.ents)


def ner(count: int = 20) -> list[Annotation]:
    return [
        Annotation(
            f"r{index}",
            f"Eve ate pear {index}",
            "ner",
            ("FRUIT", "PERSON"),
            "ok",
            ents=(Span(8, 12, "FRUIT"),),
            missing=(Span(0, 3, "PERSON"),),
        )
        for index in range(count)
    ]


def test_ner_labels_are_what_spacy_init_labels_writes() -> None:
    records = ner()
    corpus = build(docs_of(records), records)
    component = spacy.blank("en").add_pipe("ner")
    component.initialize(lambda: [spacy.training.Example(doc, doc) for doc in corpus.train], labels=corpus.labels)
    assert set(component.labels) == {"FRUIT", "PERSON"}


def test_missing_tokens_stay_missing(tmp_path: Path) -> None:
    records = ner()
    build(docs_of(records), records).write(tmp_path)
    for doc in read_docs(tmp_path / "train.spacy", nlp.vocab):
        assert [token.ent_iob_ for token in doc][:3] == ["", "O", "B"]


def test_gold_dev_takes_the_place_of_a_share() -> None:
    records = textcat()
    gold = [replace(records[0], id="g", text="something else", gold=True)]
    corpus = build(docs_of(records), records, gold_dev=gold, nlp=nlp)
    assert (len(corpus.train), len(corpus.dev)) == (40, 1)
    assert (corpus.manifest.dev_from, corpus.manifest.dev_share) == ("gold", None)


def test_the_manifest_says_whose_the_labels_are(tmp_path: Path) -> None:
    people = [replace(item, gold=True) for item in textcat()]
    made = build(docs_of(people), people, dev_share=0.25).manifest
    assert (made.dev_from, made.dev_share) == ("gold", 0.25)
    assert (made.train.gold, made.dev.gold, made.train.models, made.dev.models) == (30, 10, {}, {})
    sources = [
        {"source": "a", "status": "ok", "model": "big"},
        {"source": "b", "status": "ok", "model": "small"},
        {"source": "c", "status": "error", "model": "silent"},
    ]
    records = [
        *people[:2],
        *(replace(item, provenance={"model": "big"}) for item in people[2:6]),
        replace(people[6], gold=False, provenance={"model": "majority of 3", "sources": sources}),
        *(replace(item, gold=False, provenance={"model": "big"}) for item in people[7:10]),
        *(replace(item, gold=False) for item in people[10:]),
    ]
    gold = [replace(records[0], id="g", text="something else")]
    corpus = build(docs_of(records), records, gold_dev=gold, nlp=nlp)
    assert corpus.manifest.train.gold == 6
    assert corpus.manifest.train.models == {"an unrecorded source": 30, "big": 4, "small": 1}
    corpus.write(tmp_path)
    assert Manifest.read(tmp_path / "manifest.json") == corpus.manifest
    silver = build(docs_of(records), records, dev_share=0.25).manifest
    assert silver.dev_from == "silver"
    assert (silver.train.gold or 0) + (silver.dev.gold or 0) == 6


def test_gold_dev_must_not_be_in_train() -> None:
    records = [replace(item, group=f"g{index}") for index, item in enumerate(textcat())]
    for text, group in (("THING number 3", None), ("new", "g3")):
        gold = [replace(records[0], id="g", text=text, group=group)]
        with pytest.raises(InputError, match=r"1 curated texts .* r3"):
            build(docs_of(records), records, gold_dev=gold, nlp=nlp)


def test_a_gold_entity_across_a_token_is_left_out_of_the_score(caplog: pytest.LogCaptureFixture) -> None:
    records = ner()
    gold = [replace(records[0], id="g", text="A pineapple", ents=(Span(6, 11, "FRUIT"),), missing=())]
    corpus = build(docs_of(records), records, gold_dev=gold, nlp=nlp)
    assert [token.ent_iob_ for token in corpus.dev[0]] == ["O", ""]
    assert "1 gold entities" in caplog.text


def test_too_few_texts_say_which_stage() -> None:
    with pytest.raises(StageError, match="curation kept nothing"):
        build([], [])
    records = [replace(item, group="one") for item in textcat()]
    with pytest.raises(StageError, match="only 1 sets"):
        build(docs_of(records), records)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"status": "abstain", "cats": None}, InputError, "must not be trained on"),
        ({"cats": {"fruit": 0.0, "tool": 0.0, "bird": 0.0}}, InputError, "add up to 0.000"),
        ({"labels": ("fruit", "tool")}, InputError, "different labels"),
    ],
)
def test_annotations_that_must_not_be_trained_on(change, error: type[Exception], message: str) -> None:
    records = textcat()
    docs = docs_of(records)
    records[5] = replace(records[5], **change)
    with pytest.raises(error, match=message):
        build(docs, records)


def rare(count: int = 40) -> list[Annotation]:
    """A fifth of the texts are birds, all others tools."""
    names = ["bird" if index % 5 == 0 else "tool" for index in range(count)]
    return [
        replace(item, cats={label: float(label == name) for label in LABELS})
        for item, name in zip(textcat(count), names, strict=True)
    ]


def test_oversampling_repeats_rare_texts_in_train_alone() -> None:
    records = rare()
    plain = build(docs_of(records), records, dev_share=0.25)
    assert plain.manifest.repeated == {}
    made = build(docs_of(records), records, dev_share=0.25, oversample=17)
    assert made.manifest.repeated == {"bird": 11}
    assert (made.manifest.oversample, made.manifest.train, made.manifest.dev) == (
        17, plain.manifest.train, plain.manifest.dev
    )  # fmt: skip
    texts = [doc.text for doc in made.train]
    assert texts[: len(plain.train)] == [doc.text for doc in plain.train]
    assert [doc.text for doc in made.dev] == [doc.text for doc in plain.dev]
    assert sum(doc.cats["bird"] for doc in made.train) == 17
    birds = Counter(doc.text for doc in made.train if doc.cats["bird"])
    assert sorted(birds.values()) == [2, 3, 3, 3, 3, 3]


def test_oversampling_is_the_same_each_time_and_in_any_order(tmp_path: Path) -> None:
    records = rare()
    for name, given in (("one", records), ("two", records), ("other", records[::-1])):
        build(docs_of(given), given, dev_share=0.25, oversample=10).write(tmp_path / name)
    for name in ("train.spacy", "manifest.json"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()

    def texts(name: str) -> list[str]:
        return sorted(doc.text for doc in read_docs(tmp_path / name / "train.spacy", nlp.vocab))

    assert texts("one") == texts("other")


def test_oversampling_counts_what_a_copy_has_of_other_labels() -> None:
    """The copies of the rarest label bring enough of the other one that the texts have."""
    both, one = {"fruit": 1.0, "tool": 1.0, "bird": 0.0}, {"fruit": 0.0, "tool": 1.0, "bird": 0.0}
    records = [replace(item, exclusive=False, cats=both if i < 8 else one) for i, item in enumerate(textcat(16))]
    gold = [replace(records[0], id="g", text="something else", gold=True)]
    made = build(docs_of(records), records, gold_dev=gold, nlp=nlp, oversample=20)
    assert made.manifest.repeated == {"fruit": 12}
    assert sum(doc.cats["tool"] for doc in made.train) == 28


def test_oversampling_of_entities_counts_texts() -> None:
    twice = [replace(item, ents=(Span(0, 3, "PERSON"), Span(4, 7, "PERSON")), missing=()) for item in ner()[:4]]
    records = [*twice, *ner()[4:]]
    gold = [replace(records[0], id="g", text="Abe ate figs", gold=True)]
    made = build(docs_of(records), records, gold_dev=gold, nlp=nlp, oversample=9)
    assert made.manifest.repeated == {"PERSON": 5}


@pytest.mark.parametrize("oversample", [-1, 2.5, True])
def test_oversampling_to_no_number_of_texts(oversample: int) -> None:
    with pytest.raises(ConfigError, match="oversample is"):
        build(docs_of(textcat()), textcat(), oversample=oversample)


def test_settings_that_cannot_work() -> None:
    records = textcat()
    with pytest.raises(ConfigError, match="dev_share"):
        build(docs_of(records), records, dev_share=1.0)
    alone = [replace(item, labels=("fruit",), cats={"fruit": 1.0}) for item in records]
    with pytest.raises(ConfigError, match="second label"):
        build(docs_of(alone), alone)


def test_a_corpus_cut_off_is_none_with_the_one_before_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another seed puts other texts into dev: the new train and the old dev would share some."""
    records = textcat()
    build(docs_of(records), records).write(tmp_path)

    def stopped(path: Path, docs: Iterable[Doc], **settings: Any) -> int:
        if path.name == "dev.spacy":
            raise KeyboardInterrupt
        return write_docs(path, docs, **settings)

    monkeypatch.setattr("spacy_distill.corpus.build.write_docs", stopped)
    with pytest.raises(KeyboardInterrupt):
        build(docs_of(records), records, seed=1).write(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["train.spacy"]
