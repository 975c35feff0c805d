"""Calibration on numbers whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from spacy_distill.teacher import calibration as cal

LOGPROBS = np.log([[0.06, 0.02], [0.03, 0.03], [0.01, 0.09]])


@pytest.fixture
def biased() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """2,000 texts of three classes, .6 / .3 / .1, and a model that is right but leans to the last class."""
    rng = np.random.default_rng(0)
    gold = rng.choice(3, size=2000, p=[0.6, 0.3, 0.1])
    lean = np.array([0.0, 1.0, 3.0])
    return rng.normal(size=(2000, 3)) + 3.0 * np.eye(3)[gold] + lean, gold, lean


def accuracy(logprobs: np.ndarray, gold: np.ndarray, bias: np.ndarray | None = None) -> float:
    return float((cal.probabilities(logprobs, bias).argmax(1) == gold).mean())


def test_probabilities_are_a_softmax() -> None:
    assert cal.probabilities(LOGPROBS) == pytest.approx(np.array([[0.75, 0.25], [0.5, 0.5], [0.1, 0.9]]))
    assert cal.probabilities([[-1000.0, -1001.0]]).sum() == pytest.approx(1)
    assert cal.probabilities(LOGPROBS, temperature=0.5)[0] == pytest.approx([0.9, 0.1])
    assert cal.probabilities(LOGPROBS, np.log([3.0, 1.0]))[0] == pytest.approx([0.5, 0.5])


def test_a_bias_is_only_about_differences() -> None:
    assert cal.probabilities(LOGPROBS, [5.0, 5.0]) == pytest.approx(cal.probabilities(LOGPROBS))


def test_after_content_free_calibration_no_content_means_no_opinion() -> None:
    one = LOGPROBS[:1]
    assert cal.probabilities(one, cal.content_free_bias(one)) == pytest.approx(np.array([[0.5, 0.5]]))
    assert np.exp(cal.content_free_bias(LOGPROBS)) == pytest.approx([0.45, 0.55])


def test_batch_calibration_undoes_a_lean_where_classes_are_balanced(
    biased: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> None:
    logprobs, gold, _ = biased
    balanced = np.concatenate([np.flatnonzero(gold == label)[:150] for label in range(3)])
    logprobs, gold = logprobs[balanced], gold[balanced]
    assert accuracy(logprobs, gold, cal.batch_bias(logprobs)) > accuracy(logprobs, gold) + 0.1


def test_prior_calibration_matches_the_prior(biased: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    logprobs, gold, lean = biased
    prior = cal.label_prior(gold, 3)
    bias = cal.prior_bias(logprobs, prior)
    assert cal.probabilities(logprobs, bias).mean(0) == pytest.approx(prior, abs=1e-5)
    assert accuracy(logprobs, gold, bias) > accuracy(logprobs, gold, cal.batch_bias(logprobs))
    assert accuracy(logprobs, gold, bias) > accuracy(logprobs, gold, lean) - 0.01


def test_prior_calibration_of_an_uneven_prior_with_one_text_stays_finite() -> None:
    assert np.isfinite(cal.prior_bias([[-1.0, -90.0]], [0.01, 0.99])).all()


def test_a_label_that_never_occurs_is_possible() -> None:
    assert cal.label_prior([0, 0, 1], 3) == pytest.approx([3 / 6, 2 / 6, 1 / 6])


@pytest.mark.parametrize("true", [0.2, 1.0, 4.0])
def test_temperature_is_found(true: float) -> None:
    rng = np.random.default_rng(1)
    honest = cal.log_softmax(rng.normal(size=(4000, 3)) * 2)
    gold = np.array([rng.choice(3, p=row) for row in np.exp(honest)])
    assert cal.fit_temperature(honest * true, gold) == pytest.approx(true, rel=0.1)


def test_the_fitted_temperature_is_the_best_of_a_grid(biased: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    logprobs, gold, lean = biased

    def loss(temperature: float) -> float:
        return cal.log_loss(cal.probabilities(logprobs, lean, temperature), gold)

    fitted = loss(cal.fit_temperature(logprobs, gold, lean))
    assert fitted <= min(loss(t) for t in np.geomspace(0.05, 20, 200)) + 1e-4


def test_temperature_changes_no_decision(biased: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    logprobs, _, lean = biased
    for temperature in (0.05, 20.0):
        same = cal.probabilities(logprobs, lean, temperature).argmax(1) == cal.probabilities(logprobs, lean).argmax(1)
        assert same.all()


def test_log_loss_of_known_probabilities() -> None:
    assert cal.log_loss([[0.5, 0.5], [0.25, 0.75]], [0, 1]) == pytest.approx((np.log(2) + np.log(4 / 3)) / 2)
    assert np.isfinite(cal.log_loss([[1.0, 0.0]], [1]))


def test_calibration_error_of_known_probabilities() -> None:
    sure = np.tile([0.9, 0.1], (100, 1))
    gold = np.array([0] * 60 + [1] * 40)
    assert cal.expected_calibration_error(sure, gold, bins=1) == pytest.approx(0.3)
    assert cal.expected_calibration_error([[1.0, 0.0]] * 5, [0] * 5) == 0.0
    assert cal.expected_calibration_error([[1.0, 0.0]] * 3, [1] * 3) == 1.0
