"""Trained tiers beside each other on dev: how good, how large, how fast; which to take. Gold for testing stays unseen.

Seeds may have a dev each (Monte Carlo cross-validation). All seeds of a tier count together, over the same resamples of
the dev texts for every tier. What is chosen on dev looks a little better there than it is: `evaluate` says how good it
is on gold.
"""

from __future__ import annotations

import math
import statistics
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from spacy.language import Language
from threadpoolctl import threadpool_limits

from ..errors import StageError
from ..students.tiers import Run
from ..types import Annotation
from .comparison import Interval, bootstrap, interval
from .pipelines import BATCH_SIZE, find_component, predict, size_mb, words, words_per_s
from .run import load
from .scores import Tally, label_set, scores, tally

METRICS = ("accuracy", "macro_f1", "micro_f1")
_FRESH_REPEATS = 3
_LONG_S = 10.0


@dataclass(frozen=True, slots=True)
class Candidate:
    """A tier in the race.

    tier (str): Its name.
    main (str): The metric that decides: "accuracy" for exclusive classes, else "micro_f1".
    scores (Mapping[str, Interval]): Metrics of `METRICS` on dev, 0 to 1, all seeds together.
    by_seed (Mapping[int, float]): The main metric of each seed.
    behind (Interval): The best tier's main metric minus this one's.
    size_mb (float): Of the trained pipeline, in MB of 10^6 bytes.
    words_per_s (float): Whitespace words a second, one thread, warm: the same texts again and again.
    words_per_s_fresh (float): On texts not seen before, after the training texts.
    train_s (float): Seconds on the clock, median of the seeds.
    best (Run): The seed that did best, of those with the first dev.
    """

    tier: str
    main: str
    scores: Mapping[str, Interval]
    by_seed: Mapping[int, float]
    behind: Interval
    size_mb: float
    words_per_s: float
    words_per_s_fresh: float
    train_s: float
    best: Run

    @property
    def score(self) -> float:
        """RETURNS (float): The main metric, 0 to 1."""
        return self.scores[self.main].value


def race(
    runs: Sequence[Run],
    devs: Sequence[Sequence[Annotation]],
    seen: Sequence[str],
    *,
    seed: int = 0,
    progress: Callable[[int], None] | None = None,
) -> list[Candidate]:
    """Let every trained pipeline answer its dev, and measure the best one of each tier.

    runs (Sequence[Run]): Of all tiers, any number of seeds each, but at least one for each dev.
    devs (Sequence[Sequence[Annotation]]): The dev part of each split. Seeds take turns: see `Run.split`.
    seen (Sequence[str]): Training texts of the first split, to warm up with.
    seed (int): Of the bootstrap.
    progress (Optional[Callable[[int], None]]): Called with 1 for each pipeline that is done.
    RETURNS (List[Candidate]): The best first.
    """
    first = devs[0]
    main = "accuracy" if first[0].task == "textcat" and first[0].exclusive else "micro_f1"
    answers: dict[str, dict[int, list[Annotation]]] = {}
    for run in runs:
        nlp = load(run.model)
        answers.setdefault(run.tier, {})[run.seed] = predict(nlp, find_component(nlp, first[0].task), devs[run.split])
        if progress is not None:
            progress(1)
    labels = label_set(*devs, *(records for seeds in answers.values() for records in seeds.values()))
    split_of = {run.seed: run.split for run in runs}
    tallies = {
        tier: {s: tally(devs[split_of[s]], records, labels) for s, records in seeds.items()}
        for tier, seeds in answers.items()
    }
    times = [Counter(split_of[s] for s in seeds) for seeds in tallies.values()]
    each = math.lcm(*(count for counts in times for count in counts.values()))
    together = [_end_to_end([(split_of[s], seeds[s]) for s in seeds], len(devs), each) for seeds in tallies.values()]
    points = [scores(one.counts.sum(0)) for one in together]
    draws = bootstrap(together, groups(devs), seed=seed)
    top = max(range(len(points)), key=lambda i: float(points[i][main]))
    found = []
    for (tier, seeds), point, drawn in zip(tallies.items(), points, draws, strict=True):
        by_seed = {s: float(scores(one.counts.sum(0))[main]) for s, one in seeds.items()}
        mine = [run for run in runs if run.tier == tier]
        best = max(mine, key=lambda run: (run.split == 0, by_seed[run.seed]))
        warm, fresh = speeds(lambda best=best: load(best.model), seen, [record.text for record in first])  # type: ignore[misc]
        found.append(
            Candidate(
                tier=tier,
                main=main,
                scores={name: interval(float(point[name]), drawn[name]) for name in METRICS},
                by_seed=by_seed,
                behind=interval(float(points[top][main] - point[main]), draws[top][main] - drawn[main]),
                size_mb=size_mb(best.model),
                words_per_s=warm,
                words_per_s_fresh=fresh,
                train_s=statistics.median(run.train_s for run in mine),
                best=best,
            )
        )
    return sorted(found, key=_rank)


def groups(devs: Sequence[Sequence[Annotation]]) -> list[str]:
    """RETURNS (List[str]): What is drawn together, for all texts of all devs: a text with itself wherever it is, and a
    group as a whole."""
    return [
        f"text {record.text}" if record.group is None else f"group {record.group}" for dev in devs for record in dev
    ]


def _end_to_end(runs: Sequence[tuple[int, Tally]], splits: int, each: int) -> Tally:
    """RETURNS (Tally): Over the texts of all devs, one dev after the other.

    runs (Sequence[Tuple[int, Tally]]): A tier's, with the number of their split.
    splits (int): How many devs there are.
    each (int): How often each text is to count, however many runs answered it.
    """
    parts = []
    for split in range(splits):
        there = [one.counts for number, one in runs if number == split]
        parts.append(np.sum(there, axis=0) * (each // len(there)))
    return Tally(runs[0][1].labels, np.concatenate(parts))


def _rank(candidate: Candidate) -> tuple[float, float]:
    return -candidate.score, -candidate.words_per_s_fresh


def speeds(loader: Callable[[], Language], seen: Sequence[str], texts: Sequence[str]) -> tuple[float, float]:
    """Measure a pipeline with one thread. A cache makes known words cheap, and a loop over the same texts shows nothing
    else: so each time the pipeline is loaded anew, warmed up with other texts, and timed on its first pass.

    seen (Sequence[str]): To warm up with.
    RETURNS (Tuple[float, float]): Whitespace words a second, warm and fresh; see `Candidate`.
    """
    texts = [text for text in texts if text.strip()]
    seconds: list[float] = []
    with threadpool_limits(1):
        begin = time.perf_counter()
        for _ in range(_FRESH_REPEATS):
            nlp = loader()
            warming = 0.0
            for start in range(0, len(seen), BATCH_SIZE):  # what is slow has no cache to speak of
                warming += _run(nlp, seen[start : start + BATCH_SIZE])
                if warming > _LONG_S / 4:
                    break
            seconds.append(_run(nlp, texts))
            if time.perf_counter() - begin > _LONG_S:
                break
        fresh = sum(map(words, texts)) / statistics.median(seconds)
        warm = fresh if seconds[0] > _LONG_S else words_per_s(nlp, texts) or 0.0
    return warm, fresh


def _run(nlp: Language, texts: Sequence[str]) -> float:
    start = time.perf_counter()
    for _ in nlp.pipe((text for text in texts if text.strip()), batch_size=BATCH_SIZE):
        pass
    return time.perf_counter() - start


def front(candidates: Sequence[Candidate]) -> list[Candidate]:
    """RETURNS (List[Candidate]): Those that no other beats in both score and speed on fresh text, the fastest first."""
    found: list[Candidate] = []
    for candidate in sorted(candidates, key=lambda one: (-one.words_per_s_fresh, -one.score)):
        if not found or candidate.score > found[-1].score:
            found.append(candidate)
    return found


def choose(candidates: Sequence[Candidate], *, max_mb: float | None = None, within: float | None = None) -> Candidate:
    """Pick by what the user asked for.

    max_mb (Optional[float]): No larger pipeline.
    within (Optional[float]): Points of 100: the fastest on fresh text of those that are at most so much worse than the
        best of the right size. None: the best; of equals, the fastest.
    RAISES (StageError): All are too large.
    """
    allowed = [one for one in candidates if max_mb is None or one.size_mb <= max_mb]
    if not allowed:
        smallest = min(candidates, key=lambda one: one.size_mb)
        raise StageError(
            f"No tier has {max_mb:g} MB or less: the smallest, {smallest.tier}, has {smallest.size_mb:.1f}."
        )
    best = min(allowed, key=_rank)
    if within is None:
        return best
    near = [one for one in allowed if best.score - one.score <= within / 100 + 1e-9]
    return max(near, key=lambda one: (one.words_per_s_fresh, one.score))
