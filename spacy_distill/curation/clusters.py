"""Which texts are nearly the same: MinHash, locality-sensitive hashing, and a comparison of those that collide.

Shingles are the runs of four characters of a text's normal form, of short and of long texts alike, so that there is no
length at which two of them stop being comparable, and no need of spaces between words. In a text of six words another
word makes another text; in one of twenty-five it does not.

Broder 1997, "On the resemblance and containment of documents"; Leskovec, Rajaraman and Ullman, "Mining of Massive
Datasets", chapter 3. Time and memory grow with the number of texts: 0.3 kB a text beside the texts themselves.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from ..errors import ConfigError
from ..texts import normal_form

NEAR = 0.8
"""How many of their shingles near-duplicates share, of all that either has: the threshold unless a config says more."""

_SHINGLE = 4
_PERMUTATIONS = 256
_RECALL = 0.99
_BATCH = 512
"""Texts whose signatures are made at a time: their shingles should fit a processor's cache."""

_COMPARED = 16
"""Texts that collide are compared with so many before them: a template filled in a million times stays affordable."""

_Shingles = NDArray[np.uint32]
_Keys = NDArray[np.uint64]


class UnionFind:
    """Sets of indices that are united pair by pair.

    size (int): How many there are; each is alone at first.
    """

    def __init__(self, size: int) -> None:
        self._parent = list(range(size))

    def root(self, index: int) -> int:
        """RETURNS (int): The lowest index of its set."""
        parent = self._parent
        while parent[index] != index:
            parent[index] = parent[parent[index]]
            index = parent[index]
        return index

    def unite(self, one: int, other: int) -> None:
        """Make the sets of two indices one."""
        low, high = sorted((self.root(one), self.root(other)))
        self._parent[high] = low


def near_clusters(texts: Sequence[str], threshold: float = NEAR) -> list[int]:
    """Cluster texts that are the same (case, spacing and Unicode form aside) or nearly, directly or by way of others.

    Of the pairs exactly as similar as the threshold 99 % or more are found, of those more similar nearly all; none is
    less similar. The clusters do not depend on the order of the texts.

    texts (Sequence[str]): Any number.
    threshold (float): From 0.5 to 1: the Jaccard similarity of two texts' shingles from which they are near. 1: the
        same but for case, spacing and Unicode form.
    RETURNS (List[int]): For each text the index of the first one of its cluster.
    RAISES (ConfigError): The threshold is out of its range.
    """
    check_threshold(threshold)
    forms = [normal_form(text) for text in texts]
    unique = sorted(set(forms))
    united = UnionFind(len(unique))
    if threshold < 1.0:
        rows = _rows(threshold)
        for keys in _band_keys(unique, rows):
            for colliding in _collisions(keys):
                _unite_similar(unique, colliding, united, threshold)
    number = {form: united.root(index) for index, form in enumerate(unique)}
    first: dict[int, int] = {}
    return [first.setdefault(number[form], index) for index, form in enumerate(forms)]


def check_threshold(threshold: float) -> None:
    """RAISES (ConfigError): It is no number from 0.5 to 1."""
    if not isinstance(threshold, (int, float)) or not 0.5 <= threshold <= 1.0:
        raise ConfigError(f"The threshold of near-duplicates is {threshold!r}; expected a number from 0.5 to 1.")


def _rows(threshold: float) -> int:
    """RETURNS (int): Rows a band: as many as leave a pair at the threshold its chance of colliding in some band,
    1 - (1 - t^rows)^bands. More of them mean fewer collisions in vain."""
    return max(
        rows
        for rows in range(1, _PERMUTATIONS)
        if rows == 1 or 1 - (1 - threshold**rows) ** (_PERMUTATIONS // rows) >= _RECALL
    )


def _band_keys(forms: Sequence[str], rows: int) -> _Keys:
    """RETURNS (ndarray): Shape `(bands, texts)`: two texts with a key in common in a band collide there."""
    bands = _PERMUTATIONS // rows
    chance = np.random.default_rng(0)
    factors = chance.integers(0, 2**32, bands * rows, dtype=np.uint32) | np.uint32(1)
    offsets = chance.integers(0, 2**32, bands * rows, dtype=np.uint32)
    weights = chance.integers(0, 2**64, (1, rows, 1), dtype=np.uint64) | np.uint64(1)
    keys = np.empty((bands, len(forms)), dtype=np.uint64)
    for start in range(0, len(forms), _BATCH):
        batch = forms[start : start + _BATCH]
        shingles, starts = _hashed_shingles(batch)
        signatures = np.empty((bands * rows, len(batch)), dtype=np.uint32)
        permuted = np.empty_like(shingles)
        for row, (factor, offset) in enumerate(zip(factors, offsets, strict=True)):
            # x -> ax + b modulo 2^32, a odd, puts the hashes in another order.
            np.multiply(shingles, factor, out=permuted)
            np.add(permuted, offset, out=permuted)
            np.minimum.reduceat(permuted, starts, out=signatures[row])
        in_bands = signatures.reshape(bands, rows, len(batch)).astype(np.uint64)
        keys[:, start : start + len(batch)] = (in_bands * weights).sum(axis=1, dtype=np.uint64)
    return keys


def _framed(form: str) -> str:
    """RETURNS (str): With space around it, so that a word is the same at the edge; never shorter than a shingle."""
    return f" {form} ".ljust(_SHINGLE)


def _hashed_shingles(forms: Sequence[str]) -> tuple[_Shingles, NDArray[np.intp]]:
    """RETURNS (Tuple[ndarray, ndarray]): The shingles' hashes, those of one text after those of another; and where
    each text's begin."""
    framed = [_framed(form) for form in forms]
    codes = np.frombuffer("".join(framed).encode("utf-32-le", "surrogatepass"), dtype="<u4").astype(np.uint64)
    lengths = np.array([len(text) for text in framed])
    hashes = np.zeros(len(codes) - _SHINGLE + 1, dtype=np.uint64)
    for place in range(_SHINGLE):
        hashes = hashes * np.uint64(0x9E3779B97F4A7C15) + codes[place : place + len(hashes)]
    # The finalizer of MurmurHash3: shingles that differ a little get hashes that have nothing in common.
    hashes ^= hashes >> np.uint64(33)
    hashes *= np.uint64(0xFF51AFD7ED558CCD)
    hashes ^= hashes >> np.uint64(33)
    ends = np.cumsum(lengths)
    across = (ends[:-1, None] - np.arange(1, _SHINGLE)).ravel()
    inside = np.ones(len(hashes), dtype=bool)
    inside[across] = False
    counts = lengths - (_SHINGLE - 1)
    return hashes[inside].astype(np.uint32), np.cumsum(counts) - counts


def _collisions(keys: _Keys) -> Iterator[list[int]]:
    """YIELDS (List[int]): Indices, two or more, ascending, with the same key."""
    order = np.argsort(keys, kind="stable")
    edges = np.flatnonzero(np.diff(keys[order])) + 1
    starts, ends = np.append(0, edges), np.append(edges, len(keys))
    for start, end in zip(*((side[ends - starts > 1]).tolist() for side in (starts, ends)), strict=True):
        yield order[start:end].tolist()


def _unite_similar(forms: Sequence[str], colliding: Sequence[int], united: UnionFind, threshold: float) -> None:
    for place, one in enumerate(colliding):
        for other in colliding[max(0, place - _COMPARED) : place]:
            if united.root(one) != united.root(other) and similarity(forms[one], forms[other]) >= threshold:
                united.unite(one, other)


def similarity(one: str, other: str) -> float:
    """RETURNS (float): The Jaccard similarity of two normal forms' shingles, 0 to 1."""
    first, second = (
        {text[start : start + _SHINGLE] for start in range(len(text) - _SHINGLE + 1)}
        for text in (_framed(one), _framed(other))
    )
    shared = len(first & second)
    return shared / (len(first) + len(second) - shared)
