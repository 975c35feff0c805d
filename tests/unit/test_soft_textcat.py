"""The trainable components with soft targets: validation, gradients, class weights, loading as stock spaCy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import spacy
from spacy.language import Language
from spacy.training import Example
from spacy.util import load_config, load_model_from_config

from spacy_distill.errors import InputError
from spacy_distill.students.soft_textcat import STOCK_FACTORY

TEXTS = ["ripe pear", "ripe plum", "sweet pear", "sharp saw"]
TARGETS = [{"fruit": 0.8, "tool": 0.2}] * 3 + [{"fruit": 0.1, "tool": 0.9}]


def examples(nlp: Language, targets: list[dict[str, float]] = TARGETS) -> list[Example]:
    return [Example.from_dict(nlp.make_doc(text), {"cats": cats}) for text, cats in zip(TEXTS, targets, strict=True)]


def student(factory: str, balance: float = 0.0) -> tuple[Language, list[Example]]:
    nlp = spacy.blank("en")
    model = {
        "@architectures": "spacy.TextCatBOW.v3",
        "exclusive_classes": factory == "soft_textcat",
        "ngram_size": 1,
        "no_output_layer": False,
        "length": 1024,
    }
    nlp.add_pipe(factory, name=STOCK_FACTORY[factory], config={"balance": balance, "model": model})
    found = examples(nlp)
    nlp.initialize(lambda: found)
    return nlp, found


@pytest.mark.parametrize("factory", STOCK_FACTORY)
def test_soft_targets_are_learned_as_they_are(factory: str) -> None:
    nlp, found = student(factory)
    optimizer = nlp.create_optimizer()
    for _ in range(1500):
        nlp.update(found, sgd=optimizer)
    for text, target in zip(TEXTS, TARGETS, strict=True):
        assert nlp(text).cats == pytest.approx(target, abs=0.07)


@pytest.mark.parametrize("factory", STOCK_FACTORY)
@pytest.mark.parametrize("value", [1.2, -0.1])
def test_what_is_no_probability_is_refused(factory: str, value: float) -> None:
    nlp = spacy.blank("en")
    nlp.add_pipe(factory)
    wrong = examples(nlp, [{"fruit": value, "tool": 0.0}, *TARGETS[1:]])
    with pytest.raises(InputError, match=f"'fruit' has the value {value}"):
        nlp.initialize(lambda: wrong)


def gradient(factory: str, balance: float) -> tuple[np.ndarray, np.ndarray]:
    """RETURNS (Tuple[np.ndarray, np.ndarray]): The gradient at scores of one half, and the targets, both (N, K)."""
    nlp, found = student(factory, balance)
    component = nlp.get_pipe(STOCK_FACTORY[factory])
    _, d_scores = component.get_loss(found, np.full((4, 2), 0.5, dtype="f"))
    return np.asarray(d_scores), np.asarray([[cats[name] for name in component.labels] for cats in TARGETS])


@pytest.mark.parametrize("factory", STOCK_FACTORY)
def test_without_balance_the_gradient_is_scores_minus_targets(factory: str) -> None:
    d_scores, targets = gradient(factory, 0.0)
    assert d_scores == pytest.approx(0.5 - targets, abs=1e-6)


@pytest.mark.parametrize("balance", [0.5, 1.0])
def test_balance_weighs_a_text_by_its_targets_expected_class_weight(balance: float) -> None:
    d_scores, targets = gradient("soft_textcat", balance)
    weights = (4 / (2 * targets.sum(0))) ** balance
    assert d_scores == pytest.approx((0.5 - targets) * (targets @ weights)[:, None], abs=1e-6)
    assert weights[1] > 1 > weights[0], "the rare class weighs more"


def test_balance_of_several_labels_weighs_positive_targets() -> None:
    d_scores, targets = gradient("soft_textcat_multilabel", 1.0)
    weights = 4 / (2 * targets.sum(0))
    assert d_scores == pytest.approx((0.5 - targets) * (1 + targets * (weights - 1)), abs=1e-6)


def test_full_balance_gives_each_class_the_same_weight_in_total() -> None:
    _, targets = gradient("soft_textcat", 1.0)
    nlp, _ = student("soft_textcat", 1.0)
    totals = targets.sum(0) * np.asarray(nlp.get_pipe("textcat").class_weights)
    assert totals == pytest.approx([2.0, 2.0], rel=1e-5)


@pytest.mark.parametrize(("factory", "stock"), STOCK_FACTORY.items())
def test_stock_spacy_loads_it_and_predicts_the_same(tmp_path: Path, factory: str, stock: str) -> None:
    nlp, found = student(factory, 0.5)
    optimizer = nlp.create_optimizer()
    for _ in range(10):
        nlp.update(found, sgd=optimizer)
    nlp.to_disk(tmp_path)
    config = load_config(tmp_path / "config.cfg")
    settings = config["components"][stock]
    assert settings["factory"] == factory
    settings["factory"] = stock
    del settings["balance"], settings["weight"]
    plain = load_model_from_config(config)
    plain.from_disk(tmp_path)
    assert not type(plain.get_pipe(stock)).__module__.startswith("spacy_distill")
    for text in [*TEXTS, "a ripe saw"]:
        assert plain(text).cats == nlp(text).cats


@pytest.mark.parametrize(("factory", "stock"), STOCK_FACTORY.items())
def test_the_score_that_chooses_model_best_is_spacys_own(factory: str, stock: str) -> None:
    assert Language.get_factory_meta(factory).default_score_weights == pytest.approx(
        Language.get_factory_meta(stock).default_score_weights
    )
