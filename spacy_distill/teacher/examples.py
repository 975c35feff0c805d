"""Which few-shot examples to show: typical of their labels and unlike each other, or nearest to a text.

Texts are compared by the cosine of their character trigrams, weighted by TF-IDF: no model, no language of its own.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ..texts import normal_form

_MOST = 1_000
"""Of a label with more texts than this, so many evenly spaced ones are compared with each other."""

Floats = npt.NDArray[np.float64]


class Similarity:
    """Compares any text with some given ones.

    texts (Sequence[str]): N of them.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        counts = [_trigrams(text) for text in texts]
        frequency = Counter(gram for grams in counts for gram in grams)
        self.size = len(texts)
        self._idf = {gram: 1.0 + math.log((1 + self.size) / (1 + number)) for gram, number in frequency.items()}
        rows: dict[str, list[tuple[int, float]]] = {}
        for row, grams in enumerate(counts):
            for gram, weight in self._weights(grams).items():
                rows.setdefault(gram, []).append((row, weight))
        self._rows = {
            gram: (np.array([row for row, _ in found]), np.array([weight for _, weight in found]))
            for gram, found in rows.items()
        }

    def __call__(self, text: str) -> Floats:
        """RETURNS (ndarray): Cosine of a text with each of the given ones, 0 to 1. `(N,)`."""
        found = np.zeros(self.size)
        for gram, weight in self._weights(_trigrams(text)).items():
            rows, weights = self._rows[gram]
            found[rows] += weight * weights
        return found

    def _weights(self, grams: Counter[str]) -> dict[str, float]:
        weights = {gram: (1.0 + math.log(n)) * self._idf[gram] for gram, n in grams.items() if gram in self._idf}
        length = math.sqrt(sum(weight * weight for weight in weights.values())) or 1.0
        return {gram: weight / length for gram, weight in weights.items()}


def _trigrams(text: str) -> Counter[str]:
    padded = f" {normal_form(text)} "
    return Counter(padded[start : start + 3] for start in range(max(1, len(padded) - 2)))


def pick_examples(texts: Sequence[str], labels: Sequence[str], count: int) -> list[int]:
    """Pick examples for a prompt: the labels in turn, as far as they go, and of each label the texts that together
    stand for all its texts best. Fewer examples are the beginning of more. The same texts give the same examples.

    Each pick is the one that adds most to the sum, over the label's texts, of the similarity to the nearest picked one
    (facility location; greedy is within 1 - 1/e of the best, Nemhauser et al. 1978). Farthest-first picks would be as
    diverse, but mostly outliers. Empty texts and second copies are not picked.

    texts (Sequence[str]): What to pick from.
    labels (Sequence[str]): What each was labelled; texts with the same one take turns with the others.
    count (int): How many.
    RETURNS (List[int]): Indices of at most `count` texts.
    """
    queues: dict[str, list[int]] = {}
    forms: set[str] = set()
    for index, (text, label) in enumerate(zip(texts, labels, strict=True)):
        form = normal_form(text)
        if form and form not in forms:
            forms.add(form)
            queues.setdefault(label, []).append(index)
    turns = [_representatives(texts, queues[label], count) for label in sorted(queues)]
    longest = max(map(len, turns), default=0)
    return [turn[i] for i in range(longest) for turn in turns if i < len(turn)][:count]


def _representatives(texts: Sequence[str], pool: Sequence[int], count: int) -> list[int]:
    if len(pool) > _MOST:
        pool = [pool[i * len(pool) // _MOST] for i in range(_MOST)]
    similarity = Similarity([texts[index] for index in pool])
    table = np.array([similarity(texts[index]) for index in pool])
    covered = np.zeros(len(pool))
    picked: list[int] = []
    while len(picked) < min(count, len(pool)):
        gain = (np.maximum(table, covered) - covered).sum(axis=1)
        gain[picked] = -1.0
        best = int(gain.argmax())
        picked.append(best)
        covered = np.maximum(covered, table[best])
    return [pool[index] for index in picked]
