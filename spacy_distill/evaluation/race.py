"""Trained tiers beside each other on dev: how good, how large, how fast; which to take. Gold for testing stays unseen.

All seeds of a tier count together, over the same resamples of the dev texts for every tier. What is chosen on dev looks
a little better there than it is: `evaluate` says how good it is on gold.
"""

from __future__ import annotations

import statistics
import time
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
    best (Run): The seed that did best on dev.
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
    dev: Sequence[Annotation],
    seen: Sequence[str],
    *,
    seed: int = 0,
    progress: Callable[[int], None] | None = None,
) -> list[Candidate]:
    """Let every trained pipeline answer dev, and measure the best seed of each tier.

    runs (Sequence[Run]): Of all tiers, any number of seeds each.
    dev (Sequence[Annotation]): The corpus's dev part.
    seen (Sequence[str]): Training texts, to warm up with.
    seed (int): Of the bootstrap.
    progress (Optional[Callable[[int], None]]): Called with 1 for each pipeline that is done.
    RETURNS (List[Candidate]): The best first.
    """
    main = "accuracy" if dev[0].task == "textcat" and dev[0].exclusive else "micro_f1"
    answers: dict[str, dict[int, list[Annotation]]] = {}
    for run in runs:
        nlp = load(run.model)
        answers.setdefault(run.tier, {})[run.seed] = predict(nlp, find_component(nlp, dev[0].task), dev)
        if progress is not None:
            progress(1)
    labels = label_set(dev, *(records for seeds in answers.values() for records in seeds.values()))
    tallies = {
        tier: {s: tally(dev, records, labels) for s, records in seeds.items()} for tier, seeds in answers.items()
    }
    together = [Tally(labels, np.sum([one.counts for one in seeds.values()], axis=0)) for seeds in tallies.values()]
    points = [scores(one.counts.sum(0)) for one in together]
    draws = bootstrap(together, [record.group for record in dev], seed=seed)
    top = max(range(len(points)), key=lambda i: float(points[i][main]))
    found = []
    for (tier, seeds), point, drawn in zip(tallies.items(), points, draws, strict=True):
        by_seed = {s: float(scores(one.counts.sum(0))[main]) for s, one in seeds.items()}
        mine = [run for run in runs if run.tier == tier]
        best = max(mine, key=lambda run: by_seed[run.seed])
        warm, fresh = speeds(lambda best=best: load(best.model), seen, [record.text for record in dev])  # type: ignore[misc]
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
