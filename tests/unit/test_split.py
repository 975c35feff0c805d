"""The split: groups whole, labels in proportion, the same for the same seed."""

from __future__ import annotations

import random

import pytest

from spacy_distill.corpus.split import split
from spacy_distill.texts import normal_form
from spacy_distill.types import Annotation, Span

LABELS = ("often", "sometimes", "rarely")


def annotation(index: int, label: str, text: str | None = None, group: str | None = None) -> Annotation:
    cats = {name: float(name == label) for name in LABELS}
    return Annotation(f"r{index}", text or f"text {index}", "textcat", LABELS, "ok", cats=cats, group=group)


def population(seed: int, count: int = 400) -> list[Annotation]:
    chance = random.Random(seed)
    return [
        annotation(
            index,
            chance.choices(LABELS, (0.7, 0.25, 0.05))[0],
            text=chance.choice([None, None, None, f"Copy {chance.randrange(40)}", f"copy  {chance.randrange(40)}"]),
            group=chance.choice([None, f"g{chance.randrange(100)}"]),
        )
        for index in range(count)
    ]


@pytest.mark.parametrize("seed", range(15))
def test_nothing_straddles_and_nothing_is_lost(seed: int) -> None:
    given = population(seed)
    found = split(given, dev_share=0.2, seed=seed)
    assert sorted([*found.train, *found.dev]) == list(range(len(given)))
    train, dev = ([given[index] for index in side] for side in (found.train, found.dev))
    assert not {normal_form(item.text) for item in train} & {normal_form(item.text) for item in dev}
    assert not {item.group for item in train if item.group} & {item.group for item in dev if item.group}


@pytest.mark.parametrize("share", [0.1, 0.15, 0.5])
def test_labels_keep_their_proportions(share: float) -> None:
    given = [annotation(index, LABELS[(index % 10 > 5) + (index % 10 > 8)]) for index in range(1000)]
    found = split(given, dev_share=share, seed=1)
    for label in LABELS:
        total = sum(item.label == label for item in given)
        in_dev = sum(given[index].label == label for index in found.dev)
        assert abs(in_dev - total * share) <= 1


def test_the_same_seed_gives_the_same_split_in_any_order_and_another_seed_another() -> None:
    given = population(0)
    shuffled = random.Random(1).sample(given, len(given))

    def dev(annotations: list[Annotation], seed: int) -> set[str]:
        return {annotations[index].id for index in split(annotations, dev_share=0.2, seed=seed).dev}

    assert dev(given, 0) == dev(given, 0) == dev(shuffled, 0)
    assert dev(given, 0) != dev(given, 1)


def test_a_label_with_one_text_goes_to_train() -> None:
    given = [annotation(index, "often") for index in range(50)] + [annotation(50, "rarely")]
    for seed in range(10):
        assert 50 in split(given, dev_share=0.15, seed=seed).train


def test_one_group_is_one_cluster() -> None:
    found = split([annotation(index, "often", group="g") for index in range(10)], dev_share=0.2)
    assert found.clusters == 1
    assert not found.dev


def test_texts_without_entities_are_stratified_too() -> None:
    given = [
        Annotation(str(i), f"t {i}", "ner", ("A",), "ok", ents=(Span(0, 1, "A"),) if i % 2 else ()) for i in range(200)
    ]
    found = split(given, dev_share=0.2)
    assert sum(bool(given[index].ents) for index in found.dev) == len(found.dev) / 2 == 20
