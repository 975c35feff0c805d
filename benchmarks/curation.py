"""What does curation do for a student? The same student from a teacher's labels as they are, and from curated ones.

    python -m benchmarks.curation [DATASET …] [--seeds 5] [--student textcat_tiny] [--results FOLDER] [--quick]

`student_raw` learns the teacher's hard labels, all texts weighing the same, with nothing taken out but replies that
cannot be used and texts of the gold. `student_curated` goes by the configs as they are shipped: the rules of
configs/curation.cfg, the teacher's probabilities, the student's own class weights. On mit_restaurant all three learn
the same texts without copies; `student_raw` all entities, `student_dropped` only texts whose entities are all sure,
`student_curated` all texts, the doubtful entities' tokens unknown.

Data sets: sms_spam_weakest (labels of gpt-4o-mini), sms_spam_seven (the vote of seven models), babe_bias and banking77
(votes of three), emotion_20 and emotion_40 (gold with 20 and 40 % of confusable errors: a simulation, see
`curation_data.simulate`), reddit_cooking (GPT-3.5's replies; word vectors), mit_restaurant (sentences that GPT-3.5 made
up and annotated, with log-probabilities). Students and teachers are measured against people.

A seed is another split into train and dev, another start of training and, on emotion, another sample and other errors.
`mean` is over seeds; `low` and `high` are a 95 % bootstrap interval that draws texts and seeds (Owen 2007, "The
pigeonhole bootstrap"). Prints one JSON object a data set, and one of all at the end. With --results, what is there
already is not trained again: start with an empty folder after the code of a rule or of a student has changed.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from spacy.tokens import Doc

from spacy_distill.corpus.build import build
from spacy_distill.curation.curate import curate, make_rules, read_rules
from spacy_distill.curation.types import Context
from spacy_distill.docs import correct_doc
from spacy_distill.evaluation.comparison import bootstrap, interval
from spacy_distill.evaluation.pipelines import find_component, predict
from spacy_distill.evaluation.scores import label_set, scores, tally
from spacy_distill.files import write_json
from spacy_distill.students.train import component_overrides, read_student, train
from spacy_distill.types import Annotation, Text

from . import ROOT, data_path, entities, print_json
from .curation_data import DATASETS, Data, as_answer, kept_of
from .line import write_vectors

CURATION = ROOT / "configs" / "curation.cfg"
HYGIENE = ["status", "leakage"]
RESAMPLES = 2000
QUICK_TEXTS = 400
TEXTCAT_STEPS, NER_STEPS, QUICK_STEPS = 400, 600, 100
NER = {
    "components.ner.model.tok2vec.embed.width": 64,
    "components.ner.model.tok2vec.encode.depth": 2,
    "training.optimizer.learn_rate": 0.003,
    "training.patience": 0,
}
"""configs/ner.cfg made small and quick: 60 % of the time for the same F on mit_restaurant's dev set."""
UNSURE = 0.8
"""mit_restaurant: an entity with a lower probability is doubtful; 15 % of the texts have one."""


@dataclass(frozen=True)
class Arm:
    """One way to make a corpus of annotations.

    rules (Optional[List[str]]): Their names in configs/curation.cfg; None: those that it lists.
    settings (Mapping[str, Mapping[str, Any]]): Arguments of rules, where they differ from the config's.
    soft (bool): The teacher's probabilities for targets, not its best label alone.
    balance (Optional[float]): Class weights; None: as the student's config has them.
    weight (Optional[str]): What a text weighs where the teacher said how sure it is, see `soft_textcat`; None: as the
        student's config has it.
    """

    rules: list[str] | None = None
    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    soft: bool = True
    balance: float | None = None
    weight: str | None = None


RAW = Arm(HYGIENE, soft=False, balance=0.0)
ARMS = {"raw": RAW, "curated": Arm()}
UNIQUE = [*HYGIENE, "duplicates"]
RESTAURANT_ARMS = {
    "raw": Arm(UNIQUE),
    "dropped": Arm([*UNIQUE, "min_confidence"], {"min_confidence": {"threshold": UNSURE}}),
    "curated": Arm(
        [*UNIQUE, "min_confidence"], {"min_confidence": {"threshold": UNSURE, "unsure_entities": "unknown"}}
    ),
}
PARTS = {
    "rules": Arm(soft=False, balance=0.0),
    "soft": Arm(HYGIENE, balance=0.0),
    "balanced": Arm(HYGIENE, soft=False),
    "weighted": Arm(HYGIENE, soft=False, balance=0.0, weight="confidence"),
    "rules_soft": Arm(balance=0.0),
    "soft_balanced": Arm(HYGIENE),
}
"""For `--parts`: which part of the curation does what (classes only)."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("datasets", nargs="*", metavar="DATASET", help=f"Default: all of {', '.join(DATASETS)}")
    parser.add_argument("--seeds", type=int, default=5, help="How many students of each kind, with seeds 0, 1, …")
    parser.add_argument("--student", default="textcat_tiny", help="The classifier's config in configs/")
    parser.add_argument("--results", type=Path, help="Folder of what was trained already; default: a temporary one")
    parser.add_argument("--parts", nargs="*", default=[], choices=list(PARTS), help="Students of parts of the curation")
    parser.add_argument("--quick", action="store_true", help="One seed, 400 texts of each data set, 60 steps")
    args = parser.parse_args()
    if unknown := [name for name in args.datasets if name not in DATASETS]:
        parser.error(f"unknown data sets {', '.join(unknown)}; known: {', '.join(DATASETS)}")
    data_path()
    with tempfile.TemporaryDirectory() as temporary:
        results = (args.results or Path(temporary) / "results").resolve()
        results.mkdir(parents=True, exist_ok=True)
        found = {}
        for name in args.datasets or DATASETS:
            bench = Bench(name, args.student, results, Path(temporary), args.quick)
            found[name] = bench.measure(range(1 if args.quick else args.seeds), args.parts)
            print_json(**{name: found[name]})
    show(found)
    print_json(**found)


class Bench:
    """One data set's students."""

    def __init__(self, name: str, student: str, results: Path, folder: Path, quick: bool) -> None:
        self.name, self.results, self.folder, self.quick = name, results, folder, quick
        self.is_ner = name in ("reddit_cooking", "mit_restaurant")
        self.student = ROOT / "configs" / f"{'ner' if self.is_ner else student}.cfg"
        most = QUICK_STEPS if quick else NER_STEPS if self.is_ner else TEXTCAT_STEPS
        steps = read_student(self.student)["training"]["max_steps"]
        self.overrides: dict[str, Any] = {"training.max_steps": min(steps, most), **(NER if self.is_ner else {})}
        if name == "reddit_cooking" and not quick:
            vectors = write_vectors(results, *entities.texts())
            self.overrides |= {"paths.vectors": str(vectors), entities.STATIC: True}
        self.arms = RESTAURANT_ARMS if name == "mit_restaurant" else ARMS

    def measure(self, seeds: Sequence[int], parts: Sequence[str]) -> dict[str, Any]:
        """RETURNS (Dict[str, Any]): `teacher`, each student and their differences, as mean, low and high."""
        start = time.process_time()
        arms = {**self.arms, **({} if self.is_ner else {part: PARTS[part] for part in parts})}
        data: list[Data] = []
        answers: dict[str, list[list[Annotation]]] = {name: [] for name in arms}
        for seed in seeds:
            if not data or self.name.startswith("emotion"):
                made = DATASETS[self.name](self.folder, seed, QUICK_TEXTS if self.quick else None)
            data.append(made)
            for name, arm in arms.items():
                answers[name].append(self.student_of(name, arm, made, seed))
        main = "micro_f1" if self.is_ner else "accuracy"
        students = {f"student_{name}": found for name, found in answers.items()}
        figures: dict[str, Any] = {"metric": main, "teacher": None, "teacher_judged_on": None}
        if data[0].judged:
            teacher = {"teacher": [each.answers for each in data]}
            if data[0].judged is data[0].gold:
                figures |= {**compare(data[0].gold, {**teacher, **students}, main), "teacher_judged_on": "test"}
            else:
                figures |= compare(data[0].judged, teacher, main)
                figures |= {**compare(data[0].gold, students, main), "teacher_judged_on": "train"}
        else:
            figures |= compare(data[0].gold, students, main)
        cpu_s = round(time.process_time() - start, 1)
        return {
            **figures,
            "texts": len(data[0].gold),
            "pool": len(data[0].records),
            "seeds": len(seeds),
            "cpu_s": cpu_s,
        }

    def student_of(self, name: str, arm: Arm, data: Data, seed: int) -> list[Annotation]:
        """RETURNS (List[Annotation]): A student's answers to gold's texts, trained now or before."""
        rules = read_rules(CURATION)
        if arm.rules is not None:
            rules["curation"] = {"rules": arm.rules}
        for rule, arguments in arm.settings.items():
            rules["rules"][rule] = {**rules["rules"][rule], **arguments}
        overrides = dict(self.overrides)
        if arm.balance is not None:
            overrides |= component_overrides(self.student, balance=arm.balance)
        if arm.weight is not None and any(record.confidence is not None for record in data.records):
            overrides |= component_overrides(self.student, weight=arm.weight)
        key = digest(self.student.read_text(encoding="utf8"), overrides, rules, arm.soft, seed, data.records, data.gold)
        kept = self.results / f"{self.name}-{name}-{seed}.json"
        if kept.is_file():
            found = json.loads(kept.read_text(encoding="utf8"))
            if found["key"] == key:
                return [as_answer(gold, said) for gold, said in zip(data.gold, found["answers"], strict=True)]
        start = time.process_time()
        context = Context.of(Text(gold.id, gold.text, gold.group) for gold in data.gold)
        curated = curate(data.records, make_rules(rules, CURATION.name), context)
        docs = curated_docs(data, curated.kept)
        corpus = self.folder / "corpus"
        build(docs, curated.kept, seed=seed, soft=arm.soft).write(corpus, confidence=arm.weight is not None)
        nlp = train(self.student, corpus, self.folder / "training", seed=seed, overrides=overrides)
        answers = predict(nlp, find_component(nlp), data.gold)
        seconds = round(time.process_time() - start, 1)
        write_json(kept, {"key": key, "kept": len(docs), "cpu_s": seconds, "answers": list(map(kept_of, answers))})
        print(f"{self.name}, {name}, seed {seed}: {len(docs)} of {len(data.docs)} texts, {seconds} CPU s", flush=True)
        return answers


def digest(*parts: Any) -> str:
    """RETURNS (str): Of everything that a student depends on, the code apart."""
    return hashlib.sha256(repr(parts).encode("utf8", "surrogatepass")).hexdigest()


def curated_docs(data: Data, kept: Sequence[Annotation]) -> list[Doc]:
    """RETURNS (List[Doc]): Those of the pool that were kept, corrected where a rule did so."""
    before = {record.id: (doc, record) for doc, record in zip(data.docs, data.records, strict=True)}
    found = []
    for annotation in kept:
        doc, record = before[annotation.id]
        found.append(doc if annotation is record else correct_doc(doc, annotation))
    return found


def compare(gold: Sequence[Annotation], systems: Mapping[str, list[list[Annotation]]], main: str) -> dict[str, Any]:
    """Score systems with a run a seed, and their differences.

    RETURNS (Dict[str, Any]): For each system its main metric and macro F1; `curated_minus_NAME` for each other one.
    """
    runs = [run for found in systems.values() for run in found]
    labels = label_set(gold, *runs)
    tallies = [tally(gold, run, labels) for run in runs]
    drawn = bootstrap(tallies, [record.group for record in gold], resamples=RESAMPLES)
    seeds = len(next(iter(systems.values())))
    picks = np.random.default_rng(0).integers(0, seeds, size=(seeds, RESAMPLES))
    figures: dict[str, Any] = {}
    of: dict[str, dict[str, tuple[float, Any]]] = {}
    for number, name in enumerate(systems):
        its = range(number * seeds, (number + 1) * seeds)
        of[name] = {}
        for metric in (main, "macro_f1"):
            draws = np.stack([drawn[index][metric] for index in its])
            value = float(np.mean([scores(tallies[index].counts.sum(0))[metric] for index in its]))
            of[name][metric] = value, draws[picks, np.arange(RESAMPLES)].mean(axis=0)
        figures[name] = {**rounded(*of[name][main]), "macro_f1": rounded(*of[name]["macro_f1"])}
    if "student_curated" in of:
        value, draws = of["student_curated"][main]
        for name, found in of.items():
            if name != "student_curated":
                difference = rounded(value - found[main][0], draws - found[main][1])
                figures[f"curated_minus_{name.removeprefix('student_')}"] = difference
    return figures


def rounded(value: float, draws: Any) -> dict[str, float]:
    found = interval(value, draws)
    return {"mean": round(found.value, 4), "low": round(found.low, 4), "high": round(found.high, 4)}


def show(found: Mapping[str, Mapping[str, Any]]) -> None:
    columns = list(
        dict.fromkeys(name for figures in found.values() for name, each in figures.items() if has_mean(each))
    )
    table = Table(title="Accuracy (classes) or F1 (entities) in percent", title_justify="left")
    table.add_column("")
    for name in columns:
        table.add_column(name.replace("_", " "), justify="right")
    for name, figures in found.items():
        table.add_row(name, *(in_percent(figures.get(column)) for column in columns))
    Console(width=170).print(table)


def has_mean(figures: Any) -> bool:
    return isinstance(figures, dict) and "mean" in figures


def in_percent(figures: Any) -> str:
    if not has_mean(figures):
        return "–"
    return f"{100 * figures['mean']:.1f} ({100 * figures['low']:.1f} to {100 * figures['high']:.1f})"


if __name__ == "__main__":
    main()
