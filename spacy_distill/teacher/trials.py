"""Measure prompts and calibrations on texts labelled by people, and decide between them. Plain numpy, no model."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import calibration as cal

CalibrationName = Literal["none", "content_free", "batch", "prior"]
CALIBRATIONS: tuple[CalibrationName, ...] = get_args(CalibrationName)

RULE = (
    "Of all rows whose accuracy is less than one standard error (of the difference, on the same texts) below the best,"
    " the one with the fewest examples; among these the one with the highest macro F1, so that no label is left out."
)


@dataclass(frozen=True, slots=True)
class Scores:
    """What a model made of the same texts under one prompt: raw log-probabilities of the labels, in nats.

    candidate (str): The prompt's name.
    shots (int): How many examples it shows.
    labels (Tuple[str, ...]): What the columns stand for, K of them.
    logprobs (NDArray): For the texts labelled by people. `(N, K)`.
    content_free (NDArray): For texts that say nothing. `(M, K)`.
    unlabelled (NDArray): For the texts that the batch calibrations learn from. `(U, K)`.
    texts_per_s (float): How fast they were scored.
    """

    candidate: str
    shots: int
    labels: tuple[str, ...]
    logprobs: NDArray[np.float64]
    content_free: NDArray[np.float64]
    unlabelled: NDArray[np.float64]
    texts_per_s: float


@dataclass(frozen=True, slots=True)
class Trial:
    """One prompt with one calibration, measured.

    candidate (str): The prompt's name.
    shots (int): How many examples it shows.
    calibration (CalibrationName): How its bias was found.
    bias (Dict[str, float]): Label to what is taken off its log-probability.
    temperature (float): Fitted to the gold labels.
    texts (int): How many texts it was measured on.
    accuracy (float): Share of texts whose best label is right, 0 to 1.
    low (float), high (float): Its 95 % interval (Wilson).
    macro_f1 (float): Mean F1 over the labels that occur.
    confident_half (float): Accuracy on the half of the texts that it is surest of.
    log_loss (float): Nats a text.
    ece (float): Expected calibration error, 0 to 1.
    texts_per_s (float): Speed.
    right (Tuple[bool, ...]): Each text: is its best label right?
    """

    candidate: str
    shots: int
    calibration: CalibrationName
    bias: dict[str, float]
    temperature: float
    texts: int
    accuracy: float
    low: float
    high: float
    macro_f1: float
    confident_half: float
    log_loss: float
    ece: float
    texts_per_s: float
    right: tuple[bool, ...] = field(repr=False)

    def to_dict(self) -> dict[str, Any]:
        """RETURNS (Dict[str, Any]): The figures, without `right`, for JSON."""
        return {name: value for name, value in asdict(self).items() if name != "right"}


def measure(scores: Scores, gold: ArrayLike, calibrations: Iterable[CalibrationName]) -> list[Trial]:
    """Try calibrations on one prompt's raw scores. Costs nothing but arithmetic.

    The bias comes from texts without their labels ("prior" uses how frequent each label is); the temperature alone
    is fitted to gold.

    gold (ArrayLike): Indices of the right labels. `(N,)`.
    RETURNS (List[Trial]): One a calibration.
    """
    found = []
    truth = np.asarray(gold, dtype=np.intp)
    for name in calibrations:
        bias = find_bias(name, scores, truth)
        temperature = cal.fit_temperature(scores.logprobs, truth, bias)
        probs = cal.probabilities(scores.logprobs, bias, temperature)
        guess = probs.argmax(axis=1)
        right = guess == truth
        order = np.argsort(-probs.max(axis=1), kind="stable")
        low, high = wilson(int(right.sum()), len(right))
        found.append(
            Trial(
                candidate=scores.candidate,
                shots=scores.shots,
                calibration=name,
                bias={label: round(float(value), 6) for label, value in zip(scores.labels, bias, strict=True)},
                temperature=round(temperature, 4),
                texts=len(right),
                accuracy=float(right.mean()),
                low=low,
                high=high,
                macro_f1=macro_f1(guess, truth),
                confident_half=float(right[order[: (len(order) + 1) // 2]].mean()),
                log_loss=cal.log_loss(probs, truth),
                ece=cal.expected_calibration_error(probs, truth),
                texts_per_s=scores.texts_per_s,
                right=tuple(right.tolist()),
            )
        )
    return found


def find_bias(name: CalibrationName, scores: Scores, gold: NDArray[np.intp]) -> cal.Floats:
    """RETURNS (NDArray): What a calibration takes off each label. `(K,)`."""
    if name == "none":
        return np.zeros(len(scores.labels))
    if name == "content_free":
        return cal.content_free_bias(scores.content_free)
    if name == "batch":
        return cal.batch_bias(scores.unlabelled)
    return cal.prior_bias(scores.unlabelled, cal.label_prior(gold, len(scores.labels)))


def select(trials: Sequence[Trial]) -> Trial:
    """Choose by `RULE`: differences that a small gold sample cannot show are not worth a longer, slower prompt.

    trials (Sequence[Trial]): All measured on the same texts; at least one.
    RETURNS (Trial): The winner.
    """
    best = max(trials, key=lambda trial: (trial.accuracy, -trial.shots, -trial.log_loss))
    close = [trial for trial in trials if best.accuracy - trial.accuracy <= difference_error(best.right, trial.right)]
    return min(close, key=lambda trial: (trial.shots, -trial.macro_f1, trial.log_loss))


def difference_error(first: Sequence[bool], second: Sequence[bool]) -> float:
    """RETURNS (float): Standard error of the difference between two accuracies on the same texts."""
    difference = np.asarray(first, dtype=np.float64) - np.asarray(second, dtype=np.float64)
    return float(difference.std() / np.sqrt(len(difference)))


def wilson(right: int, total: int, z: float = 1.96) -> tuple[float, float]:
    """RETURNS (Tuple[float, float]): 95 % interval of a share (Wilson 1927)."""
    share, weight = right / total, z * z / total
    centre = (share + weight / 2) / (1 + weight)
    reach = z / (1 + weight) * float(np.sqrt(share * (1 - share) / total + weight / (4 * total)))
    return max(0.0, centre - reach), min(1.0, centre + reach)


def macro_f1(guess: NDArray[np.intp], gold: NDArray[np.intp]) -> float:
    """RETURNS (float): Mean F1 over the labels that occur in gold, 0 to 1."""
    found = []
    for label in np.unique(gold):
        hits = int(((guess == label) & (gold == label)).sum())
        found.append(2 * hits / (int((guess == label).sum()) + int((gold == label).sum())))
    return float(np.mean(found))
