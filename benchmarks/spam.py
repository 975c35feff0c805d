"""Spam in text messages, with two teachers: labels that gpt-4o-mini made, and SmolLM2-135M inside this process.

    python -m benchmarks.spam [--quick]

Both go through the same commands: `import` (Recorded.v1) or `choose` and `annotate` (Local.v1, with examples shown),
then `curate`, `corpus`, `spacy train` and `evaluate` on messages with human gold that no student saw: 1,500, of the
local teacher 400. That one needs the demo's model (`python -m demo.fetch model`) and labels 700 messages for its
student, the recorded one 3,500. Ends with one line of JSON: for each teacher `teacher` and `student`, with accuracy
and macro F1 as value, low and high, and their `difference`.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
from pathlib import Path
from typing import Any

from . import ROOT, data_path, print_json
from .line import command, curate_and_train, evaluate

TEACHER = """
[nlp]
lang = "en"
pipeline = ["llm"]

[components]

[components.llm]
factory = "llm"

[components.llm.model]
@llm_models = "spacy_distill.Local.v1"
name = "{model}"
threads = 1

[components.llm.task]
@llm_tasks = "spacy_distill.TextCat.v1"
labels = ["ham", "spam"]
template = "complete"
instruction = "Say of each text message whether it is ham, written by a person, or spam, an unwanted advertisement."
noun = "Message"
question = "Type"
"""
CANDIDATES = """
[search]
shots = [8]
calibrations = ["none", "content_free", "prior"]

[candidates]

[candidates.listed]
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--student", default="textcat_tiny", help="A config in configs/, without its ending")
    parser.add_argument("--quick", action="store_true", help="Recorded labels alone, 600 steps at most")
    args = parser.parse_args()
    source = data_path("sms_spam_llm", "all.jsonl")
    records = [json.loads(line) for line in source.read_text(encoding="utf8").splitlines()]
    random.Random(0).shuffle(records)
    records = list({record["text"]: record for record in records}.values())
    gold, sample, pool = records[:1500], records[1500:1650], records[1650:]
    overrides = ("--training.max_steps", "600") if args.quick else ()
    results = {"gpt_4o_mini_recorded": _line(args.student, gold, pool, overrides)}
    model = ROOT / "assets" / "model" / "SmolLM2-135M-Instruct.Q4_1.gguf"
    if not args.quick and model.exists():
        results["smollm2_135m_local"] = _line(args.student, gold[:400], pool[:700], overrides, sample, model)
    elif not args.quick:
        print(f"{model} is not there: `python -m demo.fetch model` gets it.")
    print_json(**results)


def _line(
    student: str,
    gold: list[dict[str, Any]],
    pool: list[dict[str, Any]],
    overrides: tuple[str, ...],
    sample: list[dict[str, Any]] | None = None,
    model: Path | None = None,
) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for part, records in {"gold": gold, "pool": pool, "sample": sample or []}.items():
            path = folder / f"{part}.jsonl"
            path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf8")
        texts = {"pool": folder / "pool.jsonl", "gold": folder / "gold.jsonl"}
        labels = ("--label", "ham", "--label", "spam", "--label-field", "llm")
        if model is not None:
            (folder / "teacher.cfg").write_text(TEACHER.format(model=model), encoding="utf8")
            (folder / "candidates.cfg").write_text(CANDIDATES, encoding="utf8")
            command(
                "spacy_distill", "choose", "teacher.cfg", "sample.jsonl", "chosen.cfg",
                "--candidates", "candidates.cfg", folder=folder, show=True,
            )  # fmt: skip
        for part, path in texts.items():
            output = f"annotations/{part}.spacy"
            if model is None:
                command("spacy_distill", "import", path, output, *labels, folder=folder)
            else:
                command("spacy_distill", "annotate", "chosen.cfg", path, output, folder=folder)
        trained = curate_and_train(folder, student, gold=texts["gold"], overrides=overrides)
        found = evaluate(folder, trained, texts["gold"], "--teacher", "annotations/gold.spacy", "--corpus", "corpus")
    by_name = {result["name"]: result for result in found["results"]}
    figures: dict[str, Any] = {
        name: {metric: by_name[name]["scores"][metric] for metric in ("accuracy", "macro_f1")}
        for name in ("teacher", "student")
    }
    difference = next(item for item in found["differences"] if item["other"] == "teacher")
    figures["difference"] = difference["metrics"]["accuracy"]
    figures["words_per_s"] = round(by_name["student"]["words_per_s"])
    return figures


if __name__ == "__main__":
    main()
