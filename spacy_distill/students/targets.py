"""What a classifier that is fitted at once learns from: texts, classes, and how much of each class a text has."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from spacy.tokens import Doc
from spacy.training import Example

from ..errors import InputError


@dataclass(frozen=True, slots=True)
class Targets:
    """N texts and K classes.

    docs (List[Doc]): The texts.
    labels (List[str]): The classes.
    shares (NDArray[float]): `(N, K)`, 0 to 1. NaN: nobody said; not where classes are exclusive.
    """

    docs: list[Doc]
    labels: list[str]
    shares: NDArray[np.float64]


def targets_of(examples: Iterable[Example], labels: Iterable[str] | None, name: str, *, exclusive: bool) -> Targets:
    """Read examples whose `cats` lie between 0 and 1.

    labels (Optional[Iterable[str]]): The classes; those of the examples if there are none.
    name (str): The component's, for messages.
    exclusive (bool): A class that a text does not have is 0; else it is unknown.
    RAISES (InputError): No examples, fewer than two exclusive classes, or a value that is no probability.
    """
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
    return Targets(
        docs, names, np.array([[doc.cats.get(label, absent) for label in names] for doc in docs], np.float64)
    )
