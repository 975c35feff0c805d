"""Entities from real replies: 500 of GPT-3.5's about r/cooking, read, aligned, curated, learned, measured, packaged.

The student starts from word vectors: an encoder's of the words in 6,750 unlabelled texts.

    python -m benchmarks.entities [--seeds 3] [--quick]

The labels are parsed from the raw replies. The student is evaluated on 200 texts annotated by people; a published spaCy
student of these same 500 labels has .41 F there, its teacher .527 on the 177 training texts that were reviewed.
Ends with one line of JSON: `reddit_cooking_f` (mean over seeds), F by seed with its interval, the teacher's F on the
reviewed texts, words/s and MB.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from pathlib import Path

import spacy

from spacy_distill.docs import read_annotations
from spacy_distill.evaluation.comparison import bootstrap, interval
from spacy_distill.evaluation.scores import scores, tally
from spacy_distill.texts import gold_annotations, read_texts

from . import data_path, print_json
from .line import command, curate_and_train, evaluate, write_vectors

LABELS = ("DISH", "INGREDIENT", "EQUIPMENT")
UNLABELLED = ("unlabeled.jsonl", "unlabeled_big.jsonl")
LABEL_FIELD, REPLY_FIELD = "llm", "llm_raw"
STATIC = "components.ner.model.tok2vec.embed.include_static_vectors"
PUBLISHED_F = 0.41


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3, help="How many students, with seeds 0, 1, …")
    parser.add_argument("--quick", action="store_true", help="One student, trained for 600 steps at most")
    args = parser.parse_args()
    replies = data_path("reddit_cooking", "train_gpt35.jsonl").resolve()
    gold = data_path("reddit_cooking", "eval_gold.jsonl").resolve()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        labels = [part for label in LABELS for part in ("--label", label)]
        fields = ("--label-field", LABEL_FIELD, "--reply-field", REPLY_FIELD)
        command(
            "spacy_distill", "import", replies, "annotations/pool.spacy", "--task", "ner", *labels, *fields,
            folder=folder, show=True,
        )  # fmt: skip
        teacher_f = _teacher(folder / "annotations" / "pool.spacy", replies)
        vectors = write_vectors(folder, *texts())
        seeds = range(1 if args.quick else args.seeds)
        overrides = ("--training.max_steps", "600") if args.quick else ()
        overrides += ("--paths.vectors", str(vectors), f"--{STATIC}", "true")
        runs = []
        for seed in seeds:
            model = curate_and_train(folder, "ner", gold=gold, seed=seed, overrides=overrides)
            evaluation = evaluate(folder, model, gold)
            runs.append(evaluation["results"][0])
            print(f"seed {seed}: F {runs[-1]['scores']['micro_f1']['value']:.3f}", flush=True)
        command(
            "spacy_distill", "release", model, "packages", "--name", "cooking", "--manifest", "corpus/manifest.json",
            "--evaluation", "evaluation/evaluation.json", folder=folder, show=True,
        )  # fmt: skip
    found = [run["scores"]["micro_f1"] for run in runs]
    print_json(
        reddit_cooking_f=round(statistics.mean(run["value"] for run in found), 4),
        reddit_cooking_f_by_seed=[{key: round(run[key], 4) for key in ("value", "low", "high")} for run in found],
        published_student_f=PUBLISHED_F,
        teacher_f_on_reviewed=teacher_f,
        words_per_s=round(statistics.median(run["words_per_s"] for run in runs)),
        mb=round(runs[-1]["size_mb"], 2),
        seeds=list(seeds),
    )


def texts() -> list[Path]:
    """RETURNS (List[Path]): The files of all texts but those of the evaluation: what words are taken from."""
    return [data_path("reddit_cooking", name).resolve() for name in ("train_gpt35.jsonl", *UNLABELLED)]


def _teacher(annotations: Path, replies: Path) -> dict[str, float]:
    """RETURNS (Dict[str, float]): The teacher's F on the texts that were reviewed, with its 95 % interval."""
    gold = gold_annotations((text for text in read_texts(replies) if text.gold is not None), "ner", labels=LABELS)
    found = {record.id: record for record in read_annotations(annotations, spacy.blank("en").vocab, "ner")}
    counts = tally(gold, [found[record.id] for record in gold], LABELS)
    (draws,) = bootstrap([counts], [None] * len(gold))
    result = interval(float(scores(counts.counts.sum(0))["micro_f1"]), draws["micro_f1"])
    print(f"teacher on the {len(gold)} reviewed texts: F {result.value:.3f} ({result.low:.3f}–{result.high:.3f})")
    return {"value": round(result.value, 4), "low": round(result.low, 4), "high": round(result.high, 4)}


if __name__ == "__main__":
    main()
