"""The linear classifier on what an encoder says of a text and on its n-grams, of an encoder as it is or a tuned one."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, hstack, identity
from scipy.special import expit

from ..errors import InputError
from .runtime.frozen_encoder import Encoder, Ngrams, ngrams
from .threshold import best_threshold
from .tiny import MOST_BYTES
from .tiny_fit import PULL, balanced_weights, calibrate, fit, numbered

if TYPE_CHECKING:
    from .encoder_tune import Tuning

logger = logging.getLogger("spacy_distill")

Floats = NDArray[np.float64]

NGRAM_WEIGHTS = (0.0, 0.5, 1.0, 2.0)
"""How much n-grams count beside the encoder, to choose from."""
HELD_OUT = 5
"""One text in so many says how much a tuned encoder and n-grams count."""
MIN_TEXTS = 2
"""N-grams in fewer texts are left out: it halves the classifier and costs nothing."""
NO_SPREAD = 1e-3
"""Texts that an encoder tells apart by a smaller share of their length are taken for one."""


@dataclass(frozen=True, slots=True)
class Head:
    """A fitted classifier.

    dense (NDArray[float]): For what the encoder says, `(2 H, K)`.
    sparse (NDArray[float]): For n-grams, `(F, K)`.
    bias (NDArray[float]): `(K,)`.
    ngram_weight (float): How much n-grams count. At 0 F is 0.
    loss (float): The mean loss of texts that were held out, in nats. Of a tuned encoder, that of its first training.
    threshold (float): From which score on a class holds, chosen on them; see `tiny_fit.Fit`.
    """

    dense: Floats
    sparse: Floats
    bias: Floats
    ngram_weight: float
    loss: float
    threshold: float


def select_ngrams(texts: Sequence[str], classes: int) -> Ngrams:
    """Choose the n-grams that a classifier of so many classes knows.

    RETURNS (Ngrams): Those of the most texts, `MIN_TEXTS` at least and `MOST_BYTES` at most, with
        `idf = 1 + ln((1 + N) / (1 + n))`.
    """
    counts: Counter[int] = Counter()
    for text in texts:
        words, grams = ngrams(text)
        counts.update({*words, *grams})
    kept = sorted(key for key, count in counts.most_common(MOST_BYTES // (classes + 16)) if count >= MIN_TEXTS)
    idf = 1 + np.log((1 + len(texts)) / (1 + np.array([counts[key] for key in kept])))
    return Ngrams(np.array(kept, dtype=np.uint64), idf.astype(np.float32))


def fit_head(
    encoded: Any,
    texts: Sequence[str],
    found: Ngrams,
    targets: Floats,
    text_weights: Floats,
    *,
    balance: float,
    exclusive: bool,
) -> Head:
    """Fit the classifier; how much n-grams count is chosen by the loss of texts that were held out.

    encoded (NDArray[float32]): What the encoder says of each text, `(N, 2 H)`.
    found (Ngrams): F n-grams.
    targets (NDArray[float]): `(N, K)`; with `text_weights` and `balance`: see `tiny_fit.fit`.
    """
    half = encoded.shape[1] // 2
    centre = encoded.mean(axis=0)
    # Mean and maximum are brought to a mean square length of 1 each, which the two kinds of n-grams have.
    squares = ((encoded - centre) ** 2).mean(axis=0)
    least = NO_SPREAD**2 * centre**2
    scale = np.sqrt(np.maximum(squares.reshape(2, half).sum(axis=1), least.reshape(2, half).sum(axis=1))).repeat(half)
    dense = csr_matrix(((encoded - centre) / scale).astype(np.float64))
    sparse = _weights_of(found, texts)
    best = None
    for weight in NGRAM_WEIGHTS if len(found.keys) else NGRAM_WEIGHTS[:1]:
        vectors = hstack([dense, weight * sparse], format="csr") if weight else dense
        one = identity(vectors.shape[1], format="csr")
        fitted = fit(vectors, one, targets, text_weights, balance=balance, numbers=numbered(texts), exclusive=exclusive)
        if best is None or fitted.loss < best.loss:
            of_encoder = fitted.weights[: 2 * half] / scale[:, None]
            of_ngrams = weight * fitted.weights[2 * half :]
            best = Head(of_encoder, of_ngrams, fitted.bias - centre @ of_encoder, weight, fitted.loss, fitted.threshold)
    assert best is not None
    return best


def tune_head(
    encoder: Encoder,
    texts: Sequence[str],
    found: Ngrams,
    targets: Floats,
    text_weights: Floats,
    tuning: Tuning,
    *,
    balance: float,
    exclusive: bool,
) -> tuple[Encoder, Head]:
    """Tune the encoder's last layers, and add a classifier on n-grams alone.

    How much each of the two counts, and so how sure they are together, is found on a fifth of the texts, which a first
    training does not see. A second sees all. The arguments are those of `fit_head`.

    RETURNS (Tuple[Encoder, Head]): The tuned encoder and its classifier.
    RAISES (InputError): Fewer than three different texts.
    """
    from .encoder_tune import tune

    sparse = _weights_of(found, texts)
    one = identity(len(found.keys), format="csr")
    numbers = numbered(texts)
    if numbers.max() < 2:
        raise InputError(
            f"There are {numbers.max() + 1} different texts to tune an encoder on: it takes three at least."
        )
    held_out = np.random.default_rng(tuning.seed).permutation(numbers.max() + 1)[numbers] % HELD_OUT == 0

    def learn(which: Any) -> Any:
        some = [text for text, wanted in zip(texts, which, strict=True) if wanted]
        given = targets[which], text_weights[which]
        counted = balanced_weights(*given, balance, exclusive=exclusive)
        ids = [encoder.pieces(text) for text in some]
        tuned = tune(encoder, ids, targets[which], counted, tuning, exclusive=exclusive)
        if not len(found.keys):
            return tuned, np.zeros((0, targets.shape[1])), np.zeros(targets.shape[1])
        of_ngrams = fit(sparse[which], one, *given, balance=balance, numbers=numbered(some), exclusive=exclusive)
        return tuned, of_ngrams.weights, of_ngrams.bias

    tuned, weights, bias = learn(~held_out)
    said = tuned.encoder.encode([text for text, out in zip(texts, held_out, strict=True) if out])
    logits = said @ tuned.dense + tuned.bias, np.asarray(sparse[held_out] @ weights + bias)
    counts = text_weights if exclusive else balanced_weights(targets, text_weights, balance, exclusive=False)
    # A fifth of the texts has few of each class, and how many is much by chance.
    fitted = calibrate(logits, targets[held_out], counts[held_out], exclusive=exclusive, pull=HELD_OUT * PULL)
    factor, ngram_weight = fitted.factors
    ngram_weight *= bool(len(found.keys))
    scores = expit(factor * logits[0] + ngram_weight * logits[1] + fitted.shift)
    threshold = 0.5 if exclusive else best_threshold(scores, targets[held_out])
    tuned, weights, bias = learn(np.ones(len(texts), dtype=bool))
    kept = weights if ngram_weight else weights[:0]
    total = factor * tuned.bias + ngram_weight * bias + fitted.shift
    head = Head(factor * tuned.dense, ngram_weight * kept, total, ngram_weight, fitted.loss, threshold)
    return tuned.encoder, head


def _weights_of(found: Ngrams, texts: Sequence[str]) -> Any:
    """RETURNS (csr_matrix): The n-grams' weights in each text, `(N, F)`."""
    rows, values = zip(*map(found, texts), strict=True)
    ends = np.cumsum([0, *map(len, rows)])
    return csr_matrix((np.concatenate(values), np.concatenate(rows), ends), shape=(len(texts), len(found.keys)))
