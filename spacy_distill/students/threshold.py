"""From which score on a label holds, where a text may have several: rare labels seldom reach one half."""

import math
from typing import Any

import numpy as np

THRESHOLDS = np.arange(0.05, 0.96, 0.05)
"""To choose from. Finer ones would follow the chance of which texts are held out."""
_SMOOTH = np.array([1, 2, 3, 2, 1]) / 9
"""How much a threshold and its neighbours count: some hundred texts have a rare label a few times only, and which
single threshold is best on them is chance."""


def best_threshold(scores: Any, targets: Any) -> float:
    """Choose one threshold for all labels, by the mean of micro and macro F1 at it and its neighbours.

    scores (NDArray[float]): What a student says of texts that it did not learn from, `(N, K)`, 0 to 1.
    targets (NDArray[float]): What holds, `(N, K)`: from .5 on. NaN: unknown.
    RETURNS (float): One of `THRESHOLDS`; of equally good ones that nearest to .5.
    """
    known = ~np.isnan(targets)
    holds = known & (np.nan_to_num(targets) >= 0.5)
    wanted = holds.sum(axis=0)
    values = []
    for threshold in THRESHOLDS:
        said = known & (scores >= threshold)
        both, either = (said & holds).sum(axis=0), said.sum(axis=0) + wanted
        f1 = (2 * both / np.maximum(either, 1))[wanted > 0]
        values.append((2 * both.sum() / max(either.sum(), 1) + (f1.mean() if len(f1) else 0.0)) / 2)
    smooth = np.convolve(np.pad(values, len(_SMOOTH) // 2, mode="edge"), _SMOOTH, "valid")
    equal = THRESHOLDS[smooth > smooth.max() - 1e-9]
    return round(float(min(equal, key=lambda one: abs(one - 0.5))), 2)


def log_odds(threshold: float) -> float:
    """RETURNS (float): What is taken off all logits to make .5 of a threshold."""
    return math.log(threshold / (1 - threshold))


def moved(score: float, threshold: float) -> float:
    """RETURNS (float): A score of 0 to 1 moved as a threshold is that becomes .5."""
    return score * (1 - threshold) / (score * (1 - threshold) + (1 - score) * threshold)
