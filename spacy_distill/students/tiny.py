"""`tiny_textcat`: trains a linear text classifier in seconds, from a teacher's probabilities.

It is fitted once, when the pipeline is initialized: the loss is convex, and epochs would add nothing. `spacy train`
evaluates and saves it as it does any other component. It runs on `collapsed_textcat`, which is also what it is released
as, in a package that needs spaCy alone.
"""

import logging
from typing import Any, Callable, Iterable, List, Optional

import numpy as np
from spacy.language import Language
from spacy.tokens import Doc
from spacy.training import Example

from ..errors import InputError
from .runtime.collapsed_textcat import CollapsedTextCat, enlarge_tokenizer_cache
from .soft_textcat import SCORES_TEXTCAT

logger = logging.getLogger("spacy_distill")

RUNTIME_FACTORY = {"tiny_textcat": "collapsed_textcat"}

MOST_BYTES = 5_000_000
"""Of weights: so many features may be kept."""


class TinyTextCat(CollapsedTextCat):
    """`collapsed_textcat`, and how it learns.

    balance (float): 0: every text weighs the same. 1: every class weighs the same in total, as in `soft_textcat`.
    """

    balance: float

    def initialize(
        self,
        get_examples: Callable[[], Iterable[Example]],
        *,
        nlp: Optional[Language] = None,
        labels: Optional[Iterable[str]] = None,
    ) -> None:
        """Learn from all examples.

        get_examples (Callable[[], Iterable[Example]]): Texts with `cats` from 0 to 1. A class that a text
            does not have is 0 where classes are exclusive, and unknown where they are not.
        labels (Optional[Iterable[str]]): The classes; those of the examples if there are none.
        RAISES (InputError): No examples, fewer than two classes of exclusive ones, or a value that is no probability.
        """
        from .tiny_features import vectorize  # scipy, which costs those nothing who only use a pipeline
        from .tiny_fit import balanced_weights, fit

        docs = [example.reference for example in get_examples()]
        names = list(labels) if labels is not None else sorted({label for doc in docs for label in doc.cats})
        if not docs or len(names) < 1 + self.exclusive:
            raise InputError(
                f"{self.name!r} has {len(docs)} texts and the classes [{', '.join(names)}] to learn from: too few."
            )
        targets = _targets(docs, names, self.exclusive)
        vectors = vectorize(docs, most=MOST_BYTES // (len(names) + 16))
        counted = balanced_weights(targets, self.balance, exclusive=self.exclusive)
        found = fit(vectors.texts, vectors.features, targets, counted, exclusive=self.exclusive)
        weights = found.weights * vectors.idf[:, None]
        self.set_weights(names, vectors.keys, vectors.words, weights, vectors.idf**2, found.bias)
        logger.info(
            "%s: %d features, penalty %g, held-out loss %.3f", self.name, len(weights), found.penalty, found.loss
        )


def _targets(docs: List[Doc], labels: List[str], exclusive: bool) -> Any:
    """RETURNS (NDArray[float]): `(N, K)`. RAISES (InputError): A value is no probability."""
    for doc in docs:
        for label, value in doc.cats.items():
            if not 0.0 <= value <= 1.0:
                raise InputError(
                    f"Category {label!r} has the value {value}; a soft label lies between 0 and 1."
                    f" Text: {doc.text[:60]!r}"
                )
    absent = 0.0 if exclusive else np.nan
    return np.array([[doc.cats.get(label, absent) for label in labels] for doc in docs], dtype=np.float64)


@Language.factory(
    "tiny_textcat",
    assigns=["doc.cats"],
    default_config={"exclusive": True, "threshold": 0.5, "balance": 0.5},
    default_score_weights=SCORES_TEXTCAT,
)
def make_tiny_textcat(nlp: Language, name: str, exclusive: bool, threshold: float, balance: float) -> TinyTextCat:
    """Make a `tiny_textcat`: `collapsed_textcat`'s own settings, and `balance` (see `TinyTextCat`)."""
    enlarge_tokenizer_cache(nlp)
    component = TinyTextCat(nlp.vocab, name, exclusive=exclusive, threshold=threshold)
    component.balance = balance
    return component
