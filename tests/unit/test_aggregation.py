"""Several teachers made one: votes, absences, gold, Dawid and Skene, boundaries, files."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import spacy
from sklearn.metrics import cohen_kappa_score

from spacy_distill.corpus.manifest import models_of
from spacy_distill.curation.aggregation import Aggregation, aggregate
from spacy_distill.curation.aggregation_files import aggregate_files
from spacy_distill.curation.aggregation_votes import NO_VOTE, dawid_skene, shares
from spacy_distill.curation.agreement import cohens_kappa, fleiss_kappa
from spacy_distill.docs import annotate_doc, annotations_of, make_doc, read_docs, write_docs
from spacy_distill.errors import ConfigError, InputError
from spacy_distill.types import Annotation, Span, Text

LABELS = ("tea", "milk", "rum")
TEXT = "Ada Lovelace met Mr Babbage in the old New York Library today."


def say(number: int, *labels: str, exclusive: bool = True, gold: bool = False) -> Annotation:
    """ "" or a status in the place of labels is a failure."""
    made = Annotation(f"r{number}", f"text {number}", "textcat", LABELS, "ok", exclusive=exclusive, gold=gold)
    if labels and labels[0] in ("abstain", "unparsed", "error"):
        return replace(made, status=labels[0])
    return replace(made, cats={label: float(label in labels) for label in LABELS})


def find(*quotes: tuple[str, str], missing: tuple[str, ...] = (), text: str = TEXT) -> Annotation:
    spans = [Span(text.index(quote), text.index(quote) + len(quote), label) for quote, label in quotes]
    unknown = [Span(text.index(quote), text.index(quote) + len(quote), "") for quote in missing]
    return Annotation("r0", text, "ner", ("PER", "LOC", "ORG"), "ok", ents=tuple(spans), missing=tuple(unknown))


def one(*said: Annotation, **settings: object) -> Annotation:
    """The result on the only text."""
    found = aggregate({f"t{number}": [record] for number, record in enumerate(said)}, **settings)  # type: ignore[arg-type]
    (result,) = found.annotations
    return result


def quotes(result: Annotation) -> list[tuple[str, str, float]]:
    return [(TEXT[s.start : s.end], s.label, round(s.score or 0.0, 3)) for s in result.ents or ()]


def unknown(result: Annotation) -> list[str]:
    return [TEXT[span.start : span.end] for span in result.missing]


def test_shares_of_the_votes_are_soft_labels() -> None:
    result = one(say(0, "tea"), say(0, "milk"), say(0, "tea"), say(0, "tea"))
    assert result.cats == {"tea": 0.75, "milk": 0.25, "rum": 0.0}
    assert (result.status, result.label, result.confidence, result.confidence_kind) == ("ok", "tea", 0.75, "votes")
    assert [source["said"] for source in result.provenance["sources"]] == [["tea"], ["milk"], ["tea"], ["tea"]]


@pytest.mark.parametrize("method", ["majority", "weighted", "dawid-skene"])
@pytest.mark.parametrize("failed", ["abstain", "unparsed", "error"])
def test_a_failure_is_no_vote(failed: str, method: str) -> None:
    others = [[say(number, "tea") for number in range(4)] for _ in range(3)]
    found = aggregate({"a": others[0], "b": others[1], "c": [say(number, failed) for number in range(4)]}, method)  # type: ignore[arg-type]
    assert all(result.label == "tea" and (result.confidence or 0) > 0.9 for result in found.annotations)
    assert (found.teachers[2].votes, found.teachers[2].statuses) == (0, {failed: 4})
    assert found.teachers[2].overruled == 0


def test_where_all_fail_the_text_is_kept_with_the_status_of_most() -> None:
    result = one(say(0, "unparsed"), say(0, "abstain"), say(0, "abstain"))
    assert (result.status, result.cats, result.confidence) == ("abstain", None, None)


def test_several_classes_are_each_voted_on() -> None:
    said = [("tea", "milk"), ("tea",), (), ("abstain",)]
    result = one(*(say(0, *labels, exclusive=False) for labels in said))
    assert result.cats == pytest.approx({"tea": 2 / 3, "milk": 1 / 3, "rum": 0.0})
    assert result.positive() == ("tea",)
    assert result.confidence == pytest.approx(2 / 3)


def test_weights_decide() -> None:
    said = say(0, "tea"), say(0, "milk"), say(0, "milk")
    result = one(*said, method="weighted", weights=[3.0, 1.0, 1.0])
    assert result.cats == pytest.approx({"tea": 0.6, "milk": 0.4, "rum": 0.0})
    assert one(*said).label == "milk"


def test_what_people_checked_is_not_outvoted() -> None:
    for method in ("majority", "weighted", "dawid-skene"):
        result = one(say(0, "tea"), say(0, "tea"), say(0, "milk", gold=True), method=method)
        assert (result.label, result.confidence, result.gold) == ("milk", 1.0, True)
    contested = one(say(0, "tea", gold=True), say(0, "milk", gold=True))
    assert (contested.confidence, contested.gold) == (0.5, False)


def crowd(seed: int, accuracies: list[float], count: int = 600) -> tuple[list[int], dict[str, list[Annotation]]]:
    rng = np.random.default_rng(seed)
    truth = rng.choice(3, size=count, p=[0.6, 0.3, 0.1])
    sources = {}
    for number, accuracy in enumerate(accuracies):
        wrong = (truth + rng.integers(1, 3, size=count)) % 3
        said = np.where(rng.random(count) < accuracy, truth, wrong)
        sources[f"t{number}"] = [say(i, LABELS[label]) for i, label in enumerate(said)]
    return truth.tolist(), sources


def accuracy(found: Aggregation, truth: list[int]) -> float:
    return float(np.mean([r.label == LABELS[t] for r, t in zip(found.annotations, truth, strict=True)]))


@pytest.mark.parametrize("method", ["majority", "weighted", "dawid-skene"])
def test_what_people_decided_on_different_texts_is_joined(method: str) -> None:
    people = {name: [say(number, "tea", gold=True)] for number, name in enumerate("abc")}
    found = aggregate(people, method)  # type: ignore[arg-type]
    assert [(result.id, result.label, result.gold) for result in found.annotations] == [
        (f"r{number}", "tea", True) for number in range(3)
    ]
    assert (found.counts["texts"], found.counts["in_all_sources"], found.counts["one_vote"]) == (3, 0, 3)
    with pytest.raises(InputError, match="No two of a, b, c, d have an id in common"):
        aggregate({**people, "d": [say(7, "tea", gold=True), say(8, "tea")]}, method)  # type: ignore[arg-type]


def test_the_order_of_the_labels_says_nothing() -> None:
    said = [say(0, "tea", "milk", exclusive=False), say(0, "milk", "tea", exclusive=False)]
    said[1] = replace(said[1], labels=LABELS[::-1])
    other = replace(say(1, "rum", exclusive=False), labels=LABELS[::-1])
    found = aggregate({"a": said[:1], "b": [said[1], other]})
    assert (found.counts["unanimous"], found.counts["disputed"]) == (1, 0)
    assert [teacher.overruled for teacher in found.teachers] == [0, 0]
    assert [result.labels for result in found.annotations] == [LABELS, LABELS]


def test_what_people_did_not_check_stays_as_the_only_teacher_said_it() -> None:
    soft = {"tea": 0.6, "milk": 0.3, "rum": 0.1}
    unsure = [replace(say(n, "tea"), cats=soft, confidence=0.6, confidence_kind="logprob") for n in range(2)]
    pool, people = [*unsure, say(2, "unparsed")], [say(0, "milk", gold=True)]
    found = aggregate({"pool": pool, "people": people, "later": [say(9, "rum", gold=True)]}).annotations
    assert [(result.label, result.gold, result.status) for result in found] == [
        ("milk", True, "ok"),
        ("tea", False, "ok"),
        (None, False, "unparsed"),
        ("rum", True, "ok"),
    ]
    assert (found[1].cats, found[1].confidence, found[1].confidence_kind) == (soft, 0.6, "logprob")
    assert (found[0].confidence, found[0].confidence_kind) == (None, None)
    voted = aggregate({"pool": pool, "other": pool[2:], "people": people}).annotations
    assert (voted[1].confidence, voted[1].confidence_kind) == (1.0, "votes")


def test_what_corrections_carry_along_unchecked_is_no_second_vote() -> None:
    soft = {"tea": 0.6, "milk": 0.3, "rum": 0.1}
    pool = [replace(say(n, "tea"), cats=soft, confidence=0.6, confidence_kind="logprob") for n in range(3)]
    monday, tuesday = [say(0, "milk", gold=True), *pool[1:]], [pool[0], say(1, "tea", gold=True), pool[2]]
    for sources in ({"pool": pool, "people": monday}, {"people": monday, "pool": pool}):
        found = aggregate(sources)
        assert [result.label for result in found.annotations] == ["milk", "tea", "tea"]
        assert [(result.cats, result.confidence) for result in found.annotations[1:]] == [(soft, 0.6)] * 2
        assert {teacher.name: teacher.votes for teacher in found.teachers} == {"pool": 3, "people": 1}
    found = aggregate({"monday": monday, "tuesday": tuesday})
    assert [result.id for result in found.annotations] == ["r0", "r1", "r2"]
    alone = {result.id: result for result in found.annotations}
    assert [(alone[name].label, alone[name].gold) for name in ("r0", "r1")] == [("milk", True), ("tea", True)]
    assert (alone["r2"].cats, alone["r2"].gold) == (soft, False)
    against = [say(n, "milk") for n in range(3)]
    contested = aggregate({"pool": pool, "other": against, "people": monday}).annotations
    assert (contested[1].confidence, contested[2].confidence) == (0.5, 0.5)


def test_the_models_behind_an_aggregation_are_known_through_the_next(tmp_path: Path) -> None:
    teachers = {
        name: [replace(say(n, "tea"), provenance={"model": name}) for n in range(3)] for name in ("big", "small")
    }
    pool = aggregate(teachers).annotations
    people = [say(0, "milk", gold=True)]
    files = [save(tmp_path / "pool.spacy", *pool), save(tmp_path / "people.spacy", *people)]
    aggregate_files(files, tmp_path / "merged.spacy")
    merged = [
        each for doc in read_docs(tmp_path / "merged.spacy", spacy.blank("en").vocab) for each in annotations_of(doc)
    ]
    assert models_of(pool) == {"big": 3, "small": 3}
    assert models_of(merged) == {"big": 2, "small": 2}


def test_entities_of_the_only_teacher_stay_as_it_said_them(tmp_path: Path) -> None:
    ada, library = (replace(find((quote, "PER")), id=quote) for quote in ("Ada Lovelace", "Library"))
    span = replace((ada.ents or ())[0], score=0.7)
    doubtful = find(("Babbage", "PER"), ("New York", "LOC")).ents or ()
    ada = replace(ada, ents=(span,), missing=doubtful[:1], doubtful=doubtful[1:], confidence=0.7)
    people = replace(library, gold=True)
    aggregate_files(
        [save(tmp_path / "pool.spacy", ada, library), save(tmp_path / "people.spacy", people)], tmp_path / "all.spacy"
    )
    back, checked = (annotations_of(doc)[0] for doc in read_docs(tmp_path / "all.spacy", spacy.blank("en").vocab))
    assert (back.ents, unknown(back), back.doubtful, back.confidence) == ((span,), ["Babbage"], doubtful[1:], 0.7)
    assert (checked.ents, checked.gold) == (people.ents, True)


def test_the_model_finds_out_who_is_good() -> None:
    given = [0.95, 0.6, 0.5, 0.45, 0.45]
    truth, sources = crowd(0, given)
    majority, weighted = aggregate(sources), aggregate(sources, "weighted")
    model = aggregate(sources, "dawid-skene")
    assert accuracy(majority, truth) < accuracy(weighted, truth) < accuracy(model, truth)
    assert accuracy(model, truth) > 0.93
    assert [teacher.accuracy for teacher in model.teachers] == pytest.approx(given, abs=0.06)
    changed = sum(
        list((before.cats or {}).values()).count(before.confidence) == 1 and before.label != after.label
        for before, after in zip(majority.annotations, model.annotations, strict=True)
    )
    assert model.counts["against_majority"] == changed > 0
    sure = [result.confidence for result in model.annotations]
    assert np.mean(sure) == pytest.approx(accuracy(model, truth), abs=0.03)


def test_the_model_by_hand() -> None:
    """The probabilities are a fixed point of Bayes' rule with the matrices that they imply, counted the slow way."""
    votes = np.random.default_rng(1).integers(-1, 2, size=(60, 4))
    truth = dawid_skene(votes, 2).probabilities
    assert not truth[(votes == NO_VOTE).all(1)].any()
    prior = (truth.sum(0) + 0.5) / (truth.sum() + 1.0)
    for row, expected in zip(votes, truth, strict=True):
        scores = prior.copy()
        for teacher, label in enumerate(row):
            if label != NO_VOTE:
                counts = np.array([[truth[votes[:, teacher] == said, t].sum() for said in (0, 1)] for t in (0, 1)])
                right = (np.trace(counts) + 1.0) / (counts.sum() + 2.0)
                counts += np.array([[right, 1 - right], [1 - right, right]])
                scores *= counts[:, label] / counts.sum(1)
        if (row != NO_VOTE).any():
            assert scores / scores.sum() == pytest.approx(expected, abs=0.01)


def test_a_table_without_rows() -> None:
    empty = np.empty((0, 3), dtype=np.int64)
    assert shares(empty, 2, np.ones(3)).shape == dawid_skene(empty, 2).probabilities.shape == (0, 2)


def test_kappa_as_published() -> None:
    """The ten subjects and fourteen raters of the example in Wikipedia's "Fleiss' kappa": 0.210."""
    counts = [(0, 0, 0, 0, 14), (0, 2, 6, 4, 2), (0, 0, 3, 5, 6), (0, 3, 9, 2, 0), (2, 2, 8, 1, 1)]
    counts += [(7, 7, 0, 0, 0), (3, 2, 6, 3, 0), (2, 5, 3, 2, 2), (6, 5, 2, 1, 0), (0, 2, 2, 3, 7)]
    votes = np.array([[label for label, count in enumerate(row) for _ in range(count)] for row in counts])
    assert fleiss_kappa(votes, 5) == pytest.approx(0.210, abs=5e-4)
    padded = np.concatenate([votes, np.full_like(votes, NO_VOTE)], axis=1)
    assert fleiss_kappa(padded, 5) == pytest.approx(0.210, abs=5e-4)


def test_kappa_where_there_is_nothing_to_compare() -> None:
    same = np.zeros((5, 2), dtype=np.int64)
    apart = np.array([[0, NO_VOTE], [NO_VOTE, 1]])
    assert [cohens_kappa(same), cohens_kappa(apart), fleiss_kappa(same, 2), fleiss_kappa(apart, 2)] == [None] * 4


def test_agreement_leaves_absent_votes_out() -> None:
    a = [say(i, label) for i, label in enumerate(["tea", "milk", "tea", "rum", "abstain", "tea"])]
    b = [say(i, label) for i, label in enumerate(["tea", "milk", "milk", "rum", "tea", "error"])]
    found = aggregate({"a": a, "b": b})
    assert found.agreement is not None
    assert found.agreement.pairs[0, 1] == pytest.approx(cohen_kappa_score([0, 1, 0, 2], [0, 1, 1, 2]))
    assert found.agreement.labels["rum"] == 1.0
    assert found.counts["unanimous"] == 3
    assert (found.counts["disputed"], found.counts["one_vote"], found.counts["even"]) == (1, 2, 1)


def test_texts_that_not_all_have_are_counted() -> None:
    found = aggregate({"a": [say(0, "tea"), say(1, "tea")], "b": [say(1, "milk"), say(2, "rum"), say(3, "error")]})
    assert [result.id for result in found.annotations] == ["r0", "r1", "r2", "r3"]
    assert [teacher.absent for teacher in found.teachers] == [2, 1]
    counts = found.counts
    assert (counts["texts"], counts["in_all_sources"], counts["without_a_vote"]) == (4, 1, 1)
    assert counts["texts"] == sum(counts[name] for name in ("unanimous", "disputed", "one_vote", "without_a_vote"))


# Entities


def test_a_vote_for_each_span() -> None:
    result = one(
        find(("Ada Lovelace", "PER"), ("Babbage", "PER")),
        find(("Ada Lovelace", "PER"), ("New York Library", "LOC")),
        find(("Ada Lovelace", "PER"), ("Babbage", "PER")),
    )
    assert quotes(result) == [("Ada Lovelace", "PER", 1.0), ("Babbage", "PER", 0.667)]
    assert unknown(result) == ["New York Library"]
    assert result.confidence == pytest.approx(2 / 3)


def f1(one: str, other: str) -> float:
    """Of the characters of a quote that stands in another."""
    return 2 * len(one) / (len(one) + len(other))


def test_the_boundary_with_most_votes_wins_and_the_others_support_it_as_far_as_they_overlap() -> None:
    wider = f1("Babbage", "Mr Babbage")
    result = one(find(("Mr Babbage", "PER")), find(("Babbage", "PER")), find(("Babbage", "PER")), find())
    assert quotes(result) == [("Babbage", "PER", pytest.approx((2 + wider) / 4, abs=1e-3))]
    assert result.confidence == pytest.approx((2 + wider) / 4)
    assert not result.missing
    even = one(find(("Mr Babbage", "PER")), find(("Babbage", "PER")))
    assert quotes(even) == [("Mr Babbage", "PER", pytest.approx((1 + wider) / 2, abs=1e-3))]
    weighted = one(
        *(find((quote, "PER")) for quote in ("Mr Babbage", "Babbage", "Babbage")), method="weighted", weights=[5, 1, 1]
    )
    assert quotes(weighted) == [("Mr Babbage", "PER", pytest.approx((5 + 2 * wider) / 7, abs=1e-3))]


def test_of_boundaries_with_as_many_votes_the_one_most_like_the_others_wins() -> None:
    """Not the longest; and all three naming something is not all three agreeing."""
    said = "New York Library today", "York", "New York Library"
    expected = (1 + f1(said[2], said[0]) + f1("York", said[2])) / 3
    for order in (said, said[::-1]):
        result = one(*(find((quote, "LOC")) for quote in order))
        assert quotes(result) == [("New York Library", "LOC", pytest.approx(expected, abs=1e-3))]
    model = one(*(find((quote, "LOC")) for quote in said), method="dawid-skene")
    assert quotes(model)[0][:2] == ("New York Library", "LOC")
    assert quotes(model)[0][2] <= round(expected, 3)
    apart = one(*(find((quote, "LOC")) for quote in ("New York", "New", "York")))
    assert quotes(apart) == [("New York", "LOC", pytest.approx((1 + f1("New", "New York") + 8 / 12) / 3, abs=1e-3))]


def test_boundaries_that_hardly_overlap_leave_the_stretch_unknown() -> None:
    text = "the old New York Library"
    result = one(find((text, "LOC")), find(("the", "LOC")), find(("Library", "LOC")), find(), find())
    assert (quotes(result), unknown(result)) == ([], [text])


def test_people_who_draw_other_boundaries_have_not_checked_it() -> None:
    first, second = find(("Mr Babbage", "PER")), find(("Babbage", "PER"))
    assert one(replace(first, gold=True), replace(first, gold=True)).gold
    assert not one(replace(first, gold=True), replace(second, gold=True)).gold


def test_one_span_of_one_and_two_of_another() -> None:
    apart = find(("New York", "LOC"), ("Library", "LOC"))
    result = one(find(("New York Library", "LOC")), apart, apart)
    shares = [(2 + f1(quote, "New York Library")) / 3 for quote in ("New York", "Library")]
    expected = [pytest.approx(share, abs=1e-3) for share in shares]
    assert quotes(result) == [("New York", "LOC", expected[0]), ("Library", "LOC", expected[1])]


def test_labels_that_contradict_each_other() -> None:
    org, loc = find(("New York Library", "ORG")), find(("New York Library", "LOC"))
    even = one(org, loc)
    assert (quotes(even), unknown(even)) == ([], ["New York Library"])
    assert quotes(one(org, loc, org)) == [("New York Library", "ORG", 0.667)]
    wider = one(find(("old New York Library", "ORG")), find(("old New York Library", "ORG")), loc)
    assert quotes(wider) == [("old New York Library", "ORG", 0.667)]


def test_a_teacher_that_did_not_read_a_stretch_has_no_vote_on_it() -> None:
    unread = find(("Ada Lovelace", "PER"), missing=("New York Library today",))
    result = one(find(("New York Library", "LOC")), find(("New York Library", "LOC")), unread)
    assert quotes(result)[-1] == ("New York Library", "LOC", 1.0)
    assert unknown(result) == ["Ada Lovelace"]
    nobody = one(find(missing=("York Library today",)), find(missing=("New York Library",)))
    assert unknown(nobody) == ["York Library"]


def test_entities_by_the_model() -> None:
    """Three good teachers, and three that invent: the inventions are told apart, though half of all agree on some."""
    rng = np.random.default_rng(0)
    words = [f"{letter}word" for letter in "abcdefghijkl"]
    text = " ".join(words)
    true = {number: rng.choice(12, size=3, replace=False) for number in range(150)}
    sources: dict[str, list[Annotation]] = {}
    for teacher in range(6):
        records = []
        for number, right in true.items():
            keep, invent = (0.95, 0.02) if teacher < 3 else (0.55, 0.35)
            named = [w for w in range(12) if rng.random() < (keep if w in right else invent)]
            record = find(*((words[w], "PER") for w in named), text=text)
            records.append(replace(record, id=f"r{number}"))
        sources[f"t{teacher}"] = records

    def f1(found: Aggregation) -> float:
        said = {(r.id, s.start) for r in found.annotations for s in r.ents or ()}
        gold = {(f"r{n}", text.index(words[w])) for n, right in true.items() for w in right}
        return 2 * len(said & gold) / (len(said) + len(gold))

    majority, model = aggregate(sources), aggregate(sources, "dawid-skene")
    assert f1(majority) < f1(model)
    assert f1(model) > 0.95
    assert majority.agreement is not None
    assert majority.agreement.measure == "span_f1"
    with_others = [teacher.agreement or 0.0 for teacher in majority.teachers]
    assert min(with_others[:3]) > max(with_others[3:])


def test_the_model_keeps_the_entities_that_three_forgetful_teachers_agree_on() -> None:
    """Only what somebody named is voted on: seen alone, who names what another forgot seems to contradict him."""
    rng = np.random.default_rng(0)
    words = [f"{letter}word" for letter in "abcdefghijkl"]
    text = " ".join(words)
    kept, named = (0.7, 0.6, 0.5), np.zeros((200, 12), dtype=int)
    sources: dict[str, list[Annotation]] = {f"t{teacher}": [] for teacher in range(3)}
    for number in range(200):
        right = rng.choice(12, size=2, replace=False)
        for records, keep in zip(sources.values(), kept, strict=True):
            found = [w for w in right if rng.random() < keep]
            named[number, found] += 1
            records.append(replace(find(*((words[w], "PER") for w in found), text=text), id=f"r{number}"))
    model = aggregate(sources, "dawid-skene")
    for result in model.annotations:
        ents = {span.start for span in result.ents or ()}
        agreed = {text.index(words[w]) for w in range(12) if named[int(result.id[1:]), w] > 1}
        assert agreed <= ents
    assert [teacher.accuracy for teacher in model.teachers] == pytest.approx(kept, abs=0.15)


# What does not fit together


@pytest.mark.parametrize(
    ("second", "message"),
    [
        ([say(0, "tea"), say(0, "milk")], "b: the id 'r0' occurs twice"),
        ([replace(say(0, "tea"), text="other")], "Record r0 has one text in a and another in b"),
        ([replace(say(0, "tea"), labels=("tea", "Milk", "rum"))], r"b, record r0: other labels.*'Milk', 'milk'"),
        (
            [say(0, "tea", exclusive=False)],
            "for textcat with several classes a text, and the first source for textcat with one class a text",
        ),
        ([replace(find(), text="text 0")], "b, record r0, is for ner, and the first source for textcat with one class"),
        ([say(7, "tea")], "No two of a, b have an id in common"),
    ],
)
def test_sources_that_do_not_fit(second: list[Annotation], message: str) -> None:
    with pytest.raises(InputError, match=message):
        aggregate({"a": [say(0, "tea")], "b": second})


@pytest.mark.parametrize(
    ("count", "settings", "message"),
    [
        (1, {}, "majority needs 2 sources or more, found 1"),
        (2, {"method": "dawid-skene"}, "cannot tell two teachers apart"),
        (2, {"weights": [1, 2]}, 'the method is "majority"'),
        (2, {"method": "weighted", "weights": [1]}, "Found 1 weight for 2 sources"),
        (2, {"method": "weighted", "weights": [1, float("nan")]}, "numbers above 0"),
    ],
)
def test_settings_that_cannot_work(count: int, settings: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        one(*[say(0, "tea")] * count, **settings)


# Files


def save(path: Path, *records: Annotation) -> Path:
    nlp = spacy.blank("en")
    write_docs(path, (annotate_doc(make_doc(nlp, Text(r.id, r.text, r.group)), r) for r in records))
    return path


def test_files(tmp_path: Path) -> None:
    texts = [
        find(("Ada Lovelace", "PER"), ("New York", "LOC")),
        find(("Ada Lovelace", "PER")),
        find(("Ada Lovelace", "PER"), ("Babbage", "PER")),
    ]
    paths = [save(tmp_path / f"t{n}.spacy", replace(r, group="g")) for n, r in enumerate(texts)]
    output = tmp_path / "all.spacy"
    found = aggregate_files(paths, output)
    (doc,) = read_docs(output, spacy.blank("en").vocab)
    (back,) = annotations_of(doc)
    assert (back.ents, back.group, back.confidence) == (found.annotations[0].ents, "g", pytest.approx(2 / 3))
    assert [TEXT[s.start : s.end] for s in back.missing] == ["Babbage", "New York"]
    scores = dict(zip(map(str, doc.spans["teacher"]), doc.spans["teacher"].attrs["scores"], strict=True))
    assert scores == pytest.approx({"Ada Lovelace": 1.0, "Babbage": 1 / 3, "New York": 1 / 3})
    assert [source["source"] for source in back.provenance["sources"]] == ["t0", "t1", "t2"]
    books = json.loads(output.with_suffix(".json").read_text(encoding="utf8"))
    assert (books["aggregation"], books["texts"], books["labels"]) == ("majority", 1, {"PER": 1, "LOC": 0, "ORG": 0})
    assert len({teacher["sha256"] for teacher in books["teachers"]}) == 3
    aggregate_files(paths, output)  # its own result may be written again
    with pytest.raises(InputError, match="no aggregation wrote it"):
        aggregate_files(paths[:2], paths[2])
    with pytest.raises(InputError, match="given twice"):
        aggregate_files([paths[0], paths[0]], output)


def test_an_aggregation_without_the_people_does_not_write_over_the_one_with_them(tmp_path: Path) -> None:
    teachers = [save(tmp_path / f"{name}.spacy", say(0, "milk"), say(1, "milk")) for name in "ab"]
    people = save(tmp_path / "people.spacy", say(0, "tea", gold=True))
    output = tmp_path / "all.spacy"
    aggregate_files([*teachers, people], output)
    before = output.read_bytes(), output.with_suffix(".json").read_bytes()
    with pytest.raises(InputError, match=r"all\.spacy holds what people decided on 1 text \(r0\)"):
        aggregate_files(teachers, output)
    assert (output.read_bytes(), output.with_suffix(".json").read_bytes()) == before
    others = save(tmp_path / "others.spacy", say(0, "rum", gold=True))
    found = aggregate_files([*teachers, people, others], output)  # people disagree, and the result says so
    assert (found.annotations[0].gold, found.annotations[0].confidence) == (False, 0.5)
