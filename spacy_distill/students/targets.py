"""What a classifier that is fitted at once learns from: texts, classes, and how much of each class a text has."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from spacy.tokens import Doc
from spacy.training import Example

from ..docs import confidence_of
from ..errors import InputError


@dataclass(frozen=True, slots=True)
class Targets:
    """N texts and K classes.

    docs (List[Doc]): The texts, in the words of the pipeline that learns.
    labels (List[str]): The classes.
    shares (NDArray[float]): `(N, K)`, 0 to 1. NaN: nobody said; not where classes are exclusive.
    text_weights (NDArray[float]): What each text counts, `(N, 1)`, 1 on average.
    """

    docs: list[Doc]
    labels: list[str]
    shares: NDArray[np.float64]
    text_weights: NDArray[np.float64]


def targets_of(
    examples: Iterable[Example], labels: Iterable[str] | None, name: str, *, exclusive: bool, weight: str | None = None
) -> Targets:
    """Read examples whose `cats` lie between 0 and 1.

    labels (Optional[Iterable[str]]): The classes; those of the examples if there are none.
    name (str): The component's, for messages.
    exclusive (bool): A class that a text does not have is 0; else it is unknown.
    weight (Optional[str]): See `soft_textcat`.
    RAISES (InputError): No examples, fewer than two exclusive classes, a value that is no probability, or texts to
        weigh by a confidence that none of them has.
    """
    examples = list(examples)
    docs = [example.reference for example in examples]
    names = list(labels) if labels is not None else sorted({label for doc in docs for label in doc.cats})
    if not docs or len(names) < 1 + exclusive:
        raise InputError(f"{name!r} has {len(docs)} texts and the classes [{', '.join(names)}] to learn from: too few.")
    for doc in docs:
        for label, value in doc.cats.items():
            if not 0.0 <= value <= 1.0:
                raise InputError(
                    f"Category {label!r} has the value {value}; a soft label lies between 0 and 1."
                    f" Text: {doc.text[:60]!r}"
                )
    absent = 0.0 if exclusive else np.nan
    shares = np.array([[doc.cats.get(label, absent) for label in names] for doc in docs], np.float64)
    weights = np.array([confidence_weight(doc, weight) for doc in docs])[:, None]
    return Targets(
        [example.predicted for example in examples], names, shares, weights / mean_weight(docs, weight, name)
    )


def class_weights(mass: NDArray[np.float64], count: float, balance: float) -> NDArray[np.float64]:
    """What a class counts: at a `balance` of 1 as much as every other in total, at 0 as much as it has texts.

    mass (NDArray[float]): The sum of each class's targets, `(K,)`.
    count (float): Of how many texts.
    RETURNS (NDArray[float]): `(N / (K n_k)) ** balance`, `(K,)`. A class of less than one text counts as one of one.
    """
    return np.asarray((count / (len(mass) * np.maximum(mass, 1.0))) ** balance)


def confidence_weight(doc: Doc, weight: str | None) -> float:
    """RETURNS (float): What a text counts before all are divided by their mean: the teacher's confidence if `weight` is
    "confidence" and it said how sure it is, else 1."""
    confidence = confidence_of(doc) if weight == "confidence" else None
    return 1.0 if confidence is None else confidence


def mean_weight(docs: Iterable[Doc], weight: str | None, name: str) -> float:
    """Find what the texts' weights are divided by.

    name (str): The component's, for messages.
    RETURNS (float): The mean of `confidence_weight`.
    RAISES (InputError): No text has a confidence, or all are 0.
    """
    if weight is None:
        return 1.0
    said = [confidence_of(doc) for doc in docs]
    total = sum(1.0 if confidence is None else confidence for confidence in said)
    if not total or all(confidence is None for confidence in said):
        raise InputError(
            f"{name!r} is to weigh {len(said)} texts by the teacher's confidence, and none has one: set weight = null,"
            " or annotate with a confidence and make the corpus with --confidence."
        )
    return total / len(said)
