"""A table of votes made one answer a row: by shares of the votes, or by Dawid and Skene's model of who errs how."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Votes = NDArray[np.int64]
"""`(N, T)`: what each of T teachers says of each of N things, by the label's number, or `NO_VOTE`."""

Method = Literal["majority", "weighted", "dawid-skene"]

NO_VOTE = -1

_MOST_STEPS = 100
_CONVERGED = 1e-3
"""No probability moves by more than this in a step."""

_PSEUDO_VOTES = 1.0
"""How many imagined votes stand behind each row of a teacher's confusion matrix: enough that a label it was hardly
asked about is judged by how it does on all labels."""


@dataclass(frozen=True, slots=True)
class Settled:
    """What became of a table of votes.

    probabilities (ndarray): `(N, K)`: shares of the votes, or the model's probabilities; a row of zeros where nobody
        voted.
    accuracies (Optional[ndarray]): `(T,)`: how often each teacher is right, as the model estimates it.
    """

    probabilities: Floats
    accuracies: Floats | None = None


def settle(votes: Votes, k: int, method: Method, weights: Floats, silent: Floats | None = None) -> Settled:
    """Settle a table of votes.

    k (int): Number of labels.
    weights (ndarray): `(T,)`, 0 or more: what a teacher's vote counts. The model of Dawid and Skene finds its own.
    silent (Optional[ndarray]): See `dawid_skene`.
    RETURNS (Settled): Rows in the order given.
    """
    if method == "dawid-skene":
        return dawid_skene(votes, k, silent)
    return Settled(shares(votes, k, weights))


def shares(votes: Votes, k: int, weights: Floats) -> Floats:
    """RETURNS (ndarray): `(N, K)`: each label's share of the weight of the votes cast; zeros where there is none."""
    found = np.stack([(votes == label) @ weights for label in range(k)], axis=1)
    totals = found.sum(1, keepdims=True)
    divided: Floats = np.divide(found, totals, out=np.zeros_like(found), where=totals > 0)
    return divided


def dawid_skene(votes: Votes, k: int, silent: Floats | None = None) -> Settled:
    """Estimate the truth and every teacher's confusion matrix together, by expectation maximisation.

    Dawid and Skene, "Maximum Likelihood Estimation of Observer Error-Rates Using the EM Algorithm" (1979), started
    from the shares of the votes. Rows of a matrix with few votes lean on the teacher's overall accuracy: a pseudo-count
    (a Dirichlet prior, as in Kim and Ghahramani, "Bayesian Classifier Combination", 2012) whose mean is the matrix of a
    teacher that errs on all labels alike. Teachers are taken to err independently of each other: where they are
    prompts of one model they do not, and the probabilities are surer than they should be.

    silent (Optional[ndarray]): `(T,)`: for each teacher, how many more things there are that got label 0 from all, and
        have it. Where a table has only what somebody named, teachers would seem to contradict each other on purpose.
    RETURNS (Settled): With the probabilities of each label.
    """
    n, t = votes.shape
    given = [
        (teacher, label, rows)
        for teacher in range(t)
        for label in range(k)
        if len(rows := np.flatnonzero(votes[:, teacher] == label))
    ]
    voted = (votes != NO_VOTE).any(1)
    truth = shares(votes, k, np.ones(t))
    accuracies = np.ones(t)
    for _ in range(_MOST_STEPS):
        counts = np.zeros((t, k, k))  # teacher, true label, label said
        for teacher, label, rows in given:
            counts[teacher, :, label] = truth[rows].sum(0)
        totals = counts.sum((1, 2))
        accuracies = (counts.trace(axis1=1, axis2=2) + 1.0) / (totals + 2.0)
        if silent is not None:
            counts[:, 0, 0] += silent
        right, wrong = accuracies[:, None, None], (1.0 - accuracies)[:, None, None] / max(k - 1, 1)
        counts += _PSEUDO_VOTES * np.where(np.eye(k, dtype=bool), right, wrong)
        confusion = np.log(counts / counts.sum(2, keepdims=True))
        prior = truth.sum(0) + 1.0 / k
        if silent is not None:
            prior[0] += silent.max()
        scores = np.tile(np.log(prior / prior.sum()), (n, 1))
        for teacher, label, rows in given:
            scores[rows] += confusion[teacher, :, label]
        scores = np.exp(scores - scores.max(1, keepdims=True))
        before, truth = truth, scores / scores.sum(1, keepdims=True)
        truth[~voted] = 0.0
        if n == 0 or np.abs(truth - before).max() < _CONVERGED:
            break
    return Settled(truth, accuracies)
