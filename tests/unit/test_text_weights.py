"""Texts of which the teacher was less sure weigh less, in every classifier that we train, if asked for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import small_encoder
import spacy
from spacy.language import Language
from spacy.tokens import DocBin
from spacy.training import Example
from spacy.util import load_config

from spacy_distill.corpus.build import build
from spacy_distill.docs import (
    annotate_doc,
    annotations_of,
    check_gold_kept,
    confidence_of,
    make_doc,
    read_docs,
    write_docs,
)
from spacy_distill.errors import ConfigError, InputError
from spacy_distill.release.freeze import freeze
from spacy_distill.students.targets import targets_of
from spacy_distill.students.tiny_fit import balanced_weights
from spacy_distill.students.train import component_overrides, train
from spacy_distill.types import Annotation, Text

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
LABELS = ("fruit", "tool")
SURE, DOUBTFUL = 0.95, 0.1
FACTORIES = ["soft_textcat", "soft_textcat_multilabel", "tiny_textcat", "encoder_textcat"]
BOW = {"@architectures": "spacy.TextCatBOW.v3", "ngram_size": 1, "no_output_layer": False, "length": 512}


def textcat(number: int, text: str, label: str, confidence: float | None, **more) -> Annotation:
    cats = {other: float(other == label) for other in LABELS}
    return Annotation(f"r{number}", text, "textcat", LABELS, "ok", cats=cats, confidence=confidence, **more)


def planted() -> list[Annotation]:
    """RETURNS (List[Annotation]): Kettles are tools; most of those that the teacher saw it called fruit, in doubt."""
    said = [("pear", "fruit", SURE)] * 12 + [("chisel", "tool", SURE)] * 12
    said += [("kettle", "tool", SURE)] * 8 + [("kettle", "fruit", DOUBTFUL)] * 16
    return [textcat(i, f"number {i} is a {thing}", label, sure) for i, (thing, label, sure) in enumerate(said)]


def docs_of(records: list[Annotation]) -> list:
    nlp = spacy.blank("en")
    return [annotate_doc(make_doc(nlp, Text(item.id, item.text)), item) for item in records]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(small_encoder.write(tmp_path_factory.mktemp("encoder") / "small"))


def component(factory: str, encoder: str, weight: str | None, balance: float = 0.0) -> tuple[Language, str]:
    config = {"weight": weight, "balance": balance}
    if factory.startswith("soft"):
        config["model"] = {**BOW, "exclusive_classes": factory == "soft_textcat"}
    if factory == "encoder_textcat":
        config["encoder"] = encoder
    nlp = spacy.blank("en")
    nlp.add_pipe(factory, config=config)
    return nlp, factory


def trained(factory: str, encoder: str, weight: str | None, records: list[Annotation]) -> Language:
    spacy.util.fix_random_seed(0)
    nlp, _ = component(factory, encoder, weight)
    examples = [Example(nlp.make_doc(doc.text), doc) for doc in docs_of(records)]
    optimizer = nlp.initialize(lambda: examples)
    if factory.startswith("soft"):
        for _ in range(100):
            nlp.update(examples, sgd=optimizer)
    return nlp


@pytest.mark.parametrize("factory", FACTORIES)
def test_doubtful_wrong_labels_count_less(factory: str, encoder: str) -> None:
    plain, weighted = (trained(factory, encoder, weight, planted()) for weight in (None, "confidence"))
    assert plain("number 7 is a kettle").cats["fruit"] > 0.55
    assert weighted("number 7 is a kettle").cats["fruit"] < 0.48
    assert weighted("number 3 is a pear").cats["fruit"] > 0.52


@pytest.mark.parametrize("factory", FACTORIES)
def test_without_weights_the_confidence_changes_nothing(factory: str, encoder: str) -> None:
    unsaid = [replace(item, confidence=None) for item in planted()]
    alike = [replace(item, confidence=0.3) for item in planted()]
    plain = trained(factory, encoder, None, unsaid)("a kettle").cats
    assert trained(factory, encoder, None, planted())("a kettle").cats == plain
    assert trained(factory, encoder, "confidence", alike)("a kettle").cats == pytest.approx(plain, abs=1e-4)


RECORDS = [
    textcat(0, "ripe pear", "fruit", 0.5),
    textcat(1, "ripe plum", "fruit", None),
    textcat(2, "sharp saw", "tool", 0.9),
    textcat(3, "dull saw", "tool", 0.2, gold=True),
]
WEIGHTS = np.array([0.5, 1.0, 0.9, 1.0]) / 0.85


@pytest.mark.parametrize("factory", ["soft_textcat", "soft_textcat_multilabel"])
def test_a_gradient_is_multiplied_by_confidence_over_its_mean(factory: str) -> None:
    gradients = []
    for weight in (None, "confidence"):
        nlp, name = component(factory, "", weight)
        examples = [Example(nlp.make_doc(doc.text), doc) for doc in docs_of(RECORDS)]
        nlp.initialize(lambda examples=examples: examples)
        gradients.append(nlp.get_pipe(name).get_loss(examples, np.full((4, 2), 0.5, dtype="f"))[1])
    assert gradients[1] == pytest.approx(gradients[0] * WEIGHTS[:, None], abs=1e-6)


def test_with_both_weights_each_class_still_weighs_the_same_in_total() -> None:
    records = RECORDS[:3]
    nlp, name = component("soft_textcat", "", "confidence", balance=1.0)
    examples = [Example(nlp.make_doc(doc.text), doc) for doc in docs_of(records)]
    nlp.initialize(lambda: examples)
    gradient = abs(nlp.get_pipe(name).get_loss(examples, np.full((3, 2), 0.5, dtype="f"))[1][:, 0])
    assert gradient[:2].sum() == pytest.approx(gradient[2], rel=1e-5)
    given = targets_of(examples, LABELS, "x", exclusive=True, weight="confidence")
    counted = balanced_weights(given.shares, given.text_weights, 1.0, exclusive=True)
    assert [counted[:2].sum(), counted[2, 0]] == pytest.approx([1.5, 1.5])


@pytest.mark.parametrize("factory", FACTORIES)
def test_weights_that_no_text_has_are_refused(factory: str, encoder: str) -> None:
    unsaid = [replace(item, confidence=None) for item in planted()]
    with pytest.raises(InputError, match="weigh 48 texts by the teacher's confidence, and none has one"):
        trained(factory, encoder, "confidence", unsaid)


def test_a_corpus_carries_how_sure_the_teacher_was_and_nothing_else(tmp_path: Path) -> None:
    records = [replace(item, provenance={"model": "m"}) for item in RECORDS]
    write_docs(tmp_path / "train.spacy", docs_of(records), keep="confidence")
    found = list(read_docs(tmp_path / "train.spacy", spacy.blank("en").vocab))
    assert [confidence_of(doc) for doc in found] == [0.5, None, 0.9, None], "a person checked the last one"
    assert found[0]._.distill == {"textcat": {"confidence": 0.5}}
    assert not any(annotations_of(doc) for doc in found)
    with pytest.raises(InputError, match="neither `annotate` nor `import` wrote it"):
        check_gold_kept(tmp_path / "train.spacy")


def test_without_it_spacy_has_nothing_but_targets_to_read(tmp_path: Path) -> None:
    build(docs_of(planted()), planted()).write(tmp_path)
    assert not DocBin().from_disk(tmp_path / "train.spacy").store_user_data


def test_spacy_train_weighs_what_a_corpus_carries_and_the_release_is_stock(tmp_path: Path) -> None:
    records = planted()
    gold_dev = [
        textcat(100 + i, text, label, None) for i, (text, label) in enumerate([("pear", "fruit"), ("x", "tool")])
    ]
    corpus = build(docs_of(records), records, soft=False, gold_dev=gold_dev, nlp=spacy.blank("en"))
    corpus.write(tmp_path / "corpus", confidence=True)
    for name, shipped in (("textcat_tiny", "collapsed_textcat"), ("textcat_fast", "textcat")):
        config = CONFIGS / f"{name}.cfg"
        said = {}
        for weight in (None, "confidence"):
            steps = {"training.max_steps": 40, "training.eval_frequency": 40}
            overrides = {**component_overrides(config, weight=weight, balance=0.0), **steps}
            folder = tmp_path / f"{name}-{weight}"
            nlp = train(config, tmp_path / "corpus", folder, overrides=overrides)
            said[weight] = nlp("a kettle").cats["tool"]
        assert said["confidence"] > 0.5 > said[None], name
        frozen = freeze(folder / "model-best", tmp_path / "frozen")
        assert frozen.get_pipe_meta("textcat").factory == shipped
        assert frozen("a kettle").cats == nlp("a kettle").cats
        assert "weight" in load_config(folder / "model-best" / "config.cfg")["components"]["textcat"]
        assert "weight" not in load_config(tmp_path / "frozen" / "config.cfg")["components"]["textcat"]


def test_a_weight_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    records = planted()
    build(docs_of(records), records).write(tmp_path / "corpus", confidence=True)
    overrides = component_overrides(CONFIGS / "textcat_tiny.cfg", weight="votes")
    assert overrides == {"components.textcat.weight": "votes"}
    with pytest.raises(ConfigError, match="cannot be trained"):
        train(CONFIGS / "textcat_tiny.cfg", tmp_path / "corpus", tmp_path / "student", overrides=overrides)
