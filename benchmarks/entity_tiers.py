"""Students for entities side by side: how good, how fast, how large, and how good on words they never saw.

    python -m benchmarks.entity_tiers --results RESULTS [--cells mit_restaurant:500] [--tiers ner] [--seeds 3]
        [--minutes 40] [--markdown] [--quick]

mit_restaurant: 500 and 1,000 sentences labelled by people, drawn by the seed, measured on its 1,521 test sentences.
reddit_cooking: 500 real replies of GPT-3.5 (there are no more: the seed makes another split and training), measured on
200 texts annotated by people. 15 % of the labelled sentences are for dev.

Tiers: `ner`, spaCy's hash embeddings; `ner_vectors`, the same with word vectors of MiniLM; `ner_tuned`, MiniLM
trained further and run by spaCy alone; `ner_taught`, `ner` that learns from the labelled sentences and from what
`ner_tuned` says of the unlabelled; `ner_transformer`, MiniLM trained further, where spacy-transformers is installed.
The vectors are of words in the labelled and in unlabelled texts, never of the test's. An entity is new if it has a
word that no labelled sentence has: `recall_new` is of those, `share_new` says how many they are, and
`new_with_vector` how many of their new words the table has.

What is measured is kept in RESULTS/entities.jsonl: the same command goes on where it was stopped, and never measures
twice; delete lines to measure them again. With --minutes it starts nothing more after that, and shows what there is:
`--results benchmarks/results --minutes 0 --markdown` prints the README's table. Words a second are white-space words,
one thread, fresh text. Ends with one line of JSON: `rows`, means over the seeds of a cell and tier.
"""

from __future__ import annotations

import argparse
import random
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import spacy
from rich.console import Console
from rich.table import Table

from spacy_distill.corpus.build import build
from spacy_distill.curation.write import KEPT
from spacy_distill.docs import annotate_doc, make_doc, read_annotated
from spacy_distill.evaluation.comparison import bootstrap, interval
from spacy_distill.evaluation.pipelines import find_component, predict, size_mb
from spacy_distill.evaluation.race import speeds
from spacy_distill.evaluation.run import load
from spacy_distill.evaluation.scores import scores, tally
from spacy_distill.files import write_jsonl
from spacy_distill.students.tiers import Run
from spacy_distill.texts import gold_annotations, read_texts
from spacy_distill.types import Annotation, Text

from . import ROOT, data_path, entities, print_json
from .line import command, train, write_vectors
from .rows import Rows, Spec, means
from .students_table import table

CELLS = {
    "mit_restaurant:500": "restaurants: 500",
    "mit_restaurant:1000": "restaurants: 1,000",
    "reddit_cooking:500": "cooking: 500",
}
TIERS = {
    "ner": "`ner`",
    "ner_vectors": "`ner`, word vectors",
    "ner_taught": "`ner`, taught by `ner_tuned`",
    "ner_tuned": "`ner_tuned`",
    "ner_transformer": "`ner_transformer`",
}
"""What is measured, and its name in the table."""
FIGURES = {
    "f": 4, "low": 4, "high": 4, "recall_new": 4, "share_new": 4, "new_with_vector": 4, "train_s": 1, "mb": 2,
    "words_per_s_warm": 0, "words_per_s_fresh": 0,
}  # fmt: skip
"""Each figure of a row, and its decimals."""
CONFIGS = {"ner_vectors": "ner", "ner_taught": "ner"}


@dataclass(frozen=True)
class Cell:
    """What students of one cell learn from, and are measured on.

    labelled (List[Annotation]): Whose texts and entities are known.
    unlabelled (Sequence[Path]): Further texts of the kind, for vectors.
    gold (List[Annotation]): What people said of other texts.
    """

    labelled: list[Annotation]
    unlabelled: Sequence[Path]
    gold: list[Annotation]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, help="Folder of what was measured; default: a temporary one")
    parser.add_argument("--cells", default=",".join(CELLS))
    parser.add_argument("--tiers", default=",".join(TIERS))
    parser.add_argument("--seeds", type=int, default=3, help="How many students of each, with seeds 0, 1, …")
    parser.add_argument("--minutes", type=float, help="Start no measurement after so many minutes")
    parser.add_argument("--markdown", action="store_true", help="Print a table as in the README")
    parser.add_argument("--quick", action="store_true", help="500 restaurant sentences, `ner` for 300 steps, one seed")
    args = parser.parse_args()
    data_path("mit_restaurant")
    if args.quick:
        args.cells, args.tiers, args.seeds = next(iter(CELLS)), next(iter(TIERS)), 1
    grid = [
        {"cell": cell, "tier": tier, "seed": seed}
        for seed in range(args.seeds)
        for cell in args.cells.split(",")
        for tier in args.tiers.split(",")
    ]
    with tempfile.TemporaryDirectory() as temporary:
        results = (args.results or Path(temporary)).resolve()
        results.mkdir(parents=True, exist_ok=True)
        kept = Rows(results / "entities.jsonl", ("cell", "tier", "seed"))
        print(f"{len(kept.missing(grid))} measurements to make, {len(kept)} known.", flush=True)
        kept.measure(grid, lambda spec: _measure(spec, results, quick=args.quick), minutes=args.minutes)
    found = sorted(kept.known(grid), key=lambda row: (list(CELLS).index(row["cell"]), list(TIERS).index(row["tier"])))
    rows = means(found, ("cell", "tier"), FIGURES, "f")
    if args.markdown:
        print(_markdown(rows))
    else:
        _print(rows)
    print_json(rows=rows)


def _measure(spec: Spec, results: Path, *, quick: bool) -> dict[str, Any] | None:
    """RETURNS (Optional[Dict[str, Any]]): The figures of one student; None where it cannot be trained here."""
    folder = results / spec["cell"].replace(":", "-") / str(spec["seed"])
    folder.mkdir(parents=True, exist_ok=True)
    cell = _cell(spec["cell"], spec["seed"], folder)
    run = _train(spec["tier"], cell, _corpus(cell, spec["seed"], folder), folder, spec["seed"], quick=quick)
    return _figures(cell, run, folder) if run else None


def _cell(name: str, seed: int, folder: Path) -> Cell:
    data, size = name.split(":")
    if data == "reddit_cooking":
        replies = data_path(data, "train_gpt35.jsonl").resolve()
        pool, gold_path = folder / "pool.spacy", data_path(data, "eval_gold.jsonl").resolve()
        labels = [part for label in entities.LABELS for part in ("--label", label)]
        fields = ("--label-field", entities.LABEL_FIELD, "--reply-field", entities.REPLY_FIELD)
        if not (folder / "curated").exists():
            command("spacy_distill", "import", replies, pool, "--task", "ner", *labels, *fields, folder=folder)
            rules = ROOT / "configs" / "curation.cfg"
            command("spacy_distill", "curate", pool, "curated", "--config", rules, "--gold", gold_path, folder=folder)
        _, labelled = read_annotated(folder / "curated" / KEPT, spacy.blank("en").vocab, "ner")
        gold = gold_annotations(read_texts(gold_path), "ner", labels=entities.LABELS)
        return Cell(labelled[: int(size)], [data_path(data, part).resolve() for part in entities.UNLABELLED], gold)
    texts = {part: list(read_texts(data_path(data, f"{part}_gold.jsonl"))) for part in ("train", "test")}
    tested = {text.text for text in texts["test"]}
    pool = [text for text in texts["train"] if text.text not in tested]
    names = sorted({span.label for text in pool for span in gold_annotations([text], "ner")[0].ents or ()})
    random.Random(seed).shuffle(pool)
    labelled = gold_annotations(pool[: int(size)], "ner", labels=names)
    unlabelled = folder / "unlabelled.jsonl"
    write_jsonl(unlabelled, ({"text": text.text} for text in pool))
    return Cell(labelled, [unlabelled], gold_annotations(texts["test"], "ner", labels=names))


def _corpus(cell: Cell, seed: int, folder: Path) -> Path:
    nlp = spacy.blank("en")
    records = [replace(record, id=str(number)) for number, record in enumerate(cell.labelled)]
    docs = [annotate_doc(make_doc(nlp, Text(record.id, record.text)), record) for record in records]
    build(docs, records, seed=seed).write(folder / "corpus")
    return folder / "corpus"


def _train(name: str, cell: Cell, corpus: Path, folder: Path, seed: int, *, quick: bool) -> Run | None:
    vectors = None
    if name == "ner_taught":
        large = _train("ner_tuned", cell, corpus, folder, seed, quick=quick)
        if large is None:
            return None
        corpus = _taught(large.model, cell, corpus, folder)
    if name == "ner_vectors":
        known = folder / "known.jsonl"
        write_jsonl(known, ({"text": record.text} for record in cell.labelled))
        vectors = write_vectors(folder, known, *cell.unlabelled)
    steps = 300 if quick else None
    return train(name, corpus, folder, seed, task="ner", config=CONFIGS.get(name), vectors=vectors, max_steps=steps)


def _taught(large: Path, cell: Cell, corpus: Path, folder: Path) -> Path:
    """RETURNS (Path): The corpus, with what the large student says of the unlabelled texts."""
    target, texts, gold = folder / "corpus_taught", folder / "rest.jsonl", folder / "gold.jsonl"
    if not target.exists():
        rest = dict.fromkeys(text.text for path in cell.unlabelled for text in read_texts(path))
        write_jsonl(texts, ({"text": text} for text in rest))
        write_jsonl(gold, ({"text": record.text} for record in cell.gold))
        command("spacy_distill", "pseudo-label", large, texts, corpus, target, "--gold", gold, folder=folder)
    return target


def _figures(cell: Cell, run: Run, folder: Path) -> dict[str, Any]:
    tokenize = spacy.blank("en")
    known = {token.lower_ for record in cell.labelled for token in tokenize.make_doc(record.text)}
    new = [
        {
            (span.start, span.end, span.label): words
            for span in record.ents or ()
            if (words := [t.lower_ for t in tokenize.make_doc(record.text[span.start : span.end])])
            and set(words) - known
        }
        for record in cell.gold
    ]
    nlp = load(run.model)
    answers = predict(nlp, find_component(nlp, "ner"), cell.gold)
    counts = tally(cell.gold, answers, cell.gold[0].labels)
    found = [{(span.start, span.end, span.label) for span in answer.ents or ()} for answer in answers]
    found_new = sum(len(wanted.keys() & there) for wanted, there in zip(new, found, strict=True))
    (drawn,) = bootstrap([counts], [None] * len(cell.gold))
    bounds = interval(float(scores(counts.counts.sum(0))["micro_f1"]), drawn["micro_f1"])
    words = {word for spans in new for entity in spans.values() for word in entity if word not in known}
    number = sum(map(len, new))
    row = {
        "f": bounds.value,
        "low": bounds.low,
        "high": bounds.high,
        "recall_new": found_new / max(1, number),
        "share_new": number / sum(len(record.ents or ()) for record in cell.gold),
        "train_s": run.train_s,
        "mb": size_mb(run.model),
    }
    if run.tier == "ner_vectors":
        there = spacy.load(folder / "vectors").vocab
        row["new_with_vector"] = sum(there.has_vector(word) for word in words) / len(words)
    texts = [record.text for record in cell.gold]
    warm, fresh = speeds(lambda: load(run.model), [record.text for record in cell.labelled], texts)
    return {**row, "words_per_s_warm": warm, "words_per_s_fresh": fresh}


def _markdown(rows: Sequence[dict[str, Any]]) -> str:
    """RETURNS (str): The README's table. An asterisk marks means over fewer seeds than others have."""
    seeds = max((len(row["f_by_seed"]) for row in rows), default=0)
    lines = [["labelled", "student", "F", "of the new", "words/s", "MB"]]
    for row in rows:
        low, mean, high = (f"{row[name]:.3f}".removeprefix("0") for name in ("low", "f", "high"))
        fewer = "\\*" if len(row["f_by_seed"]) < seeds else ""
        words = f"{float('{words_per_s_fresh:.2g}'.format(**row)):,.0f}"
        new = f"{row['recall_new']:.2f}".removeprefix("0")
        lines.append(
            [CELLS[row["cell"]], TIERS[row["tier"]], f"{mean}{fewer} ({low}–{high})", new, words, f"{row['mb']:.1f}"]
        )
    return table(lines)


def _print(rows: Sequence[dict[str, Any]]) -> None:
    shown = Table(title="Students for entities", title_justify="left")
    for number, name in enumerate(
        ("texts", "tier", "F (95 %)", "recall of new", "words/s fresh", "warm", "MB", "train s")
    ):
        shown.add_column(name, justify="right" if number > 1 else "left")
    for row in rows:
        shown.add_row(
            row["cell"],
            row["tier"],
            f"{row['f']:.3f} ({row['low']:.3f}–{row['high']:.3f})",
            f"{row['recall_new']:.3f}",
            f"{row['words_per_s_fresh']:,.0f}",
            f"{row['words_per_s_warm']:,.0f}",
            f"{row['mb']:.1f}",
            f"{row['train_s']:.0f}",
        )
    Console(highlight=False, width=120).print(shown)


if __name__ == "__main__":
    main()
