"""`encoder_textcat`: a linear text classifier on a pretrained sentence encoder, trained from a teacher's probabilities.

The encoder stays as it is and reads each text once; what is fitted is convex and takes seconds. Or its last layers are
tuned to the classes first, which takes minutes and torch, and gains most where feelings and the like decide, which no
encoder was pretrained to tell apart. Both run on `frozen_encoder_textcat`, which is also what they are released as: it
needs neither torch nor transformers.
"""

import logging
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Callable, Iterable, Literal, Optional, Sequence

import numpy as np
from spacy.language import Language
from spacy.training import Example

from ..errors import ConfigError
from .runtime.frozen_encoder import Encoder, FrozenEncoderTextCat, Ngrams
from .soft_textcat import SCORES_TEXTCAT
from .threshold import log_odds

if TYPE_CHECKING:
    from .encoder_tune import Tuning

logger = logging.getLogger("spacy_distill")

RUNTIME_FACTORY = {"encoder_textcat": "frozen_encoder_textcat", "encoder_ner": "frozen_encoder_ner"}
_BATCH = 256


class EncoderTextCat(FrozenEncoderTextCat):
    """`frozen_encoder_textcat`, and how it learns.

    encoder_name (str): See `read_encoder`.
    weight (Optional[str]): None: every text weighs the same. "confidence": as sure as the teacher was of it, as in
        `soft_textcat`.
    balance (float): 0: no class weighs more than another while they are learned. 1: every class weighs the same in
        total, as in `soft_textcat`. Exclusive classes are said as often as they are there all the same.
    tuned_layers (int): How many of the encoder's last layers learn too. They need torch.
    epochs (int): How often they learn each text: more often where there are few, less often where there are many.
    """

    encoder_name: str
    weight: Optional[str]
    balance: float
    tuned_layers: int
    epochs: int

    def initialize(
        self,
        get_examples: Callable[[], Iterable[Example]],
        *,
        nlp: Optional[Language] = None,
        labels: Optional[Iterable[str]] = None,
    ) -> None:
        """Learn from all examples. Scores are moved as in `TinyTextCat`.

        get_examples (Callable[[], Iterable[Example]]): Texts with `cats` from 0 to 1. A class that a text
            does not have is 0 where classes are exclusive, and unknown where they are not.
        labels (Optional[Iterable[str]]): The classes; those of the examples if there are none.
        RAISES (InputError): No encoder; see also `targets_of`.
        RAISES (ConfigError): Layers are to be tuned, and there are fewer, or no torch.
        """
        from .encoder_files import read_encoder
        from .encoder_fit import (
            fit_head,
            select_ngrams,
            tune_head,
        )  # scipy, which costs those nothing who only use a pipeline
        from .targets import targets_of

        given = targets_of(get_examples(), labels, self.name, exclusive=self.exclusive, weight=self.weight)
        wanted = given.shares, given.text_weights
        texts = [doc.text for doc in given.docs]
        encoder = read_encoder(self.encoder_name)
        found = select_ngrams(texts, len(given.labels))
        if self.tuned_layers:
            how = tuning(encoder, self.name, self.tuned_layers, self.epochs)
            encoder, head = tune_head(
                encoder, texts, found, *wanted, how, balance=self.balance, exclusive=self.exclusive
            )
        else:
            encoded = _encode(encoder, texts)
            head = fit_head(encoded, texts, found, *wanted, balance=self.balance, exclusive=self.exclusive)
        kept = len(head.sparse)
        ngrams = Ngrams(found.keys[:kept], found.idf[:kept])
        bias = head.bias - log_odds(head.threshold)
        self.set_weights(given.labels, encoder, ngrams, head.dense, head.sparse, bias)
        logger.info("%s: n-grams weigh %.2g, held-out loss %.3f", self.name, head.ngram_weight, head.loss)


def tuning(encoder: Encoder, name: str, layers: int, epochs: int) -> "Tuning":
    """Make sure that an encoder can be tuned.

    name (str): The component's, for messages.
    RETURNS (Tuning): How it is; its seed comes from the config's.
    RAISES (ConfigError): It has fewer layers, or there is no torch.
    """
    there = sum(name.endswith(".intermediate.dense.weight") for name in encoder.arrays)
    if not 0 < layers <= there:
        raise ConfigError(f"{name!r} is to tune {layers} layers of an encoder that has {there}.")
    if epochs < 1:
        raise ConfigError(f"{name!r} is to tune layers in {epochs} epochs: it takes one at least.")
    if not find_spec("torch"):
        raise ConfigError(
            f"{name!r} is to tune {layers} layers, which takes torch: pip install 'spacy-distill[local]'"
            f"{', or set tuned_layers = 0' if name.endswith('textcat') else ''}."
        )
    from .encoder_tune import Tuning

    return Tuning(layers, epochs, int(np.random.randint(2**31)))  # `spacy train` has seeded it


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
    default_config={
        "exclusive": True,
        "weight": None,
        "balance": 0.5,
        "tuned_layers": 0,
        "epochs": 4,
    },
    default_score_weights=SCORES_TEXTCAT,
)
def make_encoder_textcat(
    nlp: Language,
    name: str,
    encoder: str,
    exclusive: bool,
    weight: Optional[Literal["confidence"]],
    balance: float,
    tuned_layers: int,
    epochs: int,
) -> EncoderTextCat:
    """Make an `encoder_textcat`: `frozen_encoder_textcat`'s own settings, and those of `EncoderTextCat`."""
    component = EncoderTextCat(nlp.vocab, name, exclusive=exclusive)
    component.encoder_name, component.weight, component.balance = encoder, weight, balance
    component.tuned_layers, component.epochs = tuned_layers, epochs
    return component
