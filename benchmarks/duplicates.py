"""How fast, how frugal and how right is the search for near-duplicates?

Texts: halves of two tweets, bank questions or text messages each, so that hardly one is near another by itself; every
fifth is a copy of the one before with one or two words replaced, dropped or swapped. So the true near-duplicates are
known: a text and its copy whose Jaccard similarity is at least the threshold. Each size runs in a process of its own;
beside it, on fewer texts, MinHash and MinHashLSH of datasketch (extra `bench`). Recall is of the true pairs; precision
of the pairs found, each a text and the first of its cluster: as similar as the threshold (`precision`), or made so
(`precision_planted`).

    python -m benchmarks.duplicates [--quick] [--texts 1000000]
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import random
import resource
import time
from typing import Any

from rich.console import Console
from rich.table import Table

from spacy_distill.curation.clusters import NEAR, near_clusters, similarity
from spacy_distill.texts import normal_form

from . import data_path, print_json

SOURCES = (("emotion", "train_gold.jsonl"), ("banking77", "train_gold.jsonl"), ("sms_spam_llm", "all.jsonl"))
SEED = 0
EVERY = 5
PEER_TEXTS = 10_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="20,000 texts at most; the peer on 2,000")
    parser.add_argument("--texts", type=int, default=1_000_000, help="The largest size")
    args = parser.parse_args()
    for source in SOURCES:
        data_path(*source)
    largest = min(args.texts, 20_000) if args.quick else args.texts
    runs = [("ours", size) for size in sorted({max(largest // 20, 100), largest})]
    runs.append(("datasketch", min(largest, 2_000 if args.quick else PEER_TEXTS)))
    found = {}
    for name, size in runs:
        # A process for each: the peak of one's memory is not another's.
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            found[f"{name}_{size}"] = pool.apply(run, (name, size))
    show(found)
    print_json(threshold=NEAR, seed=SEED, **found)


def run(name: str, size: int) -> dict[str, Any] | None:
    """RETURNS (Optional[Dict[str, Any]]): Seconds, peak memory, recall and precision; None if it is not installed."""
    texts, copies = make_texts(size)
    before = peak_mb()
    start = time.perf_counter()
    try:
        clusters = near_clusters(texts) if name == "ours" else datasketch_clusters(texts)
    except ImportError:
        return None
    seconds = time.perf_counter() - start
    peak = peak_mb()
    forms = [normal_form(text) for text in texts]
    true = [(of, copy) for copy, of in copies.items() if similarity(forms[of], forms[copy]) >= NEAR]
    pairs = [(cluster, index) for index, cluster in enumerate(clusters) if cluster != index]
    right = sum(similarity(forms[one], forms[other]) >= NEAR for one, other in pairs)
    return {
        "texts": size,
        "characters_per_text": round(sum(map(len, texts)) / size, 1),
        "seconds": round(seconds, 2),
        "peak_rss_mb": round(peak),
        "of_it_before_mb": round(before),
        "true_pairs": len(true),
        "recall": round(sum(clusters[of] == clusters[copy] for of, copy in true) / max(1, len(true)), 4),
        "pairs_found": len(pairs),
        "precision": round(right / max(1, len(pairs)), 4),
        "precision_planted": round(sum(copies.get(index) == one for one, index in pairs) / max(1, len(pairs)), 4),
    }


def make_texts(size: int) -> tuple[list[str], dict[int, int]]:
    """RETURNS (Tuple[List[str], Dict[int, int]]): The texts; and of each edited copy what it is a copy of."""
    chance = random.Random(SEED)
    real: list[list[str]] = []
    for source in SOURCES:
        with data_path(*source).open(encoding="utf8") as file:
            real.extend(json.loads(line)["text"].split() for line in file)
    vocabulary = [word for words in real for word in words]
    texts: list[str] = []
    copies: dict[int, int] = {}
    while len(texts) < size:
        one, other = chance.choice(real), chance.choice(real)
        words = [*one[: len(one) // 2 + 1], *other[len(other) // 2 :], chance.choice(vocabulary)]
        texts.append(" ".join(words))
        if len(texts) % EVERY == EVERY - 1 and len(texts) < size:
            copies[len(texts)] = len(texts) - 1
            texts.append(" ".join(edited(words, chance, vocabulary)))
    return texts, copies


def edited(words: list[str], chance: random.Random, vocabulary: list[str]) -> list[str]:
    copy = list(words)
    for _ in range(chance.choice((1, 1, 2))):
        place = chance.randrange(len(copy))
        kind = chance.choice(("replace", "drop", "swap"))
        if kind == "replace" or len(copy) < 3:
            copy[place] = chance.choice(vocabulary)
        elif kind == "drop":
            del copy[place]
        else:
            copy[place], copy[place - 1] = copy[place - 1], copy[place]
    return copy


def datasketch_clusters(texts: list[str]) -> list[int]:
    """RETURNS (List[int]): As `near_clusters`, of the same shingles, without comparing what collides."""
    from datasketch import MinHash, MinHashLSH

    forms = [f" {normal_form(text)} ".ljust(4) for text in texts]
    shingles = ({form[start : start + 4].encode() for start in range(len(form) - 3)} for form in forms)
    index = MinHashLSH(threshold=NEAR, num_perm=128)
    clusters = list(range(len(texts)))
    for number, sketch in enumerate(MinHash.generator(shingles, num_perm=128)):
        near = index.query(sketch)
        index.insert(number, sketch)
        if near:
            clusters[number] = clusters[min(near)]
    return clusters


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def show(found: dict[str, dict[str, Any] | None]) -> None:
    table = Table(title="Near-duplicates", title_justify="left")
    columns = ("texts", "seconds", "peak_rss_mb", "true_pairs", "recall", "pairs_found", "precision")
    table.add_column("")
    for name in columns:
        table.add_column(name, justify="right")
    for name, figures in found.items():
        table.add_row(name, *(str(figures[column]) if figures else "–" for column in columns))
    Console(width=140).print(table)


if __name__ == "__main__":
    main()
