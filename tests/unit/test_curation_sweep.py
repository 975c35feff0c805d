"""Which settings are tried, and when one of them counts as better."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest
import spacy
from spacy.util import load_config_from_str, registry

from spacy_distill.cli.curate import curate as curate_command
from spacy_distill.curation.curate import curate, make_rules, read_rules
from spacy_distill.curation.rules import judge_each
from spacy_distill.curation.types import Context, Rule
from spacy_distill.docs import annotate_doc, make_doc, write_docs
from spacy_distill.errors import ConfigError, DistillError
from spacy_distill.evaluation.curation_settings import Setting, settings_for, shared_rules
from spacy_distill.evaluation.curation_sweep import Sweep, sweep
from spacy_distill.students.train import read_student
from spacy_distill.types import Annotation, Span, Text

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
LABELS = ("fruit", "tool")
THINGS = {"fruit": ["pear", "plum", "apple", "fig"], "tool": ["saw", "hammer", "chisel", "rake"]}


def textcat(name: str, text: str, label: str, confidence: float | None = None, **more) -> Annotation:
    cats = {other: float(other == label) for other in LABELS}
    return Annotation(name, text, "textcat", LABELS, "ok", cats=cats, confidence=confidence, **more)


def config() -> dict:
    return read_rules(CONFIGS / "curation.cfg")


def by_name(settings: list[Setting]) -> dict[str, Setting]:
    return {setting.name: setting for setting in settings}


def kept(setting: Setting, annotations: list[Annotation]) -> list[str]:
    return [item.id for item in curate(annotations, make_rules(setting.sections(), "test"), Context()).kept]


def test_thresholds_within_classes_drop_as_large_a_share_of_each_class() -> None:
    fruit = [textcat(f"f{i}", f"pear {i}", "fruit", 0.9 + i / 1000) for i in range(40)]
    tool = [textcat(f"t{i}", f"saw {i}", "tool", 0.4 + i / 1000) for i in range(40)]
    found = by_name(settings_for([*fruit, *tool], config()))
    assert kept(found["confidence ≥ 0.5"], [*fruit, *tool]) == [item.id for item in fruit]
    within = found["the surest 50% of each class"]
    assert kept(within, [*fruit, *tool]) == [item.id for item in [*fruit[20:], *tool[20:]]]
    assert next(iter(found)) == "no filter"
    assert [name for name in found if "≥" in name] == ["confidence ≥ 0.5"], "0.8 would drop the same texts"
    weighted = found["texts weighted by confidence"]
    assert (weighted.weight, weighted.soft, weighted.rules) == ("confidence", False, {})


def test_without_confidence_no_threshold_is_tried() -> None:
    found = by_name(settings_for([textcat("a", "pear", "fruit"), textcat("b", "saw", "tool")], config()))
    assert not [name for name in found if "confidence" in name or "surest" in name], "nor weights"
    assert found["soft targets, classes balanced"].balance == 1.0
    assert found["soft targets"].soft
    assert not found["no filter"].soft


def test_entities_are_dropped_or_unknown_where_they_have_scores() -> None:
    scored = Annotation("a", "pear", "ner", LABELS, "ok", ents=(Span(0, 4, "fruit", 0.6),))
    found = by_name(settings_for([scored], config()))
    assert kept(found["texts with an entity < 0.8 dropped"], [scored]) == []
    assert kept(found["entities < 0.8 unknown"], [scored]) == ["a"]
    assert kept(found["entities < 0.5 unknown"], [scored]) == ["a"]
    unscored = by_name(settings_for([replace(scored, ents=(Span(0, 4, "fruit"),))], config()))
    assert list(unscored) == ["no filter", "span errors corrected"]
    assert unscored["span errors corrected"].rules["span_errors"]["folds"] == config()["rules"]["span_errors"]["folds"]


def test_a_block_can_be_pasted_into_the_config() -> None:
    shared = shared_rules(config())
    assert "span_errors" not in shared["curation"]["rules"]
    setting = by_name(settings_for([textcat("a", "x", "fruit", 0.4), textcat("b", "y", "fruit", 0.95)], config()))[
        "confidence ≥ 0.5"
    ]
    pasted = load_config_from_str(setting.block(shared))
    assert pasted["curation"]["rules"] == [*shared["curation"]["rules"], "min_confidence"]
    rules = make_rules({**pasted, "rules": {**config()["rules"], **pasted["rules"]}}, "test")
    assert "b" in [item.id for item in rules["min_confidence"]([textcat("b", "y", "fruit", 0.95)], Context()).kept]
    assert not rules["min_confidence"]([textcat("a", "x", "fruit", 0.4)], Context()).kept


def pool(wrong: float) -> list[Annotation]:
    """RETURNS (List[Annotation]): 240 texts; of the fruit that share is called a tool, and the teacher is unsure."""
    chance = random.Random(0)
    found = []
    for index in range(240):
        label = LABELS[index % 2]
        text = f"number {index}: {chance.choice(THINGS[label])}"
        unsure = label == "fruit" and chance.random() < wrong
        found.append(textcat(f"r{index}", text, "tool" if unsure else label, 0.4 if unsure else 0.95))
    return found


def swept(tmp_path: Path, annotations: list[Annotation], gold_dev: list[Annotation] | None) -> Sweep:
    student = tmp_path / "student.cfg"
    quick = {"training.max_steps": 30, "training.eval_frequency": 30, "training.batcher.size": 200}
    quick["components.textcat.model.length"] = 512
    read_student(CONFIGS / "textcat_fast.cfg", quick).to_disk(student)
    nlp = spacy.blank("en")
    docs = [annotate_doc(make_doc(nlp, Text(item.id, item.text)), item) for item in annotations]
    return sweep(docs, annotations, config(), Context(), student=student, folder=tmp_path, gold_dev=gold_dev)


@pytest.mark.slow
def test_a_filter_that_takes_out_the_errors_is_found_on_peoples_labels(tmp_path: Path) -> None:
    people = [
        textcat(f"{thing}{i}", f"we took {i} of them, {thing}", label, gold=True)
        for label in LABELS
        for i in range(15)
        for thing in THINGS[label]
    ]
    annotations = [*pool(0.7), textcat("leak", people[0].text, "tool", 0.99)]
    found = swept(tmp_path, annotations, people)
    assert (found.dev_from, found.dev, found.train) == ("gold", 120, 240)
    assert found.best is not None
    assert "confidence" in found.best.name or "surest" in found.best.name
    first = found.outcomes[0]
    assert first.name == "no filter"
    assert first.difference is None
    assert found.best.score.value > first.score.value + 0.2
    by = {outcome.name: outcome for outcome in found.outcomes}
    assert by["confidence ≥ 0.5"].kept < first.kept == 240


@pytest.mark.slow
def test_where_nothing_helps_nothing_is_best(tmp_path: Path) -> None:
    found = swept(tmp_path, pool(0.0), None)
    assert (found.dev_from, found.dev + found.train) == ("silver", 240)
    people = swept(tmp_path, [replace(item, gold=True) for item in pool(0.0)], None)
    assert people.dev_from == "gold"
    assert found.best is None
    assert found.outcomes[0].score.value > 0.9
    by = {outcome.name: outcome for outcome in found.outcomes}
    assert by["label errors dropped"].note == 'the same student as "no filter"'
    assert by["soft targets, classes balanced"].difference is not None
    assert not [name for name in by if "confidence" in name]


def counted(annotations: list[Annotation], tmp_path: Path, rules: dict | None = None, **settings) -> tuple[Sweep, list]:
    """RETURNS (Tuple[Sweep, List[str]]): A sweep with the linear student, and the settings that were trained."""
    student, trained = tmp_path / "tiny.cfg", []
    read_student(CONFIGS / "textcat_tiny.cfg", settings).to_disk(student)
    nlp = spacy.blank("en")
    docs = [annotate_doc(make_doc(nlp, Text(item.id, item.text)), item) for item in annotations]
    found = sweep(
        docs, annotations, rules or config(), Context(), student=student, folder=tmp_path, started=trained.append
    )
    assert [item.name for item in found.outcomes if item.score] == trained
    return found, trained


def test_the_same_student_is_trained_once(tmp_path: Path) -> None:
    found, trained = counted(pool(0.0), tmp_path)
    assert trained == ["no filter", "soft targets, classes balanced"], "each label has a probability of 1"
    notes = {outcome.name: outcome.note for outcome in found.outcomes if outcome.note}
    assert notes["soft targets"] == notes["label errors dropped"] == 'the same student as "no filter"'
    balanced = "soft targets, label errors softened, classes balanced"
    assert notes[balanced] == 'the same student as "soft targets, classes balanced"'


def test_where_labels_do_not_exclude_each_other_what_is_not_judged_is_not_tried(tmp_path: Path) -> None:
    several = [
        replace(item, exclusive=False, cats={label: 0.9 if score else 0.2 for label, score in item.cats.items()})
        for item in pool(0.0)
    ]
    found, trained = counted(several, tmp_path, **{"components.textcat.exclusive": False})
    assert trained == ["no filter", "soft targets", "soft targets, classes balanced"]
    assert {item.note for item in found.outcomes if "errors softened" in item.name} == {
        'the same student as "soft targets"', 'the same student as "soft targets, classes balanced"'
    }  # fmt: skip


@registry.misc("test_curation_sweep.no_figs.v1")
def make_no_figs() -> Rule:
    return lambda annotations, context: judge_each(annotations, lambda item: "a fig" if "fig" in item.text else None)


def test_a_further_rule_that_drops_or_corrects_is_tried_without(tmp_path: Path) -> None:
    copies = [replace(item, id=f"copy of {item.id}") for item in pool(0.0)[:40]]
    rules = config()
    rules["rules"]["no_figs"] = {"@misc": "test_curation_sweep.no_figs.v1"}
    rules["rules"]["idle"] = {"@misc": "spacy_distill.balance.v1", "cap": 10_000}
    rules["curation"] = {"rules": ["status", "leakage", "duplicates", "no_figs", "idle"]}
    found, trained = counted([*pool(0.0), *copies], tmp_path, rules)
    assert [name for name in trained if "without" in name] == ["without duplicates", "without no_figs"]
    by = {outcome.name: outcome for outcome in found.outcomes}
    kept = found.train
    figs = sum("fig" in item.text for item in pool(0.0))
    assert kept < by["without no_figs"].kept == kept + figs
    assert kept < by["without duplicates"].kept < kept + 40, "copies of dev texts stay out"
    pasted = load_config_from_str(by["without no_figs"].config)
    assert pasted["curation"]["rules"] == ["status", "leakage", "duplicates", "idle"]


def test_a_student_of_another_task_is_refused_before_anything_is_trained(tmp_path: Path) -> None:
    student = CONFIGS / "ner.cfg"
    with pytest.raises(ConfigError, match=r"ner\.cfg trains .*ner, and the annotations are for textcat"):
        sweep([], pool(0.0), config(), Context(), student=student, folder=tmp_path)
    with pytest.raises(ConfigError, match=r"curation\.cfg trains nothing"):
        sweep([], pool(0.0), config(), Context(), student=CONFIGS / "curation.cfg", folder=tmp_path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"student": CONFIGS / "ner.cfg"}, "annotations are for textcat with exclusive = true"),
        ({"student": Path("none.cfg")}, r"none\.cfg does not exist"),
        ({"gold_dev": Path("gold.jsonl")}, "'vegetable'"),
    ],
)
def test_what_a_sweep_cannot_use_is_said_before_the_curation_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    nlp = spacy.blank("en")
    write_docs(Path("pool.spacy"), (annotate_doc(make_doc(nlp, Text(a.id, a.text)), a) for a in pool(0.0)))
    Path("gold.jsonl").write_text('{"text": "we took a leek", "gold": "vegetable"}\n', encoding="utf8")
    with pytest.raises(DistillError, match=message):
        curate_command(Path("pool.spacy"), Path("curated"), config=CONFIGS / "curation.cfg", sweep=True, **options)
    assert not Path("curated").exists()
