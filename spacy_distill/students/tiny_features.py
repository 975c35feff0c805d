"""Texts as vectors of words, pairs of words and character n-grams, just as `collapsed_textcat` will see them.

What a table of word vectors knows can be added: a text's sum of them is linear in its words too, so it becomes part of
what each word adds to the logits, and the table is not needed afterwards. That also holds for words of the table that
no training text has.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from spacy.tokens import Doc
from spacy.vocab import Vocab

from ..errors import ConfigError
from .runtime.collapsed_textcat import pair_keys, word_features

MIN_TEXTS = 2
"""A feature of a single text says nothing about others."""


@dataclass(frozen=True, slots=True)
class WordVectors:
    """What is known of words beforehand.

    keys (NDArray[uint64]): Hashes of words in lower case, sorted, `(S,)`.
    vectors (NDArray[float]): Theirs; the mean squared length is 1, `(S, W)`.
    order (NDArray[int]): Where they stood in the table, `(S,)`: frequent ones first, if it was made so.
    """

    keys: NDArray[np.uint64]
    vectors: NDArray[np.float64]
    order: NDArray[np.int64]

    def scaled(self, scales: Any) -> WordVectors:
        """RETURNS (WordVectors): The same with longer or shorter vectors."""
        return replace(self, vectors=self.vectors * scales)

    def find(self, keys: NDArray[np.uint64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """RETURNS (Tuple[NDArray[int], NDArray[int]]): Which of the keys are there, and at which place."""
        places = np.minimum(np.searchsorted(self.keys, keys), len(self.keys) - 1)
        there = np.flatnonzero(self.keys[places] == keys)
        return there, places[there]


@dataclass(frozen=True, slots=True)
class Vectors:
    """The texts' vectors, as the product of two matrices: words share features, and texts share words.

    keys (NDArray[uint64]): The features as the runtime knows them, those of words first, `(F,)`.
    words (int): How many are features of words; the others are pairs.
    idf (NDArray[float]): `(F,)`.
    texts (csr_matrix): What each text has of each word and pair, `(N, V)`.
    features (csr_matrix): What each word and pair has of each feature, and of the word vectors, `(V, F + W)`.
    word_vectors (Optional[WordVectors]): Times the words' idf.
    """

    keys: NDArray[np.uint64]
    words: int
    idf: NDArray[np.float64]
    texts: Any
    features: Any
    word_vectors: WordVectors | None = None

    def collapse(self, weights: NDArray[np.float64], *, most: int) -> tuple[Any, int, Any, Any]:
        """Turn the weights of all features, `(F + W, K)`, into what words and pairs add.

        most (int): How many features there may be.
        RETURNS (Tuple[NDArray[uint64], int, NDArray[float], NDArray[float]]): `keys`, `words`, `weights` and `squares`
            for `CollapsedTextCat.set_weights`.
        """
        own, squares = weights[: len(self.keys)] * self.idf[:, None], self.idf**2
        if self.word_vectors is None:
            return self.keys, self.words, own, squares
        given = self.word_vectors
        lengths = (given.vectors**2).sum(axis=1)
        known, places = given.find(self.keys[: self.words])
        own[known] += given.vectors[places] @ weights[len(self.keys) :]
        squares[known] += lengths[places]
        new = np.setdiff1d(np.arange(len(given.keys)), places)
        new = new[np.argsort(given.order[new], kind="stable")][: max(most - len(self.keys), 0)]
        at = self.words
        keys = np.insert(self.keys, at, given.keys[new])
        own = np.insert(own, at, given.vectors[new] @ weights[len(self.keys) :], axis=0)
        return keys, at + len(new), own, np.insert(squares, at, lengths[new])


def word_vectors(vocab: Vocab) -> WordVectors | None:
    """RETURNS (Optional[WordVectors]): Of the words that a vocabulary's table has in lower case; None if it has none.
    RAISES (ConfigError): Its vectors are floret's, which are not of words.
    """
    table = vocab.vectors
    if not table.shape[0]:
        return None
    if str(table.mode) != "default":
        raise ConfigError(
            "These are floret vectors, which have no list of words. Make some with `spacy-distill vectors`, or set"
            " paths.vectors to null."
        )
    words = ((key, row, vocab.strings[key]) for key, row in table.key2row.items() if key in vocab.strings)
    found = sorted((key, row) for key, row, word in words if word == word.lower())
    rows = np.array([row for _, row in found], np.int64)
    vectors = np.asarray(table.data[rows], np.float64) if len(rows) else np.zeros((0, table.shape[1]))
    some = np.flatnonzero((vectors**2).sum(axis=1))
    if not len(some):
        return None
    vectors = vectors[some] / np.sqrt((vectors[some] ** 2).sum(axis=1).mean())
    return WordVectors(np.array([found[i][0] for i in some], np.uint64), vectors, rows[some])


def vectorize(docs: Sequence[Doc], *, most: int, given: WordVectors | None = None) -> Vectors:
    """Turn N texts into vectors of length 1.

    most (int): How many features there may be: those of the most texts.
    given (Optional[WordVectors]): What is known of words beforehand.
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
    keys, words = keys[kept], int(np.searchsorted(kept, len(word_keys)))
    features = features[:, kept] @ sparse.diags(idf)
    squares = features @ idf  # occurrences count as different features: see `collapsed_textcat`
    if given is not None:
        scales = np.full(len(given.keys), np.log(1 + len(docs)) + 1)  # the idf of a word that no text has
        known, places = given.find(keys[:words])
        scales[places] = idf[known]
        given = given.scaled(scales[:, None])
        known, places = given.find(found[: len(forms)])
        squares[known] += (given.vectors[places] ** 2).sum(axis=1)
        width = given.vectors.shape[1]
        ends = np.zeros(features.shape[0] + 1, np.int64)
        ends[known + 1] = width
        columns = np.tile(np.arange(width), len(known))
        block = sparse.csr_matrix((given.vectors[places].ravel(), columns, ends.cumsum()), (features.shape[0], width))
        features = sparse.hstack([features, block])
    texts = sparse.diags(1 / np.sqrt(np.maximum(texts @ squares, 1e-9))) @ texts
    return Vectors(keys, words, idf, texts.tocsr(), features.tocsr(), given)


def _counts(rows: Any, columns: Any, height: int, width: int) -> Any:
    return sparse.csr_matrix((np.ones(len(rows)), (rows, columns.ravel())), shape=(height, width))
