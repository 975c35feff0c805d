"""A teacher that contradicts itself about classes is doubted: its labels are softened, shown to people, or dropped."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import spacy

from spacy_distill.curation.curate import curate
from spacy_distill.curation.label_errors import make_label_errors
from spacy_distill.curation.types import Context, Curation
from spacy_distill.curation.write import write_curation
from spacy_distill.docs import annotate_doc, make_doc
from spacy_distill.errors import ConfigError
from spacy_distill.types import Annotation, Text

LABELS = ("fruit", "tool", "bird")
WORDS = {
    "fruit": ("pear", "plum", "peach", "quince", "cherry"),
    "tool": ("saw", "hammer", "chisel", "pliers", "rasp"),
    "bird": ("wren", "robin", "heron", "swift", "finch"),
}
PLACES = ("garden", "shed", "market", "village", "valley", "kitchen")


def say(name: str, of: str, label: str, chance: random.Random, **more: Any) -> Annotation:
    one, other = chance.sample(WORDS[of], 2)
    text = f"{name}: the {one} and the {other} of the {chance.choice(PLACES)}"
    cats = {each: float(each == label) for each in LABELS}
    return Annotation(name, text, "textcat", LABELS, "ok", cats=cats, confidence=0.9, confidence_kind="votes", **more)


def consistent(each: int = 40, labels: tuple[str, ...] = LABELS) -> list[Annotation]:
    chance = random.Random(0)
    return [say(f"{label}{index}", label, label, chance) for label in labels for index in range(each)]


def run(given: list[Annotation], **settings: Any) -> Curation:
    return curate(given, {"label_errors": make_label_errors(**settings)}, Context())


def wrong(count: int = 1, **more: Any) -> list[Annotation]:
    """Texts about fruit that the teacher calls tools."""
    chance = random.Random(1)
    return [say(f"wrong{index}", "fruit", "tool", chance, **more) for index in range(count)]


def test_a_contradiction_is_softened_towards_what_the_rest_says() -> None:
    given = [*consistent(), *wrong()]
    result = run(given)
    (correction,) = result.corrected
    assert correction.before is given[-1]
    cats = correction.after.cats or {}
    assert sum(cats.values()) == pytest.approx(1.0)
    assert 0.5 < cats["tool"] < 0.7, "half of it is still what the teacher says"
    assert cats["fruit"] > 2 * cats["bird"]
    assert (correction.after.confidence, correction.after.confidence_kind) == (None, None)
    assert [item.id for item in result.kept] == [item.id for item in given]
    assert result.books.rules[0].notes == {"doubtful": 1}
    assert not result.review


def test_how_much_is_a_setting() -> None:
    given = [*consistent(), *wrong()]
    (all_of_it,) = run(given, mix=1.0).corrected
    (half,) = run(given).corrected
    assert all_of_it.after.label == "fruit"
    assert (half.after.cats or {})["fruit"] == pytest.approx((all_of_it.after.cats or {})["fruit"] / 2)


def test_doubtful_texts_can_be_dropped_with_what_was_said_of_them() -> None:
    given = [*consistent(), *wrong()]
    result = run(given, action="drop")
    (rejection,) = result.rejected
    assert rejection.annotation is given[-1]
    assert rejection.reason.startswith("the teacher says tool; a model of its other texts, fruit 0.")
    assert result.kept == given[:-1]
    assert result.books.rules[0].notes == {"doubtful": 1}


def test_doubtful_texts_can_be_sent_to_people_and_stay(tmp_path: Path) -> None:
    given = [*consistent(), *wrong()]
    result = run(given, action="review")
    assert result.kept == given
    nlp = spacy.blank("en")
    docs = [annotate_doc(make_doc(nlp, Text(item.id, item.text)), item) for item in given]
    write_curation(tmp_path, docs, given, result, task="textcat", sources={})
    (row,) = [json.loads(line) for line in (tmp_path / "review.jsonl").read_text(encoding="utf8").splitlines()]
    assert (row["id"], row["rule"], row["labels"]) == ("wrong0", "label_errors", ["tool"])
    assert json.loads((tmp_path / "curation.json").read_text(encoding="utf8"))["review"] == 1


def test_nobody_is_sent_what_a_later_rule_dropped() -> None:
    rules = {name: make_label_errors(action=name) for name in ("review", "drop")}
    result = curate([*consistent(), *wrong()], rules, Context())
    assert [rejection.annotation.id for rejection in result.rejected] == ["wrong0"]
    assert not result.review


def test_a_consistent_teacher_is_left_alone() -> None:
    given = consistent()
    result = run(given, action="drop")
    assert result.kept == given
    assert not result.books.rules[0].notes


def test_what_people_checked_stays() -> None:
    result = run([*consistent(), *wrong(gold=True)], action="drop")
    assert not result.corrected
    assert not result.rejected


def test_a_text_and_its_copies_do_not_vouch_for_each_other() -> None:
    """All in one fold: the model that judges them has seen none of them."""
    copies = [replace(wrong()[0], id=f"copy{index}") for index in range(8)]
    result = run([*consistent(), *copies])
    assert {correction.after.id for correction in result.corrected} == {copy.id for copy in copies}


def test_a_class_of_few_texts_is_not_judged() -> None:
    """To a model of three texts about birds each of them looks like something else."""
    given = [*consistent(labels=("fruit", "tool")), *consistent(3, labels=("bird",))]
    result = run(given, action="drop")
    assert result.kept == given
    assert result.books.rules[0].notes == {"not judged": 3}


def test_a_rare_class_is_not_swallowed_by_a_frequent_one() -> None:
    given = [*consistent(300, labels=("fruit",)), *consistent(25, labels=("bird",))]
    assert not run(given).corrected


def test_classes_that_do_not_exclude_each_other_are_not_judged() -> None:
    given = [replace(item, exclusive=False) for item in [*consistent(), *wrong()]]
    result = run(given, action="drop")
    assert result.kept == given
    assert result.books.rules[0].notes == {"not judged": len(given)}


def test_too_few_texts_are_left_alone_and_counted() -> None:
    given = wrong(4)
    result = run(given)
    assert result.kept == given
    assert result.books.rules[0].notes == {"too few texts to judge": 4}


def test_entities_and_failures_pass() -> None:
    failed = Annotation("failed", "no reply", "textcat", LABELS, "error")
    given = [*consistent(), failed]
    assert run(given).kept == given
    entities = Annotation("entities", "a pear", "ner", LABELS, "ok", ents=())
    result = run([entities, replace(entities, id="unread", status="error", ents=None)])
    assert len(result.kept) == 2
    assert result.books.rules[0].notes == {"not judged": 1}


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"mix": 1.5}, "mix is 1.5"),
        ({"mix": "half"}, "'half'"),
        ({"mix": 0.0}, "mix is 0.0"),
        ({"action": "burn"}, "'burn'"),
        ({"folds": 1}, "is 1"),
    ],
)
def test_settings_out_of_range_are_named(settings: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        make_label_errors(**settings)
