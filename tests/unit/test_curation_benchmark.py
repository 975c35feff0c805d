"""What `benchmarks.curation` simulates and works out, on invented data."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest

from benchmarks.curation import compare
from benchmarks.curation_data import as_answer, kept_of, simulate
from spacy_distill.texts import gold_annotations
from spacy_distill.types import Annotation, Text

LABELS = ("calm", "cross", "glad")
WORDS = {"calm": ["lake", "tea", "quiet"], "cross": ["noise", "queue", "late"], "glad": ["gift", "sun", "late"]}


def rows(count: int) -> list[dict[str, str]]:
    chance = random.Random(0)
    made = []
    for index in range(count):
        label = LABELS[index % 3]
        made.append({"text": f"{index} {chance.choice(WORDS[label])} {chance.choice(WORDS[label])}", "gold": label})
    return made


@pytest.mark.parametrize("noise", [0.2, 0.4])
def test_the_simulated_teacher_is_wrong_as_often_as_stated_and_too_sure(noise: float) -> None:
    given = rows(900)
    known, asked = given[:300], given[300:]
    said = simulate(known, asked, LABELS, noise, seed=1)
    right = [row["gold"] == one["said"] for row, one in zip(asked, said, strict=True)]
    assert np.mean(right) == pytest.approx(1 - noise, abs=0.01)
    assert np.mean([one["sure"] for one in said]) == pytest.approx(1 - noise / 2, abs=0.01)
    sure_where = {
        each: np.mean([one["sure"] for one, ok in zip(said, right, strict=True) if ok is each])
        for each in (True, False)
    }
    assert sure_where[True] > sure_where[False]
    assert said == simulate(known, asked, LABELS, noise, seed=1)
    assert said != simulate(known, asked, LABELS, noise, seed=2)


def gold(count: int) -> list[Annotation]:
    return gold_annotations(
        [Text(str(i), f"text {i}", gold=LABELS[i % 3]) for i in range(count)], "textcat", labels=LABELS
    )


def answers(truth: list[Annotation], wrong: int) -> list[Annotation]:
    """RETURNS (List[Annotation]): The first `wrong` of them are."""
    return [
        as_answer(item, LABELS[(LABELS.index(str(item.label)) + (number < wrong)) % 3])
        for number, item in enumerate(truth)
    ]


def test_the_mean_is_over_seeds_and_the_interval_holds_them() -> None:
    truth = gold(100)
    raw, curated = [answers(truth, 30), answers(truth, 40)], [answers(truth, 10), answers(truth, 20)]
    found = compare(truth, {"student_raw": raw, "student_curated": curated}, "accuracy")
    assert found["student_raw"]["mean"] == 0.65
    assert found["curated_minus_raw"]["mean"] == pytest.approx(0.2)
    assert 0 < found["curated_minus_raw"]["low"] < 0.2 < found["curated_minus_raw"]["high"]
    alike = compare(truth, {"student_raw": raw, "student_curated": raw}, "accuracy")
    assert alike["curated_minus_raw"] == {"mean": 0.0, "low": 0.0, "high": 0.0}
    one_seed = compare(truth, {"student_raw": raw[:1], "student_curated": curated[:1]}, "accuracy")
    width = {
        name: each["student_raw"]["high"] - each["student_raw"]["low"]
        for name, each in (("two", found), ("one", one_seed))
    }
    assert width["two"] > width["one"], "seeds that differ widen the interval"


def test_what_is_kept_of_an_answer_scores_the_same() -> None:
    truth = gold(9)
    given = answers(truth, 3)
    again = [as_answer(item, kept_of(answer)) for item, answer in zip(truth, given, strict=True)]
    assert again == given
    spans = gold_annotations([Text("a", "late gift", gold=[[5, 9, "glad"]])], "ner", labels=LABELS)[0]
    assert as_answer(spans, kept_of(spans)) == replace(spans, gold=False)
