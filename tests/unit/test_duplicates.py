"""The rule `duplicates`: one text of a cluster stays, and its label is settled."""

from __future__ import annotations

import pytest

from spacy_distill.curation.duplicates import make_duplicates
from spacy_distill.curation.types import Context, RuleResult
from spacy_distill.errors import ConfigError
from spacy_distill.types import Annotation, Span

LABELS = ("fruit", "tool")
LONG = "he keeps an old pear tree behind the shed where his father used to mend rakes"
NEARLY = LONG.replace("old", "ancient")


def textcat(name: str, text: str, label: str = "fruit", confidence: float | None = None, **more) -> Annotation:
    cats = {other: float(other == label) for other in LABELS}
    return Annotation(name, text, "textcat", LABELS, "ok", cats=cats, confidence=confidence, **more)


def ids(result: RuleResult) -> tuple[list[str], list[str]]:
    return [item.id for item in result.kept], [item.id for item, _ in result.dropped]


def run(given: list[Annotation], *settings) -> RuleResult:
    return make_duplicates(*settings)(given, Context())


VOTES = [textcat("a", LONG), textcat("b", NEARLY), textcat("c", LONG.upper(), "tool", 0.9), textcat("d", "plum")]


@pytest.mark.parametrize(("resolve", "kept"), [("majority", ["a", "d"]), ("confidence", ["c", "d"]), ("drop", ["d"])])
def test_labels_that_differ_are_settled(resolve: str, kept: list[str]) -> None:
    result = run(VOTES, 0.8, resolve)
    assert ids(result)[0] == kept
    assert result.notes == {"clusters": 1, "clusters in conflict": 1}


def test_even_votes_lose_all_whatever_the_order() -> None:
    even = [VOTES[0], VOTES[2]]
    assert ids(run(even))[0] == ids(run(even[::-1]))[0] == []


def test_a_person_outranks_teachers() -> None:
    person = textcat("p", NEARLY, "tool", gold=True)
    result = run([*VOTES[:2], person])
    assert ids(result) == (["p"], ["a", "b"])
    assert [reason for _, reason in result.dropped] == [
        "a person decided otherwise on nearly the same text (p)",
        "a person decided otherwise on the same text (p)",
    ]
    people = [person, textcat("q", LONG, "tool", gold=True), textcat("r", LONG, "fruit", gold=True)]
    reasons = {item.id: reason for item, reason in run([*VOTES[:2], *people]).dropped}
    assert reasons["r"] == "majority of 3 says otherwise than fruit"
    assert reasons["a"] == "a person decided otherwise on nearly the same text (p)"
    sure = textcat("sure", LONG, "tool", 1.0)
    assert ids(run([sure, person])) == (["p"], ["sure"])


def test_the_most_confident_stays_else_the_first() -> None:
    given = [textcat("a", LONG), textcat("b", NEARLY, confidence=0.2), textcat("c", LONG, confidence=0.2)]
    result = run(given)
    assert ids(result) == (["b"], ["a", "c"])
    assert [reason for _, reason in result.dropped] == ["nearly b", "nearly b"]


def test_a_threshold_of_one_is_for_copies_alone() -> None:
    given = [textcat("a", LONG), textcat("b", NEARLY), textcat("c", f" {LONG.upper()}\n")]
    result = run(given, 1.0)
    assert ids(result) == (["a", "b"], ["c"])
    assert result.dropped[0][1] == "a copy of a"


@pytest.mark.parametrize("threshold", [0.4, 1.1, ".8"])
def test_a_threshold_out_of_range(threshold: float) -> None:
    with pytest.raises(ConfigError, match=r"from 0\.5 to 1"):
        make_duplicates(threshold)


def ner(name: str, text: str, *spans: tuple[int, int, str]) -> Annotation:
    return Annotation(name, text, "ner", LABELS, "ok", ents=tuple(Span(*span) for span in spans))


def test_entities_are_the_same_where_their_words_are() -> None:
    same = [ner("a", "a  Pear", (3, 7, "fruit")), ner("b", "A pear", (2, 6, "fruit"))]
    assert ids(run(same)) == (["a"], ["b"])
    assert ids(run([same[0], ner("c", "a pear")])) == ([], ["a", "c"])


def test_a_sentence_with_another_entity_in_it_is_another_example() -> None:
    given = [ner("a", LONG, (16, 20, "fruit")), ner("b", LONG.replace("pear", "plum"), (16, 20, "fruit"))]
    assert ids(run(given)) == (["a", "b"], [])
