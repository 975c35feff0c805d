"""`frozen_encoder_textcat` and `frozen_encoder_ner`: a pretrained encoder, and a linear classifier on what it says.

The encoder is a BERT with word pieces, such as MiniLM, computed by numpy: this module needs spaCy alone, and is carried
by the packages of pipelines that use it. What its names and its files mean is never changed.

For `textcat` a text's features are the mean and the maximum of the last layer's vectors over its pieces, and tf-idf
weights of its words, pairs of neighbouring words and character n-grams, as far as they were seen in training. Texts are
cut after `LONGEST` word pieces.

For `ner` a word is told by the last layer's vector of its first piece. Texts with more than `LONGEST` pieces are read
in windows.
"""

import io
import re
import unicodedata
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any, Dict, Iterable, Iterator, List, Mapping, NamedTuple, Sequence, Tuple, Union

import numpy as np
import srsly
from spacy.language import Language
from spacy.pipeline.pipe import Pipe
from spacy.scorer import Scorer, get_ner_prf
from spacy.strings import hash_string  # type: ignore[attr-defined]
from spacy.tokens import Doc, Span
from spacy.training import Example
from spacy.vocab import Vocab

LONGEST = 256
MOST_TOKENS = 512  # at a time: their vectors stay in the processor's cache
CACHED_WORDS, LONGEST_CACHED = 50_000, 40  # words, and characters of one: what is longer hardly comes again
MOST_PIECES = 8  # of a word among others: what is longer is an address or noise
OVERLAP = 12  # words on either side that a window reads and does not decide on; a quarter of its words at most
EPSILON = 1e-12
GRAMS = (3, 4, 5)
_WORD = re.compile(r"\w+|[^\w\s]")
# Abramowitz and Stegun 1964, 7.1.26: erf(z) to 1.5e-7. Halved, for gelu(x) = x (1 + erf(x / sqrt 2)) / 2.
_ERF = [0.5 * c for c in (1.061405429, -1.453152027, 1.421413741, -0.284496736, 0.254829592)]
_ERF_P = 0.3275911 / np.sqrt(2)


def gelu(x: Any) -> Any:
    """RETURNS (NDArray[float32]): `x (1 + erf(x / sqrt 2)) / 2`, to 4e-7."""
    size = np.abs(x)
    t = 1 / (1 + np.float32(_ERF_P) * size)
    tail = t * np.float32(_ERF[0])
    for factor in _ERF[1:]:
        tail += np.float32(factor)
        tail *= t
    np.multiply(size, size, out=t)
    t *= np.float32(-0.5)
    np.exp(t, out=t)
    tail *= t
    tail *= size
    return np.maximum(x, 0, out=size) - tail


class Window(NamedTuple):
    """As many words of a text as are read at a time.

    ids (List[int]): Those of [CLS] and [SEP] included, `LONGEST` at most.
    first (int): The first word that it decides on; the others follow.
    places (List[int]): Where in `ids` each of these begins.
    """

    ids: List[int]
    first: int
    places: List[int]


class WordPieces:
    """Splits texts as BERT does (Devlin et al. 2019): words and punctuation, then the longest pieces that are known.

    pieces (Sequence[str]): The vocabulary, in the order of its ids.
    lower (bool): Put words in lower case and take their accents off first.
    """

    def __init__(self, pieces: Sequence[str], lower: bool) -> None:
        self.pieces = list(pieces)
        self.lower = lower
        self._ids = {piece: i for i, piece in enumerate(pieces)}
        self._first, self._last, self._unknown = (self._ids[name] for name in ("[CLS]", "[SEP]", "[UNK]"))
        self._cached = lru_cache(CACHED_WORDS)(self._chunk)

    def __reduce__(self) -> Any:
        return WordPieces, (self.pieces, self.lower)

    def __call__(self, text: str) -> List[int]:
        """RETURNS (List[int]): Ids, those of [CLS] and [SEP] included, `LONGEST` at most."""
        ids = [self._first]
        for chunk in text.split():
            ids.extend(self._split(chunk))
            if len(ids) >= LONGEST:
                break
        return [*ids[: LONGEST - 1], self._last]

    def windows(self, words: Sequence[str]) -> Iterator[Window]:
        """YIELDS (Window): Windows that together decide on each word once."""
        split = [(self._split(word) or (self._unknown,))[:MOST_PIECES] for word in words]
        begin = first = 0
        while first < len(words):
            ids, places, end = [self._first], [], begin
            while end < len(words) and len(ids) + len(split[end]) < LONGEST:
                places.append(len(ids))
                ids.extend(split[end])
                end += 1
            spare = min(OVERLAP, (end - begin) // 4) if end < len(words) else 0
            yield Window([*ids, self._last], first, places[first - begin : end - spare - begin])
            first, begin = end - spare, end - 2 * spare

    def _split(self, chunk: str) -> Tuple[int, ...]:
        return self._cached(chunk) if len(chunk) <= LONGEST_CACHED else self._chunk(chunk)

    def _chunk(self, chunk: str) -> Tuple[int, ...]:
        clean = "".join(c for c in chunk if c != "\ufffd" and unicodedata.category(c) not in ("Cc", "Cf", "Cn", "Co"))
        if self.lower:
            clean = "".join(c for c in unicodedata.normalize("NFD", clean) if unicodedata.category(c) != "Mn").lower()
        words = "".join(f" {c} " if _stands_alone(c) else c for c in clean).split()
        return tuple(i for word in words for i in self._word(word))

    def _word(self, word: str) -> List[int]:
        found: List[int] = []
        start = 0
        while start < len(word) <= 100:
            for end in range(len(word), start, -1):
                piece = self._ids.get(("##" if start else "") + word[start:end])
                if piece is not None:
                    break
            else:
                return [self._unknown]
            found.append(piece)
            start = end
        return found or [self._unknown]


def _stands_alone(c: str) -> bool:
    code = ord(c)
    if code < 128:
        return not c.isalnum() and not c.isspace()
    chinese = (
        0x4E00 <= code <= 0x9FFF or 0x3400 <= code <= 0x4DBF or 0x20000 <= code <= 0x2CEAF or 0xF900 <= code <= 0xFAFF
    )
    return chinese or 0x2F800 <= code <= 0x2FA1F or unicodedata.category(c).startswith("P")


class Encoder:
    """A BERT.

    arrays (Mapping[str, NDArray]): Its weights, named as in its checkpoint; see `pack`.
    """

    def __init__(self, arrays: Mapping[str, Any], pieces: WordPieces, heads: int) -> None:
        self.arrays = dict(arrays)
        self.pieces = pieces
        self.heads = heads
        position = self._matrix("embeddings.position_embeddings")
        self._positions = position + self._matrix("embeddings.token_type_embeddings")[0]
        self._layers: List[Tuple[Any, ...]] = []
        while f"encoder.layer.{len(self._layers)}.output.dense.weight" in arrays:
            name = f"encoder.layer.{len(self._layers)}."
            of_three = [self._dense(f"{name}attention.self.{part}") for part in ("query", "key", "value")]
            self._layers.append(
                (
                    (
                        np.concatenate([weight for weight, _ in of_three], axis=1),
                        np.concatenate([bias for _, bias in of_three]),
                    ),
                    self._dense(f"{name}attention.output.dense"),
                    self._norm(f"{name}attention.output.LayerNorm"),
                    self._dense(f"{name}intermediate.dense"),
                    self._dense(f"{name}output.dense"),
                    self._norm(f"{name}output.LayerNorm"),
                )
            )

    @staticmethod
    def pack(weights: Mapping[str, Any]) -> Dict[str, Any]:
        """RETURNS (Dict[str, NDArray]): Matrices as whole numbers from -127 to 127 times a scale for each row, the rest
        as it is."""
        packed = {}
        for name, value in weights.items():
            if value.ndim == 2:
                scale = np.maximum(np.abs(value).max(axis=1, keepdims=True), 1e-30) / 127
                packed[f"{name}.scale"] = scale.astype(np.float32)
                value = np.rint(value / scale).astype(np.int8)
            packed[name] = value
        return packed

    def _matrix(self, name: str) -> Any:
        return self.arrays[f"{name}.weight"] * self.arrays[f"{name}.weight.scale"]

    def _dense(self, name: str) -> Tuple[Any, Any]:
        return np.ascontiguousarray(self._matrix(name).T), self.arrays[f"{name}.bias"]

    def _norm(self, name: str) -> Tuple[Any, Any]:
        return self.arrays[f"{name}.weight"], self.arrays[f"{name}.bias"]

    def encode(self, texts: Sequence[str]) -> Any:
        """RETURNS (NDArray[float32]): Mean and maximum over each text's pieces, `(N, 2 H)`."""
        found = np.empty((len(texts), 2 * self._positions.shape[1]), dtype=np.float32)
        for batch, vectors, starts in self.read([self.pieces(text) for text in texts]):
            mean = np.add.reduceat(vectors, starts, axis=0)
            mean /= np.diff(starts, append=len(vectors))[:, None].astype(np.float32)
            found[batch] = np.concatenate([mean, np.maximum.reduceat(vectors, starts, axis=0)], axis=1)
        return found

    def read(self, ids: Sequence[Sequence[int]]) -> Iterator[Tuple[List[int], Any, Any]]:
        """ids (Sequence[Sequence[int]]): Of each text.
        YIELDS (Tuple[List[int], NDArray[float32], NDArray[int64]]): The numbers of some texts, the last layer's vectors
            of their pieces one after the other, `(T, H)`, and where each text begins."""
        batch: List[int] = []
        tokens = 0
        # Texts of one length stand together, so that nothing is padded.
        for i in sorted(range(len(ids)), key=lambda i: len(ids[i])):
            if batch and tokens + len(ids[i]) > MOST_TOKENS:
                yield (batch, *self._forward([ids[j] for j in batch]))
                batch, tokens = [], 0
            batch.append(i)
            tokens += len(ids[i])
        if batch:
            yield (batch, *self._forward([ids[j] for j in batch]))

    def _forward(self, ids: Sequence[Sequence[int]]) -> Tuple[Any, Any]:
        """ids (Sequence[Sequence[int]]): N texts, ordered by length, T pieces together. RETURNS: `(T, H)`, `(N,)`."""
        lengths = np.array([len(text) for text in ids])
        starts = np.cumsum(lengths) - lengths
        flat = np.concatenate(ids)
        table = "embeddings.word_embeddings.weight"
        x = self.arrays[table][flat] * self.arrays[f"{table}.scale"][flat]
        x += self._positions[np.arange(len(flat)) - np.repeat(starts, lengths)]
        x = _normalize(x, *self._norm("embeddings.LayerNorm"))
        for three, out, norm, up, down, last_norm in self._layers:
            attended = _linear(self._attend(_linear(x, three), lengths, starts), out)
            x = _normalize(attended + x, *norm)
            x = _normalize(_linear(gelu(_linear(x, up)), down) + x, *last_norm)
        return x, starts

    def _attend(self, three: Any, lengths: Any, starts: Any) -> Any:
        """three (NDArray[float32]): Queries, keys and values, `(T, 3 H)`. RETURNS: `(T, H)`."""
        width = three.shape[1] // 3
        found = np.empty((len(three), width), dtype=np.float32)
        different, first, counts = np.unique(lengths, return_index=True, return_counts=True)
        for length, start, count in zip(different.tolist(), starts[first].tolist(), counts.tolist()):
            part = slice(start, start + count * length)
            split = three[part].reshape(count, length, 3, self.heads, -1).transpose(2, 0, 3, 1, 4)
            query, key, value = np.ascontiguousarray(split)
            scores = query @ key.transpose(0, 1, 3, 2)
            scores *= np.float32((width // self.heads) ** -0.5)
            scores -= scores.max(axis=-1, keepdims=True)
            np.exp(scores, out=scores)
            scores /= scores.sum(axis=-1, keepdims=True)
            found[part] = (scores @ value).transpose(0, 2, 1, 3).reshape(-1, width)
        return found


def _linear(x: Any, layer: Tuple[Any, Any]) -> Any:
    found = x @ layer[0]
    found += layer[1]
    return found


def _normalize(x: Any, weight: Any, bias: Any) -> Any:
    """Layer normalisation, in place."""
    x -= x.mean(axis=1, keepdims=True)
    x /= np.sqrt(np.einsum("ij,ij->i", x, x)[:, None] / x.shape[1] + np.float32(EPSILON))
    x *= weight
    x += bias
    return x


def _grams(word: str) -> List[int]:
    padded = f" {word} "
    return [hash_string("c" + padded[i : i + n]) for n in GRAMS for i in range(len(padded) - n + 1)]


_cached_grams = lru_cache(CACHED_WORDS)(_grams)


def ngrams(text: str) -> Tuple[List[int], List[int]]:
    """RETURNS (Tuple[List[int], List[int]]): Keys of words and pairs, and of character n-grams of words. Case does not
    count."""
    text = text.lower()
    words = _WORD.findall(text)
    keys = [hash_string(key) for key in (*words, *map(" ".join, zip(words, islice(words, 1, None))))]
    return keys, [
        key for word in text.split() for key in (_cached_grams(word) if len(word) <= LONGEST_CACHED else _grams(word))
    ]


class Ngrams:
    """Tf-idf weights of words, pairs and character n-grams.

    keys (NDArray[uint64]): The F features that count.
    idf (NDArray[float32]): `(F,)`.
    """

    def __init__(self, keys: Any, idf: Any) -> None:
        self.keys = keys
        self.idf = idf
        self._rows = {key: row for row, key in enumerate(keys.tolist())}

    def __call__(self, text: str) -> Tuple[Any, Any]:
        """RETURNS (Tuple[NDArray[int64], NDArray[float32]]): Features and their weights. Those of words and pairs have
        length 1 together, and so have those of character n-grams."""
        features, weights = [], []
        for keys in ngrams(text):
            known = [self._rows[key] for key in keys if key in self._rows]
            if known:
                rows, counts = np.unique(known, return_counts=True)
                weight = (1 + np.log(counts)) * self.idf[rows]
                features.append(rows)
                weights.append(weight / np.sqrt(weight @ weight))
        if not features:
            return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.float32)
        return np.concatenate(features), np.concatenate(weights).astype(np.float32)


class _OnEncoder(Pipe):
    """What both components are: labels, an encoder, and a classifier."""

    encoder: Encoder

    def __init__(self, vocab: Vocab, name: str) -> None:
        self.vocab = vocab
        self.name = name
        self._labels: Tuple[str, ...] = ()
        self._head: Dict[str, Any] = {}

    @property
    def labels(self) -> Tuple[str, ...]:
        """RETURNS (Tuple[str, ...]): The K classes."""
        return self._labels

    @property
    def label_data(self) -> List[str]:
        """RETURNS (List[str]): What `initialize` takes as `labels`."""
        return list(self._labels)

    def _set(self, labels: Sequence[str], encoder: Encoder, head: Dict[str, Any]) -> None:
        self._labels, self.encoder, self._head = tuple(labels), encoder, head

    def predict(self, docs: Sequence[Doc]) -> Any:
        raise NotImplementedError

    def set_annotations(self, docs: Sequence[Doc], found: Any) -> None:
        raise NotImplementedError

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
        """YIELDS (Doc): The docs with what is predicted."""
        self._require_weights()
        docs = iter(stream)
        while batch := list(islice(docs, batch_size)):
            try:
                self.set_annotations(batch, self.predict(batch))
            except Exception as error:
                self.get_error_handler()(self.name, self, batch, error)
            else:
                yield from batch

    def to_bytes(self, *, exclude: Iterable[str] = ()) -> bytes:
        data: bytes = srsly.msgpack_dumps(self._files())
        return data

    def from_bytes(self, data: bytes, *, exclude: Iterable[str] = ()) -> "_OnEncoder":
        return self._read(srsly.msgpack_loads(data))

    def to_disk(self, path: Union[str, Path], *, exclude: Iterable[str] = ()) -> None:
        Path(path).mkdir(exist_ok=True)
        for name, data in self._files().items():
            (Path(path) / name).write_bytes(data)

    def from_disk(self, path: Union[str, Path], *, exclude: Iterable[str] = ()) -> "_OnEncoder":
        return self._read({name: (Path(path) / name).read_bytes() for name in _FILES})

    def _files(self) -> Dict[str, bytes]:
        self._require_weights()
        pieces = self.encoder.pieces
        facts = {
            "labels": self.label_data,
            "heads": self.encoder.heads,
            "lower": pieces.lower,
            "pieces": pieces.pieces,
        }
        contents = (srsly.json_dumps(facts).encode("utf8"), _npz(self.encoder.arrays), _npz(self._head))
        return dict(zip(_FILES, contents))

    def _read(self, files: Mapping[str, bytes]) -> "_OnEncoder":
        facts_file, encoder_file, head_file = (files[name] for name in _FILES)
        facts = srsly.json_loads(facts_file.decode("utf8"))
        pieces = WordPieces(facts["pieces"], facts["lower"])
        self._set(facts["labels"], Encoder(_arrays(encoder_file), pieces, facts["heads"]), _arrays(head_file))
        return self


class FrozenEncoderTextCat(_OnEncoder):
    """Sorts texts into classes.

    exclusive (bool): Exactly one class holds: the scores are a softmax. Else each class has a score of its own, and
        holds from .5 on.
    """

    ngrams: Ngrams

    def __init__(self, vocab: Vocab, name: str, *, exclusive: bool) -> None:
        super().__init__(vocab, name)
        self.exclusive = exclusive
        self.cfg = {"threshold": 0.0 if exclusive else 0.5}

    def set_weights(
        self, labels: Sequence[str], encoder: Encoder, ngrams: Ngrams, dense: Any, sparse: Any, bias: Any
    ) -> None:
        """Set what was learned.

        labels (Sequence[str]): The K classes.
        dense (NDArray[float]): For what the encoder says, `(2 H, K)`.
        sparse (NDArray[float]): For n-grams, `(F, K)`. Kept as whole numbers times a scale for each.
        bias (NDArray[float]): `(K,)`.
        """
        head = {"keys": ngrams.keys, "idf": ngrams.idf, **Encoder.pack({"sparse": sparse})}
        self._set(labels, encoder, {**head, "dense": dense.astype(np.float32), "bias": bias.astype(np.float32)})

    def _set(self, labels: Sequence[str], encoder: Encoder, head: Dict[str, Any]) -> None:
        super()._set(labels, encoder, head)
        self.ngrams = Ngrams(head["keys"], head["idf"])
        self._sparse = head["sparse"] * head["sparse.scale"]

    def predict(self, docs: Sequence[Doc]) -> Any:
        """RETURNS (NDArray[float32]): The classes' scores, `(N, K)`."""
        texts = [doc.text for doc in docs]
        logits = self.encoder.encode(texts) @ self._head["dense"] + self._head["bias"]
        for row, text in zip(logits, texts):
            features, weights = self.ngrams(text)
            row += weights @ self._sparse[features]
        if not self.exclusive:
            return (1 + np.tanh(logits / 2)) / 2
        scores = np.exp(logits - logits.max(axis=1, keepdims=True))
        scores /= scores.sum(axis=1, keepdims=True)
        return scores

    def set_annotations(self, docs: Sequence[Doc], found: Any) -> None:
        """Write the scores to `doc.cats`, beside what other components wrote there."""
        for doc, row in zip(docs, found.tolist()):
            doc.cats.update(zip(self._labels, row))

    def score(self, examples: Iterable[Example], **kwargs: Any) -> Dict[str, Any]:
        """RETURNS (Dict[str, Any]): spaCy's scores of text classification."""
        settings = {"labels": self.labels, "threshold": self.cfg["threshold"], **kwargs}
        scores: Dict[str, Any] = Scorer.score_cats(examples, "cats", multi_label=not self.exclusive, **settings)
        return scores


class FrozenEncoderNER(_OnEncoder):
    """Finds entities.

    Words have tags: 0 outside of entities, 1 + 2 k where one of class k begins, 2 + 2 k inside of it.
    """

    def set_weights(self, labels: Sequence[str], encoder: Encoder, dense: Any, bias: Any) -> None:
        """Set what was learned.

        labels (Sequence[str]): The K classes.
        dense (NDArray[float]): For what the encoder says of a word, `(H, 1 + 2 K)`.
        bias (NDArray[float]): `(1 + 2 K,)`.
        """
        self._set(labels, encoder, {"dense": dense.astype(np.float32), "bias": bias.astype(np.float32)})

    def predict(self, docs: Sequence[Doc]) -> List[List[Tuple[int, int, str]]]:
        """RETURNS (List[List[Tuple[int, int, str]]]): For each doc its entities: first token, the token after the last,
        label."""
        words = [words_of(doc) for doc in docs]
        windows = [
            (number, window)
            for number, (doc, own) in enumerate(zip(docs, words))
            for window in self.encoder.pieces.windows([doc[i].text for i in own])
        ]
        logits = [np.empty((len(own), len(self._head["bias"])), dtype=np.float32) for own in words]
        for batch, vectors, starts in self.encoder.read([window.ids for _, window in windows]):
            for start, (number, window) in zip(starts, (windows[i] for i in batch)):
                told = vectors[start + np.array(window.places)] @ self._head["dense"] + self._head["bias"]
                logits[number][window.first : window.first + len(told)] = told
        return [
            [(own[start], own[end - 1] + 1, self._labels[k]) for start, end, k in entities(likeliest(one))]
            for own, one in zip(words, logits)
        ]

    def set_annotations(self, docs: Sequence[Doc], found: Any) -> None:
        """Write the entities to `doc.ents`, beside those that other components found before. Tokens that were blocked
        (`doc.set_ents`) stay so."""
        for doc, spans in zip(docs, found):
            blocked = [doc[token.i : token.i + 1] for token in doc if token.ent_iob == 3 and not token.ent_type]
            taken = {i for span in [*doc.ents, *blocked] for i in range(span.start, span.end)}
            new = [Span(doc, *span) for span in spans if taken.isdisjoint(range(span[0], span[1]))]
            doc.set_ents([*doc.ents, *new], blocked=blocked, default="outside")

    def score(self, examples: Iterable[Example], **kwargs: Any) -> Dict[str, Any]:
        """RETURNS (Dict[str, Any]): spaCy's scores of entities."""
        scores: Dict[str, Any] = get_ner_prf(examples, **kwargs)
        return scores


def words_of(doc: Doc) -> List[int]:
    """RETURNS (List[int]): The tokens that are words or punctuation; white space is read over."""
    return [token.i for token in doc if not token.is_space]


def likeliest(logits: Any) -> List[int]:
    """Find the tags with the highest sum, where only what began goes on (Viterbi 1967).

    logits (NDArray[float32]): `(T, 1 + 2 K)`.
    RETURNS (List[int]): T tags.
    """
    tags: List[int] = logits.argmax(axis=1).tolist()
    if all(tag % 2 or not tag or before in (tag - 1, tag) for before, tag in zip([0, *tags], tags)):
        return tags
    inside = np.arange(2, logits.shape[1], 2)
    came = np.zeros(logits.shape, dtype=np.int64)
    best = logits[0].copy()
    best[inside] = -np.inf
    for number in range(1, len(logits)):
        came[number] = best.argmax()
        came[number, inside] = np.where(best[inside - 1] >= best[inside], inside - 1, inside)
        best = best[came[number]] + logits[number]
    tags = [int(best.argmax())]
    for row in came[:0:-1]:
        tags.append(int(row[tags[-1]]))
    return tags[::-1]


def entities(tags: Sequence[int]) -> Iterator[Tuple[int, int, int]]:
    """YIELDS (Tuple[int, int, int]): First word, the word after the last, class."""
    start = 0
    for end, (tag, after) in enumerate(zip(tags, [*tags[1:], 0]), 1):
        if tag % 2:
            start = end - 1
        if tag and (after % 2 or not after):
            yield start, end, (tag - 1) // 2


_FILES = ("facts.json", "encoder.npz", "head.npz")


def _npz(arrays: Mapping[str, Any]) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def _arrays(data: bytes) -> Dict[str, Any]:
    with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
        return dict(arrays)


def make_frozen_encoder_textcat(nlp: Language, name: str, exclusive: bool) -> FrozenEncoderTextCat:
    """Make a `frozen_encoder_textcat`."""
    return FrozenEncoderTextCat(nlp.vocab, name, exclusive=exclusive)


def make_frozen_encoder_ner(nlp: Language, name: str) -> FrozenEncoderNER:
    """Make a `frozen_encoder_ner`."""
    return FrozenEncoderNER(nlp.vocab, name)


if not Language.has_factory("frozen_encoder_textcat"):  # another package that carries this module may have been first
    Language.factory(
        "frozen_encoder_textcat",
        assigns=["doc.cats"],
        default_config={"exclusive": True},
        func=make_frozen_encoder_textcat,
    )
if not Language.has_factory("frozen_encoder_ner"):
    Language.factory("frozen_encoder_ner", assigns=["doc.ents"], func=make_frozen_encoder_ner)
