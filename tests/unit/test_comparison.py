"""Bootstrap intervals: exact where they must be, honest where they can be checked."""

import time

import numpy as np
import pytest

from spacy_distill.errors import InputError
from spacy_distill.evaluation.comparison import bootstrap, interval, units
from spacy_distill.evaluation.scores import METRICS, Tally, scores


def coin_flips(right):
    """A tally of two classes, all of gold in the first."""
    right = np.asarray(right, dtype="float64")
    zero = np.zeros_like(right)
    one = np.ones_like(right)
    return Tally(("a", "b"), np.stack([right, zero, zero, 1 - right, 1 - right, zero, right, one, one], axis=1))


def test_the_same_system_differs_by_exactly_nothing():
    rng = np.random.default_rng(1)
    tallied = coin_flips(rng.random(300) < 0.8)
    first, second = bootstrap([tallied, tallied], [None] * 300, resamples=500)
    for name in METRICS:
        found = interval(0.0, first[name] - second[name])
        assert (found.value, found.low, found.high) == (0, 0, 0)
        assert not found.significant


def test_the_same_seed_gives_the_same_interval():
    tallied = coin_flips(np.arange(100) % 3 > 0)
    runs = [bootstrap([tallied], [None] * 100, resamples=200, seed=seed)[0]["accuracy"] for seed in (7, 7, 8)]
    assert np.array_equal(runs[0], runs[1])
    assert not np.array_equal(runs[0], runs[2])


def test_draws_are_scores_of_real_resamples():
    tallied = coin_flips([1, 0, 1, 1])
    (found,) = bootstrap([tallied], [None] * 4, resamples=400)
    assert set(np.round(found["accuracy"] * 4, 9)) <= {0.0, 1.0, 2.0, 3.0, 4.0}
    assert found["accuracy"].mean() == pytest.approx(0.75, abs=0.05)
    assert (found["answered"] == 1).all()


def test_about_95_of_100_intervals_hold_the_truth():
    rng = np.random.default_rng(3)
    held = 0
    for seed in range(200):
        right = rng.random(200) < 0.7
        (draws,) = bootstrap([coin_flips(right)], [None] * 200, resamples=400, seed=seed)
        found = interval(right.mean(), draws["accuracy"])
        held += found.low <= 0.7 <= found.high
    assert 180 <= held <= 200  # 95 % of 200 is 190; fewer than 180 has a chance below 1 in 5,000


def test_the_width_is_that_of_the_binomial():
    right = np.arange(1000) % 10 < 8
    (draws,) = bootstrap([coin_flips(right)], [None] * 1000, resamples=4000)
    found = interval(0.8, draws["accuracy"])
    assert (found.high - found.low) / 2 == pytest.approx(1.96 * np.sqrt(0.8 * 0.2 / 1000), rel=0.08)


def test_texts_of_one_group_are_drawn_together():
    # Ten groups of ten texts that are all right or all wrong: as good as ten texts.
    right = np.repeat(np.arange(10) % 2, 10)
    (single,) = bootstrap([coin_flips(right)], [None] * 100, resamples=2000)
    (grouped,) = bootstrap([coin_flips(right)], [str(i // 10) for i in range(100)], resamples=2000)
    assert grouped["accuracy"].std() / single["accuracy"].std() == pytest.approx(np.sqrt(10), rel=0.1)
    assert set(np.round(grouped["accuracy"] * 10, 9)) <= set(map(float, range(11)))


def test_a_text_without_a_group_is_one_by_itself():
    assert units(["x", None, "x", None, "y"]) == [0, 1, 0, 2, 3]


def test_unequal_groups_are_weighed_by_their_texts():
    right = [1, 1, 1, 0]
    (draws,) = bootstrap([coin_flips(right)], ["x", "x", "x", "y"], resamples=500)
    assert set(np.round(draws["accuracy"], 6)) == {1.0, 0.75, 0.0}


def test_paired_differences_are_narrower_than_unpaired_ones():
    rng = np.random.default_rng(5)
    base = rng.random(500) < 0.8
    other = base ^ (rng.random(500) < 0.02)
    first, second = bootstrap([coin_flips(base), coin_flips(other)], [None] * 500, resamples=1000)
    paired = (first["accuracy"] - second["accuracy"]).std()
    unpaired = np.hypot(first["accuracy"].std(), second["accuracy"].std())
    assert paired < unpaired / 2


def test_a_label_missing_from_a_resample_is_left_out_of_its_macro_f1():
    # One text of a rare label, always right: F1 is 1 whether or not it was drawn.
    counts = np.zeros((50, 9))
    counts[:49, 0] = counts[49, 1] = 1
    counts[:, -3:] = 1
    (draws,) = bootstrap([Tally(("a", "b"), counts)], [None] * 50, resamples=300)
    assert (draws["macro_f1"] == 1).all()


def test_systems_over_different_texts_are_refused():
    with pytest.raises(InputError, match="Expected counts of 3 texts"):
        bootstrap([coin_flips([1, 0])], [None] * 3)


def test_ten_thousand_resamples_of_two_thousand_texts_take_seconds():
    rng = np.random.default_rng(0)
    k = 20
    counts = (rng.random((2000, 3 * k + 3)) < 0.2).astype("float64")
    counts[:, -1] = 1
    tallies = [Tally(tuple(map(str, range(k))), counts)] * 3
    start = time.perf_counter()
    draws = bootstrap(tallies, [None] * 2000)
    assert len(draws[0]["macro_f1"]) == 10_000
    assert time.perf_counter() - start < 15
    point = scores(counts.sum(0))["micro_f1"]
    assert draws[0]["micro_f1"].mean() == pytest.approx(float(point), abs=0.005)
