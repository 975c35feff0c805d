"""Confidence measured on answers whose figures are known, and what is recommended from it."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from dataclasses import replace

import numpy as np
import pytest

from spacy_distill.curation.rules import make_min_confidence
from spacy_distill.curation.types import Context
from spacy_distill.errors import InputError
from spacy_distill.evaluation.confidence import judge, score
from spacy_distill.evaluation.confidence_curves import draw
from spacy_distill.evaluation.confidence_filter import best_threshold, plan, worth
from spacy_distill.evaluation.confidence_kinds import recommend
from spacy_distill.types import Annotation, Span

LABELS = ("ham", "spam")


def person(number: int, label: str, group: str | None = None) -> Annotation:
    cats = {name: float(name == label) for name in LABELS}
    return Annotation(f"{number}", f"text {number}", "textcat", LABELS, "ok", cats=cats, gold=True, group=group)


def teacher(number: int, label: str, confidence: float | None, kind: str | None = "logprob", **more) -> Annotation:
    cats = {name: float(name == label) for name in LABELS}
    return Annotation(
        f"{number}", f"text {number}", "textcat", LABELS, "ok", cats=cats, confidence=confidence, confidence_kind=kind
    )


def made(
    right: list[bool], confidence: list[float], kind: str = "logprob"
) -> tuple[list[Annotation], list[Annotation]]:
    gold = [person(i, "spam" if i % 3 else "ham") for i in range(len(right))]
    other = {"ham": "spam", "spam": "ham"}
    said = [record.label or "" for record in gold]
    found = [
        teacher(i, said[i] if good else other[said[i]], sure, kind)
        for i, (good, sure) in enumerate(zip(right, confidence, strict=True))
    ]
    return gold, found


def noisy(count: int, errors: float, knows: float, seed: int = 0) -> tuple[list[bool], list[float]]:
    """A teacher wrong so often, whose confidence tells by `knows` standard deviations."""
    rng = np.random.default_rng(seed)
    right = rng.random(count) >= errors
    sure = 1 / (1 + np.exp(-(rng.normal(size=count) + knows * right)))
    return right.tolist(), sure.tolist()


def test_auroc_is_the_share_of_pairs_in_the_right_order() -> None:
    right, sure = noisy(300, 0.3, 1.0)
    sure = [round(value, 1) for value in sure]  # with many ties
    found, _ = score(judge("a", *made(right, sure)), resamples=200)
    assert found.auroc is not None
    good = [value for value, is_right in zip(sure, right, strict=True) if is_right]
    bad = [value for value, is_right in zip(sure, right, strict=True) if not is_right]
    pairs = [(one > other) + 0.5 * (one == other) for one in good for other in bad]
    assert found.auroc.value == pytest.approx(np.mean(pairs))
    assert 0.5 < found.auroc.low < found.auroc.value < found.auroc.high < 1
    assert found.accuracy.value == pytest.approx(np.mean(right))


def test_the_area_under_the_curve_by_hand() -> None:
    """Ours takes coverage as continuous: many copies of few answers come close to the sum."""
    right, sure = [True, False, True, True, False, False], [0.9, 0.9, 0.8, 0.5, 0.5, 0.1]
    copies = 40
    found, _ = score(judge("a", *made(right * copies, sure * copies)), resamples=10)
    # every block of equals in random order: the expected share of errors after k answers
    expected, errors_before, before = [], 0.0, 0
    for value in sorted(set(sure), reverse=True):
        block = [good for good, its in zip(right, sure, strict=True) if its == value]
        size, wrong = len(block) * copies, block.count(False) * copies
        expected += [(errors_before + wrong * k / size) / (before + k) for k in range(1, size + 1)]
        before, errors_before = before + size, errors_before + wrong
    assert found.aurc.value == pytest.approx(np.mean(expected), abs=0.005)
    assert found.curve[-1] == (1.0, pytest.approx(0.5))
    assert [round(coverage, 3) for coverage, _ in found.curve] == [0.333, 0.5, 0.833, 1.0]


def test_a_confidence_without_knowledge_gets_the_overall_errors() -> None:
    right, _ = noisy(200, 0.25, 0.0)
    found, _ = score(judge("a", *made(right, [0.95] * 200)), resamples=50)
    assert found.auroc is not None
    assert found.auroc.value == 0.5
    assert found.aurc.value == pytest.approx(1 - found.accuracy.value)
    assert found.high == 1.0
    assert found.ece == pytest.approx(0.95 - found.accuracy.value)


def test_what_is_judged_and_what_is_left_aside() -> None:
    gold = [person(i, "ham") for i in range(6)]
    found = [
        teacher(0, "ham", 0.9),
        teacher(1, "spam", 0.8),
        teacher(2, "ham", None, None),
        teacher(3, "ham", 0.7, "votes"),
    ]
    found.append(Annotation("4", "text 4", "textcat", LABELS, "unparsed"))
    judged = judge("a", gold, found)
    assert (judged.confidence.tolist(), judged.right.tolist(), judged.labels) == (
        [0.9, 0.8],
        [True, False],
        ("ham", "spam"),
    )
    assert (judged.kind, judged.without_confidence, judged.without_answer, judged.chance) == ("logprob", 2, 2, 0.5)
    with pytest.raises(InputError, match="no answer has a confidence"):
        judge("a", gold, [teacher(0, "ham", None, None)])


def test_entities_are_judged_one_by_one() -> None:
    truth = (Span(0, 3, "A"), Span(4, 6, "B"))
    said = (Span(0, 3, "A", 0.9), Span(4, 6, "A", 0.4), Span(7, 8, "B", None))
    gold = [Annotation("1", "Ada to X.", "ner", ("A", "B"), "ok", ents=truth)]
    found = [Annotation("1", "Ada to X.", "ner", ("A", "B"), "ok", ents=said, confidence=0.4, confidence_kind="votes")]
    judged = judge("a", gold, found)
    assert (judged.confidence.tolist(), judged.right.tolist(), judged.labels) == ([0.9, 0.4], [True, False], ("A", "A"))
    assert (judged.kind, judged.without_confidence, judged.chance) == ("votes", 1, 1.0)


def test_several_classes_are_one_answer() -> None:
    def record(cats: dict[str, float], **more) -> Annotation:
        return Annotation("1", "x", "textcat", LABELS, "ok", exclusive=False, cats=cats, **more)

    judged = judge(
        "a",
        [record({"ham": 1.0, "spam": 1.0})],
        [record({"ham": 0.9, "spam": 0.2}, confidence=0.8, confidence_kind="votes")],
    )
    assert (judged.right.tolist(), judged.labels, judged.chance) == ([False], ("",), 1.0)


def test_groups_are_drawn_whole() -> None:
    gold, _ = made(*noisy(400, 0.3, 1.0))
    copies = [Annotation(**{**_fields(record), "group": f"{i // 20}"}) for i, record in enumerate(gold)]
    # every group is right or wrong as one
    same = [teacher(i, record.label or "", 0.6 + (i // 20) / 100) for i, record in enumerate(copies)]
    for i in range(0, 400, 20):
        if (i // 20) % 3 == 0:
            for j in range(i, i + 20):
                same[j] = teacher(j, "ham" if gold[j].label == "spam" else "spam", same[j].confidence)
    alone = score(judge("a", gold, same), resamples=300)[0].accuracy
    grouped = score(judge("a", copies, same), resamples=300)[0].accuracy
    assert grouped.high - grouped.low > 3 * (alone.high - alone.low)


def _fields(record: Annotation) -> dict:
    return {name: getattr(record, name) for name in record.__dataclass_fields__}


# whether to filter


def test_the_threshold_lies_where_the_rest_is_worth_most() -> None:
    confidence = np.array([0.9, 0.9, 0.8, 0.8, 0.2, 0.1])
    right = np.array([True, True, True, True, False, False])
    assert best_threshold(confidence, right, 0.5) == 0.5
    assert best_threshold(confidence, np.ones(6, dtype=bool), 0.5) == 0.0  # nothing to gain: everything stays
    assert worth(np.array([1.0, 0.5]), np.array([0.25, 0.0]), 0.5).tolist() == [0.25, 0.5]


def test_a_weak_teacher_that_knows_when_it_is_wrong_is_worth_filtering() -> None:
    gold, found = made(*noisy(600, 0.35, 3.0))
    recommended = recommend(gold, {"logprob": found}, resamples=300)
    assert recommended.filter is not None
    assert recommended.filter.helps
    assert recommended.filter.errors_after < 0.12 < 0.3 < recommended.filter.errors_before
    lines = recommended.config()
    assert lines.startswith("[rules.min_confidence]\n@misc")
    rule = make_min_confidence(recommended.filter.threshold, dict(recommended.filter.per_label))
    assert len(rule(found, Context()).kept) == pytest.approx(600 * recommended.filter.kept)  # does what was promised
    assert set(recommended.filter.per_label) <= set(LABELS)
    assert sum(given for given, _ in recommended.filter.labels.values()) == 600


@pytest.mark.parametrize(
    ("errors", "knows", "said"),
    [
        (0.1, 1.0, "Do not filter: the estimated gain"),
        (0.02, 3.0, "of 300 answers are wrong"),
        (0.3, 0.0, "that of a coin"),
    ],
)
def test_mostly_filtering_would_not_help(errors: float, knows: float, said: str) -> None:
    gold, found = made(*noisy(300, errors, knows, seed=2))
    recommended = recommend(gold, {"a": found}, resamples=300)
    assert recommended.config() == ""
    assert said in " ".join(recommended.said)


def test_what_a_filter_would_gain_is_one_figure_with_its_ends() -> None:
    gold, found = made(*noisy(300, 0.1, 1.0, seed=2))
    (said,) = (sentence for sentence in recommend(gold, {"a": found}, resamples=300).said if "gain" in sentence)
    number = r"[+−]\d+\.\d"
    assert re.fullmatch(
        r"Do not filter: the estimated gain for the student, counted in clean examples and measured on held-out"
        rf" answers, {number} % \({number} to {number}\), is too small: we advise it only from \+50 % on, with the"
        r" whole interval above 0\. Train on all of them, with soft labels\.",
        said,
    )


@pytest.mark.parametrize("knows", [0.0, 5.0])
def test_few_texts_are_too_few_to_tell(knows: float) -> None:
    gold, found = made(*noisy(29, 0.4, knows))
    recommended = recommend(gold, {"a": found}, resamples=300)
    assert (recommended.best, recommended.filter, recommended.config()) == (None, None, "")
    assert recommended.said[-1].startswith("a: answers to only 29 texts, or groups of texts: too few to tell")
    assert "Filtering" not in " ".join(recommended.said)
    gold, found = made(*noisy(30, 0.4, knows))
    more = recommend(gold, {"a": found}, resamples=300)
    assert "too few" not in " ".join(more.said)


def test_a_kind_with_few_answers_does_not_silence_another() -> None:
    gold, found = made(*noisy(400, 0.25, 1.5))
    recommended = recommend(gold, {"few": found[:20], "many": found}, resamples=300)
    assert recommended.best == "many"
    assert any(sentence.startswith("few: answers to only 20 texts") for sentence in recommended.said)
    many = [replace(record, group=f"{i % 12}") for i, record in enumerate(gold)]
    assert "a: answers to only 12 texts, or groups" in recommend(many, {"a": found}, resamples=20).said[-1]


def test_gold_labels_that_the_teacher_was_not_offered_are_named() -> None:
    gold, found = made(*noisy(60, 0.25, 1.5))
    names = (*LABELS, "spamm")
    typos = [replace(record, labels=names, cats={"spamm": 1.0}) if i < 3 else record for i, record in enumerate(gold)]
    said = "a: gold has labels that were not on offer: 'spamm' (3). What the teacher says there counts as wrong."
    assert said in recommend(typos, {"a": found}, resamples=20).said
    assert not any("on offer" in sentence for sentence in recommend(gold, {"a": found}, resamples=20).said)


def test_luck_in_a_small_sample_is_no_gain() -> None:
    """A confidence that knows nothing: the best threshold looks good on the answers it was chosen on, and nowhere
    else."""
    helps = 0
    for seed in range(20):
        gold, found = made(*noisy(60, 0.35, 0.0, seed))
        helps += plan(judge("a", gold, found), resamples=100).helps
    assert helps <= 1


def test_a_label_has_its_own_threshold_where_there_is_enough_to_say() -> None:
    rng = np.random.default_rng(1)
    right, sure = [], []
    for i in range(900):  # of what it calls spam (2 of 3) half is wrong, and it knows; of ham nothing is
        spam = bool(i % 3)
        good = not spam or rng.random() > 0.5
        right.append(bool(good))
        sure.append(float(rng.uniform(0.7, 1.0) if good and spam else rng.uniform(0.3, 0.6)))
    gold = [person(i, "spam" if good and i % 3 else "ham") for i, good in enumerate(right)]
    found = [teacher(i, "spam" if i % 3 else "ham", sure[i]) for i in range(900)]
    planned = plan(judge("a", gold, found), resamples=100)
    assert set(planned.per_label) == {"spam"}
    assert 0.6 <= planned.per_label["spam"] <= 0.7


# which kind


def test_the_cheapest_of_those_that_are_not_worse_is_recommended() -> None:
    right, sure = noisy(400, 0.25, 1.5)
    gold, logprob = made(right, sure)
    votes = [
        teacher(i, record.label or "", round(value, 1), "votes")
        for i, (record, value) in enumerate(zip(logprob, sure, strict=True))
    ]
    stated = [teacher(i, record.label or "", 0.95, "verbalised") for i, record in enumerate(logprob)]
    recommended = recommend(gold, {"v": votes, "s": stated, "l": logprob}, resamples=300)
    assert recommended.best == "l"
    high = r"s: 100 % of the answers have a confidence of 0\.9 or more; of all answers \d+\.\d % are right\."
    assert any(re.fullmatch(high, sentence) for sentence in recommended.said)
    blind = [teacher(i, record.label or "", 0.5 + 0.001 * (i % 7)) for i, record in enumerate(logprob)]
    assert recommend(gold, {"v": votes, "l": blind}, resamples=300).best == "v"  # cheap, but knows nothing


def test_the_picture_is_whole_and_escaped() -> None:
    gold, found = made(*noisy(100, 0.3, 1.0))
    drawn = draw(
        [score(judge("<b>&", gold, found), resamples=10)[0], score(judge("two", gold, found), resamples=10)[0]]
    )
    root = ET.fromstring(drawn)
    lines = [element for element in root.iter() if element.tag.endswith("polyline")]
    assert len(lines) == 2
    for line in lines:
        for pair in line.attrib["points"].split():
            x, y = map(float, pair.split(","))
            assert 0 <= x <= 720
            assert 40 <= y <= 345
    assert "<b>" not in drawn


def test_the_lowest_aurc_is_not_claimed_where_another_is_lower() -> None:
    gold, found = made(*noisy(200, 0.2, 2.0))
    coin = [replace(record, confidence=0.5) for record in found]
    flawless = [replace(record, confidence=0.9, confidence_kind="logprob") for record in gold]
    said = "Use a (logprob): the lowest mean share of errors (AURC)"
    assert f"{said}." in recommend(gold, {"a": found, "coin": coin}, resamples=100).said
    lower = f"{said}, of those that tell right answers from wrong ones."
    assert lower in recommend(gold, {"a": found, "flawless": flawless}, resamples=100).said


def test_everything_right_or_one_value_only_can_be_drawn_and_said() -> None:
    gold, found = made([True] * 30, [0.9] * 30)
    recommended = recommend(gold, {"a": found}, resamples=20)
    assert recommended.best is None
    assert recommended.kinds[0].auroc is None
    assert "nothing can be said" in recommended.said[-1]
    assert ET.fromstring(draw(recommended.kinds)) is not None
    assert json.dumps(recommended.kinds[0].curve) == "[[1.0, 0.0]]"
