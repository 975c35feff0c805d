"""Scores, worked out by hand."""

from dataclasses import asdict, replace

import numpy as np
import pytest

from spacy_distill.errors import InputError
from spacy_distill.evaluation.calibration import calibration
from spacy_distill.evaluation.scores import (
    confusion,
    entity_errors,
    label_set,
    match,
    per_label,
    scores,
    tally,
)
from spacy_distill.types import Annotation, Span

LABELS = ("good", "bad", "mixed")


def one(id, label, *, status="ok", confidence=None, kind=None, labels=LABELS, text=None, group=None):
    """An annotation of exclusive classes."""
    return Annotation(
        id=id,
        text=text or f"text {id}",
        task="textcat",
        labels=labels,
        status=status,
        cats={name: float(name == label) for name in labels} if status == "ok" else None,
        confidence=confidence,
        confidence_kind=kind,
        group=group,
    )


def many(id, *held):
    return Annotation(id, f"text {id}", "textcat", LABELS, "ok", False, {name: float(name in held) for name in LABELS})


def ents(id, text, *spans):
    return Annotation(id, text, "ner", ("DISH", "TOOL"), "ok", ents=tuple(Span(*span) for span in spans))


GOLD = [one("1", "good"), one("2", "good"), one("3", "good"), one("4", "bad"), one("5", "bad"), one("6", "mixed")]
PREDICTED = [one("1", "good"), one("2", "good"), one("3", "bad"), one("4", "bad"), one("5", "good")]


def total(gold, predicted):
    counted = tally(gold, predicted, label_set(gold, predicted))
    return {name: float(value) for name, value in scores(counted.counts.sum(0)).items()}


def test_exclusive_classes_by_hand():
    # good: tp 2, fp 1, fn 1; bad: tp 1, fp 1, fn 1; mixed: no answer, fn 1
    found = total(GOLD, PREDICTED)
    assert found["accuracy"] == pytest.approx(3 / 6)
    assert found["answered"] == pytest.approx(5 / 6)
    assert found["macro_f1"] == pytest.approx((4 / 6 + 2 / 4 + 0) / 3)
    assert found["precision"] == pytest.approx(3 / 5)
    assert found["recall"] == pytest.approx(3 / 6)
    good, bad, mixed = per_label(tally(GOLD, PREDICTED, LABELS))
    assert (good.precision, good.recall, good.f1, good.support, good.predicted) == pytest.approx(
        (2 / 3, 2 / 3, 2 / 3, 3, 3)
    )
    assert (bad.precision, bad.recall, bad.support) == pytest.approx((0.5, 0.5, 2))
    assert (mixed.precision, mixed.recall, mixed.f1, mixed.predicted) == (0, 0, 0, 0)


def test_confusion_has_a_column_for_no_answer():
    found = confusion(GOLD, PREDICTED, LABELS)
    assert found.tolist() == [[2, 1, 0, 0], [1, 1, 0, 0], [0, 0, 0, 1]]
    assert found.sum() == len(GOLD)


@pytest.mark.parametrize("status", ["abstain", "unparsed", "unknown_label", "error"])
def test_whatever_is_not_ok_counts_as_wrong(status):
    found = total([one("1", "good")], [one("1", "good", status=status)])
    assert (found["accuracy"], found["answered"]) == (0, 0)


def test_macro_f1_is_over_the_labels_that_gold_has():
    gold = [one("1", "good"), one("2", "good")]
    assert total(gold, [one("1", "good"), one("2", "good")])["macro_f1"] == 1
    # "bad" is not in gold: it costs "good" its recall, and is no label of its own
    assert total(gold, [one("1", "good"), one("2", "bad")])["macro_f1"] == pytest.approx(2 / 3)


def test_a_label_that_only_a_system_has_is_counted_against_it():
    gold = [one("1", "good", labels=("good", "bad"))]
    predicted = [one("1", "other", labels=("good", "other"))]
    labels = label_set(gold, predicted)
    assert labels == ("good", "bad", "other")
    assert confusion(gold, predicted, labels).tolist() == [[0, 0, 1, 0], [0, 0, 0, 0], [0, 0, 0, 0]]


def test_several_classes_a_text_by_hand():
    gold = [many("1", "good", "bad"), many("2"), many("3", "mixed")]
    predicted = [many("1", "good"), many("2"), many("3", "mixed", "bad")]
    # tp: good, mixed; fn: bad; fp: bad
    found = total(gold, predicted)
    assert found["accuracy"] == pytest.approx(1 / 3)
    assert found["micro_f1"] == pytest.approx(2 * 2 / (2 * 2 + 1 + 1))
    assert found["macro_f1"] == pytest.approx((1 + 0 + 1) / 3)


def test_no_answer_is_wrong_even_where_gold_has_no_label():
    silent = Annotation("2", "text 2", "textcat", LABELS, "error", False)
    assert total([many("2")], [many("2")])["accuracy"] == 1
    assert total([many("2")], [silent])["accuracy"] == 0


TEXT = "whisk eggs with a big spoon in a pan"


def test_entities_need_both_ends_and_the_label():
    gold = [ents("1", TEXT, (6, 10, "DISH"), (18, 27, "TOOL"), (33, 36, "TOOL"))]
    predicted = [ents("1", TEXT, (6, 10, "DISH"), (22, 27, "TOOL"), (33, 36, "DISH"))]
    found = total(gold, predicted)
    assert (found["precision"], found["recall"]) == pytest.approx((1 / 3, 1 / 3))
    # DISH: tp 1, fp 1; TOOL: fp 1, fn 2
    assert found["macro_f1"] == pytest.approx((2 / 3 + 0) / 2)
    assert found["accuracy"] == 0


def test_where_gold_knows_nothing_nobody_is_wrong():
    gold = [replace(ents("1", TEXT, (6, 10, "DISH")), missing=(Span(18, 27, ""),))]
    predicted = [ents("1", TEXT, (6, 10, "DISH"), (22, 27, "TOOL"))]
    assert total(gold, predicted)["micro_f1"] == 1
    assert total([ents("1", TEXT, (6, 10, "DISH"))], predicted)["micro_f1"] < 1


def test_entity_errors_are_sorted_by_kind_and_close():
    gold = [
        ents("1", TEXT, (6, 10, "DISH"), (18, 27, "TOOL"), (33, 36, "TOOL")),
        ents("2", TEXT, (0, 5, "DISH"), (18, 21, "DISH")),
    ]
    predicted = [
        ents("1", TEXT, (6, 10, "TOOL"), (22, 27, "TOOL"), (28, 30, "DISH")),
        ents("2", TEXT, (0, 10, "TOOL")),
    ]
    found = asdict(entity_errors(gold, predicted))
    assert found == {"label": 1, "boundary": 1, "both": 1, "missed": 2, "spurious": 1}
    counts = tally(gold, predicted, ("DISH", "TOOL")).counts.sum(0)
    fp, fn = counts[2:4].sum(), counts[4:6].sum()
    assert fn == found["label"] + found["boundary"] + found["both"] + found["missed"]
    assert fp == found["label"] + found["boundary"] + found["both"] + found["spurious"]


def test_one_wrong_span_is_paired_once():
    gold = [ents("1", TEXT, (0, 10, "DISH"))]
    predicted = [ents("1", TEXT, (0, 5, "DISH"), (6, 10, "DISH"))]
    assert asdict(entity_errors(gold, predicted)) == {
        "label": 0,
        "boundary": 1,
        "both": 0,
        "missed": 0,
        "spurious": 1,
    }


def test_match_refuses_what_cannot_be_compared():
    with pytest.raises(InputError, match="no gold"):
        match([], PREDICTED)
    with pytest.raises(InputError, match="'1' occurs twice"):
        match(GOLD, [one("1", "good"), one("1", "bad")])
    with pytest.raises(InputError, match="Record 1: gold and prediction have different texts"):
        match(GOLD, [one("1", "good", text="something else")])
    with pytest.raises(InputError, match="None of the 1 predictions has an id of gold"):
        match(GOLD, [one("seven", "good")])
    with pytest.raises(InputError, match="gold is for ner"):
        match([ents("1", "text 1")], [one("1", "good")])


def test_calibration_error_by_hand():
    gold = [one(str(i), "good") for i in range(4)]
    sure = [
        one("0", "good", confidence=0.95, kind="logprob"),
        one("1", "bad", confidence=0.95, kind="logprob"),
        one("2", "good", confidence=0.55, kind="logprob"),
        one("3", "good", confidence=0.55, kind="logprob"),
    ]
    found = calibration(gold, sure)
    assert found.ece == pytest.approx(0.5 * abs(0.95 - 0.5) + 0.5 * abs(0.55 - 1.0))
    assert [(b.texts, b.accuracy) for b in found.bins] == [(2, 1.0), (2, 0.5)]


def test_what_a_model_merely_says_is_no_probability():
    gold = [one("0", "good"), one("1", "good")]
    assert calibration(gold, [one("0", "good", confidence=0.9, kind="verbalised")]) is None
    assert calibration(gold, [one("0", "good")]) is None


def test_certainty_of_one_falls_into_the_last_bin():
    found = calibration([one("0", "good")], [one("0", "good", confidence=1.0, kind="votes")])
    assert found.ece == 0
    assert len(found.bins) == 1


def test_scores_of_many_resamples_are_those_of_each():
    counted = tally(GOLD, PREDICTED, LABELS)
    rng = np.random.default_rng(0)
    sums = np.stack([counted.counts[rng.integers(0, 6, 6)].sum(0) for _ in range(5)])
    together = scores(sums)
    for i, row in enumerate(sums):
        assert {name: float(v) for name, v in scores(row).items()} == {
            name: float(v[i]) for name, v in together.items()
        }
