"""The weights of a linear text classifier: a convex loss, L-BFGS, a penalty chosen by cross-validation.

With fewer texts than features the best weights are a combination of the texts' own vectors (the representer theorem).
So the same problem is solved over as many numbers as there are texts: `X = L Q`, where `L` is the Cholesky factor of
`X X'` and `Q` has orthonormal rows, takes the place of `X` and gives the same solution. 77 classes take seconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cholesky, solve_triangular
from scipy.optimize import minimize
from scipy.special import expit, log_softmax

from .targets import class_weights
from .threshold import best_threshold

Floats = NDArray[np.float64]

PENALTIES = (1.0, 0.3, 0.1, 0.03, 0.01)
FOLDS = 4
MOST_TEXTS = 3000
"""Up to so many texts the problem is solved over texts; beyond, a matrix of N x N numbers costs more than it saves."""
PULL = 3.0
"""It takes more texts of a class than so many to say that it is rarer, or more frequent, than it seems."""
_JITTER = 1e-6  # on the diagonal of X X', for texts that are there twice
_STEPS = 200
_TOLERANCE = 1e-5  # of the loss, relative


@dataclass(frozen=True, slots=True)
class Fit:
    """What was learned.

    weights (NDArray[float]): `(F, K)`.
    bias (NDArray[float]): `(K,)`.
    penalty (float): The chosen weight of the squared length of the weights.
    loss (float): The mean loss of held-out texts, in nats. Weights and bias are calibrated on them.
    threshold (float): From which score on a class holds, chosen on them; see `best_threshold`. Says nothing where
        classes are exclusive.
    """

    weights: Floats
    bias: Floats
    penalty: float
    loss: float
    threshold: float


@dataclass(frozen=True, slots=True)
class Calibration:
    """What makes logits fit the texts that were held out.

    factors (Tuple[float, ...]): Of each classifier's logits.
    shift (NDArray[float]): What is added to the sum, `(K,)`.
    loss (float): The mean loss with them, in nats.
    """

    factors: tuple[float, ...]
    shift: Floats
    loss: float


def numbered(texts: Iterable[str]) -> NDArray[np.int64]:
    """RETURNS (NDArray[int]): Which text each is, `(N,)`: copies of one have the same number."""
    first: dict[str, int] = {}
    return np.array([first.setdefault(text, len(first)) for text in texts], np.int64)


def fit(
    texts: Any,
    features: Any,
    targets: Floats,
    text_weights: Floats,
    *,
    balance: float,
    numbers: NDArray[np.int64],
    exclusive: bool,
    seed: int = 0,
) -> Fit:
    """Fit weights for each penalty on parts of the texts, choose by the loss of the others, fit on all.

    The loss is cross-entropy against soft targets, of a softmax or of one sigmoid a class. The texts' vectors are given
    as a product, which has far fewer numbers than its result where words have features of their own. Exclusive classes
    are weighted to learn, and not to choose and to calibrate: a rare one is found better, and not said more often.

    texts (csr_matrix): What each text has of each word and pair, `(N, V)`.
    features (csr_matrix): What each word and pair has of each feature, `(V, F)`.
    targets (NDArray[float]): `(N, K)`, 0 to 1. NaN: unknown; not for exclusive classes.
    text_weights (NDArray[float]): What each text counts, `(N, 1)`.
    balance (float): How much more texts of rare classes count, 0 to 1: see `balanced_weights`.
    numbers (NDArray[int]): See `numbered`: of copies none is held out where another is learned.
    RETURNS (Fit): The weights.
    """
    count, classes = targets.shape
    folds = FOLDS
    if count <= min(MOST_TEXTS, features.shape[1]):
        vectors = texts @ features
        gram = (vectors @ vectors.T).toarray()
        gram[np.diag_indices(count)] += _JITTER
        problem = _Problem(cholesky(gram, lower=True, overwrite_a=True, check_finite=False), None)
    else:
        problem = _Problem(texts, features)
        folds = 1  # so many texts that a quarter of them is enough to choose by
    counted = balanced_weights(targets, text_weights, balance, exclusive=exclusive)
    of_chance = text_weights if exclusive else counted
    known = ~np.isnan(targets)
    given, targets, counted = targets, np.where(known, targets, 0.0), np.where(known, counted, 0.0)
    part = np.random.default_rng(seed).permutation(numbers.max() + 1)[numbers] % FOLDS
    held_out = part < folds
    penalty, best, threshold = PENALTIES[0], None, 0.5
    starts = [_start(problem, targets, counted, exclusive)] * folds
    logits = np.zeros_like(targets)
    for tried in PENALTIES:  # from the smoothest on; each starts where the one before ended
        for i in range(folds):
            inside, outside = part != i, part == i
            starts[i] = _solve(problem.of(inside), targets[inside], counted[inside], tried, exclusive, starts[i])
            logits[outside] = problem.of(outside).logits(starts[i])
        found = calibrate([logits[held_out]], given[held_out], of_chance[held_out], exclusive=exclusive)
        if best is not None and found.loss > best.loss:
            break
        penalty, best = tried, found
        if not exclusive:
            threshold = best_threshold(expit(found.factors[0] * logits[held_out] + found.shift), given[held_out])
    assert best is not None
    flat = _solve(problem, targets, counted, penalty, exclusive, starts[0])
    weights, bias = flat[:-classes].reshape(-1, classes), flat[-classes:]
    if problem.features is None:
        weights = vectors.T @ solve_triangular(problem.texts, weights, trans="T", lower=True, check_finite=False)
    (factor,) = best.factors
    return Fit(factor * weights, factor * bias + best.shift, penalty, best.loss, threshold)


@dataclass(frozen=True, slots=True)
class _Problem:
    """Texts' vectors, `(N, D)`: as they are, or as the product of `texts` `(N, V)` and `features` `(V, D)`."""

    texts: Any
    features: Any

    def of(self, which: NDArray[np.bool_]) -> _Problem:
        """RETURNS (_Problem): Some of the texts."""
        return _Problem(self.texts[which], self.features)

    @property
    def width(self) -> int:
        """RETURNS (int): D."""
        return int((self.texts if self.features is None else self.features).shape[1])

    def logits(self, flat: Floats) -> Floats:
        """RETURNS (NDArray[float]): `(N, K)`, from weights and bias, `(D K + K,)`."""
        classes = len(flat) // (self.width + 1)
        weights = flat[:-classes].reshape(-1, classes)
        if self.features is not None:
            weights = self.features @ weights
        return np.asarray(self.texts @ weights + flat[-classes:])

    def gradient(self, slope: Floats) -> Floats:
        """RETURNS (NDArray[float]): The gradient for weights and bias, from that for the logits, `(N, K)`."""
        weights = self.texts.T @ slope
        if self.features is not None:
            weights = self.features.T @ weights
        return np.concatenate([np.asarray(weights).ravel(), slope.sum(axis=0)])


def calibrate(
    logits: Sequence[Floats], targets: Floats, weights: Floats, *, exclusive: bool, pull: float = PULL
) -> Calibration:
    """Find how much each of some classifiers counts, and what is added to a class, so that their sum fits held-out
    targets best: a convex problem. What is added makes good for classes that weighed more than their texts, while they
    were learned. Classes that do not exclude each other get nothing added.

    One classifier: temperature scaling (Guo et al. 2017, "On calibration of modern neural networks") and a bias.

    logits (Sequence[NDArray[float]]): Of each classifier, for held-out texts, `(N, K)`.
    targets (NDArray[float]): `(N, K)`, see `fit`.
    weights (NDArray[float]): What each text, or each target, counts: `(N, 1)` or `(N, K)`.
    pull (float): How strongly what is added is drawn to 0: as by so many texts of each class.
    RETURNS (Calibration): Factors of 1/8 to 8 for the first and of 0 to 8 for the others.
    """
    # After Platt (1999): so few texts, all told apart, do not mean that none ever will be mistaken.
    doubt = 1 / (len(targets) + 1)
    targets = targets * (1 - doubt) + doubt / (targets.shape[1] if exclusive else 2)
    known = ~np.isnan(targets)
    targets, weights = np.where(known, targets, 0.0), np.where(known, weights, 0.0)
    count, many = _count(targets, weights, exclusive), len(logits)

    def objective(numbers: Floats) -> tuple[float, Floats]:
        factors, shift = numbers[:many], numbers[many:]
        total, slope = _loss(np.tensordot(factors, logits, 1) + shift, targets, weights, exclusive)
        gradient = np.append([(slope * one).sum() for one in logits], slope.sum(axis=0) + pull * shift)
        return (total + pull / 2 * float(shift @ shift)) / count, gradient / count

    classes = targets.shape[1]
    start = np.array([0.5, *[0.25] * (many - 1), *[0.0] * classes])
    free = (None, None) if exclusive else (0.0, 0.0)
    bounds = [(0.125, 8.0), *[(0.0, 8.0)] * (many - 1), *[free] * classes]
    found = minimize(objective, start, jac=True, method="L-BFGS-B", bounds=bounds)
    return Calibration(tuple(found.x[:many].tolist()), found.x[many:], float(found.fun))


def balanced_weights(targets: Floats, text_weights: Floats, balance: float, *, exclusive: bool) -> Floats:
    """What texts count when rare classes count more, see `class_weights`.

    targets (NDArray[float]): `(N, K)`.
    text_weights (NDArray[float]): What each text counts by itself, `(N, 1)`, 1 on average.
    RETURNS (NDArray[float]): Exclusive: a weight for each text, `(N, 1)`, the expected weight of its classes. Else one
        for each target, `(N, K)`: positive ones weigh by their class.
    """
    weights = class_weights(np.nansum(text_weights * targets, axis=0), len(targets), balance)
    if exclusive:
        return np.asarray(text_weights * (targets @ weights)[:, None])
    return np.asarray(text_weights * (1.0 + np.nan_to_num(targets) * (weights - 1.0)))


def _loss(logits: Floats, targets: Floats, text_weights: Floats, exclusive: bool) -> tuple[float, Floats]:
    """RETURNS (Tuple[float, NDArray[float]]): The loss's sum over texts, and its gradient for the logits."""
    if exclusive:
        log_scores = log_softmax(logits, axis=1)
        total = -(text_weights * targets * log_scores).sum()
        return float(total), text_weights * (np.exp(log_scores) * targets.sum(axis=1, keepdims=True) - targets)
    total = (text_weights * (np.logaddexp(0.0, logits) - targets * logits)).sum()
    return float(total), text_weights * (expit(logits) - targets)


def _count(targets: Floats, weights: Floats, exclusive: bool) -> float:
    """RETURNS (float): What the loss's sum is divided by to be a mean; `weights` `(N, K)`."""
    return float((weights * targets).sum() if exclusive else weights.sum()) or 1.0


def _start(problem: _Problem, targets: Floats, text_weights: Floats, exclusive: bool) -> Floats:
    """RETURNS (NDArray[float]): No weights, and the bias of the classes' shares, `(D K + K,)`."""
    weights = np.broadcast_to(text_weights, targets.shape)
    share = ((weights * targets).sum(axis=0) + 0.5) / (weights.sum(axis=0) + 1.0)
    bias = np.log(share) if exclusive else np.log(share / (1.0 - share))
    return np.concatenate([np.zeros(problem.width * targets.shape[1]), bias])


def _solve(
    problem: _Problem, targets: Floats, text_weights: Floats, penalty: float, exclusive: bool, start: Floats
) -> Floats:
    """Minimise the loss's sum plus half the penalty times the weights' squared length.

    start (NDArray[float]): Weights and bias to start from, `(D K + K,)`.
    RETURNS (NDArray[float]): As `start`.
    """
    classes = targets.shape[1]

    def objective(flat: Floats) -> tuple[float, Floats]:
        total, slope = _loss(problem.logits(flat), targets, text_weights, exclusive)
        gradient = problem.gradient(slope)
        gradient[:-classes] += penalty * flat[:-classes]
        return total + penalty / 2 * float(flat[:-classes] @ flat[:-classes]), gradient

    options = {"maxiter": _STEPS, "ftol": _TOLERANCE, "gtol": 1e-4}
    return np.asarray(minimize(objective, start, jac=True, method="L-BFGS-B", options=options).x)
