"""From a model's raw label log-probabilities to probabilities one may believe. Plain numpy.

A language model prefers some labels whatever the text says. All remedies here take one number a label, its `bias`,
off the log-probabilities; they differ in where the bias is looked up:

- content-free (Zhao et al. 2021, "Calibrate before use"): in the model's answers to texts that say nothing;
- batch (Zhou et al. 2023, "Batch calibration"): in its average answer to many texts, taking the classes as balanced;
- prior: so that its average answer to many texts is a known class distribution.

A temperature (Guo et al. 2017) then makes the probabilities as sure as they are right. It never changes a decision.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


def log_softmax(logprobs: ArrayLike) -> Floats:
    """RETURNS (NDArray): Rows normalised so that their probabilities add up to 1. `(N, K)`."""
    values = np.asarray(logprobs, dtype=np.float64)
    shifted = values - values.max(axis=-1, keepdims=True)
    normalised: Floats = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return normalised


def probabilities(logprobs: ArrayLike, bias: ArrayLike | None = None, temperature: float = 1.0) -> Floats:
    """Calibrate: `softmax((logprobs - bias) / temperature)`.

    logprobs (ArrayLike): Raw log-probabilities of the labels, unnormalised. `(N, K)`.
    bias (Optional[ArrayLike]): What to take off each label. `(K,)`. None: nothing.
    temperature (float): Above 1 makes the model less sure, below 1 surer.
    RETURNS (NDArray): Rows add up to 1. `(N, K)`.
    """
    values = np.asarray(logprobs, dtype=np.float64)
    if bias is not None:
        values = values - np.asarray(bias, dtype=np.float64)
    return np.exp(log_softmax(values / temperature))


def content_free_bias(logprobs: ArrayLike) -> Floats:
    """The bias that texts without content show: the logarithm of the model's mean answer to them.

    logprobs (ArrayLike): Raw log-probabilities for M content-free texts. `(M, K)`.
    RETURNS (NDArray): `(K,)`.
    """
    return _log_mean(log_softmax(logprobs))


def batch_bias(logprobs: ArrayLike) -> Floats:
    """The logarithm of the model's mean answer to a batch of real texts. Right where the classes are about balanced.

    logprobs (ArrayLike): Raw log-probabilities for N unlabelled texts. `(N, K)`.
    RETURNS (NDArray): `(K,)`.
    """
    return _log_mean(log_softmax(logprobs))


def prior_bias(logprobs: ArrayLike, prior: ArrayLike, *, steps: int = 200) -> Floats:
    """The bias that makes the mean of the calibrated probabilities equal a known class distribution.

    Found by the fixed-point iteration `bias += log(mean probability) - log(prior)`, until no class is off by 1e-6.

    logprobs (ArrayLike): Raw log-probabilities for N unlabelled texts. `(N, K)`.
    prior (ArrayLike): How frequent each class is; all above 0, adding up to 1. `(K,)`.
    RETURNS (NDArray): `(K,)`.
    """
    wanted = np.asarray(prior, dtype=np.float64)
    normalised = log_softmax(logprobs)
    bias: Floats = np.zeros(normalised.shape[1])
    for _ in range(steps):
        mean = _log_mean(log_softmax(normalised - bias))
        if np.abs(np.exp(mean) - wanted).max() < 1e-6:
            break
        bias = bias + mean - np.log(wanted)
    return bias


def label_prior(gold: ArrayLike, n_labels: int) -> Floats:
    """How frequent each label is, with one imaginary text of each so that none is impossible.

    gold (ArrayLike): Indices of the right labels. `(N,)`.
    RETURNS (NDArray): `(K,)`, adding up to 1.
    """
    counts = np.bincount(np.asarray(gold, dtype=np.intp), minlength=n_labels) + 1.0
    prior: Floats = counts / counts.sum()
    return prior


def fit_temperature(logprobs: ArrayLike, gold: ArrayLike, bias: ArrayLike | None = None) -> float:
    """The temperature, from 0.05 to 20, under which the right labels are most likely.

    The log-loss has one minimum in the temperature, so a golden-section search over its logarithm finds it.

    logprobs (ArrayLike): Raw log-probabilities. `(N, K)`.
    gold (ArrayLike): Indices of the right labels. `(N,)`.
    bias (Optional[ArrayLike]): See `probabilities`.
    RETURNS (float): To within one per cent.
    """

    def loss(log_temperature: float) -> float:
        return log_loss(probabilities(logprobs, bias, float(np.exp(log_temperature))), gold)

    golden = (5**0.5 - 1) / 2
    low, high = float(np.log(0.05)), float(np.log(20.0))
    left, right = high - golden * (high - low), low + golden * (high - low)
    loss_left, loss_right = loss(left), loss(right)
    while high - low > 0.01:
        if loss_left <= loss_right:
            high, right, loss_right = right, left, loss_left
            left = high - golden * (high - low)
            loss_left = loss(left)
        else:
            low, left, loss_left = left, right, loss_right
            right = low + golden * (high - low)
            loss_right = loss(right)
    return float(np.exp((low + high) / 2))


def log_loss(probs: ArrayLike, gold: ArrayLike) -> float:
    """RETURNS (float): Mean negative log-probability of the right label, in nats; lower is better, 0 is perfect."""
    rows = np.asarray(probs, dtype=np.float64)
    right = rows[np.arange(len(rows)), np.asarray(gold, dtype=np.intp)]
    return float(-np.log(np.clip(right, 1e-12, 1.0)).mean())


def expected_calibration_error(probs: ArrayLike, gold: ArrayLike, *, bins: int = 10) -> float:
    """How far confidence and accuracy are apart (Naeini et al. 2015), over bins of equally many texts.

    probs (ArrayLike): Calibrated probabilities. `(N, K)`.
    gold (ArrayLike): Indices of the right labels. `(N,)`.
    bins (int): How many bins.
    RETURNS (float): 0 to 1; 0 is perfect.
    """
    rows = np.asarray(probs, dtype=np.float64)
    right = (rows.argmax(axis=1) == np.asarray(gold)).astype(np.float64)
    confidence = rows.max(axis=1)
    order = np.argsort(confidence, kind="stable")
    gaps = [abs(float(confidence[part].mean() - right[part].mean())) * len(part) for part in _parts(order, bins)]
    return sum(gaps) / len(rows)


def _parts(order: NDArray[np.intp], bins: int) -> list[NDArray[Any]]:
    return [part for part in np.array_split(order, bins) if len(part)]


def _log_mean(normalised: Floats) -> Floats:
    """The logarithm of the rows' mean probability, never minus infinity."""
    mean: Floats = np.log(np.clip(np.exp(normalised).mean(axis=0), 1e-12, None))
    return mean
