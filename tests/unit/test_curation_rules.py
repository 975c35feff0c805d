"""Each curation rule alone."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from spacy_distill.curation import rules
from spacy_distill.curation.balance import make_balance
from spacy_distill.curation.duplicates import make_duplicates
from spacy_distill.curation.types import Context, RuleResult
from spacy_distill.errors import ConfigError
from spacy_distill.types import Annotation, Span, Text

LABELS = ("fruit", "tool")
NOTHING = Context()


def textcat(name: str, text: str, label: str = "fruit", confidence: float | None = None, **more) -> Annotation:
    cats = {other: float(other == label) for other in LABELS}
    return Annotation(name, text, "textcat", LABELS, "ok", cats=cats, confidence=confidence, **more)


def ids(result: RuleResult) -> tuple[list[str], list[str]]:
    return [item.id for item in result.kept], [item.id for item, _ in result.dropped]


def test_status_keeps_only_ok_and_counts_each_other_status() -> None:
    bad = [
        replace(textcat(status, "a pear"), status=status, cats=None)
        for status in ("abstain", "unparsed", "unknown_label", "error")
    ]
    result = rules.make_status()([textcat("a", "a plum"), *bad, textcat("blank", " \n")], NOTHING)
    assert ids(result) == (["a"], ["abstain", "unparsed", "unknown_label", "error", "blank"])
    assert result.notes["status abstain"] == 1
    assert result.notes["the text is empty"] == 1


def test_min_confidence_keeps_what_has_none_and_counts_it() -> None:
    given = [textcat("low", "x", confidence=0.4), textcat("at", "y", confidence=0.5), textcat("none", "z")]
    result = rules.make_min_confidence(0.5)(given, NOTHING)
    assert ids(result) == (["at", "none"], ["low"])
    assert result.notes == {"kept without a confidence": 1}


def test_min_confidence_takes_a_labels_own_threshold() -> None:
    given = [textcat("a", "x", "fruit", 0.6), textcat("b", "y", "tool", 0.6)]
    assert ids(rules.make_min_confidence(0.5, {"tool": 0.7})(given, NOTHING)) == (["a"], ["b"])
    assert ids(rules.make_min_confidence(0.7, {"tool": 0.5})(given, NOTHING)) == (["b"], ["a"])


def test_min_confidence_judges_each_entity_by_its_own_label() -> None:
    def ner(name: str, *spans: Span, confidence: float | None = None) -> Annotation:
        return Annotation(name, "pear and saw", "ner", LABELS, "ok", ents=spans, confidence=confidence)

    given = [
        ner("both", Span(0, 4, "fruit", 0.5), Span(9, 12, "tool", 0.9), confidence=0.5),
        ner("tool", Span(0, 4, "fruit", 0.9), Span(9, 12, "tool", 0.6), confidence=0.6),
        ner("unscored", Span(0, 4, "fruit"), confidence=0.3),
        ner("nothing known", Span(0, 4, "fruit")),
    ]
    result = rules.make_min_confidence(0.4, {"tool": 0.8})(given, NOTHING)
    assert ids(result) == (["both", "nothing known"], ["tool", "unscored"])
    assert result.dropped[0][1] == "tool at 9-12 has a score of 0.600, below 0.8"
    assert result.notes == {"kept without a confidence": 1}


def test_min_confidence_makes_unsure_entities_unknown_and_keeps_their_texts() -> None:
    def ner(name: str, *spans: Span, **more) -> Annotation:
        return Annotation(name, "pear and saw", "ner", LABELS, "ok", ents=spans, **more)

    fruit, unsure, tool = Span(0, 4, "fruit", 0.9), Span(0, 4, "fruit", 0.5), Span(9, 12, "tool", 0.6)
    given = [ner("a", fruit, tool, confidence=0.6), ner("b", unsure), ner("c", unsure, gold=True), ner("d", fruit)]
    result = rules.make_min_confidence(0.8, {"tool": 0.5}, "unknown")(given, NOTHING)
    assert ids(result) == (["a", "b", "c", "d"], [])
    assert result.kept[0] is given[0]
    assert (result.kept[1].ents, result.kept[1].missing) == ((), (unsure,))
    assert result.kept[2:] == given[2:]
    assert result.notes == {"entities made unknown": 1}
    (changed,) = rules.make_min_confidence(0.95, None, "unknown")(given[:1], NOTHING).kept
    assert (changed.ents, changed.missing, changed.confidence) == ((), (fruit, tool), None)
    with pytest.raises(ConfigError, match='expected "drop" or "unknown"'):
        rules.make_min_confidence(0.8, None, "drop texts")  # type: ignore[arg-type]


def test_min_confidence_refuses_an_unknown_label_and_names_the_one_meant() -> None:
    with pytest.raises(ConfigError, match="Did you mean 'tool'"):
        rules.make_min_confidence(0.5, {"Tool": 0.7})([textcat("a", "x")], NOTHING)


@pytest.mark.parametrize("threshold", [-0.1, 1.5, ".5"])
def test_min_confidence_refuses_what_is_no_share(threshold: float) -> None:
    with pytest.raises(ConfigError, match="from 0 to 1"):
        rules.make_min_confidence(threshold)


def test_leakage_sees_through_case_space_and_unicode_form() -> None:
    context = Context.of([Text("g", "Ａ ripe\tPEAR"), Text("h", "a saw", group="shed")])
    given = [textcat("same", "a  ripe pear"), textcat("other", "a ripe pea"), textcat("group", "a rake", group="shed")]
    assert ids(rules.make_leakage()(given, context)) == (["other"], ["same", "group"])
    assert ids(rules.make_leakage(groups=False)(given, context)) == (["other", "group"], ["same"])


LONG = "i bought three ripe pears at the market this morning and ate two of them at once"


def test_leakage_finds_what_is_nearly_in_the_gold_and_what_is_near_that() -> None:
    once, twice = LONG.replace("three", "four"), LONG.replace("three", "four").replace("at once", "in one go")
    given = [textcat("copy", LONG.upper()), textcat("near", once), textcat("nearer", twice), textcat("far", "a saw")]
    result = rules.make_leakage()(given, Context.of([Text("g", LONG)]))
    assert ids(result) == (["far"], ["copy", "near", "nearer"])
    assert result.notes == {"the text is in the gold": 1, "the text is nearly one in the gold": 2}


def test_leakage_does_not_take_a_missing_group_for_a_group() -> None:
    assert ids(rules.make_leakage()([textcat("a", "a rake")], Context.of([Text("g", "a pear")]))) == (["a"], [])


@pytest.mark.parametrize("seed", range(20))
def test_every_rule_returns_each_annotation_once_in_order_and_the_same_each_time(seed: int) -> None:
    chance = random.Random(seed)
    given = [
        textcat(
            str(i), chance.choice(["pear", "Pear", "saw", ""]), chance.choice(LABELS), chance.choice([None, 0.3, 0.9])
        )
        for i in range(30)
    ]
    made = [
        rules.make_status(),
        rules.make_min_confidence(0.5),
        rules.make_leakage(),
        make_duplicates(chance.choice([0.8, 1.0]), chance.choice(["majority", "confidence", "drop"])),
        make_balance(chance.choice([1, 3, 100])),
    ]
    context = Context.of([Text("g", "SAW")])
    for rule in made:
        result = rule(list(given), context)
        kept, dropped = ids(result)
        assert sorted([*kept, *dropped], key=int) == [item.id for item in given]
        assert kept == sorted(kept, key=int)
        assert ids(rule(list(given), context)) == (kept, dropped)
        assert all(reason for _, reason in result.dropped)
