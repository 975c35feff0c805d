"""How sure the scores are: a paired bootstrap over texts, or over groups of texts that belong together.

Efron and Tibshirani, "An Introduction to the Bootstrap" (1993), chapters 6 and 13: percentile intervals. The same
resamples serve every system, so that differences between systems are paired. Sentences of one review are not
independent of each other: where texts have groups, whole groups are drawn (a cluster bootstrap).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import InputError
from .scores import METRICS, Floats, Tally, scores

RESAMPLES = 10_000
LEVEL = 0.95
_BLOCK = 4_000_000  # drawn indices held in memory at a time


@dataclass(frozen=True, slots=True)
class Interval:
    """A figure and its 95 % bootstrap interval, all three in the figure's own unit."""

    value: float
    low: float
    high: float

    @property
    def significant(self) -> bool:
        """RETURNS (bool): Whether the interval of a difference leaves out 0."""
        return self.low > 0 or self.high < 0


def units(groups: Sequence[str | None]) -> list[int]:
    """Number the things to draw: a group is one, a text without a group is one by itself.

    groups (Sequence[Optional[str]]): N texts' groups.
    RETURNS (List[int]): N unit numbers, from 0.
    """
    known: dict[str | int, int] = {}
    return [known.setdefault(position if group is None else group, len(known)) for position, group in enumerate(groups)]


def bootstrap(
    tallies: Sequence[Tally], groups: Sequence[str | None], *, resamples: int = RESAMPLES, seed: int = 0
) -> list[dict[str, Floats]]:
    """Score every system on the same resamples.

    tallies (Sequence[Tally]): S systems over the same N texts.
    groups (Sequence[Optional[str]]): The texts' groups, or None for each.
    RETURNS (List[Dict[str, ndarray]]): For each system, each metric of `METRICS` to `(resamples,)`.
    RAISES (InputError): The systems were not tallied over the same texts.
    """
    n = len(groups)
    if any(len(tally.counts) != n for tally in tallies):
        raise InputError(f"Expected counts of {n} texts for each system.")
    unit_of = np.asarray(units(groups))
    size = int(unit_of.max()) + 1
    # (U, S * C): counts of all systems side by side, added up within a unit. Sums of whole numbers below 2^24 are
    # exact in float32, in whatever order they are added.
    rows = np.concatenate([tally.counts for tally in tallies], axis=1)
    table = np.zeros((size, rows.shape[1]), dtype="float32")
    np.add.at(table, unit_of, rows.astype("float32"))
    cuts = np.cumsum([tally.counts.shape[1] for tally in tallies])[:-1]
    drawn: list[dict[str, Floats]] = [{name: np.empty(resamples) for name in METRICS} for _ in tallies]
    rng = np.random.default_rng(seed)
    step = max(1, _BLOCK // size)
    for start in range(0, resamples, step):
        stop = min(resamples, start + step)
        picks = rng.integers(0, size, size=(stop - start, size))
        picks += size * np.arange(stop - start)[:, None]
        weights = np.bincount(picks.ravel(), minlength=size * (stop - start)).reshape(-1, size)
        sums = (weights.astype("float32") @ table).astype("float64")
        for system, part in zip(drawn, np.split(sums, cuts, axis=1), strict=True):
            for name, values in scores(part).items():
                system[name][start:stop] = values
    return drawn


def interval(value: float, draws: Floats, level: float = LEVEL) -> Interval:
    """RETURNS (Interval): The value with the middle share `level` of its resamples."""
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(value), float(low), float(high))
