"""What takes the time when the tiny student reads, and what a component in Python can take at least?

    python -m benchmarks.tiny_speed [--data emotion,banking77] [--passes 15] [--quick]

Pipelines over the same test texts in one process and one thread, warm, their passes in turn: a blank tokenizer; the
same and a component that only reads the words' hashes (`doc.to_array`); one that also writes the same scores to each
`doc.cats` and looks at nothing, which is the least that any text classifier in Python does; `tiny`, trained on 1,000
labelled texts; and the same with a caller who takes each text's best label. All tokenizers have the same cache size.

Prints CPU microseconds a text, medians, and each pipeline's words a second as a share of the tokenizer's. Ends with one
line of JSON: `rows`.
"""

from __future__ import annotations

import argparse
import gc
import statistics
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import spacy
from rich.console import Console
from rich.table import Table
from spacy.attrs import ORTH  # type: ignore[import-not-found]
from spacy.language import Language
from spacy.tokens import Doc

from spacy_distill.students.runtime.collapsed_textcat import MOST_DOCS

from . import data_path, print_json
from .students_data import load, names
from .students_measure import CACHE_SIZE
from .students_spacy import OURS

SIZE, SEED = 1000, 0
BATCH = 256
TOKENIZER = "tokenizer"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default=",".join(names()))
    parser.add_argument("--passes", type=int, default=15)
    parser.add_argument("--quick", action="store_true", help="SMS spam alone, three passes")
    args = parser.parse_args()
    data_path("emotion")
    warnings.filterwarnings("ignore")
    if args.quick:
        args.data, args.passes = "sms_spam_llm", 3
    rows = [row for name in args.data.split(",") for row in measure(name, args.passes)]
    table = Table(title="Warm, CPU microseconds a text")
    for name in ("texts", "pipeline", "µs", "of the tokenizer's words/s"):
        table.add_column(name, justify="right" if name not in ("texts", "pipeline") else "left")
    for row in rows:
        table.add_row(row["data"], row["pipeline"], f"{row['us']:.1f}", f"{row['share_of_tokenizer']:.2f}")
    Console(width=110).print(table)
    print_json(rows=rows)


def measure(name: str, passes: int) -> list[dict[str, Any]]:
    """RETURNS (List[Dict[str, Any]]): A row for each pipeline: data, classes, words (a text), pipeline, us,
    share_of_tokenizer."""
    data = load(name, "gold")
    if data is None:
        raise SystemExit(f"There are no texts {name!r}: choose from {', '.join(names())}.")
    sample = data.sample(SIZE, SEED)
    student = OURS["tiny"](data.labels, SEED, Path(), Path())
    student.raced = False  # type: ignore[attr-defined]
    student.gold = {row.text: row.gold for row in sample}
    student.prepare()
    student.fit([row.text for row in sample], [row.gold for row in sample])
    tiny = student.nlp  # type: ignore[attr-defined]
    texts = [row.text for row in data.test]
    blank, reader, writer = _blank(), _blank(), _blank()
    reader.add_pipe("benchmarks_least", config={"labels": []})
    writer.add_pipe("benchmarks_least", config={"labels": list(data.labels)})
    pipelines: dict[str, Callable[[], None]] = {
        TOKENIZER: lambda: _exhaust(blank.pipe(texts, batch_size=BATCH)),
        "reads the words": lambda: _exhaust(reader.pipe(texts, batch_size=BATCH)),
        "and writes scores": lambda: _exhaust(writer.pipe(texts, batch_size=BATCH)),
        "tiny": lambda: _exhaust(tiny.pipe(texts, batch_size=BATCH)),
        "tiny, best label": lambda: _exhaust(_best(tiny.pipe(texts, batch_size=BATCH))),
    }
    seconds: dict[str, list[float]] = {name: [] for name in pipelines}
    for number in range(passes + 1):
        for pipeline, read in pipelines.items():
            gc.collect()
            start = time.process_time()
            read()
            if number:  # the first pass warms up
                seconds[pipeline].append(time.process_time() - start)
    medians = {pipeline: statistics.median(times) for pipeline, times in seconds.items()}
    words = sum(len(text.split()) for text in texts) / len(texts)
    return [
        {
            "data": name,
            "classes": len(data.labels),
            "words": round(words, 1),
            "pipeline": pipeline,
            "us": round(1e6 * median / len(texts), 2),
            "share_of_tokenizer": round(medians[TOKENIZER] / median, 3),
        }
        for pipeline, median in medians.items()
    ]


class Least:
    """Reads each doc's words, and writes the same scores to all: in batches, as `tiny` does."""

    def __init__(self, labels: Sequence[str]) -> None:
        self._labels = labels
        self._scores = [1 / len(labels)] * len(labels) if labels else []

    def __call__(self, doc: Doc) -> Doc:
        return next(self.pipe([doc]))

    def pipe(self, stream: Iterable[Doc], batch_size: int = BATCH) -> Iterator[Doc]:
        """YIELDS (Doc): The docs."""
        stream = iter(stream)
        while docs := list(islice(stream, min(batch_size, MOST_DOCS))):
            for doc in docs:
                doc.to_array(ORTH)
            if self._labels:
                for doc in docs:
                    doc.cats.update(zip(self._labels, self._scores, strict=True))
            yield from docs


@Language.factory("benchmarks_least")
def _make_least(nlp: Language, name: str, labels: list[str]) -> Least:
    return Least(labels)


def _blank() -> Language:
    nlp = spacy.blank("en")
    nlp.tokenizer.max_cache_size = CACHE_SIZE
    return nlp


def _best(docs: Iterable[Doc]) -> Iterator[str]:
    for doc in docs:
        yield max(doc.cats, key=doc.cats.__getitem__)


def _exhaust(items: Iterable[Any]) -> None:
    for _ in items:
        pass


if __name__ == "__main__":
    main()
