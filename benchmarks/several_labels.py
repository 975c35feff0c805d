"""Students for texts with several labels, side by side, beside two that people use.

    python -m benchmarks.several_labels --results RESULTS [--sizes 500,1000] [--systems textcat_tiny] [--seeds 3]
        [--minutes 40] [--markdown] [--quick]

cooking_stackexchange_multilabel: questions with eleven labels from people, one to four a question; a seed draws 500 and
1,000 of them, 15 % for dev, and 2,000 others are the test. All but one question in twenty have the label OTHER, which
is why macro F1 says more than micro F1.

Ours are the configs that `spacy-distill init --task textcat_multilabel` writes; word vectors are of the words in all
questions but the test's. Those that do not need dev to know when to stop learn from it too, as a sweep's winner does;
so do peers, a logistic regression for each label: `ngrams_lr` on words, their pairs and characters; `minilm_lr` on
MiniLM's embeddings. From which score on a label holds is chosen for them as for ours, on 15 %.

What is measured is kept in RESULTS/several_labels.jsonl: the same command goes on where it was stopped, and never
measures twice; delete lines to measure them again. `--results benchmarks/results --minutes 0 --markdown` prints the
README's table. Words a second are white-space words, one thread, fresh text. Ends with one line of JSON: `rows`, means
over the seeds of a size and system.
"""

from __future__ import annotations

import argparse
import random
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import spacy
from rich.console import Console
from rich.table import Table

from spacy_distill.corpus.build import build
from spacy_distill.docs import annotate_doc, make_doc
from spacy_distill.evaluation.pipelines import find_component, predict, size_mb
from spacy_distill.evaluation.race import speeds
from spacy_distill.evaluation.run import load
from spacy_distill.evaluation.scores import scores, tally
from spacy_distill.files import write_jsonl
from spacy_distill.students.threshold import best_threshold
from spacy_distill.texts import gold_annotations, read_texts
from spacy_distill.types import Annotation, Text

from . import data_path, print_json
from .line import fetch_encoder, train, write_vectors
from .rows import Rows, Spec, means
from .students_peers import MiniLmLr, NgramsLr
from .students_table import table

DATA = "cooking_stackexchange_multilabel"
SYSTEMS = {
    "ngrams_lr": "n-grams",
    "minilm_lr": "MiniLM",
    "textcat_tiny": "`tiny`",
    "textcat_tiny_vectors": "`tiny_vectors`",
    "textcat_multilabel": "`textcat_multilabel`",
    "textcat_encoder": "`encoder`",
    "textcat_tuned": "`tuned`",
}
"""What is measured, and its name in the table."""
Peer = NgramsLr | MiniLmLr
PEERS: dict[str, type[Peer]] = {"ngrams_lr": NgramsLr, "minilm_lr": MiniLmLr}
HELD_OUT = 0.15
"""Of the labelled questions, for a peer's threshold; then it learns from all."""
FIGURES = {"macro_f1": 5, "micro_f1": 5, "words_per_s_warm": 0, "words_per_s_fresh": 0, "train_s": 1, "mb": 2}
"""Each figure of a row, and its decimals. Peers have the scores alone."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, help="Folder of what was measured; default: a temporary one")
    parser.add_argument("--sizes", default="500,1000")
    parser.add_argument("--systems", default=",".join(SYSTEMS))
    parser.add_argument("--seeds", type=int, default=3, help="Samples 0, 1, …")
    parser.add_argument("--minutes", type=float, help="Start no measurement after so many minutes")
    parser.add_argument("--markdown", action="store_true", help="Print a table as in the README")
    parser.add_argument("--quick", action="store_true", help="500 questions, n-grams and `tiny`, one seed")
    args = parser.parse_args()
    if args.quick:
        args.sizes, args.systems, args.seeds = "500", "ngrams_lr,textcat_tiny", 1
    pool, test = _load()
    grid: list[Spec] = [
        {"system": system, "size": int(size), "seed": seed}
        for seed in range(args.seeds)
        for size in args.sizes.split(",")
        for system in args.systems.split(",")
    ]
    with tempfile.TemporaryDirectory() as temporary:
        results = (args.results or Path(temporary)).resolve()
        results.mkdir(parents=True, exist_ok=True)
        kept = Rows(results / "several_labels.jsonl", ("system", "size", "seed"))
        print(f"{len(kept.missing(grid))} measurements to make, {len(kept)} known.", flush=True)
        kept.measure(grid, lambda spec: _measure(spec, pool, test, results / DATA), minutes=args.minutes)
    found = sorted(kept.known(grid), key=lambda row: (row["size"], list(SYSTEMS).index(row["system"])))
    rows = means(found, ("size", "system"), FIGURES, "macro_f1")
    if args.markdown:
        print(_markdown(rows))
    else:
        _print(rows)
    print_json(rows=rows)


def _load() -> tuple[list[Annotation], list[Annotation]]:
    """RETURNS (Tuple[List[Annotation], List[Annotation]]): Labelled questions, and those of the test."""
    parts = [list(read_texts(data_path(DATA, f"{part}_gold.jsonl"))) for part in ("train", "dev")]
    labels = sorted({label for part in parts for text in part for label in text.gold})
    pool, test = (gold_annotations(part, "textcat", labels=labels, exclusive=False) for part in parts)
    tested = {record.text for record in test}
    return [record for record in pool if record.text not in tested], test


def _measure(spec: Spec, pool: Sequence[Annotation], test: Sequence[Annotation], folder: Path) -> dict[str, Any] | None:
    """RETURNS (Optional[Dict[str, Any]]): The figures of one student; None where it cannot be trained here."""
    records = list(pool)
    random.Random(spec["seed"]).shuffle(records)
    records = records[: spec["size"]]
    if spec["system"] in PEERS:
        return _peer(PEERS[spec["system"]], records, test)
    here = folder / f"{spec['size']}-{spec['seed']}"
    vectors = None
    if spec["system"] == "textcat_tiny_vectors":
        write_jsonl(folder / "pool.jsonl", ({"text": record.text} for record in pool))
        vectors = write_vectors(folder, folder / "pool.jsonl")
    if not (here / "corpus").exists():
        nlp = spacy.blank("en")
        docs = [annotate_doc(make_doc(nlp, Text(record.id, record.text)), record) for record in records]
        build(docs, records, seed=spec["seed"]).write(here / "corpus")
    run = train(
        spec["system"],
        here / "corpus",
        here,
        spec["seed"],
        task="textcat",
        exclusive=False,
        vectors=vectors,
        whole=True,
    )
    if run is None:
        return None
    nlp = load(run.model)
    texts = [record.text for record in test]
    warm, fresh = speeds(lambda: load(run.model), [record.text for record in records], texts)
    return {
        **_scored(test, predict(nlp, find_component(nlp, "textcat"), test)),
        "words_per_s_warm": warm,
        "words_per_s_fresh": fresh,
        "train_s": run.train_s,
        "mb": size_mb(run.model),
    }


def _peer(
    kind: type[NgramsLr | MiniLmLr], records: Sequence[Annotation], test: Sequence[Annotation]
) -> dict[str, Any] | None:
    """RETURNS (Optional[Dict[str, Any]]): The scores of a peer whose last step is made one for each label."""
    from sklearn.multiclass import OneVsRestClassifier

    if missing := kind.missing():
        print(f"{kind.title} is left out: {', '.join(missing)} is not installed (extra `bench`).")
        return None
    system: Any = kind(test[0].labels, 0, fetch_encoder(), None)
    system.prepare()
    texts, tested = ([record.text for record in part] for part in (records, test))
    if kind is NgramsLr:
        name, last = system.model.steps[-1]
        system.model.steps[-1] = name, OneVsRestClassifier(last)
        model, given, asked = system.model, np.array(texts), tested
    else:
        model, given, asked = OneVsRestClassifier(system.head), system._encode(texts), system._encode(tested)
    labels = test[0].labels
    wanted = np.array([[float((record.cats or {}).get(label, 0.0)) for label in labels] for record in records])
    held_out = np.arange(len(records)) < HELD_OUT * len(records)  # they come in random order
    model.fit(given[~held_out], wanted[~held_out])
    threshold = best_threshold(model.predict_proba(given[held_out]), wanted[held_out])
    found = model.fit(given, wanted).predict_proba(asked)
    answers = [
        replace(record, cats=dict(zip(labels, row, strict=True)), threshold=threshold)
        for record, row in zip(test, found.tolist(), strict=True)
    ]
    return _scored(test, answers)


def _scored(test: Sequence[Annotation], answers: Sequence[Annotation]) -> dict[str, float]:
    found = scores(tally(test, answers, test[0].labels).counts.sum(0))
    return {name: float(found[name]) for name in ("macro_f1", "micro_f1")}


def _markdown(rows: Sequence[dict[str, Any]]) -> str:
    """RETURNS (str): The README's table. An asterisk marks means over fewer seeds than others have."""
    seeds = max((len(row["macro_f1_by_seed"]) for row in rows), default=0)
    lines = [["labelled", "student", "macro F1", "micro F1", "words/s", "MB"]]
    for row in rows:
        fewer = "\\*" if len(row["macro_f1_by_seed"]) < seeds else ""
        by_seed = sorted(f"{100 * f:.1f}" for f in row["macro_f1_by_seed"])
        macro = f"{100 * row['macro_f1']:.1f}{fewer}" + (f" ({by_seed[0]}–{by_seed[-1]})" if len(by_seed) > 1 else "")
        line = [f"{row['size']:,}", SYSTEMS[row["system"]], macro, f"{100 * row['micro_f1']:.1f}", "–", "–"]
        if "mb" in row:
            line[-2:] = f"{float('{words_per_s_fresh:.2g}'.format(**row)):,.0f}", f"{row['mb']:.1f}"
        lines.append(line)
    return table(lines)


def _print(rows: Sequence[dict[str, Any]]) -> None:
    shown = Table(title="Students for texts with several labels", title_justify="left")
    for number, name in enumerate(("texts", "system", *(name.replace("_", " ") for name in FIGURES))):
        shown.add_column(name, justify="right" if number != 1 else "left")
    for row in rows:
        figures = (f"{row[name]:,.{min(digits, 3)}f}" if name in row else "–" for name, digits in FIGURES.items())
        shown.add_row(f"{row['size']:,}", row["system"], *figures)
    Console(highlight=False, width=120).print(shown)


if __name__ == "__main__":
    main()
