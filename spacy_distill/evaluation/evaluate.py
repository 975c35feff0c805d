"""Put systems beside each other on the same gold: scores, intervals, differences, and what to make of them."""

from __future__ import annotations

import json
import os
import platform
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version

from ..errors import ConfigError
from ..types import Annotation, TaskName
from .calibration import Calibration, calibration
from .comparison import LEVEL, RESAMPLES, Interval, bootstrap, interval, units
from .scores import (
    METRICS,
    EntityErrors,
    LabelScore,
    confusion,
    entity_errors,
    label_set,
    per_label,
    scores,
    tally,
)
from .systems import System
from .verdict import verdict

MOST_LEFT_OUT = 0.05
"""A system that was not reached for a larger share of the texts is not compared."""


@dataclass(frozen=True, slots=True)
class Result:
    """How one system did.

    name, model, words_per_s, speed, size_mb, files: See `System`.
    scores (Mapping[str, Interval]): Each metric of `scores.METRICS`, 0 to 1.
    labels (Tuple[LabelScore, ...]): One for each label.
    label_coverage (float): Share of the labels that gold has which the system ever predicts on these texts.
    never (Tuple[str, ...]): The others, as far as it has them.
    statuses (Mapping[str, int]): How many texts have which status; "missing" where there is no record.
    confusion (Optional[Tuple[Tuple[int, ...], ...]]): `(K, K + 1)`, exclusive classes only: see `scores.confusion`.
    errors (Optional[EntityErrors]): Entities only.
    calibration (Optional[Calibration]): Where confidences are probabilities.
    lacks (Mapping[str, int]): Labels that gold has and the system does not, and how often gold has them.
    """

    name: str
    model: str | None
    scores: Mapping[str, Interval]
    labels: tuple[LabelScore, ...]
    label_coverage: float
    never: tuple[str, ...]
    statuses: Mapping[str, int]
    words_per_s: float | None
    speed: str
    size_mb: float | None
    confusion: tuple[tuple[int, ...], ...] | None
    errors: EntityErrors | None
    calibration: Calibration | None
    files: Mapping[str, str]
    lacks: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Difference:
    """The first system's score minus another's, over the same resamples.

    first, other (str): The systems' names.
    metrics (Mapping[str, Interval]): Each metric of `scores.METRICS`, -1 to 1.
    fidelity (float): How well the first reproduces the other's answers, by the main metric, 0 to 1.
    """

    first: str
    other: str
    metrics: Mapping[str, Interval]
    fidelity: float


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Systems beside each other on the same gold. Holds no text: it may be published.

    task (TaskName): "textcat" or "ner".
    exclusive (bool): Exactly one label a text.
    labels (Tuple[str, ...]): K labels: gold's, then any others that a system has.
    texts (int): N gold texts, without those left out.
    words (int): Their whitespace words.
    units (int): How many things were resampled: groups of texts, or texts.
    main (str): The metric that decides: "accuracy" for exclusive classes, else "micro_f1".
    results (Tuple[Result, ...]): The system under test first.
    differences (Tuple[Difference, ...]): The system under test against each other one.
    verdict (Tuple[str, ...]): Plain sentences, the most important first.
    teacher (Optional[str]): The teacher's model, as it named itself; known even where the teacher was not reached.
    unreached (Mapping[str, int]): Systems that are not among the results, and how many texts have no reply of theirs.
    left_out (Mapping[str, int]): Systems, and how many texts are left out for all because these have no reply to them.
    seen (Mapping[str, int]): A part of the student's corpus, "train" or "dev", and how many gold texts are in it.
    files (Mapping[str, str]): Gold's file and sha256.
    versions (Mapping[str, str]): Software and machine.
    resamples, seed (int), level (float): Of the bootstrap.
    """

    task: TaskName
    exclusive: bool
    labels: tuple[str, ...]
    texts: int
    words: int
    units: int
    main: str
    results: tuple[Result, ...]
    differences: tuple[Difference, ...]
    verdict: tuple[str, ...] = ()
    teacher: str | None = None
    unreached: Mapping[str, int] = field(default_factory=dict)
    left_out: Mapping[str, int] = field(default_factory=dict)
    seen: Mapping[str, int] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    resamples: int = RESAMPLES
    seed: int = 0
    level: float = LEVEL

    def to_json(self) -> str:
        """RETURNS (str): Every figure, indented."""
        return json.dumps(asdict(self), indent=2, ensure_ascii=False) + "\n"


def evaluate(
    gold: Sequence[Annotation],
    systems: Sequence[System],
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
    files: Mapping[str, str] | None = None,
    seen: Mapping[str, int] | None = None,
) -> Evaluation:
    """Score systems against gold and compare the first with each of the others.

    What a system would have said where it was not reached (status "error", or no record) is unknown, and silence that
    is not its own doing must not count as wrong. Up to `MOST_LEFT_OUT` of the texts are left out for that, for all
    systems; a system that was not reached for more is left out itself. The first one is always scored.

    gold (Sequence[Annotation]): What people said of N texts.
    systems (Sequence[System]): The system under test first.
    files (Optional[Mapping[str, str]]): Gold's file and sha256, to be kept.
    seen (Optional[Mapping[str, int]]): See `Evaluation`.
    RETURNS (Evaluation): With its verdict.
    RAISES (ConfigError): Fewer than one system, or two of one name.
    """
    if not systems or len({system.name for system in systems}) < len(systems):
        raise ConfigError("Expected at least one system, and no two of one name.")
    teacher = next((system.model for system in systems if system.name == "teacher"), None)
    missed = {system.name: len(ids) for system in systems[1:] if (ids := _unreached(gold, system.annotations))}
    unreached = {name: count for name, count in missed.items() if count > MOST_LEFT_OUT * len(gold)}
    left_out = {name: count for name, count in missed.items() if name not in unreached}
    gold = scored_texts(gold, systems)
    systems = [system for system in systems if system.name not in unreached]
    labels = label_set(gold, *(system.annotations for system in systems))
    tallies = [tally(gold, system.annotations, labels) for system in systems]
    groups = [record.group for record in gold]
    draws = bootstrap(tallies, groups, resamples=resamples, seed=seed)
    points = [{name: float(value) for name, value in scores(t.counts.sum(0)).items()} for t in tallies]
    main = "accuracy" if gold[0].task == "textcat" and gold[0].exclusive else "micro_f1"
    results = []
    for system, counts, point, drawn in zip(systems, tallies, points, draws, strict=True):
        found = tuple(per_label(counts))
        there = [score for score in found if score.support]
        silent = [score for score in there if not score.predicted]
        known = set(label_set(system.annotations)) or set(labels)  # without an answer nobody knows what it has
        never = tuple(score.label for score in silent if score.label in known)
        results.append(
            Result(
                name=system.name,
                model=system.model,
                scores={name: interval(point[name], drawn[name]) for name in METRICS},
                labels=found,
                label_coverage=1 - len(silent) / len(there) if there else 1.0,
                never=never,
                statuses=_statuses(gold, system.annotations),
                words_per_s=system.words_per_s,
                speed=system.speed,
                size_mb=system.size_mb,
                confusion=_confusion(gold, system.annotations, labels) if main == "accuracy" else None,
                errors=entity_errors(gold, system.annotations) if gold[0].task == "ner" else None,
                calibration=calibration(gold, system.annotations),
                files=dict(system.files),
                lacks={score.label: score.support for score in silent if score.label not in known},
            )
        )
    differences = tuple(
        Difference(
            first=systems[0].name,
            other=system.name,
            metrics={
                name: interval(points[0][name] - points[i][name], draws[0][name] - draws[i][name]) for name in METRICS
            },
            fidelity=_fidelity(systems[0], system, labels, main),
        )
        for i, system in enumerate(systems)
        if i
    )
    size = len(set(units(groups)))
    return Evaluation(
        task=gold[0].task,
        exclusive=gold[0].exclusive,
        labels=labels,
        texts=len(gold),
        words=sum(len(record.text.split()) for record in gold),
        units=size,
        main=main,
        results=tuple(results),
        differences=differences,
        verdict=verdict(main, len(gold), size, results, differences, unreached=unreached, left_out=left_out, seen=seen),
        teacher=teacher,
        unreached=unreached,
        left_out=left_out,
        seen=dict(seen or {}),
        files=dict(files or {}),
        versions=versions(),
        resamples=resamples,
        seed=seed,
    )


def scored_texts(gold: Sequence[Annotation], systems: Sequence[System]) -> list[Annotation]:
    """RETURNS (List[Annotation]): What of gold is scored: see `evaluate`."""
    silent = [_unreached(gold, system.annotations) for system in systems[1:]]
    aside = {id for ids in silent if len(ids) <= MOST_LEFT_OUT * len(gold) for id in ids}
    return [record for record in gold if record.id not in aside]


def _statuses(gold: Sequence[Annotation], annotations: Sequence[Annotation]) -> dict[str, int]:
    known = {record.id: record.status for record in annotations}
    return dict(Counter(known.get(record.id, "missing") for record in gold).most_common())


def _unreached(gold: Sequence[Annotation], annotations: Sequence[Annotation]) -> set[str]:
    """RETURNS (Set[str]): Ids of gold's texts that a system never replied to."""
    replied = {record.id for record in annotations if record.status != "error"}
    return {record.id for record in gold if record.id not in replied}


def _confusion(
    gold: Sequence[Annotation], annotations: Sequence[Annotation], labels: Sequence[str]
) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(map(int, row)) for row in confusion(gold, annotations, labels))


def _fidelity(first: System, other: System, labels: Sequence[str], main: str) -> float:
    answered = [record for record in other.annotations if record.status == "ok"]
    if not answered:
        return 0.0
    return float(scores(tally(answered, first.annotations, labels).counts.sum(0))[main])


def versions() -> dict[str, str]:
    """RETURNS (Dict[str, str]): The software and the kind of machine that the figures were made with."""
    found = {"python": platform.python_version()}
    for name in ("spacy", "spacy-distill", "numpy"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return {**found, "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPUs"}
