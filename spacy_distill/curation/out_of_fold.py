"""What a quick linear model, trained on the teacher's other texts, would have said: the second opinion of two rules."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ConfigError
from ..texts import normal_form
from ..types import Annotation

Floats = NDArray[np.float64]


def out_of_fold(
    features: Any,
    classes: NDArray[np.int64],
    count: int,
    *,
    clusters: NDArray[np.int64],
    folds: int,
    known: NDArray[np.bool_],
    weights: Floats,
) -> Floats:
    """Give every row its classes' probabilities, by a logistic regression that has not seen the row's cluster.

    features (csr_matrix): `(N, F)`.
    classes (NDArray[int]): What the teacher said, from 0 to `count` - 1 `(N,)`.
    clusters (NDArray[int]): What a fold must not divide `(N,)`; `folds` different ones or more.
    known (NDArray[bool]): Rows to learn from `(N,)`; the others get probabilities too.
    weights (NDArray[float]): How much each row counts `(N,)`.
    RETURNS (NDArray[float]): `(N, count)`.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GroupKFold

    probabilities = np.zeros((len(classes), count))
    for train, test in GroupKFold(folds).split(features, classes, clusters):
        train = train[known[train]]
        seen = np.unique(classes[train])
        if len(seen) < 2:
            probabilities[test[:, None], seen] = 1.0
            continue
        model = LogisticRegression(max_iter=1000, tol=1e-3).fit(features[train], classes[train], weights[train])
        probabilities[np.ix_(test, seen)] = model.predict_proba(features[test])
    return probabilities


def clusters_of(annotations: Sequence[Annotation]) -> NDArray[np.int64]:
    """RETURNS (NDArray[int]): What a fold must not divide, by number `(N,)`: each text's group, or else the text and
    its copies."""
    names = [annotation.group or normal_form(annotation.text) for annotation in annotations]
    numbers = {name: number for number, name in enumerate(sorted(set(names)))}
    return np.array([numbers[name] for name in names], dtype=np.int64)


def check_folds(rule: str, folds: int) -> None:
    """RAISES (ConfigError): Not a number of parts to divide texts into."""
    if not isinstance(folds, int) or isinstance(folds, bool) or folds < 2:
        raise ConfigError(f"{rule}: folds is {folds!r}; expected a whole number, 2 or more.")
