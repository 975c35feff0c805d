"""Does filtering by confidence help a student, and does `calibrate` foretell it?

Real labels of 24 LLM annotators (8 models, 3 prompts each) for 3,021 news sentences, biased or not, with gold.
Teachers: the vote of all 24, of one model's three prompts, and single annotators with the share of the 24 that agrees
with them for a confidence. On 300 texts with gold the thresholds are chosen, as `spacy-distill calibrate` does; a
linear student (TF-IDF, logistic regression: peers of the extra `bench`) learns from the rest of the labels, from those
that a filter keeps, and from those with a confidence of at least 0.95; all are measured on the same quarter of the
texts.

    python -m benchmarks.confidence [--quick]
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from spacy_distill.curation.rules import make_min_confidence
from spacy_distill.curation.types import Context
from spacy_distill.evaluation.confidence import judge, score
from spacy_distill.evaluation.confidence_filter import plan
from spacy_distill.types import Annotation

from . import data_path, print_json

LABELS = ("biased", "not_biased")
CALIBRATION_TEXTS = 300
HARD = 0.95


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="One seed, and fewer teachers.")
    quick = parser.parse_args().quick
    with data_path("babe_bias", "train_dev_llm.jsonl").open(encoding="utf8") as file:
        rows = [json.loads(line) for line in file]
    annotators = sorted({name for row in rows for name in row if name.startswith("llm:")})
    accuracy = {name: float(np.mean([row.get(name) == row["gold"] for row in rows])) for name in annotators}
    weakest = sorted(annotators, key=lambda name: accuracy[name])
    teachers: dict[str, tuple[Sequence[str], str | None]] = {
        "vote of all": (annotators, None),
        "vote of gpt-3.5's prompts": ([name for name in annotators if "gpt_3_5" in name], None),
        **{name.removeprefix("llm:"): (annotators, name) for name in weakest[1 : 2 if quick else 6]},
    }
    seeds = range(1 if quick else 5)
    found = [
        {"teacher": name, "seed": seed, **run(rows, *teacher, seed)}
        for name, teacher in teachers.items()
        for seed in seeds
    ]
    show(found)
    helped = [row for row in found if row["helps"]]
    not_helped = [row for row in found if not row["helps"]]
    print_json(
        runs=len(found),
        seeds=list(seeds),
        recommended=len(helped),
        student_gain_where_recommended=_mean_gain(helped, "filtered"),
        student_gain_where_not=_mean_gain(not_helped, "filtered"),
        student_gain_of_095_where_not=_mean_gain(not_helped, "hard"),
    )


def run(
    rows: Sequence[Mapping[str, Any]], annotators: Sequence[str], main_annotator: str | None, seed: int
) -> dict[str, Any]:
    """RETURNS (Dict[str, Any]): What calibrate says of one teacher, and its students' accuracies."""
    order = np.random.default_rng(seed).permutation(len(rows))
    quarter = len(rows) // 4
    test, small, pool = np.split(order, [quarter, quarter + CALIBRATION_TEXTS])
    teacher = [_annotation(i, rows[i], annotators, main_annotator) for i in range(len(rows))]
    gold = [_labelled(i, str(rows[i]["text"]), str(rows[i]["gold"]), None) for i in small]
    judged = judge("teacher", gold, [teacher[i] for i in small])
    figures, _ = score(judged)
    planned = plan(judged)
    given = [teacher[i] for i in pool if teacher[i].status == "ok"]
    rule = make_min_confidence(planned.threshold, dict(planned.per_label))
    features = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True).fit([record.text for record in given])
    texts, truth = features.transform([rows[i]["text"] for i in test]), np.array([rows[i]["gold"] for i in test])

    def student(records: Sequence[Annotation]) -> float:
        labels = [record.label for record in records]
        if len(set(labels)) < 2:
            return float((truth == labels[0]).mean())
        learned = LogisticRegression(C=10, max_iter=300).fit(features.transform([r.text for r in records]), labels)
        return float((learned.predict(texts) == truth).mean())

    return {
        "accuracy": figures.accuracy.value,
        "auroc": figures.auroc.value if figures.auroc else None,
        "on_paper": planned.gain.value if planned.gain else None,
        "helps": planned.helps,
        "all": student(given),
        "filtered": student(rule(given, Context()).kept),
        "hard": student([record for record in given if (record.confidence or 0.0) >= HARD]),
    }


def _annotation(
    number: int, row: Mapping[str, Any], annotators: Sequence[str], main_annotator: str | None
) -> Annotation:
    votes = Counter(row[name] for name in annotators if row.get(name) in LABELS)
    label = row.get(main_annotator) if main_annotator else max(LABELS, key=lambda name: votes[name])
    if label not in LABELS or not votes:
        return Annotation(str(number), row["text"], "textcat", LABELS, "unparsed")
    return _labelled(number, row["text"], label, votes[label] / votes.total())


def _labelled(number: int, text: str, label: str, confidence: float | None) -> Annotation:
    cats = {name: float(name == label) for name in LABELS}
    return Annotation(
        str(number), text, "textcat", LABELS, "ok", cats=cats, confidence=confidence, confidence_kind="votes"
    )


def _mean_gain(found: Sequence[Mapping[str, Any]], which: str) -> float | None:
    return round(float(np.mean([row[which] - row["all"] for row in found])), 4) if found else None


def show(found: Sequence[Mapping[str, Any]]) -> None:
    table = Table(title="Accuracy of a student from …", title_justify="left")
    for name in ("teacher", "seed", "right", "AUROC", "gain on paper", "recommended", "all", "filtered", "≥ 0.95"):
        table.add_column(name, justify="left" if name == "teacher" else "right")
    for row in found:
        shares = [row["accuracy"], row["auroc"], row["on_paper"]]
        students = [f"{row[name]:.3f}" for name in ("all", "filtered", "hard")]
        cells = ["–" if value is None else f"{value:.3f}" for value in shares]
        table.add_row(row["teacher"], str(row["seed"]), *cells, "yes" if row["helps"] else "no", *students)
    Console(width=140).print(table)


if __name__ == "__main__":
    main()
