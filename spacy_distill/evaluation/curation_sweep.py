"""Which curation helps this student on these texts? A quick student for each of several settings, compared on dev.

All share the config's rules but those on trial (and but the one that a setting goes without), one division into train
and dev, and one student. Dev is never filtered. It also chooses each student's best step, so that all scores are a
little too good, and alike. Where a student would learn the same as an earlier one it is not trained: that would take
time, and make every interval wider, for nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import spacy
from spacy.tokens import Doc

from ..corpus.build import build
from ..corpus.split import split
from ..curation.curate import curate, make_rules
from ..curation.types import Context
from ..docs import correct_doc
from ..errors import StageError
from ..students.tiers import check_student
from ..students.train import component_overrides, read_student, train
from ..types import Annotation, Text
from .comparison import LEVEL, Interval, bootstrap, interval
from .curation_settings import settings_for, shared_rules
from .pipelines import find_component, predict
from .scores import label_set, scores, tally

DEV_SHARE = 0.2


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a setting did.

    name (str): See `Setting`.
    config (str): What to write into the curation config for it.
    soft (bool), balance (float), weight (Optional[str]): See `Setting`.
    kept (int): Texts of train that the student learned from.
    note (str): Why no student was trained, else "": nothing is left, or it is the same as an earlier setting's.
    score, macro_f1 (Optional[Interval]): On dev, 0 to 1. None where no student was trained.
    difference (Optional[Interval]): Its score less that of the first setting. With 95 % confidence all differences of
        the sweep lie in their intervals (Bonferroni): the more settings are tried, the wider these are.
    """

    name: str
    config: str
    soft: bool
    balance: float
    weight: str | None
    kept: int
    note: str
    score: Interval | None = None
    macro_f1: Interval | None = None
    difference: Interval | None = None


@dataclass(frozen=True, slots=True)
class Sweep:
    """Settings beside each other.

    metric (str): "accuracy" for exclusive classes, else "micro_f1".
    dev_from (str): "gold", people's labels alone; "silver", the teacher's own among them: then scores are agreement
        with the teacher.
    train, dev (int): Texts.
    seed (int): Of the division and of training.
    outcomes (Tuple[Outcome, ...]): "no filter" first.
    """

    metric: str
    dev_from: Literal["gold", "silver"]
    train: int
    dev: int
    seed: int
    outcomes: tuple[Outcome, ...]

    @property
    def best(self) -> Outcome | None:
        """RETURNS (Optional[Outcome]): The highest score of those significantly better than no filter."""
        better = [outcome for outcome in self.outcomes if outcome.difference and outcome.difference.low > 0]
        return max(better, key=lambda outcome: outcome.score.value if outcome.score else 0.0, default=None)


def sweep(
    docs: Sequence[Doc],
    annotations: Sequence[Annotation],
    config: Mapping[str, Any],
    context: Context,
    *,
    student: Path,
    folder: Path,
    gold_dev: Sequence[Annotation] | None = None,
    seed: int = 0,
    started: Callable[[str], None] | None = None,
) -> Sweep:
    """Train a student for each setting and compare them on dev.

    docs (Sequence[Doc]): Annotated docs, and `annotations` their records, in the same order.
    config (Mapping[str, Any]): See `curation.curate.read_rules`.
    context (Context): What must not be trained on.
    student (Path): The student's config.
    folder (Path): For what is made on the way.
    gold_dev (Optional[Sequence[Annotation]]): People's labels to compare on. None: a share of the teacher's own.
    started (Optional[Callable[[str], None]]): Called with each setting's name before its student is trained.
    RAISES (ConfigError): The student cannot be trained for this task: see `check_student`.
    RAISES (StageError): Nothing is left to train on, or to compare on.
    """
    check_student(student, annotations[0].task, annotations[0].exclusive)
    nlp = spacy.blank(read_student(student)["nlp"]["lang"])
    shared = shared_rules(config)
    given = {annotation.id: (doc, annotation) for doc, annotation in zip(docs, annotations, strict=True)}
    usable = curate(annotations, make_rules(shared, "The curation config"), context)
    if gold_dev is None:
        parts = split(usable.kept, dev_share=DEV_SHARE, seed=seed)
        pool, dev = [usable.kept[index] for index in parts.train], [usable.kept[index] for index in parts.dev]
    else:
        pool, dev = _apart(usable.kept, gold_dev), list(gold_dev)
    if not pool or not dev:
        raise StageError(f"{len(pool)} texts are left to train on, and {len(dev)} to compare on: annotate more.")
    outcomes: list[Outcome] = []
    answers: list[list[Annotation] | None] = []
    students: dict[str, str] = {}
    for setting in settings_for(pool, config, usable.books.rules):
        if setting.without:
            rules = make_rules(shared_rules(config, setting.without), setting.name)
            kept = _apart(curate(annotations, rules, context).kept, dev)
        else:
            kept = curate(pool, make_rules(setting.sections(), setting.name), context).kept
        note, answer = "" if kept else "nothing is left", None
        if kept:
            corpus = build(_docs(given, kept), kept, soft=setting.soft, gold_dev=dev, nlp=nlp)
            overrides = component_overrides(student, balance=setting.balance, weight=setting.weight)
            same = students.setdefault(_lesson(corpus.train, overrides), setting.name)
            if same != setting.name:
                note = f'the same student as "{same}"'
            else:
                if started is not None:
                    started(setting.name)
                corpus.write(folder / "corpus", confidence=setting.weight is not None)
                trained = train(student, folder / "corpus", folder / "student", seed=seed, overrides=overrides)
                answer = predict(trained, find_component(trained), dev)
        answers.append(answer)
        how = setting.soft, setting.balance, setting.weight
        outcomes.append(Outcome(setting.name, setting.block(shared), *how, len(kept), note))
    metric = "accuracy" if dev[0].task == "textcat" and dev[0].exclusive else "micro_f1"
    scored = _scored(outcomes, answers, dev, metric)
    dev_from: Literal["gold", "silver"] = "gold" if all(item.gold for item in dev) else "silver"
    return Sweep(metric, dev_from, len(pool), len(dev), seed, scored)


def _apart(annotations: Sequence[Annotation], dev: Sequence[Annotation]) -> list[Annotation]:
    """RETURNS (List[Annotation]): Those that may be trained on when these are the dev texts."""
    leaks = Context.of(Text(item.id, item.text, item.group) for item in dev).leaks(annotations)
    return [item for item in annotations if item.id not in leaks]


def _lesson(docs: Sequence[Doc], overrides: Mapping[str, Any]) -> str:
    """RETURNS (str): The same for two settings if their students learn the same: texts, targets and weights."""
    digest = hashlib.sha256(repr(sorted(overrides.items())).encode())
    for doc in docs:
        entities = doc.to_array(["ENT_IOB", "ENT_TYPE"]).tolist()
        digest.update(repr((doc.text, doc.cats, entities)).encode("utf8", "surrogatepass"))
    return digest.hexdigest()


def _docs(given: Mapping[str, tuple[Doc, Annotation]], kept: Sequence[Annotation]) -> list[Doc]:
    """RETURNS (List[Doc]): The docs of what was kept, corrected where a rule corrected them."""
    found = []
    for annotation in kept:
        doc, before = given[annotation.id]
        found.append(doc if annotation is before else correct_doc(doc, annotation))
    return found


def _scored(
    outcomes: Sequence[Outcome], answers: Sequence[list[Annotation] | None], dev: Sequence[Annotation], metric: str
) -> tuple[Outcome, ...]:
    """RETURNS (Tuple[Outcome, ...]): The outcomes with scores and differences."""
    known = [answer for answer in answers if answer is not None]
    labels = label_set(dev, *known)
    tallies = [tally(dev, answer, labels) for answer in known]
    drawn = iter(zip(tallies, bootstrap(tallies, [record.group for record in dev]), strict=True))
    compared = max(1, len(known) - 1)
    found: list[Outcome] = []
    first: tuple[float, Any] | None = None
    for outcome, answer in zip(outcomes, answers, strict=True):
        if answer is None:
            found.append(outcome)
            continue
        counts, draws = next(drawn)
        points = scores(counts.counts.sum(0))
        value = float(points[metric])
        difference = None
        if first is None:
            first = value, draws[metric]
        else:
            difference = interval(value - first[0], draws[metric] - first[1], 1 - (1 - LEVEL) / compared)
        score, macro_f1 = interval(value, draws[metric]), interval(float(points["macro_f1"]), draws["macro_f1"])
        found.append(replace(outcome, score=score, macro_f1=macro_f1, difference=difference))
    return tuple(found)
