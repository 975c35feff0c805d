"""Students for entities side by side: how good, how fast, how large, and how good on words they never saw.

    python -m benchmarks.entity_tiers --results RESULTS [--cells mit_restaurant:500] [--tiers ner] [--seeds 3] [--quick]

mit_restaurant: 500 and 1,000 sentences labelled by people, measured on its 1,521 test sentences. reddit_cooking: 500
real replies of GPT-3.5 (there are no more), measured on 200 texts annotated by people. 15 % of the labelled sentences
are for dev.

Tiers: `ner`, spaCy's hash embeddings; `ner_vectors`, the same with word vectors of MiniLM; `ner_tuned`, MiniLM
trained further and run by spaCy alone; `ner_taught`, `ner` that learns from the labelled sentences and from what
`ner_tuned` says of the unlabelled; `ner_transformer`, MiniLM trained further, where spacy-transformers is installed.
The vectors are of words in the labelled and in unlabelled texts, never of the test's. An entity is new if it has a
word that no labelled sentence has: `recall_new` is of those, `share_new` says how many they are, and
`new_with_vector` how many of their new words the table has.

Trainings in RESULTS are not done again. Words a second are white-space words, one thread, fresh text. Ends with one
line of JSON: `rows`.
"""

from __future__ import annotations

import argparse
import random
import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import spacy
from rich.console import Console
from rich.table import Table
from spacy.util import load_config

from spacy_distill.corpus.build import build
from spacy_distill.curation.write import KEPT
from spacy_distill.docs import annotate_doc, make_doc, read_annotated
from spacy_distill.evaluation.comparison import bootstrap, interval
from spacy_distill.evaluation.pipelines import find_component, predict, size_mb
from spacy_distill.evaluation.race import speeds
from spacy_distill.evaluation.run import load
from spacy_distill.evaluation.scores import scores, tally
from spacy_distill.files import write_jsonl
from spacy_distill.students.tiers import Run, find_tiers, train_tier
from spacy_distill.texts import gold_annotations, read_texts
from spacy_distill.types import Annotation, Text

from . import ROOT, data_path, entities, print_json
from .line import command

CELLS = ("mit_restaurant:500", "mit_restaurant:1000", "reddit_cooking:500")
TIERS = ("ner", "ner_vectors", "ner_tuned", "ner_taught", "ner_transformer")
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
    parser.add_argument("--results", type=Path, help="Folder of the trainings; default: a temporary one")
    parser.add_argument("--cells", default=",".join(CELLS))
    parser.add_argument("--tiers", default=",".join(TIERS))
    parser.add_argument("--seeds", type=int, default=3, help="How many students of each, with seeds 0, 1, …")
    parser.add_argument("--quick", action="store_true", help="500 restaurant sentences, `ner` for 300 steps, one seed")
    args = parser.parse_args()
    if args.quick:
        args.cells, args.tiers, args.seeds = CELLS[0], TIERS[0], 1
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        results = (args.results or Path(temporary)).resolve()
        for name in args.cells.split(","):
            folder = results / name.replace(":", "-")
            folder.mkdir(parents=True, exist_ok=True)
            cell = _cell(name, folder)
            corpus = _corpus(cell, folder)
            for tier in args.tiers.split(","):
                runs = _train(tier, cell, corpus, folder, args.seeds, quick=args.quick)
                if runs:
                    rows.append({"cell": name, "tier": tier, **_measure(cell, runs, folder)})
                    print(rows[-1], flush=True)
    _print(rows)
    print_json(rows=rows)


def _cell(name: str, folder: Path) -> Cell:
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
    random.Random(0).shuffle(pool)
    labelled = gold_annotations(pool[: int(size)], "ner", labels=names)
    unlabelled = folder / "unlabelled.jsonl"
    write_jsonl(unlabelled, ({"text": text.text} for text in pool))
    return Cell(labelled, [unlabelled], gold_annotations(texts["test"], "ner", labels=names))


def _corpus(cell: Cell, folder: Path) -> Path:
    nlp = spacy.blank("en")
    records = [replace(record, id=str(number)) for number, record in enumerate(cell.labelled)]
    docs = [annotate_doc(make_doc(nlp, Text(record.id, record.text)), record) for record in records]
    build(docs, records).write(folder / "corpus")
    return folder / "corpus"


def _train(name: str, cell: Cell, corpus: Path, folder: Path, seeds: int, *, quick: bool) -> list[Run]:
    if name == "ner_taught":
        corpus = _taught(cell, corpus, folder, quick=quick)
    config = load_config(ROOT / "configs" / f"{CONFIGS.get(name, name)}.cfg", interpolate=False)
    if quick:
        config["training"].update(max_steps=300)
    if name != "ner":
        command("demo.fetch", "encoder", folder=ROOT, show=True)
    if "encoder" in config["paths"]:
        config["paths"]["encoder"] = str(ROOT / "assets" / "encoder")
    if name == "ner_vectors":
        vectors = folder / "vectors"
        if not vectors.exists():
            known = folder / "known.jsonl"
            write_jsonl(known, ({"text": record.text} for record in cell.labelled))
            encoder = ROOT / "assets" / "encoder"
            command("spacy_distill", "vectors", encoder, vectors, known, *cell.unlabelled, folder=folder, show=True)
        config["paths"]["vectors"] = str(vectors)
        config["components"]["ner"]["model"]["tok2vec"]["embed"]["include_static_vectors"] = True
    (folder / "configs").mkdir(exist_ok=True)
    config.to_disk(folder / "configs" / f"{name}.cfg")
    (tier,) = (one for one in find_tiers(folder / "configs", "ner", True) if one.name == name)
    if tier.missing:
        print(f"{name} is left out: {', '.join(tier.missing)} is not there.")
        return []
    return [train_tier(tier, [corpus], folder / "training", seed) for seed in range(seeds)]


def _taught(cell: Cell, corpus: Path, folder: Path, *, quick: bool) -> Path:
    """RETURNS (Path): The corpus, with what the first `ner_tuned` says of the unlabelled texts."""
    (large,) = _train("ner_tuned", cell, corpus, folder, 1, quick=quick)
    target, texts, gold = folder / "corpus_taught", folder / "rest.jsonl", folder / "gold.jsonl"
    if not target.exists():
        rest = dict.fromkeys(text.text for path in cell.unlabelled for text in read_texts(path))
        write_jsonl(texts, ({"text": text} for text in rest))
        write_jsonl(gold, ({"text": record.text} for record in cell.gold))
        command("spacy_distill", "pseudo-label", large.model, texts, corpus, target, "--gold", gold, folder=folder)
    return target


def _measure(cell: Cell, runs: Sequence[Run], folder: Path) -> dict[str, Any]:
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
    labels = cell.gold[0].labels
    counts, found_new = [], []
    for run in runs:
        nlp = load(run.model)
        answers = predict(nlp, find_component(nlp, "ner"), cell.gold)
        counts.append(tally(cell.gold, answers, labels))
        found = [{(span.start, span.end, span.label) for span in answer.ents or ()} for answer in answers]
        found_new.append(sum(len(wanted.keys() & there) for wanted, there in zip(new, found, strict=True)))
    f = [float(scores(one.counts.sum(0))["micro_f1"]) for one in counts]
    together = replace(counts[0], counts=sum(one.counts for one in counts))
    (drawn,) = bootstrap([together], [None] * len(cell.gold))
    bounds = interval(float(scores(together.counts.sum(0))["micro_f1"]), drawn["micro_f1"])
    words = {word for spans in new for entity in spans.values() for word in entity if word not in known}
    number = sum(map(len, new))
    row = {
        "f": round(bounds.value, 4),
        "low": round(bounds.low, 4),
        "high": round(bounds.high, 4),
        "f_by_seed": [round(one, 4) for one in f],
        "recall_new": round(statistics.mean(found_new) / max(1, number), 4),
        "share_new": round(number / sum(len(record.ents or ()) for record in cell.gold), 4),
        "train_s": round(statistics.median(run.train_s for run in runs), 1),
        "mb": round(size_mb(runs[0].model), 2),
    }
    if runs[0].tier == "ner_vectors":
        table = spacy.load(folder / "vectors").vocab
        row["new_with_vector"] = round(sum(table.has_vector(word) for word in words) / len(words), 4)
    texts = [record.text for record in cell.gold]
    warm, fresh = speeds(lambda: load(runs[0].model), [record.text for record in cell.labelled], texts)
    return {**row, "words_per_s_warm": round(warm), "words_per_s_fresh": round(fresh)}


def _print(rows: Sequence[dict[str, Any]]) -> None:
    table = Table(title="Students for entities", title_justify="left")
    for number, name in enumerate(
        ("texts", "tier", "F (95 %)", "recall of new", "words/s fresh", "warm", "MB", "train s")
    ):
        table.add_column(name, justify="right" if number > 1 else "left")
    for row in rows:
        table.add_row(
            row["cell"],
            row["tier"],
            f"{row['f']:.3f} ({row['low']:.3f}–{row['high']:.3f})",
            f"{row['recall_new']:.3f}",
            f"{row['words_per_s_fresh']:,}",
            f"{row['words_per_s_warm']:,}",
            f"{row['mb']:.1f}",
            f"{row['train_s']:.0f}",
        )
    Console(highlight=False, width=120).print(table)


if __name__ == "__main__":
    main()
