"""The linear classifier on what an encoder says of a text and on its n-grams."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, hstack, identity

from .runtime.frozen_encoder_textcat import Ngrams, ngrams
from .tiny_fit import fit, numbered

logger = logging.getLogger("spacy_distill")

Floats = NDArray[np.float64]

NGRAM_WEIGHTS = (0.0, 0.5, 1.0, 2.0)
"""How much n-grams count beside the encoder, to choose from."""
MIN_TEXTS = 2
"""N-grams in fewer texts are left out: it halves the classifier and costs nothing."""


@dataclass(frozen=True, slots=True)
class Head:
    """A fitted classifier.

    dense (NDArray[float]): For what the encoder says, `(2 H, K)`.
    sparse (NDArray[float]): For n-grams, `(F, K)`.
    bias (NDArray[float]): `(K,)`.
    ngram_weight (float): How much n-grams count, of `NGRAM_WEIGHTS`. At 0 F is 0.
    loss (float): The mean loss of texts that were held out, in nats.
    """

    dense: Floats
    sparse: Floats
    bias: Floats
    ngram_weight: float
    loss: float


def select_ngrams(texts: Sequence[str]) -> Ngrams:
    """RETURNS (Ngrams): Those that are in at least `MIN_TEXTS` texts, with `idf = 1 + ln((1 + N) / (1 + n))`."""
    counts: Counter[int] = Counter()
    for text in texts:
        words, grams = ngrams(text)
        counts.update({*words, *grams})
    kept = sorted(key for key, count in counts.items() if count >= MIN_TEXTS)
    idf = 1 + np.log((1 + len(texts)) / (1 + np.array([counts[key] for key in kept])))
    return Ngrams(np.array(kept, dtype=np.uint64), idf.astype(np.float32))


def fit_head(
    encoded: Any, texts: Sequence[str], found: Ngrams, targets: Floats, text_weights: Floats, *, exclusive: bool
) -> Head:
    """Fit the classifier; how much n-grams count is chosen by the loss of texts that were held out.

    encoded (NDArray[float32]): What the encoder says of each text, `(N, 2 H)`.
    found (Ngrams): F n-grams.
    targets (NDArray[float]): `(N, K)`; and `text_weights`: see `tiny_fit.fit`.
    """
    half = encoded.shape[1] // 2
    centre = encoded.mean(axis=0)
    # Mean and maximum are brought to a mean square length of 1 each, which the two kinds of n-grams have.
    squares = ((encoded - centre) ** 2).mean(axis=0)
    scale = np.repeat(np.sqrt([squares[:half].sum(), squares[half:].sum()]), half)
    dense = csr_matrix(((encoded - centre) / scale).astype(np.float64))
    rows, values = zip(*map(found, texts), strict=True)
    ends = np.cumsum([0, *map(len, rows)])
    sparse = csr_matrix((np.concatenate(values), np.concatenate(rows), ends), shape=(len(texts), len(found.keys)))
    best = None
    for weight in NGRAM_WEIGHTS if len(found.keys) else NGRAM_WEIGHTS[:1]:
        vectors = hstack([dense, weight * sparse], format="csr") if weight else dense
        one = identity(vectors.shape[1], format="csr")
        fitted = fit(vectors, one, targets, text_weights, numbers=numbered(texts), exclusive=exclusive)
        if best is None or fitted.loss < best.loss:
            of_encoder = fitted.weights[: 2 * half] / scale[:, None]
            of_ngrams = weight * fitted.weights[2 * half :]
            best = Head(of_encoder, of_ngrams, fitted.bias - centre @ of_encoder, weight, fitted.loss)
    assert best is not None
    return best
