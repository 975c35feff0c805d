"""Rules in a row: the config, the order, the books."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import spacy
from spacy.util import import_file

from spacy_distill.curation.curate import curate, load_rules
from spacy_distill.curation.types import Context, RuleResult
from spacy_distill.curation.write import write_curation
from spacy_distill.docs import annotate_doc, make_doc, note, read_docs
from spacy_distill.errors import ConfigError, InputError
from spacy_distill.types import Annotation, Span, Text

LABELS = ("fruit", "tool", "bird")
DEFAULT = Path(__file__).resolve().parents[2] / "configs" / "curation.cfg"


def random_annotations(seed: int, count: int = 60) -> list[Annotation]:
    chance = random.Random(seed)
    found = []
    for index in range(count):
        status = chance.choice(["ok", "ok", "ok", "abstain", "error"])
        label = chance.choice(LABELS[:2])
        cats = {name: float(name == label) for name in LABELS} if status == "ok" else None
        text = chance.choice(["pear", "PEAR", "a saw", "two saws", "an axe", f"item {index}"])
        found.append(Annotation(f"r{index}", text, "textcat", LABELS, status, cats=cats))
    return found


@pytest.mark.parametrize("seed", range(10))
def test_the_books_close(seed: int) -> None:
    given = random_annotations(seed)
    result = curate(given, load_rules(DEFAULT), Context.of([Text("g", "AN AXE")]))
    everything = [item.id for item in result.kept] + [item.annotation.id for item in result.rejected]
    assert sorted(everything) == sorted(item.id for item in given)
    remaining = len(given)
    for book in result.books.rules:
        assert book.given == remaining == book.kept + book.dropped
        assert book.dropped == sum(item.rule == book.rule for item in result.rejected)
        remaining = book.kept
    assert remaining == len(result.kept)
    assert sum(result.books.labels_after.values()) == len(result.kept)
    assert all(item.status == "ok" and item.text != "an axe" for item in result.kept)
    assert len({item.text.casefold() for item in result.kept}) == len(result.kept)
    assert "bird" in result.books.rare_labels(1)


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "curation.cfg"
    path.write_text(text, encoding="utf8")
    return path


def test_the_list_says_which_rules_run_and_in_which_order(tmp_path: Path) -> None:
    text = DEFAULT.read_text(encoding="utf8")
    listed = '["status", "leakage", "duplicates", "span_errors"]'
    assert listed in text
    config = write(tmp_path, text.replace(listed, '["min_confidence", "status"]'))
    assert list(load_rules(config)) == ["min_confidence", "status"]


def test_the_default_config_takes_a_cap_for_each_label(tmp_path: Path) -> None:
    text = DEFAULT.read_text(encoding="utf8").replace('"span_errors"]', '"span_errors", "balance"]')
    section = "[rules.balance.per_label]\n"
    assert section in text
    rules = load_rules(write(tmp_path, text.replace(section, section + "fruit = 2\n")))
    given = [item for item in random_annotations(1) if item.status == "ok"]
    books = curate(given, {"balance": rules["balance"]}, Context()).books
    assert books.labels_before["fruit"] > 2
    assert books.labels_after == {**books.labels_before, "fruit": 2}


SECTION = '[curation]\nrules = ["a"]\n[rules]\n[rules.a]\n@misc = '


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[curation]\n", r"needs `rules`"),
        ('[curation]\nrules = ["a", "a"]\n', "more than once"),
        ('[curation]\nrules = ["a"]\n', r"no section \[rules.a\]"),
        (SECTION + '"no.such.v1"\n', "not registered"),
        (SECTION + '"spacy_distill.min_confidence.v1"\n', "threshold"),
        (SECTION + '"spacy_distill.duplicates.v1"\nresolve = "coin"\n', "resolve"),
        ("[curation\n", "cannot be read"),
    ],
)
def test_a_config_that_cannot_work_is_named(tmp_path: Path, text: str, message: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(ConfigError, match=message) as found:
        load_rules(path)
    assert str(path) in str(found.value)


def test_a_rule_of_ones_own(tmp_path: Path) -> None:
    code = tmp_path / "mine.py"
    code.write_text(
        "import spacy\n"
        "from spacy_distill.curation.types import RuleResult\n"
        '@spacy.registry.misc("mine.short.v1")\n'
        "def make_short(least: int):\n"
        "    def rule(annotations, context):\n"
        "        kept = [a for a in annotations if len(a.text) >= least]\n"
        '        return RuleResult(kept, [(a, "too short") for a in annotations if len(a.text) < least])\n'
        "    return rule\n",
        encoding="utf8",
    )
    import_file("mine", code)
    loaded = load_rules(write(tmp_path, SECTION + '"mine.short.v1"\nleast = 5\n'))
    result = curate(random_annotations(0), loaded, Context())
    assert result.rejected
    assert {item.reason for item in result.rejected} == {"too short"}


def test_a_rule_that_loses_annotations_is_refused() -> None:
    with pytest.raises(ConfigError, match="'greedy'"):
        curate(random_annotations(0), {"greedy": lambda given, _: RuleResult(given[1:], [])}, Context())


def test_a_rule_that_changes_what_a_person_checked_is_refused() -> None:
    cats = {"fruit": 1.0, "tool": 0.0, "bird": 0.0}
    checked = Annotation("r", "a pear", "textcat", LABELS, "ok", cats=cats, gold=True)
    other = replace(checked, cats={"fruit": 0.0, "tool": 1.0, "bird": 0.0})
    with pytest.raises(ConfigError, match="'bold' changed record r, which a person checked"):
        curate([checked], {"bold": lambda given, _: RuleResult([other], [])}, Context())


CLASSES = Annotation("r", "a pear", "textcat", LABELS, "ok", cats={"fruit": 0.75, "tool": 0.25, "bird": 0.0})
ENTITIES = Annotation("r", "a pear", "ner", LABELS, "ok", ents=(Span(2, 6, "fruit"),))


@pytest.mark.parametrize(
    ("record", "change", "message"),
    [
        (CLASSES, {"cats": None}, "without classes"),
        (CLASSES, {"cats": {"fruit": 0.5, "nonsense": 0.5}}, "'nonsense', which was not on offer"),
        (CLASSES, {"cats": {"fruit": 5.0}}, "fruit a score of 5.0"),
        (CLASSES, {"cats": {"fruit": float("nan")}}, "fruit a score of nan"),
        (CLASSES, {"cats": {"fruit": "1"}}, "fruit a score of '1'"),
        (CLASSES, {"cats": {}}, r"add up to 0\.000 instead of 1"),
        (CLASSES, {"cats": {"fruit": 0.4}}, r"add up to 0\.400 instead of 1"),
        (replace(CLASSES, status="abstain", cats=None), {"cats": {"fruit": 1.0}}, "with classes"),
        (ENTITIES, {"ents": None}, "without entities"),
        (ENTITIES, {"ents": (Span(2, 6, "Dish"),)}, "'Dish', which was not on offer"),
        (ENTITIES, {"ents": (Span(2, 7, "fruit"),)}, "2-7 lies outside its text of 6"),
        (ENTITIES, {"ents": (Span(2, 6, "fruit"), Span(0, 3, "tool"))}, "tool at 0-3 and fruit at 2-6 overlap"),
        (ENTITIES, {"ents": (Span(2, 6, "fruit", 1.5),)}, "fruit a score of 1.5"),
        (ENTITIES, {"missing": (Span(4, 4, ""),)}, "4-4 lies outside"),
    ],
)
def test_a_correction_that_cannot_be_is_refused_by_rule_and_record(
    record: Annotation, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=f"^The rule 'odd' returned record r.*{message}"):
        curate([record], {"odd": lambda given, _: RuleResult([replace(given[0], **change)], [])}, Context())


def test_a_rule_that_changes_scores_in_place_is_refused() -> None:
    def rule(given: list[Annotation], context: Context) -> RuleResult:
        given[0].cats["fruit"] = 0.0  # type: ignore[index]
        return RuleResult(given, [])

    with pytest.raises(ConfigError, match=r"The rule 'sly' changed the scores of record r in place\."):
        curate([replace(CLASSES, cats=dict(CLASSES.cats or {}))], {"sly": rule}, Context())


def test_a_rule_that_returns_nothing_is_named() -> None:
    with pytest.raises(ConfigError, match="The rule 'mute' returned NoneType"):
        curate([CLASSES], {"mute": lambda given, _: None}, Context())  # type: ignore[dict-item, return-value]


def test_a_factory_that_makes_no_rule_is_named(tmp_path: Path) -> None:
    spacy.registry.misc("mine.three.v1", func=lambda: 3)
    with pytest.raises(ConfigError, match=r"\[rules\.a\].*'mine\.three\.v1' returned int"):
        load_rules(write(tmp_path, SECTION + '"mine.three.v1"\n'))


def test_a_correction_takes_the_place_of_all_classes(tmp_path: Path) -> None:
    """A class that the copy does not name has no score: the doc must not keep the one it had."""
    doc = annotate_doc(make_doc(spacy.blank("en"), Text("r", CLASSES.text)), CLASSES)
    doc.cats["of another pipeline"] = 1.0
    rule = {"mine": lambda given, _: RuleResult([replace(given[0], cats={"tool": 1})], [])}
    result = curate([CLASSES], rule, Context())
    assert result.books.labels_before == {"fruit": 1, "tool": 0, "bird": 0}
    assert result.books.labels_after == {"fruit": 0, "tool": 1, "bird": 0}
    write_curation(tmp_path, [doc], [CLASSES], result, task="textcat", sources={})
    (kept,) = read_docs(tmp_path / "kept.spacy", spacy.blank("en").vocab)
    assert kept.cats == {"fruit": 0.0, "tool": 1.0, "bird": 0.0, "of another pipeline": 1.0}


def test_ids_must_be_unique_and_labels_the_same() -> None:
    one, two = random_annotations(0, 2)
    with pytest.raises(InputError, match="occurs twice"):
        curate([one, one], {}, Context())
    other = Annotation("x", "x", "textcat", ("fruit",), "error")
    with pytest.raises(InputError, match="different labels"):
        curate([one, two, other], {}, Context())


def test_the_order_of_the_labels_says_nothing() -> None:
    cats = {"fruit": 1.0, "tool": 1.0, "bird": 0.0}
    given = [
        Annotation(name, "pear", "textcat", labels, "ok", exclusive=False, cats=cats)
        for name, labels in (("a", LABELS), ("b", LABELS[::-1]))
    ]
    result = curate(given, load_rules(DEFAULT), Context())
    assert [(item.annotation.id, item.reason) for item in result.rejected] == [("b", "a copy of a")]


def test_what_is_written(tmp_path: Path) -> None:
    nlp = spacy.blank("en")
    given = random_annotations(3)
    docs = [annotate_doc(make_doc(nlp, Text(item.id, item.text)), item) for item in given]
    for doc, item in zip(docs, given, strict=True):
        if item.status != "ok":
            note(doc, "textcat", {**doc._.distill["textcat"], "raw": "no idea"})
    result = curate(given, load_rules(DEFAULT), Context())
    write_curation(tmp_path, docs, given, result, task="textcat", sources={"gold": []})
    kept = list(read_docs(tmp_path / "kept.spacy", nlp.vocab))
    assert [doc._.distill["id"] for doc in kept] == [item.id for item in result.kept]
    of_id = {doc._.distill["id"]: doc for doc in docs}
    for doc in kept:
        original = of_id[doc._.distill["id"]]
        assert [token.text for token in doc] == [token.text for token in original]
        assert doc.cats == original.cats
    rows = [json.loads(line) for line in (tmp_path / "rejected.jsonl").read_text(encoding="utf8").splitlines()]
    assert [row["id"] for row in rows] == [item.annotation.id for item in result.rejected]
    assert all(row["raw"] == "no idea" for row in rows if row["status"] != "ok")
    books = json.loads((tmp_path / "curation.json").read_text(encoding="utf8"))
    assert books["given"] == len(given) == books["kept"] + books["rejected"]


def test_books_of_another_curation_do_not_stand_beside_the_docs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    doc = annotate_doc(make_doc(spacy.blank("en"), Text(CLASSES.id, CLASSES.text)), CLASSES)
    result = curate([CLASSES], {}, Context())
    write_curation(tmp_path, [doc], [CLASSES], result, task="textcat", sources={})
    assert (tmp_path / "curation.json").exists()

    def stopped(*args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("spacy_distill.curation.write.write_jsonl", stopped)
    with pytest.raises(KeyboardInterrupt):
        write_curation(tmp_path, [doc], [CLASSES], result, task="textcat", sources={})
    assert not (tmp_path / "curation.json").exists()
