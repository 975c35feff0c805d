"""`collapsed_textcat`: a linear text classifier that keeps one row of logits for each word form.

The score of a class is linear in a text's words, pairs of neighbouring words and character n-grams, and all of a word's
own features add up to the same numbers wherever it stands. So a word form is looked up in full only once, and a text
costs little more than splitting it into words. This module is all that runs it: it needs spaCy alone, and is carried
by the packages of pipelines that use it. What its name and its files mean is never changed.

A text's logits are `bias + sum(rows) / sqrt(sum(squared lengths))` over its words and known pairs: the texts' vectors
have length 1, where the length is that of all occurrences taken as different features, so that it can be added up.
"""

import io
import os
import threading
import weakref
from itertools import islice
from pathlib import Path
from typing import Any, Dict, Iterable, Iterator, List, Sequence, Tuple, Union

import numpy as np
import srsly
from spacy.attrs import ORTH  # type: ignore[import-not-found]
from spacy.language import Language
from spacy.pipeline.pipe import Pipe
from spacy.scorer import Scorer
from spacy.strings import hash_string  # type: ignore[attr-defined]
from spacy.tokens import Doc
from spacy.training import Example
from spacy.vocab import Vocab

GRAMS = (3, 4, 5)
LONGEST_WORD = 40  # characters: of a URL the rest is not looked at
TOKENIZER_CACHE = 1_000_000  # chunks; spaCy's default of 10,000 is filled by a few thousand texts
CACHE_BYTES = 128_000_000  # of word forms' rows and their index; then it starts anew
MOST_DOCS = 128  # at a time: with more of them alive the processor's cache is left, and the tokenizer slows down
_INDEX_BYTES = 32 * 13  # of the index, for each key, just after it grew
_WIDE = 24  # from so many columns on, one product a text is faster than `reduceat`
_EVEN, _ODD = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xD6E8FEB86659FD93)
_HALF = np.uint64(32)


def mix(keys: Any) -> Any:
    """RETURNS (NDArray[uint64]): Keys whose low bits depend on all bits. A bijection."""
    keys = keys * _EVEN
    keys ^= keys >> _HALF
    keys *= _ODD
    keys ^= keys >> _HALF
    return keys


def pair_keys(first: Any, second: Any) -> Any:
    """RETURNS (NDArray[uint64]): Keys of pairs of neighbouring words, from the words' hashes; the order counts."""
    return mix((first * _ODD) ^ second)


def word_features(words: Sequence[str]) -> Tuple[Any, Any]:
    """The features of word forms: in lower case, as written where that is different, and character n-grams.

    words (Sequence[str]): N word forms.
    RETURNS (Tuple[NDArray[uint64], NDArray[int64]]): Keys, and for each key whose it is, 0 to N - 1. A key that occurs
        several times in a word is there several times.
    """
    lower = [word.lower() for word in words]
    written = [i for i, (word, low) in enumerate(zip(words, lower)) if word != low]
    keys = [np.array([hash_string(low) for low in lower] + [hash_string(words[i]) for i in written], dtype=np.uint64)]
    owners = [np.arange(len(words)), np.array(written, dtype=np.int64)]
    padded = [f"\x02{low[:LONGEST_WORD]}\x03" for low in lower]
    codes = np.frombuffer("".join(padded).encode("utf-32-le", "surrogatepass"), dtype=np.uint32).astype(np.uint64)
    owner = np.repeat(np.arange(len(words)), [len(word) for word in padded])
    grams = codes
    for size in range(2, GRAMS[-1] + 1):
        grams = grams[:-1] * _ODD + codes[size - 1 :]
        if size in GRAMS:
            inside = owner[: len(grams)] == owner[size - 1 :]
            keys.append(mix(grams[inside] + np.uint64(size)))
            owners.append(owner[: len(grams)][inside])
    return np.concatenate(keys), np.concatenate(owners)


class Index:
    """From keys to row numbers, many at a time: a hash table with open addressing. Absent keys have row 0.

    capacity (int): How many keys it is made for. It grows.
    """

    def __init__(self, capacity: int = 1024) -> None:
        size = 1 << max(8 * capacity - 1, 1).bit_length()
        self._mask = np.uint64(size - 1)
        self._keys = np.zeros(size, dtype=np.uint64)  # 0: free. No word and no feature has that key.
        self._rows = np.zeros(size, dtype=np.int32)
        self._passed = np.zeros(size, dtype=bool)  # some key found this place taken and lies further on
        self._count = 0

    def find(self, keys: Any) -> Any:
        """RETURNS (NDArray[int32]): A row for each key, `(N,)`."""
        slots = (keys & self._mask).view(np.int64)
        same = self._keys.take(slots) == keys
        rows = self._rows.take(slots) * same
        left = np.flatnonzero(~same)
        left = left[self._passed[slots[left]]]
        slots = slots[left]
        while len(left):
            slots = (slots + 1) & int(self._mask)
            same = self._keys[slots] == keys[left]
            rows[left[same]] = self._rows[slots[same]]
            further = self._passed[slots] > same
            left, slots = left[further], slots[further]
        return rows

    def add(self, keys: Any, rows: Any) -> None:
        """Add keys that are not there yet, each once."""
        self._count += len(keys)
        if 8 * self._count > len(self._keys):
            old = np.flatnonzero(self._keys)
            keys, rows = np.concatenate([self._keys[old], keys]), np.concatenate([self._rows[old], rows])
            self.__init__(2 * self._count)  # type: ignore[misc]
            self._count = len(keys)
        slots = (keys & self._mask).view(np.int64)
        while len(keys):
            free = np.flatnonzero(self._keys[slots] == 0)
            _, first = np.unique(slots[free], return_index=True)  # one key a place
            placed = free[first]
            self._keys[slots[placed]] = keys[placed]
            self._rows[slots[placed]] = rows[placed]
            keys, rows, slots = np.delete(keys, placed), np.delete(rows, placed), np.delete(slots, placed)
            self._passed[slots] = True
            slots = (slots + 1) & int(self._mask)


def sum_segments(rows: Any, starts: Any) -> Any:
    """Add up neighbouring rows.

    rows (NDArray[float32]): `(T, M)`.
    starts (NDArray[int64]): Where the N segments begin, ascending; none is empty.
    RETURNS (NDArray[float32]): `(N, M)`.
    """
    if rows.shape[1] < _WIDE:
        return np.add.reduceat(rows, starts, axis=0)
    sums = np.empty((len(starts), rows.shape[1]), dtype=np.float32)
    ones = np.ones(len(rows), dtype=np.float32)
    ends = [*starts[1:].tolist(), len(rows)]
    for into, start, end in zip(sums, starts.tolist(), ends):
        np.dot(ones[: end - start], rows[start:end], out=into)
    return sums


def enlarge_tokenizer_cache(nlp: Language) -> None:
    """Let the tokenizer remember how it split up to a million chunks of text. It does not say so when it is saved."""
    if hasattr(nlp.tokenizer, "max_cache_size"):
        nlp.tokenizer.max_cache_size = max(nlp.tokenizer.max_cache_size, TOKENIZER_CACHE)


class _Lock:
    """A lock for a cache. Copies and other processes get one of their own.

    whole (bool): Nobody was interrupted while writing to the cache, by a signal or because the process was forked.
    """

    def __init__(self, whole: bool = True) -> None:
        self.lock = threading.Lock()
        self.whole = whole
        _LOCKS.add(self)

    def __reduce__(self) -> Any:
        return _Lock, (self.whole,)


_LOCKS: "weakref.WeakSet[_Lock]" = weakref.WeakSet()


def _renew_locks() -> None:
    """Where a process was forked, nobody is left who would open the locks that other threads held."""
    for one in list(_LOCKS):
        one.lock = threading.Lock()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_renew_locks)


class CollapsedTextCat(Pipe):
    """The component. Several threads may use it at a time.

    exclusive (bool): Exactly one class holds: the scores are a softmax. Else each class has a score of its own, and
        holds from .5 on.
    """

    def __init__(self, vocab: Vocab, name: str, *, exclusive: bool) -> None:
        self.vocab = vocab
        self.name = name
        self.exclusive = exclusive
        self.cfg = {"threshold": 0.0 if exclusive else 0.5}
        self._lock = _Lock()
        self.set_weights((), np.zeros(0, np.uint64), 0, np.zeros((0, 0)), np.zeros(0), np.zeros(0))

    @property
    def labels(self) -> Tuple[str, ...]:
        """RETURNS (Tuple[str, ...]): The K classes."""
        return self._labels

    @property
    def label_data(self) -> List[str]:
        """RETURNS (List[str]): What `initialize` takes as `labels`."""
        return list(self._labels)

    def set_weights(self, labels: Sequence[str], keys: Any, words: int, weights: Any, squares: Any, bias: Any) -> None:
        """Set what was learned. Weights are kept as whole numbers from -127 to 127 times a scale for each feature.

        labels (Sequence[str]): The K classes.
        keys (NDArray[uint64]): The F features: `words` of them of words (see `word_features`), then pairs.
        weights (NDArray[float]): What a feature adds to the logits, its idf included, `(F, K)`.
        squares (NDArray[float]): What it adds to the text's squared length, `(F,)`.
        bias (NDArray[float]): `(K,)`.
        """
        self._labels = tuple(labels)
        scales = np.maximum(np.abs(weights).max(axis=1, initial=0.0), 1e-30) / 127
        self._set(
            {
                "keys": keys,
                "words": np.array(words),
                "weights": np.rint(weights / scales[:, None]).astype(np.int8),
                "scales": scales.astype(np.float32),
                "squares": squares.astype(np.float32),
                "bias": bias.astype(np.float32),
            }
        )

    def _set(self, arrays: Dict[str, Any]) -> None:
        self._arrays = arrays
        keys, words = arrays["keys"], int(arrays["words"])
        features, classes = arrays["weights"].shape
        self._features = np.zeros((features + 1, classes + 1), dtype=np.float32)  # row 0: an unknown feature
        self._features[1:, :classes] = arrays["weights"] * arrays["scales"][:, None]
        self._features[1:, classes] = arrays["squares"]
        self._word_features, self._pairs = Index(words), Index(features - words)
        self._word_features.add(keys[:words], np.arange(1, words + 1))
        self._pairs.add(keys[words:], np.arange(words + 1, features + 1))
        self._forget()

    def _forget(self) -> None:
        """Empty the cache of word forms."""
        self._forms = Index()
        self._count = 1  # row 0: none
        self._rows = np.zeros((1024, self._features.shape[1]), dtype=np.float32)
        self._lower = np.zeros(1024, dtype=np.uint64)

    def _learn(self, keys: Any, docs: Sequence[Doc]) -> None:
        """Give word forms that were not seen before their row.

        keys (NDArray[uint64]): Their hashes, each once.
        docs (Sequence[Doc]): Where they stand. The docs may have vocabularies of their own.
        """
        stores = list({id(doc.vocab): doc.vocab.strings for doc in docs}.values())
        words = [next(strings[key] for strings in stores if key in strings) for key in keys.tolist()]
        found, owners = word_features(words)
        features = self._word_features.find(found)
        known = np.flatnonzero(features)
        known = known[np.argsort(owners[known], kind="stable")]
        end = self._count + len(keys)
        if end > len(self._rows):
            more = max(len(self._rows), end - len(self._rows))
            self._rows = np.concatenate([self._rows, np.zeros((more, self._rows.shape[1]), dtype=np.float32)])
            self._lower = np.concatenate([self._lower, np.zeros(more, dtype=np.uint64)])
        self._lower[self._count : end] = found[: len(keys)]
        if len(known):
            whose, starts = np.unique(owners[known], return_index=True)
            self._rows[self._count + whose] = sum_segments(self._features.take(features[known], axis=0), starts)
        self._forms.add(keys, np.arange(self._count, end))
        self._count = end

    def _rows_of(self, keys: Any, docs: Sequence[Doc]) -> Any:
        if not self._lock.whole:
            self._forget()
            self._lock.whole = True
        rows = self._forms.find(keys)
        new = keys[rows == 0]
        if len(new):
            new = np.unique(new)
            self._lock.whole = False
            size = (self._count + len(new)) * (self._rows.shape[1] * 4 + self._lower.itemsize + _INDEX_BYTES)
            if size > CACHE_BYTES and self._count > 1:
                self._forget()
                new = np.unique(keys)
            self._learn(new, docs)
            self._lock.whole = True
            rows = self._forms.find(keys)
        return rows

    def predict(self, docs: Sequence[Doc]) -> Any:
        """RETURNS (NDArray[float32]): The classes' scores, `(N, K)`. They do not depend on how texts are batched."""
        return self._predict(docs, [doc.to_array(ORTH) for doc in docs])

    def _predict(self, docs: Sequence[Doc], arrays: Sequence[Any]) -> Any:
        bias = self._arrays["bias"]
        lengths = np.fromiter(map(len, arrays), dtype=np.int64, count=len(arrays))
        logits = np.zeros((len(arrays), len(bias)), dtype=np.float32)
        wordy = np.flatnonzero(lengths)
        if len(wordy):
            starts = (np.cumsum(lengths) - lengths)[wordy]
            with self._lock.lock:
                forms = self._rows_of(np.concatenate(arrays), docs)
                lower, rows = self._lower.take(forms), self._rows.take(forms, axis=0)
            pairs = self._pairs.find(pair_keys(lower[:-1], lower[1:]))
            pairs[starts[1:] - 1] = 0
            known = np.flatnonzero(pairs)
            rows[known + 1] += self._features.take(pairs[known], axis=0)
            sums = sum_segments(rows, starts)
            length = np.sqrt(np.maximum(sums[:, -1:], 1e-9))
            logits[wordy] = sums[:, :-1] / length
        logits += bias
        if not self.exclusive:
            return (1 + np.tanh(logits / 2)) / 2
        scores = np.exp(logits - logits.max(axis=1, keepdims=True))
        scores /= scores.sum(axis=1, keepdims=True)
        return scores

    def set_annotations(self, docs: Sequence[Doc], scores: Any) -> None:
        """Write the scores to `doc.cats`, beside what other components wrote there."""
        labels = self.labels
        for doc, row in zip(docs, scores.tolist()):
            doc.cats.update(zip(labels, row))

    def __call__(self, doc: Doc) -> Doc:
        self._require_weights()
        try:
            self.set_annotations([doc], self.predict([doc]))
            return doc
        except Exception as error:
            self.get_error_handler()(self.name, self, [doc], error)
            return None  # as spaCy's components do: it says that there is no doc

    def _require_weights(self) -> None:
        if not self._labels:
            raise ValueError(
                f"{self.name!r} has learned nothing: load a trained pipeline, or train one with spacy_distill."
            )

    def pipe(self, stream: Iterable[Doc], *, batch_size: int = 256) -> Iterator[Doc]:
        """YIELDS (Doc): The docs with their scores."""
        self._require_weights()
        stream = iter(stream)
        while True:
            docs: List[Doc] = []
            arrays = []
            for doc in islice(stream, min(batch_size, MOST_DOCS)):
                docs.append(doc)
                arrays.append(doc.to_array(ORTH))  # while the tokenizer's work is still in the processor's cache
            if not docs:
                return
            try:
                self.set_annotations(docs, self._predict(docs, arrays))
            except Exception as error:
                self.get_error_handler()(self.name, self, docs, error)
            else:
                yield from docs

    def score(self, examples: Iterable[Example], **kwargs: Any) -> Dict[str, Any]:
        """RETURNS (Dict[str, Any]): spaCy's scores of text classification."""
        settings = {"labels": self.labels, "threshold": self.cfg["threshold"], **kwargs}
        scores: Dict[str, Any] = Scorer.score_cats(examples, "cats", multi_label=not self.exclusive, **settings)
        return scores

    def to_bytes(self, *, exclude: Iterable[str] = ()) -> bytes:
        data: bytes = srsly.msgpack_dumps({"labels": self.label_data, "weights": self._file()})
        return data

    def from_bytes(self, data: bytes, *, exclude: Iterable[str] = ()) -> "CollapsedTextCat":
        found = srsly.msgpack_loads(data)
        return self._read(found["labels"], found["weights"])

    def to_disk(self, path: Union[str, Path], *, exclude: Iterable[str] = ()) -> None:
        path = Path(path)
        path.mkdir(exist_ok=True)
        srsly.write_json(path / "labels.json", self.label_data)
        (path / "weights.npz").write_bytes(self._file())

    def from_disk(self, path: Union[str, Path], *, exclude: Iterable[str] = ()) -> "CollapsedTextCat":
        path = Path(path)
        return self._read(srsly.read_json(path / "labels.json"), (path / "weights.npz").read_bytes())

    def _file(self) -> bytes:
        file = io.BytesIO()
        np.savez(file, **self._arrays)
        return file.getvalue()

    def _read(self, labels: List[str], weights: bytes) -> "CollapsedTextCat":
        self._labels = tuple(labels)
        with np.load(io.BytesIO(weights), allow_pickle=False) as arrays:
            self._set(dict(arrays))
        return self


def make_collapsed_textcat(nlp: Language, name: str, exclusive: bool) -> CollapsedTextCat:
    """Make a `collapsed_textcat`. The tokenizer gets a cache that holds the words of a large collection."""
    enlarge_tokenizer_cache(nlp)
    return CollapsedTextCat(nlp.vocab, name, exclusive=exclusive)


if not Language.has_factory("collapsed_textcat"):  # another package that carries this module may have been first
    Language.factory(
        "collapsed_textcat",
        assigns=["doc.cats"],
        default_config={"exclusive": True},
        func=make_collapsed_textcat,
    )
