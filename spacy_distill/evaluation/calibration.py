"""Whether a probability means what it says: reliability bins and the expected calibration error."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..types import Annotation
from .scores import Floats, match

BINS = 10


@dataclass(frozen=True, slots=True)
class Bin:
    """Answers whose probability lies in one tenth of the scale.

    texts (int): How many.
    confidence (float): Their mean probability, 0 to 1.
    accuracy (float): The share that is right, 0 to 1.
    """

    texts: int
    confidence: float
    accuracy: float


@dataclass(frozen=True, slots=True)
class Calibration:
    """How far probabilities stray from how often they are right.

    ece (float): Expected calibration error, 0 to 1: the bins' gaps between probability and accuracy, averaged by size
        (Guo et al. 2017, "On calibration of modern neural networks", equation 3).
    bins (Tuple[Bin, ...]): From low to high; empty ones left out.
    """

    ece: float
    bins: tuple[Bin, ...]


def calibration(gold: Sequence[Annotation], predicted: Sequence[Annotation]) -> Calibration | None:
    """Compare the probability of each answer with whether it is right. Exclusive classes only.

    RETURNS (Optional[Calibration]): None if any answer's confidence may not be called a probability.
    """
    pairs = [(record, found) for record, found in zip(gold, match(gold, predicted), strict=True) if found]
    if not pairs or not all(record.task == "textcat" and record.exclusive for record, _ in pairs):
        return None
    if any(found.confidence is None or found.confidence_kind not in ("logprob", "votes") for _, found in pairs):
        return None
    confidence = np.array([found.confidence for _, found in pairs], dtype="float64")
    return reliability(confidence, np.array([record.label == found.label for record, found in pairs]))


def reliability(confidence: Floats, right: npt.NDArray[np.bool_]) -> Calibration:
    """Compare confidences with how often they are right.

    confidence (ndarray): 0 to 1. `(N,)`, at least one.
    right (ndarray): Whether each answer is. `(N,)`.
    """
    place = np.clip((confidence * BINS).astype("int64"), 0, BINS - 1)
    bins = tuple(
        Bin(int(inside.sum()), float(confidence[inside].mean()), float(right[inside].mean()))
        for inside in (place == i for i in range(BINS))
        if inside.any()
    )
    return Calibration(sum(b.texts * abs(b.confidence - b.accuracy) for b in bins) / len(confidence), bins)
