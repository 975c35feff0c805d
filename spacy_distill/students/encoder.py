"""`encoder_textcat`: a linear text classifier on a pretrained sentence encoder, trained from a teacher's probabilities.

The encoder stays as it is and reads each text once; what is fitted is convex and takes seconds. Where a text's meaning
decides and not its words, as with many classes and few labels for each, nothing else comes near it. It runs on
`frozen_encoder_textcat`, which is also what it is released as: neither needs torch or transformers.
"""

import logging
from typing import Any, Callable, Iterable, Literal, Optional, Sequence

import numpy as np
from spacy.language import Language
from spacy.training import Example

from .runtime.frozen_encoder_textcat import Encoder, FrozenEncoderTextCat, Ngrams
from .soft_textcat import SCORES_TEXTCAT

logger = logging.getLogger("spacy_distill")

RUNTIME_FACTORY = {"encoder_textcat": "frozen_encoder_textcat"}
_BATCH = 256


class EncoderTextCat(FrozenEncoderTextCat):
    """`frozen_encoder_textcat`, and how it learns.

    encoder_name (str): See `read_encoder`.
    weight (Optional[str]): None: every text weighs the same. "confidence": as sure as the teacher was of it, as in
        `soft_textcat`.
    balance (float): 0: no class weighs more than another. 1: every class weighs the same in total, as in
        `soft_textcat`.
    """

    encoder_name: str
    weight: Optional[str]
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
        RAISES (InputError): No encoder; see also `targets_of`.
        """
        from .encoder_files import read_encoder
        from .encoder_fit import fit_head, select_ngrams  # scipy, which costs those nothing who only use a pipeline
        from .targets import targets_of
        from .tiny_fit import balanced_weights

        given = targets_of(get_examples(), labels, self.name, exclusive=self.exclusive, weight=self.weight)
        counted = balanced_weights(given.shares, given.text_weights, self.balance, exclusive=self.exclusive)
        texts = [doc.text for doc in given.docs]
        encoder = read_encoder(self.encoder_name)
        encoded = _encode(encoder, texts)
        found = select_ngrams(texts)
        head = fit_head(encoded, texts, found, given.shares, counted, exclusive=self.exclusive)
        kept = len(head.sparse)
        self.set_weights(
            given.labels, encoder, Ngrams(found.keys[:kept], found.idf[:kept]), head.dense, head.sparse, head.bias
        )
        logger.info("%s: n-grams weigh %g, held-out loss %.3f", self.name, head.ngram_weight, head.loss)


def _encode(encoder: Encoder, texts: Sequence[str]) -> Any:
    """Encode texts, the short ones first, and show how far it is. RETURNS (NDArray[float32]): `(N, 2 H)`."""
    from rich.progress import track

    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
    parts = [order[start : start + _BATCH] for start in range(0, len(order), _BATCH)]
    shown = track(parts, f"Encoding {len(texts):,} texts")
    encoded = np.concatenate([encoder.encode([texts[i] for i in part]) for part in shown])
    return encoded[np.argsort(order)]


@Language.factory(
    "encoder_textcat",
    assigns=["doc.cats"],
    default_config={"exclusive": True, "threshold": 0.5, "weight": None, "balance": 0.5},
    default_score_weights=SCORES_TEXTCAT,
)
def make_encoder_textcat(
    nlp: Language,
    name: str,
    encoder: str,
    exclusive: bool,
    threshold: float,
    weight: Optional[Literal["confidence"]],
    balance: float,
) -> EncoderTextCat:
    """Make an `encoder_textcat`: `frozen_encoder_textcat`'s own settings, and `encoder`, `weight` and `balance`."""
    component = EncoderTextCat(nlp.vocab, name, exclusive=exclusive, threshold=threshold)
    component.encoder_name, component.weight, component.balance = encoder, weight, balance
    return component
