"""Texts as vectors of words, pairs of words and character n-grams, just as `collapsed_textcat` will see them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from spacy.tokens import Doc

from .runtime.collapsed_textcat import pair_keys, word_features

MIN_TEXTS = 2
"""A feature of a single text says nothing about others."""


@dataclass(frozen=True, slots=True)
class Vectors:
    """The texts' vectors, as the product of two matrices: words share features, and texts share words.

    keys (NDArray[uint64]): The features as the runtime knows them, those of words first, `(F,)`.
    words (int): How many are features of words; the others are pairs.
    idf (NDArray[float]): `(F,)`.
    texts (csr_matrix): What each text has of each word and pair, `(N, V)`.
    features (csr_matrix): What each word and pair has of each feature, `(V, F)`.
    """

    keys: NDArray[np.uint64]
    words: int
    idf: NDArray[np.float64]
    texts: Any
    features: Any


def vectorize(docs: Sequence[Doc], *, most: int) -> Vectors:
    """Turn N texts into vectors of length 1.

    most (int): How many features there may be: those of the most texts.
    RETURNS (Vectors): Their vectors.
    """
    forms, tokens = np.unique(np.concatenate([doc.to_array("ORTH") for doc in docs]), return_inverse=True)
    text = np.repeat(np.arange(len(docs)), [len(doc) for doc in docs])
    found, owners = word_features([docs[0].vocab.strings[form] for form in forms.tolist()])
    lower = found[tokens]  # a form's first feature is its hash in lower case
    inside = text[1:] == text[:-1]
    word_keys, word_columns = np.unique(found, return_inverse=True)
    pairs, pair_columns = np.unique(pair_keys(lower[:-1], lower[1:])[inside], return_inverse=True)
    texts = sparse.hstack(
        [
            _counts(text, tokens, len(docs), len(forms)),
            _counts(text[1:][inside], pair_columns, len(docs), len(pairs)),
        ]
    ).tocsr()
    features = sparse.block_diag(
        [_counts(owners, word_columns, len(forms), len(word_keys)), sparse.identity(len(pairs))]
    ).tocsr()
    keys = np.concatenate([word_keys, pairs])
    in_texts = np.bincount((texts @ features).indices, minlength=len(keys))
    kept = np.flatnonzero(in_texts >= min(MIN_TEXTS, len(docs)))
    if len(kept) > most:
        kept = np.sort(kept[np.argsort(-in_texts[kept], kind="stable")[:most]])
    idf = np.log((1 + len(docs)) / (1 + in_texts[kept])) + 1
    features = features[:, kept] @ sparse.diags(idf)
    squares = texts @ (features @ idf)  # occurrences count as different features: see `collapsed_textcat`
    texts = sparse.diags(1 / np.sqrt(np.maximum(squares, 1e-9))) @ texts
    return Vectors(keys[kept], int(np.searchsorted(kept, len(word_keys))), idf, texts.tocsr(), features.tocsr())


def _counts(rows: Any, columns: Any, height: int, width: int) -> Any:
    return sparse.csr_matrix((np.ones(len(rows)), (rows, columns.ravel())), shape=(height, width))
