"""Near-duplicates: what is near, that nearly all pairs are found, and that no order matters."""

from __future__ import annotations

import itertools
import random

import numpy as np
import pytest

from spacy_distill.curation.clusters import _band_keys, _rows, near_clusters, similarity

WORDS = [a + b for a, b in itertools.product(("bar", "tel", "mi", "sou", "gra"), ("ken", "dor", "lith", "pan", "u"))]


def sentence(chance: random.Random, words: int = 20) -> list[str]:
    return [chance.choice(WORDS) + str(chance.randrange(90)) for _ in range(words)]


def edited(words: list[str], chance: random.Random, edits: int) -> list[str]:
    copy = list(words)
    for place in chance.sample(range(len(words)), edits):
        copy[place] = chance.choice(WORDS)
    return copy


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("Call me!", "call  ME!", True),
        ("I dont want to hear it", "I dont want to hear it.", True),
        ("i feel happy today", "i feel angry today", False),
        ("yes", "no", False),
        ("", " \n", True),
        ("a", "b", False),
        ("今日はとても良い天気ですね、散歩に行きましょう", "今日はとても良い天気ですね。散歩に行きましょう!", False),
        (
            "今日はとても良い天気なので、近くの公園まで散歩に行きましょう",
            "今日はとても良い天気なので、近くの公園まで散歩に行きましょう!",
            True,
        ),
    ],
)
def test_what_is_near(one: str, other: str, same: bool) -> None:
    assert (len(set(near_clusters([one, other]))) == 1) is same


@pytest.mark.parametrize("threshold", [0.6, 0.8, 0.9])
def test_as_good_as_a_comparison_of_all_pairs(threshold: float) -> None:
    chance = random.Random(1)
    originals = [sentence(chance) for _ in range(150)]
    texts = [" ".join(edited(words, chance, edits)) for words in originals for edits in (0, 1, 2, 3)]
    pairs = list(itertools.combinations(range(len(texts)), 2))
    near = [(a, b) for a, b in pairs if a // 4 == b // 4 and similarity(texts[a], texts[b]) >= threshold]
    clusters = near_clusters(texts, threshold)
    found = sum(clusters[a] == clusters[b] for a, b in near)
    assert len(near) > 20
    assert found >= 0.98 * len(near)
    assert all(a // 4 == b // 4 for a, b in pairs if clusters[a] == clusters[b]), "texts that have nothing in common"


def test_signatures_collide_as_often_as_the_formula_says() -> None:
    chance = random.Random(2)
    rows = _rows(0.8)
    collided, expected = 0, 0.0
    for _ in range(300):
        words = sentence(chance)
        pair = [" ".join(words), " ".join(edited(words, chance, 2))]
        keys = _band_keys(pair, rows)
        collided += int((keys[:, 0] == keys[:, 1]).sum())
        expected += len(keys) * similarity(*pair) ** rows
    assert collided == pytest.approx(expected, rel=0.15)


def test_the_rows_leave_a_pair_at_the_threshold_its_chance() -> None:
    for threshold in np.arange(0.5, 1.0, 0.05):
        rows = _rows(float(threshold))
        assert 1 - (1 - threshold**rows) ** (256 // rows) >= 0.99


def test_no_order_matters_and_clusters_are_named_by_their_first() -> None:
    chance = random.Random(3)
    texts = [" ".join(edited(sentence(random.Random(n // 3)), chance, n % 3)) for n in range(60)]
    order = chance.sample(range(60), 60)
    one, other = near_clusters(texts), near_clusters([texts[index] for index in order])
    sets = {frozenset(i for i in range(60) if one[i] == number) for number in one}
    assert sets == {frozenset(order[i] for i in range(60) if other[i] == number) for number in other}
    assert all(one[number] == number <= index for index, number in enumerate(one))


def test_none_and_one() -> None:
    assert near_clusters([]) == []
    assert near_clusters(["a pear"]) == [0]
