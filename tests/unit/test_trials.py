"""How examples are drawn, prompts measured, and one of them chosen."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from spacy_distill.teacher.trials import (
    CALIBRATIONS,
    Scores,
    Trial,
    difference_error,
    macro_f1,
    measure,
    select,
    wilson,
)

LABELS = ("bad", "good")


def trial(
    right: list[bool],
    shots: int = 0,
    candidate: str = "plain",
    log_loss: float = 0.5,
    calibration: str = "none",
    macro_f1: float = 0.0,
) -> Trial:
    low, high = wilson(sum(right), len(right))
    return Trial(
        candidate=candidate,
        shots=shots,
        calibration=calibration,  # type: ignore[arg-type]
        bias={},
        temperature=1.0,
        texts=len(right),
        accuracy=sum(right) / len(right),
        low=low,
        high=high,
        macro_f1=macro_f1,
        confident_half=0.0,
        log_loss=log_loss,
        ece=0.0,
        texts_per_s=1.0,
        right=tuple(right),
    )


def scores(n: int = 400, lean: float = 3.0) -> tuple[Scores, np.ndarray]:
    rng = np.random.default_rng(0)
    truth = (rng.random(n) < 0.7).astype(int)
    logprobs = rng.normal(size=(n, 2)) + 2.5 * np.eye(2)[truth] + [lean, 0.0]
    empty = np.array([[lean, 0.0]] * 3)
    return Scores("plain", 4, LABELS, logprobs, empty, logprobs, 12.5), truth


def test_every_calibration_is_measured_on_the_same_scores() -> None:
    raw, truth = scores()
    found = {item.calibration: item for item in measure(raw, truth, CALIBRATIONS)}
    assert list(found) == list(CALIBRATIONS)
    assert found["none"].bias == {"bad": 0.0, "good": 0.0}
    assert found["content_free"].accuracy > found["none"].accuracy + 0.2  # three texts without content show the lean
    assert found["prior"].accuracy > found["none"].accuracy + 0.2
    for item in found.values():
        assert item.texts == 400
        assert item.accuracy == pytest.approx(np.mean(item.right))
        assert item.low < item.accuracy < item.high
        assert item.confident_half > item.accuracy
        assert item.texts_per_s == 12.5
        assert "right" not in item.to_dict()


def test_the_batch_bias_comes_from_the_unlabelled_texts() -> None:
    raw, truth = scores()
    other = dataclasses.replace(raw, unlabelled=raw.unlabelled + np.array([0.0, 9.0]))
    (batch,), (moved,) = measure(raw, truth, ["batch"]), measure(other, truth, ["batch"])
    assert batch.bias != moved.bias
    assert moved.accuracy < batch.accuracy


def test_a_clear_winner_wins_whatever_it_costs() -> None:
    dear = trial([True] * 95 + [False] * 5, shots=16)
    assert select([trial([True] * 50 + [False] * 50), dear]) is dear


def test_within_one_standard_error_fewer_examples_win() -> None:
    best = trial([True] * 81 + [False] * 19, shots=16, log_loss=0.3)
    close = trial([True] * 79 + [False] * 20 + [True], shots=0)
    assert best.accuracy - close.accuracy <= difference_error(best.right, close.right)
    assert select([best, close]) is close


def test_the_same_gap_counts_when_the_same_texts_show_it() -> None:
    best = trial([True] * 81 + [False] * 19, shots=16)
    never_better = trial([True] * 74 + [False] * 26, shots=0)
    assert select([best, never_better]) is best
    wild = trial([True] * 55 + [False] * 26 + [True] * 19, shots=0)  # the same accuracy, but on other texts
    assert wild.accuracy == never_better.accuracy
    assert difference_error(best.right, wild.right) > difference_error(best.right, never_better.right)


def test_with_as_many_examples_the_lower_log_loss_wins() -> None:
    right = [True] * 80 + [False] * 20
    honest = trial(right, log_loss=0.41, calibration="batch")
    assert select([trial(right, log_loss=0.45), honest, trial(right, shots=8, log_loss=0.1)]) is honest


def test_a_row_that_leaves_a_label_out_does_not_win_by_its_log_loss() -> None:
    right = [True] * 89 + [False] * 11
    always_ham = trial(right, log_loss=0.25, calibration="prior", macro_f1=0.47)
    useful = trial([*right[1:], True], log_loss=0.30, calibration="content_free", macro_f1=0.82)
    assert select([always_ham, useful]) is useful


def test_intervals_hold_at_the_ends() -> None:
    assert wilson(0, 10)[0] == 0.0
    assert wilson(10, 10)[1] == 1.0
    assert wilson(50, 100) == pytest.approx((0.404, 0.596), abs=1e-3)


def test_macro_f1_by_hand() -> None:
    guess, truth = np.array([0, 0, 1, 2]), np.array([0, 1, 1, 1])
    assert macro_f1(guess, truth) == pytest.approx((2 / 3 + 1 / 2) / 2)
