"""The sentences claim what the intervals allow, and no more."""

import pytest

from spacy_distill.evaluation.comparison import Interval
from spacy_distill.evaluation.evaluate import Difference, Result
from spacy_distill.evaluation.scores import METRICS, EntityErrors
from spacy_distill.evaluation.verdict import points, verdict


def difference(value, low, high, *, other="teacher", macro=(0.0, -0.1, 0.1)):
    metrics = dict.fromkeys(METRICS, Interval(value, low, high))
    return Difference("student", other, {**metrics, "macro_f1": Interval(*macro)}, 0.9)


def result(name="student", never=(), lacks=None, errors=None, **statuses):
    statuses = statuses or {"ok": 500}
    return Result(name, None, {}, (), 1.0, tuple(never), statuses, None, "", None, None, errors, None, {}, lacks or {})


@pytest.mark.parametrize(
    ("found", "sentence"),
    [
        (
            (-0.008, -0.029, 0.012),
            "The student is not significantly worse than its teacher: −0.8 points, 95 % interval −2.9 to +1.2 (acc",
        ),
        ((0.01, -0.01, 0.03), "is not significantly better than its teacher: +1.0 points"),
        ((-0.05, -0.08, -0.02), "is significantly worse than its teacher: −5.0 points, 95 % interval −8.0 to −2.0"),
        ((0.05, 0.02, 0.08), "is significantly better than its teacher: +5.0 points"),
        ((0.0, 0.0, 0.0), "scores exactly the same as its teacher: 0.0 points, 95 % interval 0.0 to 0.0"),
    ],
)
def test_the_first_sentence_compares_with_the_teacher(found, sentence):
    said = verdict("accuracy", 500, 500, [result()], [difference(*found)])
    assert sentence in said[0]
    assert len(said) == 1


def test_majority_is_called_what_it_is():
    said = verdict("accuracy", 500, 500, [result()], [difference(0.2, 0.1, 0.3, other="majority")])
    assert said[0].startswith("The student is significantly better than always giving the most frequent label: +20.0")


def test_a_loss_on_rare_labels_is_not_hidden_by_accuracy():
    said = verdict("accuracy", 500, 500, [result()], [difference(-0.01, -0.03, 0.01, macro=(-0.2, -0.3, -0.1))])
    assert "not significantly worse" in said[0]
    assert "macro-F1" in said[1]
    assert "significantly worse than its teacher: −20.0 points" in said[1]


def test_silence_and_labels_never_predicted_are_told():
    said = verdict("accuracy", 500, 500, [result(never=["rare"]), result("teacher", ok=490, unparsed=10)], [])
    assert said == (
        "The student never predicts 'rare' on these texts.",
        "The teacher has no usable answer for 10 of 500 texts (10 unparsed): they count as wrong.",
    )


def test_labels_that_a_system_does_not_have_are_told_apart():
    found = [
        result(never=["rare"], lacks={"junk": 3, "odd": 1}),
        result("teacher", lacks={"junk": 1}),
        result("majority"),
    ]
    assert verdict("accuracy", 500, 500, found, []) == (
        "Gold has labels that the student was not trained on: 'junk' (3 texts), 'odd' (1 text); they count as wrong.",
        "The student never predicts 'rare' on these texts.",
        "Gold has labels that were not on offer to the teacher: 'junk' (1 text); it counts as wrong.",
    )
    entities = result(lacks={"TOOL": 2}, errors=EntityErrors(0, 0, 0, 2, 0))
    said = verdict("micro_f1", 500, 500, [entities], [])
    assert said == ("Gold has labels that the student was not trained on: 'TOOL' (2 entities); they count as wrong.",)


def test_too_little_gold_is_told():
    wide = difference(-0.02, -0.12, 0.08)
    assert "These 200 texts cannot tell differences under about 10.0 points." in verdict(
        "accuracy", 200, 200, [result(ok=200)], [wide]
    )
    few = verdict("accuracy", 200, 12, [result(ok=200)], [wide])
    assert few[-1] == "There are only 200 texts in 12 groups: too few for the intervals to be trusted."


def test_points_have_a_true_minus_and_no_negative_zero():
    assert points(-0.0004, True) == "0.0"
    assert points(-0.01) == "−1.0"
    assert points(0.123) == "12.3"
