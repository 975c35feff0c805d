"""A teacher that contradicts itself about entities is corrected, or its doubtful tokens are set aside."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest
import spacy

from spacy_distill.curation.curate import curate
from spacy_distill.curation.out_of_fold import clusters_of
from spacy_distill.curation.span_errors import make_span_errors
from spacy_distill.curation.types import Context, Curation
from spacy_distill.docs import annotate_doc, annotations_of, correct_doc, facts_of, make_doc, note
from spacy_distill.errors import ConfigError
from spacy_distill.types import Annotation, Span, Text

LABELS = ("FOOD", "TOOL")
FOODS = ("onions", "rice", "leeks", "butter", "beans", "honey")
TOOLS = ("wok", "pot", "oven", "sieve", "ladle", "grater")


def say(index: int, food: str, tool: str, *labels: str) -> Annotation:
    """One sentence; the two labels are what the teacher says of its food and its tool, "" for nothing."""
    text = f"Please put the {food} into the {tool} now."
    spans = [
        Span(text.index(word), text.index(word) + len(word), label)
        for word, label in ((food, labels[0]), (tool, labels[1]))
        if label
    ]
    return Annotation(f"r{index}", text, "ner", LABELS, "ok", ents=tuple(spans), group=f"g{index}")


def kitchen(count: int = 120, seed: int = 0) -> list[Annotation]:
    chance = random.Random(seed)
    return [say(index, chance.choice(FOODS), chance.choice(TOOLS), *LABELS) for index in range(count)]


def run(given: list[Annotation], **settings: Any) -> Curation:
    return curate(given, {"span_errors": make_span_errors(**settings)}, Context())


def test_a_label_that_all_the_rest_contradicts_is_corrected() -> None:
    given = [*kitchen(), say(200, "rice", "oven", "TOOL", "TOOL")]
    result = run(given)
    (correction,) = result.corrected
    assert correction.before is given[-1]
    assert [span.label for span in correction.after.ents or ()] == ["FOOD", "TOOL"]
    assert result.books.rules[0].corrected == 1
    assert result.books.rules[0].notes == {"entities relabelled": 1}
    assert [item.id for item in result.kept] == [item.id for item in given]


def test_a_forgotten_entity_becomes_unknown_and_not_an_entity() -> None:
    forgotten = say(200, "rice", "oven", "FOOD", "")
    result = run([*kitchen(), forgotten])
    (correction,) = result.corrected
    (unknown,) = correction.after.missing
    assert forgotten.text[unknown.start : unknown.end] == "oven"
    assert correction.after.ents == forgotten.ents


def test_an_entity_where_there_never_is_one_becomes_unknown() -> None:
    text = "Please put the rice into the oven now."
    wrong = replace(say(200, "rice", "oven", *LABELS), ents=(Span(0, 6, "FOOD"), Span(15, 19, "FOOD")))
    assert wrong.text == text
    result = run([*kitchen(), wrong])
    (correction,) = result.corrected
    assert correction.after.ents == (Span(15, 19, "FOOD"),)
    assert Span(0, 6, "FOOD") in correction.after.missing


def test_for_review_they_stay_as_they_are_with_the_reason() -> None:
    relabelled, forgotten = say(200, "rice", "oven", "TOOL", "TOOL"), say(201, "rice", "oven", "FOOD", "")
    given = [*kitchen(), relabelled, forgotten]
    result = run(given, action="review")
    assert result.kept == given
    assert not result.corrected
    assert not result.rejected
    assert [(doubt.annotation, doubt.rule) for doubt in result.review] == [
        (relabelled, "span_errors"),
        (forgotten, "span_errors"),
    ]
    assert [doubt.reason for doubt in result.review] == [
        "the teacher says TOOL of 'rice', a model of its other texts FOOD",
        "the teacher says none of 'oven', a model of its other texts an entity",
    ]
    assert result.books.rules[0].notes == {"doubtful": 2}


def test_dropped_texts_have_the_reason_and_the_rest_stays() -> None:
    text = "Please put the rice into the oven now."
    wrong = replace(say(200, "rice", "oven", *LABELS), ents=(Span(0, 6, "FOOD"), Span(15, 19, "FOOD")))
    assert wrong.text == text
    result = run([*kitchen(), wrong], action="drop")
    assert result.kept == kitchen()
    (rejection,) = result.rejected
    assert rejection.annotation is wrong
    assert rejection.reason.startswith("the teacher says FOOD of 'Please', a model of its other texts none")
    assert result.books.rules[0].notes == {"doubtful": 1}


@pytest.mark.parametrize("action", ["correct", "review", "drop"])
def test_what_people_checked_stays_with_every_action(action: str) -> None:
    wrong = replace(say(200, "rice", "oven", "TOOL", "TOOL"), gold=True)
    given = [*kitchen(), wrong]
    result = run(given, action=action)
    assert result.kept == given
    assert not result.corrected
    assert not result.review


def test_a_consistent_teacher_is_left_alone() -> None:
    given = kitchen()
    result = run(given)
    assert result.kept == given
    assert not result.corrected
    assert not result.rejected


def test_one_long_text_does_not_outvote_the_rest() -> None:
    """Without a limit to its weight, sixty times TOOL would make tools of all the rice elsewhere."""
    sentence = "Please put the rice into the oven now. "
    starts = range(0, 60 * len(sentence), len(sentence))
    ents = tuple(Span(start + at, start + at + 4, "TOOL") for start in starts for at in (15, 29))
    absurd = Annotation("long", sentence * 60, "ner", LABELS, "ok", ents=ents)
    given = [say(i, "rice", "oven", *LABELS) for i in range(40)]
    assert not [correction for correction in run([*given, absurd]).corrected if correction.after.id != "long"]


def test_one_long_text_takes_no_room_for_the_others() -> None:
    given = [replace(one, group=None) for one in kitchen(3)]
    given += [given[0], Annotation("long", "word " * 10_000, "ner", LABELS, "ok", ents=())]
    clusters = clusters_of(given)
    assert (len(set(clusters.tolist())), clusters[3], clusters.nbytes) == (4, clusters[0], 5 * 8)


def test_what_the_teacher_did_not_read_is_no_evidence() -> None:
    """The second half of many texts was never read: its tools are unknown, not none, and are not set aside again."""
    unread = []
    for item in kitchen(80, seed=1):
        start = item.text.index(" into")
        cut = Span(start, len(item.text), "")
        ents = tuple(span for span in item.ents or () if span.end <= start)
        unread.append(replace(item, id=f"u{item.id}", group=f"u{item.group}", ents=ents, missing=(cut,)))
    result = run([*kitchen(20), *unread])
    assert not result.corrected
    assert not result.books.rules[0].notes


def test_a_text_without_an_answer_stays_without_one() -> None:
    """The teacher declined: it did not say that there are no entities."""
    given = kitchen()
    declined = [replace(item, id=f"d{item.id}", status="abstain", ents=None) for item in kitchen(60, seed=2)]
    result = run([*given, *declined])
    assert result.kept == [*given, *declined]
    assert not result.books.rules[0].notes


def test_a_corrected_entity_has_no_score_and_the_text_no_confidence() -> None:
    wrong = say(200, "rice", "oven", "TOOL", "TOOL")
    scored = tuple(replace(span, score=0.9) for span in wrong.ents or ())
    wrong = replace(wrong, ents=scored, confidence=0.9, confidence_kind="logprob")
    (correction,) = run([*kitchen(), wrong]).corrected
    after = correction.after
    assert [span.score for span in after.ents or ()] == [None, 0.9]
    assert (after.confidence, after.confidence_kind) == (None, None)


def test_copies_and_groups_are_judged_by_others() -> None:
    """Ten copies of one error would confirm each other if they were not judged together."""
    copies = [replace(say(200 + i, "rice", "oven", "TOOL", "TOOL"), group="same") for i in range(10)]
    result = run([*kitchen(), *copies])
    assert {correction.after.id for correction in result.corrected} == {copy.id for copy in copies}


@pytest.mark.parametrize("count", [0, 1, 3])
def test_too_few_texts_are_passed_on_and_counted(count: int) -> None:
    given = kitchen(count)
    result = run(given)
    assert result.kept == given
    assert result.books.rules[0].notes == ({"too few texts to judge": count} if count else {})


def test_texts_without_entities_and_empty_ones_pass() -> None:
    empty = [Annotation(f"e{i}", text, "ner", LABELS, "ok", ents=()) for i, text in enumerate(["", " ", "😀 No."])]
    assert run(empty).kept == empty
    assert len(run([*kitchen(), *empty]).kept) == 123


def test_classes_pass_untouched() -> None:
    given = [Annotation(str(i), f"text {i}", "textcat", ("a", "b"), "ok", cats={"a": 1.0, "b": 0.0}) for i in range(9)]
    assert run(given).kept == given


@pytest.mark.parametrize(
    "settings", [{"folds": 1}, {"action": "mend"}, {"min_probability": 1.5}, {"min_probability": ".6"}]
)
def test_settings_out_of_range(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(settings))):
        make_span_errors(**settings)


def test_a_corrected_doc_keeps_the_reply_and_reads_back() -> None:
    nlp = spacy.blank("en")
    before = say(1, "rice", "oven", "TOOL", "TOOL")
    doc = annotate_doc(make_doc(nlp, Text(before.id, before.text, before.group)), before)
    note(doc, "ner", {**(facts_of(doc, "ner") or {}), "raw": "TOOL: rice, oven"})
    before = replace(before, notes={"raw": "TOOL: rice, oven"})
    after = replace(before, ents=(Span(15, 19, "FOOD"),), missing=(Span(29, 33, ""),))
    corrected = correct_doc(doc, after)
    assert annotations_of(corrected) == [replace(after, doubtful=before.ents or ())]
    assert annotations_of(doc) == [before]
    assert (facts_of(corrected, "ner") or {})["raw"] == "TOOL: rice, oven"
    assert [span.label_ for span in corrected.spans["teacher"]] == ["TOOL", "TOOL"]
