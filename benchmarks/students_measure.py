"""One measurement of `benchmarks.students` in a process of its own, so that memory and caches are its own too.

    python -m benchmarks.students_measure fit SPEC    learns, saves; prints train_s, dev, mb
    python -m benchmarks.students_measure run SPEC    loads, predicts; prints predictions, words a second, rss_mb

SPEC is a JSON object: system, seed, folder (the model's), cache, encoder, and input, a JSON file with the labels, the
training texts with their targets, the unlabelled texts and the test texts. Seconds are CPU seconds of the process with
one thread, so that other work on the machine does not count. Words are counted between white space.
"""

from __future__ import annotations

import gc
import importlib.abc
import json
import logging
import resource
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from .students_peers import PEERS, System, needs_torch

PASSES = 5
SLOW_S = 4.0
"""A system that takes longer over all the test texts is timed on fewer, once."""
SLOW_TEXTS = 150
CACHE_SIZE = 1_000_000


def systems() -> dict[str, type[System]]:
    """RETURNS (Dict[str, Type[System]]): All of them, by name: peers, spaCy's stock ones, ours."""
    from .students_spacy import OURS, STOCK

    return {**PEERS, **STOCK, **OURS}


def fit(spec: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """Learn, and save the model to the spec's folder.

    RETURNS (Dict[str, Any]): `train_s`; `dev` and `dev_reviewed`, the accuracy on the held-out texts by their labels
        and by people's, or None; `mb`.
    """
    system = _system(spec, given["labels"])
    system.unlabelled = given["unlabelled"]
    system.prepare()
    texts = [text for text, *_ in given["train"]]
    targets = [soft if system.soft and soft else label for _, label, soft, _ in given["train"]]
    system.gold = {text: gold for text, _, _, gold in given["train"]}
    gc.collect()
    start = time.process_time()
    system.fit(texts, targets)
    train_s = time.process_time() - start - system.apart_s + system.before_s
    if system.per_text_s:  # from the cache: at least what encoding all of them costs
        train_s = max(train_s, system.per_text_s * len(texts))
    folder = Path(spec["folder"])
    folder.mkdir(parents=True)
    system.save(folder)
    mb = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) / 1e6
    return {"train_s": train_s, "dev": system.dev, "dev_reviewed": system.dev_reviewed, "mb": mb}


def run(spec: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """Load the model, answer the test texts and time it: fresh, warmed up with the training texts alone, and warm.

    RETURNS (Dict[str, Any]): `answers`; words a second, `words_per_s_fresh`, `words_per_s_warm`; `tokenizer_per_s`
        and `tokenizer_per_s_fresh`, of a blank pipeline with the same cache size on the same texts (the warm passes
        between the system's own); `rss_mb`, the most memory that this process needed to load and predict.
    """
    # spaCy imports spacy-transformers where that is installed, and it needs torch.
    if not needs_torch(spec["system"]) and find_spec("spacy_transformers") is None:
        sys.meta_path.insert(0, _NoTorch())
    system = _system(spec, given["labels"])
    folder = Path(spec["folder"])
    seen = [text for text, *_ in given["train"]]
    texts = given["test"]
    system.load(folder)
    fresh: list[float] = []
    timed, passes = texts, PASSES
    if system.torch:  # every text costs the same, seen or not
        answers = system.predict(texts)
        system.cache, timed, passes = None, texts[:SLOW_TEXTS], 1
        fresh.append(_timed(lambda: system.predict(timed)))
    else:
        for _ in range(3):
            system.load(folder)
            _warm_up(system, seen)
            start = time.process_time()
            answers = system.predict(texts)
            fresh.append(time.process_time() - start)
            if fresh[-1] > SLOW_S:
                timed, passes = texts[:SLOW_TEXTS], 1
                break
    warm = _timed(lambda: system.predict(timed))
    rss_mb = _peak_mb()
    fresh_tokenizer = []
    for _ in fresh:
        tokenize = _tokenizer(getattr(system, "nlp", None))
        tokenize(seen)
        start = time.process_time()
        tokenize(texts)
        fresh_tokenizer.append(time.process_time() - start)
    tokenize(timed)
    both = [(warm, _timed(lambda: tokenize(timed)))]
    both += [(_timed(lambda: system.predict(timed)), _timed(lambda: tokenize(timed))) for _ in range(passes)]
    count, fresh_count = _words(timed), _words(timed if system.torch else texts)
    return {
        "answers": answers,
        "words_per_s_fresh": fresh_count / statistics.median(fresh),
        "words_per_s_warm": count / statistics.median(pair[0] for pair in both),
        "tokenizer_per_s_fresh": _words(texts) / statistics.median(fresh_tokenizer),
        "tokenizer_per_s": count / statistics.median(pair[1] for pair in both),
        "rss_mb": rss_mb,
    }


def _warm_up(system: System, texts: Sequence[str]) -> None:
    """Predict the texts, for some seconds at most: what takes longer has no cache to speak of."""
    start = time.process_time()
    for first in range(0, len(texts), 256):
        system.predict(texts[first : first + 256])
        if time.process_time() - start > SLOW_S:
            return


class _NoTorch(importlib.abc.MetaPathFinder):
    """Keeps torch out: thinc and others import it unasked where it is installed."""

    def find_spec(self, name: str, path: Any, target: Any = None) -> None:
        """RAISES (ImportError): For torch."""
        if name == "torch":
            raise ModuleNotFoundError("torch is kept out of this measurement", name=name)


def _peak_mb() -> float:
    """RETURNS (float): The most memory this process ever held. Linux counts the parent's in `ru_maxrss`."""
    status = Path("/proc/self/status")
    if status.exists():
        (line,) = (line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 1e3
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def _tokenizer(nlp: Any) -> Callable[[Sequence[str]], None]:
    import spacy

    blank = spacy.blank("en")
    blank.tokenizer.max_cache_size = nlp.tokenizer.max_cache_size if nlp is not None else CACHE_SIZE

    def tokenize(texts: Sequence[str]) -> None:
        for _ in blank.pipe(texts, batch_size=256):
            pass

    return tokenize


def _timed(work: Callable[[], Any]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def _words(texts: Sequence[str]) -> int:
    return sum(len(text.split()) for text in texts)


def _system(spec: dict[str, Any], labels: Sequence[str]) -> System:
    kinds = PEERS if spec["system"] in PEERS else systems()
    return kinds[spec["system"]](labels, spec["seed"], Path(spec["encoder"]), Path(spec["cache"]))


def main() -> None:
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    what, spec = sys.argv[1], json.loads(sys.argv[2])
    given = json.loads(Path(spec["input"]).read_text(encoding="utf8"))
    print(json.dumps({"fit": fit, "run": run}[what](spec, given)), flush=True)


if __name__ == "__main__":
    main()
