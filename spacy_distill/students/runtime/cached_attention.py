"""`spacy_distill.CachedAttention.v1`: spaCy's `TextCatParametricAttention.v1`, several times as fast once trained.

The layers, their training and the saved bytes are spaCy's own: what was saved with one of the two architectures loads
with the other. What differs is `predict`: all that depends on one word alone is computed once a word and kept. That is
its embedding, and the linear part of the first convolution: a window [previous; this; next] times a matrix is the sum
of three products, one a word. What remains for each token is a sum of three cached rows, the deeper convolutions and
the attention.

This file is copied into released wheels: it imports spaCy, thinc and NumPy only. Matrix products are NumPy's, on as
many threads as OMP_NUM_THREADS allows.
"""

import copy
import os
import threading
import weakref
from itertools import repeat
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from spacy.tokens import Doc
from spacy.util import registry
from spacy.vocab import Vocab
from thinc.api import Model, NumpyOps
from thinc.layers.chain import forward as train_forward
from thinc.types import Floats2d

Floats = NDArray[np.float32]
Rows = NDArray[np.intp]
Features = NDArray[np.uint64]

STOCK = "spacy.TextCatParametricAttention.v1"
MAX_WORDS = 16384
"""Words kept, 2.6 KB each at width 64. The batch that would bring more starts the cache anew, with place for its own
words at least."""

_BLOCK = 256
"""Tokens computed at a time, so that they stay in the processor's second-level cache."""
_PARTS = {"extract_features", "hashembed", "static_vectors", "expand_window", "maxout", "layernorm"}


@registry.architectures("spacy_distill.CachedAttention.v1")  # type: ignore[untyped-decorator]
def make_cached_attention(
    tok2vec: Model[List[Doc], List[Floats2d]], exclusive_classes: bool, nO: Optional[int] = None
) -> Model[List[Doc], Floats2d]:
    """Build spaCy's parametric attention with a faster `predict`. The arguments are spaCy's.

    tok2vec (Model): `spacy.Tok2Vec.v2` with `spacy.MultiHashEmbed.v2` and `spacy.MaxoutWindowEncoder.v2` of
        `window_size` 1; any width, depth and number of pieces, with or without static vectors.
    RAISES (ValueError): Another tok2vec.
    """
    nodes = list(tok2vec.walk())
    parts = {node.name for node in nodes if node.param_names or node.attrs.keys() & {"columns", "window_size"}}
    windows = [node.attrs["window_size"] for node in nodes if node.name == "expand_window"]
    encode = tok2vec.maybe_get_ref("encode")
    padded = encode is not None and encode.attrs.get("pad") == len(windows)
    if not padded or "extract_features" not in parts or parts - _PARTS or set(windows) != {1}:
        raise ValueError(
            "spacy_distill.CachedAttention.v1 takes spacy.Tok2Vec.v2 with spacy.MultiHashEmbed.v2 and"
            f" spacy.MaxoutWindowEncoder.v2, window_size = 1, but got {tok2vec.name}. {STOCK} takes any tok2vec."
        )
    stock = registry.architectures.get(STOCK)(tok2vec=tok2vec, exclusive_classes=exclusive_classes, nO=nO)
    return Model(
        stock.name,
        forward,
        init=stock.init,
        dims={name: stock.maybe_get_dim(name) for name in stock.dim_names},
        layers=stock.layers,
        refs={name: stock.maybe_get_ref(name) for name in stock.ref_names},
        attrs={**stock.attrs, "cache": Cache()},
    )


def forward(model: Model[Any, Any], docs: Sequence[Doc], is_train: bool) -> Tuple[Any, Callable[..., Any]]:
    """Train as spaCy does, predict from the cache. On a GPU predict as spaCy does, too."""
    if is_train or not isinstance(model.ops, NumpyOps):
        return train_forward(model, docs, is_train)
    return model.attrs["cache"].network(model, docs[0].vocab).predict(docs), _no_backprop


def _array(node: Model[Any, Any], name: str) -> Floats:
    """RETURNS (NDArray[float]): A copy of a parameter."""
    return np.array(node.get_param(name), dtype=np.float32)


def _no_backprop(gradient: Any) -> Any:
    raise ValueError("This was a prediction, which has no gradient. Call the model with is_train=True.")


class Cache:
    """The network that predicts, made anew when the weights or the word vectors are not those it was made from.

    It is no part of the model's data: it is not saved, and a copy of the model gets an empty one.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._network: Optional[Network] = None
        _ALIVE.add(self)

    def __reduce__(self) -> Any:
        return Cache, ()

    def network(self, model: Model[Any, Any], vocab: Vocab) -> "Network":
        """RETURNS (Network): The network with the model's weights as they are now."""
        with self._lock:
            if self._network is None or not self._network.is_current(vocab):
                self._network = Network(model, vocab)
            return self._network


class Convolution:
    """One `residual(expand_window >> maxout >> layernorm)`: its weights, laid out for NumPy."""

    def __init__(self, maxout: Model[Any, Any], norm: Model[Any, Any]) -> None:
        weights = _array(maxout, "W")  # (outputs, pieces, inputs)
        self.width, self.pieces, _ = weights.shape
        self.weights = np.ascontiguousarray(weights.transpose(2, 1, 0).reshape(-1, self.pieces * self.width))
        self.bias = _array(maxout, "b").T.ravel()
        self.gain, self.shift = _array(norm, "G"), _array(norm, "b")
        self._mean = np.full(self.width, 1 / self.width, dtype=np.float32)

    def of_words(self, words: "Words", rows: Rows, places: Rows, out: Floats) -> None:
        """Convolve words, by their cached products.

        rows (NDArray[int]): The words' rows in `words`, `(P,)`. places (NDArray[int]): Where in `rows` the outputs are
            wanted, `(N,)`; neither the first nor the last. out (NDArray[float]): `(N, width)`.
        """
        for start in range(0, len(places), _BLOCK):
            here = places[start : start + _BLOCK]
            linear = words.before.take(rows[here - 1], axis=0)
            linear += words.here.take(rows[here], axis=0)
            linear += words.after.take(rows[here + 1], axis=0)
            self._finish(linear, words.vectors.take(rows[here], axis=0), out[start : start + _BLOCK])

    def of_vectors(self, vectors: Floats, places: Rows, out: Floats) -> None:
        """Convolve vectors `(P, width)`. The rest is as in `of_words`."""
        windows = sliding_window_view(vectors.ravel(), 3 * self.width)[:: self.width]
        for start in range(0, len(places), _BLOCK):
            here = places[start : start + _BLOCK]
            linear = windows[here - 1] @ self.weights
            linear += self.bias
            self._finish(linear, vectors[here], out[start : start + _BLOCK])

    def _finish(self, linear: Floats, inputs: Floats, out: Floats) -> None:
        """From the linear part, `(N, pieces * width)`, to the output: largest piece, layer normalisation, residual."""
        best = linear[:, : self.width]
        for start in range(self.width, linear.shape[1], self.width):
            best = np.maximum(best, linear[:, start : start + self.width])
        best = best - (best @ self._mean)[:, None]
        variance = np.einsum("ij,ij->i", best, best) / self.width
        best *= (1 / np.sqrt(variance + 1e-8))[:, None]
        best *= self.gain
        best += self.shift
        np.add(best, inputs, out=out)


class Words:
    """What is known of each word: its row in the tables. Rows are added and never changed, so a reader may keep them.

    Row 0 stands for the places outside a text: its vector is zero, as in spaCy's padding.

    size (int): How many words there is place for. The system gives memory to the rows that are written.
    """

    def __init__(self, convolution: Convolution, size: int) -> None:
        self.rows: Dict[int, int] = {}
        self.size = size
        self.vectors = np.zeros((size + 1, convolution.width), dtype=np.float32)
        products = (size + 1, convolution.pieces * convolution.width)
        self.before, self.here, self.after = (np.zeros(products, dtype=np.float32) for _ in range(3))
        self.here[0] = convolution.bias
        self._convolution = convolution

    def add(self, keys: List[int], vectors: Floats) -> None:
        """Add words that are not there yet, with their embeddings `(N, width)`."""
        start = len(self.rows) + 1
        end = start + len(keys)
        self.vectors[start:end] = vectors
        weights = np.split(self._convolution.weights, 3)
        for table, part in zip((self.before, self.here, self.after), weights, strict=True):
            np.dot(vectors, part, out=table[start:end])
        self.here[start:end] += self._convolution.bias
        self.rows.update(zip(keys, range(start, end), strict=True))


class Network:
    """The trained network with its cache of words. Several threads may use it at a time."""

    def __init__(self, model: Model[Any, Any], vocab: Vocab) -> None:
        body, self._output = model.layers
        self._pooled = body.layers[1]
        tok2vec, attention = body.get_ref("tok2vec"), body.get_ref("attention_layer")
        key_transform = attention.get_ref("key_transform")
        self._weights = [
            (node, name, node.get_param(name))
            for part in (tok2vec, attention)
            for node in part.walk()
            for name in node.param_names
        ]
        encoders = list(tok2vec.get_ref("encode").walk())
        norms = [node for node in encoders if node.name == "layernorm"]
        maxouts = [node for node in encoders if node.name == "maxout"]
        self._convolutions = [Convolution(maxout, norm) for maxout, norm in zip(maxouts, norms, strict=True)]
        self._last_norm = norms[-1]
        self._query, self._key_bias = _array(attention, "Q"), _array(key_transform, "b")
        self._key_weights = np.ascontiguousarray(_array(key_transform, "W").T)
        self._embed = copy.deepcopy(tok2vec.get_ref("embed"))
        columns: List[Any] = []
        self._vectors = None
        for node in self._embed.walk():
            node.ops = NumpyOps(use_blis=False)  # NumPy's matrix products, here too
            columns += node.attrs.get("columns", ())
            if node.name == "static_vectors":
                self._vectors = (vocab.vectors, getattr(vocab.vectors, "data", None))
        if self._vectors is not None:
            columns.append(getattr(vocab.vectors, "attr", "ORTH"))
        self._columns = columns
        random = np.random.default_rng(0)
        self._mix = random.integers(2**62, 2**63, size=len(columns), dtype=np.uint64) * np.uint64(2) + np.uint64(1)
        self._ops: Any = model.ops
        self._lock = threading.Lock()
        self._words = Words(self._convolutions[0], MAX_WORDS)
        _ALIVE.add(self)

    def is_current(self, vocab: Vocab) -> bool:
        """RETURNS (bool): Whether the model still has the weights, and the vocabulary the vectors, of this network.

        Loading and training put other arrays in place. The averages that `spacy train` evaluates are the same arrays
        each time, with other numbers: whatever a step changes, the shift of the last layer normalisation is among it.
        A row of the vectors that is changed in place (`vocab.set_vector`) goes unseen.
        """
        if any(node.get_param(name) is not value for node, name, value in self._weights):
            return False
        if self._vectors is not None:
            vectors, data = self._vectors
            if vocab.vectors is not vectors or getattr(vectors, "data", None) is not data:
                return False
        return np.array_equal(_array(self._last_norm, "b"), self._convolutions[-1].shift)

    def predict(self, docs: Sequence[Doc]) -> Any:
        """RETURNS (Floats2d): What spaCy's layers would say of the texts, `(N, classes)`."""
        lengths = np.array([len(doc) for doc in docs], dtype=np.int32)
        if lengths.any():
            pooled = self._attend(self._encode(docs, lengths), lengths)
        else:
            pooled = np.zeros((len(docs), self._convolutions[0].width), dtype=np.float32)
        return self._output.predict(self._pooled.predict(pooled))

    def _encode(self, docs: Sequence[Doc], lengths: NDArray[np.int32]) -> Floats:
        """RETURNS (NDArray[float]): Each token's vector after the last convolution, `(T, width)`.

        spaCy computes the texts of a batch as one array, with as many rows of zeros before, between and after them as
        there are convolutions. These rows do not stay zero: a convolution makes of them a summary of the neighbouring
        text's last or first token, which the next convolution reads. So they are computed here as well.
        """
        first, *deeper = self._convolutions
        depth = len(self._convolutions)
        full = lengths[lengths > 0]
        tokens = np.arange(full.sum()) + np.repeat(np.arange(1, len(full) + 1) * depth, full)
        found, words = self._look_up(docs)
        rows = np.zeros(tokens[-1] + depth + 1, dtype=np.intp)
        rows[tokens] = found
        encoded = np.empty((len(tokens), first.width), dtype=np.float32)
        if not deeper:
            first.of_words(words, rows, tokens, encoded)
            return encoded
        places = np.arange(1, len(rows) - 1)  # The outermost rows are too far from a token to be read.
        vectors = np.zeros((len(rows), first.width), dtype=np.float32)
        first.of_words(words, rows, places, vectors[1:-1])
        for convolution in deeper[:-1]:
            outputs = np.zeros_like(vectors)
            convolution.of_vectors(vectors, places, outputs[1:-1])
            vectors = outputs
        deeper[-1].of_vectors(vectors, tokens, encoded)
        return encoded

    def _look_up(self, docs: Sequence[Doc]) -> Tuple[Rows, Words]:
        """RETURNS (Tuple[NDArray[int], Words]): The row of each token in the cache, `(T,)`, and the cache.

        Tokens are the same word if the attributes that the network embeds are. A word's key is a 64-bit hash of these:
        among 16,384 words two share one with a probability of 1 in 10^11.
        """
        features = np.concatenate([doc.to_array(self._columns).reshape(len(doc), len(self._columns)) for doc in docs])
        keys = (features @ self._mix).tolist()
        with self._lock:
            words = self._words
            found = np.fromiter(map(words.rows.get, keys, repeat(-1)), dtype=np.intp, count=len(keys))
            missing = np.flatnonzero(found < 0)
            if len(missing):
                new = {keys[place]: place for place in missing}
                if len(words.rows) + len(new) > words.size:
                    missing = np.arange(len(keys))
                    new = dict(zip(keys, missing, strict=True))
                    words = self._words = Words(self._convolutions[0], max(len(new), MAX_WORDS))
                lexemes = Lexemes(docs[0].vocab, features[list(new.values())])
                words.add(list(new), self._embed.predict([lexemes])[0])
                found[missing] = [words.rows[keys[place]] for place in missing]
        return found, words

    def _attend(self, tokens: Floats, lengths: NDArray[np.int32]) -> Floats:
        """RETURNS (NDArray[float]): The sum of each text's tokens, weighted by their attention, `(N, width)`."""
        scores = np.empty(len(tokens), dtype=np.float32)
        for start in range(0, len(tokens), _BLOCK):
            keys = tokens[start : start + _BLOCK] @ self._key_weights
            keys += self._key_bias
            np.dot(gelu(keys), self._query, out=scores[start : start + _BLOCK])
        tokens *= self._ops.softmax_sequences(scores[:, None], lengths)
        pooled: Floats = self._ops.reduce_sum(tokens, lengths)
        return pooled


_ALIVE: "weakref.WeakSet[Any]" = weakref.WeakSet()


def _renew_locks() -> None:
    """Where a process was forked, nobody is left who would open the locks that other threads held."""
    for one in list(_ALIVE):
        one._lock = threading.Lock()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_renew_locks)


class Lexemes:
    """Words in the place of a text, for spaCy's embedding layers to read.

    features (NDArray[int]): The attributes to embed, and last the key of the static vectors, if there are any.
    """

    def __init__(self, vocab: Vocab, features: Features) -> None:
        self.vocab = vocab
        self._features = features

    def __len__(self) -> int:
        return len(self._features)

    def to_array(self, attributes: Any) -> Features:
        """RETURNS (NDArray[int]): As of `Doc.to_array`: `(N, K)` for the list of K attributes, `(N,)` for the key."""
        return self._features[:, : len(attributes)] if isinstance(attributes, list) else self._features[:, -1]


def gelu(values: Floats) -> Floats:
    """RETURNS (NDArray[float]): x Φ(x), to 3e-7: Abramowitz and Stegun 7.1.28, with √½ in its coefficients."""
    size = np.minimum(np.abs(values), 8)
    series = size * _ERF[-1]
    for coefficient in _ERF[-2::-1]:
        series += coefficient
        series *= size
    series += 1
    for _ in range(4):
        series *= series
    size /= series
    size *= 0.5
    return np.maximum(values, 0) - size


_ERF = [
    np.float32(coefficient / 2 ** (power / 2))
    for power, coefficient in enumerate(
        [0.0705230784, 0.0422820123, 0.0092705272, 0.0001520143, 0.0002765672, 0.0000430638], 1
    )
]
