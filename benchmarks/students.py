"""Students and their peers side by side: one row for each system, data set, kind of labels and size.

    python -m benchmarks.students --results RESULTS [--data emotion,banking77] [--labels gold,llm] [--sizes 500,5000]
        [--seeds 3] [--systems tiny,accurate,tfidf_lr] [--minutes 40] [--markdown] [--quick]

All learn from the same texts (a seed draws them) and answer the same test texts, in a process of their own with one
thread. Peers learn from all the labelled texts. spaCy's and ours hold out 15 %; `tiny` and `encoder`, which do not stop
early, learn from all in the end, as in `spacy-distill sweep`; the words of `tiny_vectors` are those of all texts of the
kind but the test's. `raced` is the one of ours with the best accuracy on the
held-out part, seed by seed, for seeds with all of ours that were measured; up to 1,000 texts on that of three splits,
as in a sweep. No test label is looked at to choose it. Where a language model gave the labels, `raced_reviewed` is what
is best on the held-out part once people have reviewed it.

What is measured is kept in RESULTS/students.jsonl: the same command goes on where it was stopped, and never measures
twice; delete lines to measure them again. A system whose package is not installed is not measured, and can be added
from another environment with the same RESULTS. It starts with the expected time; with --minutes it starts nothing more
after that, and shows what there is: `--results benchmarks/results --minutes 0 --markdown` prints the README's tables.
Ends with one line of JSON: `rows`, and `raced` against the best peer.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from spacy_distill.evaluation.scores import scores, tally
from spacy_distill.types import Annotation

from . import ROOT, data_path, print_json
from .line import fetch_encoder
from .rows import Rows, Spec
from .students_data import KINDS, Data, load, names
from .students_measure import systems
from .students_peers import PEERS, SETFIT_TEXTS
from .students_spacy import CAP_S, OURS, STOCK
from .students_table import markdown, print_rows, rows_of, summary

SIZES = (500, 1000, 5000)
QUICK = ("tfidf_lr", "ngrams_lr", "fast", "tiny")
EXPECTED_S = {
    "tfidf_lr": 6, "ngrams_lr": 12, "floret": 8, "model2vec_lr": 10, "model2vec_tuned": 40, "minilm_lr": 35,
    "setfit": 400, "spacy_bow": 70, "spacy_ensemble": 110, "spacy_attention": 100, "fast": 25, "tiny": 25,
    "tiny_vectors": 40, "accurate": 90, "encoder": 60, "tuned": 500, "transformer": 400,
}  # fmt: skip
"""CPU seconds of one measurement at 1,000 texts, with the start of its two processes."""
PEER_NAMES = {name: kind.title for name, kind in {**PEERS, **STOCK}.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, help="Folder of what was measured; default: a temporary one")
    parser.add_argument("--data", default=",".join(names()))
    parser.add_argument("--labels", default=",".join(KINDS), help="Kinds of labels: gold, llm, simulated")
    parser.add_argument("--sizes", default=",".join(map(str, SIZES)))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--systems", default=",".join(systems()))
    parser.add_argument("--minutes", type=float, help="Start no measurement after so many minutes")
    parser.add_argument("--markdown", action="store_true", help="Print tables as in the README")
    parser.add_argument("--quick", action="store_true", help="emotion and sms_spam_llm, 500 gold labels, one seed")
    args = parser.parse_args()
    data_path("emotion")
    if args.quick:
        args.data, args.labels, args.sizes, args.seeds = "emotion,sms_spam_llm", "gold", "500", 1
        args.systems = ",".join(name for name in QUICK if name in systems())
    wanted = args.systems.split(",")
    installed = _installed(wanted)
    with tempfile.TemporaryDirectory() as temporary:
        results = (args.results or Path(temporary)).resolve()
        results.mkdir(parents=True, exist_ok=True)
        kept = Rows(results / "students.jsonl", ("system", "data", "labels", "size", "seed"))
        grid = list(_grid(args, installed))
        _print_expected(kept.missing(grid), len(kept))
        kept.measure(grid, lambda spec: _measure(spec, results), said=_said, minutes=args.minutes)
    shown = kept.known(list(_grid(args, wanted)))
    rows = rows_of(shown, list(OURS))
    cells = dict.fromkeys((found["data"], found["labels"]) for found in shown)
    teachers = [teacher for cell in cells if (teacher := _teacher(*cell))]
    if args.markdown:
        print(markdown(rows, teachers, list(OURS), PEER_NAMES))
    else:
        print_rows(rows)
        print(*teachers, sep="\n")
    print_json(rows=rows, raced=summary(rows, PEER_NAMES), teachers=teachers)


def _installed(wanted: list[str]) -> list[str]:
    kinds = systems()
    for name in wanted:
        if name not in kinds:
            raise SystemExit(f"There is no system {name!r}: choose from {', '.join(kinds)}.")
        if missing := kinds[name].missing():
            print(
                f"{name} is not measured: {', '.join(missing)} is not installed (pip install 'spacy-distill[bench]')."
            )
    return [name for name in wanted if not kinds[name].missing()]


def _grid(args: argparse.Namespace, wanted: list[str]) -> Iterator[dict[str, Any]]:
    """YIELDS (Dict[str, Any]): What to measure: all with the first seed, then all with the second, the cheap first."""
    cells = []
    for kind in args.labels.split(","):
        for name in args.data.split(","):
            data = load(name, kind)
            if data is None:
                continue
            sizes = [min(int(size), len(data.pool)) for size in args.sizes.split(",")]
            if kind == "simulated":
                sizes = sizes[-1:]
            cells += [(name, kind, size) for size in dict.fromkeys(sizes)]
    for seed in range(args.seeds):
        for system in sorted(wanted, key=lambda name: EXPECTED_S.get(name, 100)):
            for name, kind, size in cells:
                if system == "setfit" and size > SETFIT_TEXTS:
                    continue
                yield {"system": system, "data": name, "labels": kind, "size": size, "seed": seed}


def _print_expected(todo: Sequence[Spec], known: int) -> None:
    seconds = sum(EXPECTED_S.get(spec["system"], 100) * (0.6 + 0.4 * spec["size"] / 1000) for spec in todo)
    print(
        f"{len(todo)} measurements to make, {known} known: about {seconds / 60:.0f} CPU minutes. Students of spaCy's"
        f" train for {CAP_S:.0f} CPU seconds at most.",
        flush=True,
    )


def _measure(spec: Spec, results: Path) -> dict[str, Any]:
    """Learn, then predict, each in a process of its own.

    RETURNS (Dict[str, Any]): The figures; `failed` where it could not be measured.
    """
    encoder = fetch_encoder()
    data = load(spec["data"], spec["labels"])
    assert data is not None
    with tempfile.TemporaryDirectory() as folder:
        sample = [(row.text, row.label, row.soft, row.gold) for row in data.sample(spec["size"], spec["seed"])]
        pool, test = ([row.text for row in rows] for rows in (data.pool, data.test))
        given = {"labels": data.labels, "train": sample, "unlabelled": pool, "test": test}
        more = {"input": f"{folder}/input.json", "folder": f"{folder}/model"}
        Path(more["input"]).write_text(json.dumps(given), encoding="utf8")
        more.update(system=spec["system"], cache=str(results), encoder=str(encoder))
        fitted = _process("fit", {**more, "seed": spec["seed"]})
        ran = _process("run", {**more, "seed": spec["seed"]}) if "failed" not in fitted else {}
    if "failed" in fitted or "failed" in ran:
        return {"failed": fitted.get("failed") or ran["failed"]}
    answers = ran.pop("answers")
    return {
        **fitted,
        **ran,
        **_score(data, answers),
        "share_of_tokenizer": ran["words_per_s_warm"] / ran["tokenizer_per_s"],
        "share_of_tokenizer_fresh": ran["words_per_s_fresh"] / ran["tokenizer_per_s_fresh"],
    }


def _process(what: str, spec: dict[str, Any]) -> dict[str, Any]:
    threads = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS")
    environment = {**os.environ, **dict.fromkeys(threads, "1"), "TOKENIZERS_PARALLELISM": "false"}
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.students_measure", what, json.dumps(spec)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        encoding="utf8",
        check=False,
    )
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        return {"failed": lines[-1][:300]}
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def _score(data: Data, answers: list[str]) -> dict[str, float]:
    gold, found = (
        [
            _annotation(i, row.text, label, data.labels)
            for i, (row, label) in enumerate(zip(data.test, told, strict=True))
        ]
        for told in ([row.gold for row in data.test], answers)
    )
    figures = scores(tally(gold, found, data.labels).counts.sum(0))
    return {name: float(figures[name]) for name in ("accuracy", "macro_f1")}


def _teacher(name: str, kind: str) -> dict[str, Any] | None:
    """RETURNS (Optional[Dict[str, Any]]): How good the labels are that all of them learn from: on the texts to learn
    from, and on the test where the teacher answered it."""
    data = load(name, kind)
    if kind == "gold" or data is None:
        return None
    found: dict[str, Any] = {"data": name, "labels": kind}
    found["pool_accuracy"] = round(sum(row.label == row.gold for row in data.pool) / len(data.pool), 4)
    if any(row.label for row in data.test):
        figures = _score(data, [row.label or "" for row in data.test])
        found.update({f"test_{metric}": round(value, 4) for metric, value in figures.items()})
    return found


def _annotation(number: int, text: str, label: str, labels: tuple[str, ...]) -> Annotation:
    return Annotation(
        id=str(number),
        text=text,
        task="textcat",
        labels=labels,
        status="ok",
        exclusive=True,
        cats={label: 1.0} if label else {},
    )


def _said(found: dict[str, Any]) -> str:
    what = "{system} {data} {labels} {size} seed {seed}: ".format(**found)
    if "failed" in found:
        return what + f"failed: {found['failed']}"
    return what + (
        "accuracy {accuracy:.3f}, macro F1 {macro_f1:.3f}, {words_per_s_warm:,.0f} words/s warm,"
        " {words_per_s_fresh:,.0f} fresh ({share_of_tokenizer:.0%} of the tokenizer), {train_s:.1f} s to train,"
        " {mb:.1f} MB, {rss_mb:.0f} MB of memory"
    ).format(**found)


if __name__ == "__main__":
    main()
