"""Teacher to large student to small student: what the small ones gain from texts that the large one labelled.

    python -m benchmarks.pseudo_labels --results RESULTS [--data emotion,banking77] [--texts 1000]
        [--large textcat_tuned] [--small textcat_tiny,textcat_accurate] [--seeds 3] [--quick]

A seed draws the texts that people labelled; the large student learns from them, and `spacy-distill pseudo-label` has it
label all the other texts of the pool. The small ones learn from the labelled texts alone, and from all; all of them are
measured on the test texts of `benchmarks.students`, which nobody learned from. Dev is 15 % of the labelled texts.

Trainings in RESULTS are not done again. Ends with one line of JSON: `rows`, one for each data set and small student, in
accuracy with 95 % intervals: `large`, `alone`, `taught`, and `gain`, the paired difference of the last two.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import spacy
from rich.console import Console
from rich.table import Table

from spacy_distill.corpus.build import build
from spacy_distill.docs import annotate_doc, make_doc
from spacy_distill.evaluation.comparison import Interval, bootstrap, interval
from spacy_distill.evaluation.pipelines import find_component, predict
from spacy_distill.evaluation.run import load as load_pipeline
from spacy_distill.evaluation.scores import Floats, Tally, scores, tally
from spacy_distill.files import write_jsonl
from spacy_distill.types import Annotation, Text

from . import data_path, print_json
from .line import command, train
from .students_data import Row, load, names


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, help="Folder of the trainings; default: a temporary one")
    parser.add_argument("--data", default=",".join(names()))
    parser.add_argument("--texts", type=int, default=1000, help="How many are labelled by people")
    parser.add_argument("--large", default="textcat_tuned", help="A config in configs/, without its ending")
    parser.add_argument("--small", default="textcat_tiny,textcat_accurate", help="Configs in configs/")
    parser.add_argument("--seeds", type=int, default=3, help="Samples 0, 1, …")
    parser.add_argument("--quick", action="store_true", help="500 spam messages, `encoder` and `tiny`, one seed")
    args = parser.parse_args()
    if args.quick:
        args.data, args.texts, args.seeds = "sms_spam_llm", 500, 1
        args.large, args.small = "textcat_encoder", "textcat_tiny"
    data_path("emotion")
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as temporary:
        for name in args.data.split(","):
            folder = (args.results or Path(temporary)).resolve() / f"{name}-{args.texts}"
            found = _measure(name, args.texts, args.large, args.small.split(","), args.seeds, folder)
            rows += found
            for row in found:
                print(row, flush=True)
    _print(rows)
    print_json(rows=rows)


def _measure(name: str, texts: int, large: str, small: Sequence[str], seeds: int, folder: Path) -> list[dict[str, Any]]:
    """RETURNS (List[Dict[str, Any]]): The rows of one data set."""
    data = load(name, "gold")
    assert data is not None
    test = [_annotation(number, row, data.labels) for number, row in enumerate(data.test)]
    tallies: dict[str, list[Tally]] = {}
    for seed in range(seeds):
        here = folder / f"{large}-{seed}"
        rows = data.sample(len(data.pool), seed)
        if not (here / "corpus").exists():
            records = [_annotation(number, row, data.labels) for number, row in enumerate(rows[:texts])]
            write_jsonl(here / "texts.jsonl", ({"text": row.text} for row in rows[texts:]))
            write_jsonl(here / "test.jsonl", ({"text": row.text} for row in data.test))
            _write_corpus(records, here / "corpus", seed)
        teacher = _train(large, here / "corpus", here, seed)
        if not (here / "corpus_large").exists():
            command(
                "spacy_distill", "pseudo-label", teacher, "texts.jsonl", "corpus", "corpus_large",
                "--gold", "test.jsonl", folder=here, show=True,
            )  # fmt: skip
        models = {"large": teacher}
        for one in small:
            models[f"{one} alone"] = _train(one, here / "corpus", here, seed)
            models[f"{one} taught"] = _train(one, here / "corpus_large", here / "taught", seed)
        for what, model in models.items():
            nlp = load_pipeline(model)
            answers = predict(nlp, find_component(nlp, "textcat"), test)
            tallies.setdefault(what, []).append(tally(test, answers, data.labels))
    together = {what: replace(found[0], counts=sum(one.counts for one in found)) for what, found in tallies.items()}
    drawn = dict(zip(together, bootstrap(list(together.values()), [None] * len(test)), strict=True))
    draws = {what: found["accuracy"] for what, found in drawn.items()}
    values = {what: float(scores(found.counts.sum(0))["accuracy"]) for what, found in together.items()}
    shared = {"data": name, "labelled": texts, "unlabelled": len(data.pool) - texts, "seeds": seeds}
    rows = []
    for one in small:
        alone, taught = f"{one} alone", f"{one} taught"
        rows.append(
            {
                **shared,
                "teacher": large,
                "student": one,
                "large": _rounded(values["large"], draws["large"]),
                "alone": _rounded(values[alone], draws[alone]),
                "taught": _rounded(values[taught], draws[taught]),
                "gain": _rounded(values[taught] - values[alone], draws[taught] - draws[alone]),
            }
        )
    return rows


def _annotation(number: int, row: Row, labels: tuple[str, ...]) -> Annotation:
    cats = {label: float(label == row.gold) for label in labels}
    return Annotation(str(number), row.text, "textcat", labels, "ok", exclusive=True, cats=cats)


def _write_corpus(records: Sequence[Annotation], folder: Path, seed: int) -> None:
    nlp = spacy.blank("en")
    docs = [annotate_doc(make_doc(nlp, Text(record.id, record.text)), record) for record in records]
    build(docs, records, seed=seed).write(folder)


def _train(name: str, corpus: Path, folder: Path, seed: int) -> Path:
    run = train(name, corpus, folder, seed, task="textcat")
    if run is None:
        raise SystemExit("Install it (extra `local`), or name other students.")
    print(f"{folder.name}, {corpus.name}: {name} trained in {run.train_s:.0f} s", flush=True)
    return run.model


def _rounded(value: float, draws: Floats) -> dict[str, float]:
    found: Interval = interval(value, draws)
    return {name: round(float(figure), 4) for name, figure in asdict(found).items()}


def _print(rows: Sequence[dict[str, Any]]) -> None:
    table = Table(title="Students taught by a large one: accuracy in percent", title_justify="left")
    for number, name in enumerate(("texts", "unlabelled", "large", "student", "alone", "taught", "gain (95 %)")):
        table.add_column(name, justify="left" if number in (0, 3) else "right")
    for row in rows:
        large, alone, taught = (f"{100 * row[name]['value']:.1f}" for name in ("large", "alone", "taught"))
        gain = "{:+.1f} ({:+.1f} to {:+.1f})".format(*100 * np.asarray(list(row["gain"].values())))
        name = f"{row['data']}: {row['labelled']:,}"
        table.add_row(name, f"{row['unlabelled']:,}", large, row["student"], alone, taught, gain)
    Console(highlight=False, width=130).print(table)


if __name__ == "__main__":
    main()
