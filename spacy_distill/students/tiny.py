"""`tiny_textcat`: trains a linear text classifier in seconds, from a teacher's probabilities.

It is fitted once, when the pipeline is initialized: the loss is convex, and epochs would add nothing. `spacy train`
evaluates and saves it as it does any other component. It runs on `collapsed_textcat`, which is also what it is released
as, in a package that needs spaCy alone.
"""

import logging
from typing import Callable, Iterable, Literal, Optional

from spacy.language import Language
from spacy.training import Example
from spacy.util import registry
from spacy.vectors import Vectors

from .runtime.collapsed_textcat import CollapsedTextCat, enlarge_tokenizer_cache
from .soft_textcat import SCORES_TEXTCAT
from .threshold import log_odds

logger = logging.getLogger("spacy_distill")

RUNTIME_FACTORY = {"tiny_textcat": "collapsed_textcat"}

MOST_BYTES = 5_000_000
"""Of weights: so many features may be kept."""
SCALES = (1.0, 0.5)
"""How long a word's vector is beside its own feature: the one with which held-out texts are told better. With thousands
of texts the shorter one."""


class TinyTextCat(CollapsedTextCat):
    """`collapsed_textcat`, and how it learns.

    weight (Optional[str]): None: every text weighs the same. "confidence": as sure as the teacher was of it, as in
        `soft_textcat`.
    balance (float): 0: no class weighs more than another while they are learned. 1: every class weighs the same in
        total, as in `soft_textcat`. Exclusive classes are said as often as they are there all the same.
    """

    weight: Optional[str]
    balance: float

    def initialize(
        self,
        get_examples: Callable[[], Iterable[Example]],
        *,
        nlp: Optional[Language] = None,
        labels: Optional[Iterable[str]] = None,
    ) -> None:
        """Learn from all examples, and from the vocabulary's word vectors, if there are any: they are not needed later.
        Where classes are not exclusive, scores are moved so that those hold from .5 on which do by `best_threshold`.

        get_examples (Callable[[], Iterable[Example]]): Texts with `cats` from 0 to 1. A class that a text
            does not have is 0 where classes are exclusive, and unknown where they are not.
        labels (Optional[Iterable[str]]): The classes; those of the examples if there are none.
        RAISES (InputError): See `targets_of`.
        """
        from .targets import targets_of
        from .tiny_features import vectorize, word_vectors  # scipy, which costs those nothing who only use a pipeline
        from .tiny_fit import fit, numbered

        given = targets_of(get_examples(), labels, self.name, exclusive=self.exclusive, weight=self.weight)
        most = MOST_BYTES // (len(given.labels) + 16)
        table, best = word_vectors(self.vocab), None
        for scale in (1.0,) if table is None else SCALES:
            vectors = vectorize(given.docs, most=most, given=table and table.scaled(scale))
            found = fit(
                vectors.texts,
                vectors.features,
                given.shares,
                given.text_weights,
                balance=self.balance,
                numbers=numbered(doc.text for doc in given.docs),
                exclusive=self.exclusive,
            )
            if best is None or found.loss < best[1].loss:
                best = vectors, found
        assert best is not None
        vectors, found = best
        keys, words, weights, squares = vectors.collapse(found.weights, most=most)
        self.set_weights(given.labels, keys, words, weights, squares, found.bias - log_odds(found.threshold))
        logger.info("%s: %d features, penalty %g, held-out loss %.3f", self.name, len(keys), found.penalty, found.loss)


@registry.callbacks("spacy_distill.DropVectors.v1")  # type: ignore[untyped-decorator]
def make_drop_vectors() -> Callable[[Language], Language]:
    """Make a callback for `[training.before_to_disk]`, where no component needs word vectors any more."""

    def drop_vectors(nlp: Language) -> Language:
        nlp.vocab.vectors = Vectors(strings=nlp.vocab.strings)
        return nlp

    return drop_vectors


@Language.factory(
    "tiny_textcat",
    assigns=["doc.cats"],
    default_config={"exclusive": True, "weight": None, "balance": 0.5},
    default_score_weights=SCORES_TEXTCAT,
)
def make_tiny_textcat(
    nlp: Language,
    name: str,
    exclusive: bool,
    weight: Optional[Literal["confidence"]],
    balance: float,
) -> TinyTextCat:
    """Make a `tiny_textcat`: `collapsed_textcat`'s own settings, and `weight` and `balance` (see `TinyTextCat`)."""
    enlarge_tokenizer_cache(nlp)
    component = TinyTextCat(nlp.vocab, name, exclusive=exclusive)
    component.weight, component.balance = weight, balance
    return component
