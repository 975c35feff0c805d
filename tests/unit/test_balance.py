"""The rule `balance`: no label above its cap, the least confident go."""

from __future__ import annotations

from collections import Counter

import pytest

from spacy_distill.curation.balance import make_balance
from spacy_distill.curation.types import Context
from spacy_distill.errors import ConfigError
from spacy_distill.types import Annotation

LABELS = ("often", "rarely")


def one(name: str, *labels: str, confidence: float | None = None, gold: bool = False) -> Annotation:
    cats = {label: float(label in labels) for label in LABELS}
    return Annotation(
        name, name, "textcat", LABELS, "ok", len(labels) == 1, cats=cats, confidence=confidence, gold=gold
    )


def kept(given: list[Annotation], cap: int, seed: int = 0) -> list[str]:
    return [item.id for item in make_balance(cap, seed)(given, Context()).kept]


def test_the_cap_is_met_exactly_and_only_by_those_above_it() -> None:
    given = [one(f"o{n}", "often") for n in range(30)] + [one(f"r{n}", "rarely") for n in range(4)]
    result = make_balance(7)(given, Context())
    assert Counter(item.label for item in result.kept) == {"often": 7, "rarely": 4}
    assert result.notes == {"often": 23}
    assert {reason for _, reason in result.dropped} == {"often: there are more than 7"}


def test_the_least_confident_go_first_and_what_people_checked_last() -> None:
    given = [one("sure", "often", confidence=0.9), one("unsure", "often", confidence=0.4), one("unknown", "often")]
    given.append(one("checked", "often", gold=True))
    assert kept(given, 3) == ["sure", "unsure", "checked"]
    assert kept(given, 2) == ["sure", "checked"]
    assert kept(given, 1) == ["checked"]


def test_the_seed_decides_among_equals() -> None:
    given = [one(f"o{n}", "often") for n in range(30)]
    assert kept(given, 10) == kept(given, 10)
    assert set(kept(given[::-1], 10)) == set(kept(given, 10)) != set(kept(given, 10, seed=1))


def test_several_labels_no_label_falls_below_the_cap_for_another() -> None:
    given = [one(f"b{n}", "often", "rarely") for n in range(3)] + [one(f"o{n}", "often") for n in range(9)]
    result = make_balance(3)(given, Context())
    assert sorted(item.id for item in result.kept if "rarely" in item.positive()) == ["b0", "b1", "b2"]
    assert sum("often" in item.positive() for item in result.kept) == 3


def test_texts_without_a_label_count_as_one() -> None:
    given = [one(f"n{n}") for n in range(9)] + [one("o", "often")]
    result = make_balance(2)(given, Context())
    assert len(result.kept) == 3
    assert result.notes == {"no label": 7}


def test_a_label_may_have_a_cap_of_its_own() -> None:
    given = [one(f"o{n}", "often") for n in range(9)] + [one(f"r{n}", "rarely") for n in range(9)]
    result = make_balance(6, per_label={"often": 2})(given, Context())
    assert Counter(item.label for item in result.kept) == {"often": 2, "rarely": 6}
    assert result.notes == {"often": 7, "rarely": 3}
    assert {reason for _, reason in result.dropped} == {
        "often: there are more than 2", "rarely: there are more than 6"
    }  # fmt: skip


def test_several_labels_with_a_cap_each() -> None:
    given = [one(f"b{n}", "often", "rarely") for n in range(6)] + [one(f"o{n}", "often") for n in range(3)]
    result = make_balance(9, per_label={"often": 1, "rarely": 2})(given, Context())
    counts = Counter(label for item in result.kept for label in item.positive())
    assert counts == {"often": 2, "rarely": 2}
    assert "often: there are more than 1, rarely: there are more than 2" in {reason for _, reason in result.dropped}


def test_a_cap_for_a_label_that_is_not_there_names_the_one_meant() -> None:
    with pytest.raises(ConfigError, match=r"balance: per_label has 'Often'\. Did you mean 'often'"):
        make_balance(9, per_label={"Often": 1})([one("o", "often")], Context())


def test_a_cap_of_a_label_that_is_no_number_of_texts() -> None:
    with pytest.raises(ConfigError, match="per_label often is 0"):
        make_balance(9, per_label={"often": 0})


@pytest.mark.parametrize("cap", [0, 2.5, True, "many"])
def test_a_cap_that_is_no_number_of_texts(cap: int) -> None:
    with pytest.raises(ConfigError, match="cap is"):
        make_balance(cap)
