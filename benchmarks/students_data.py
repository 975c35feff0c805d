"""The texts that students and peers learn from and are measured on: the same ones for all of them.

Labels of three kinds. `gold`: people's. `llm`: a real language model's, gold only for the test. `simulated`: a teacher
of .80 accuracy on emotion, with known, calibrated probabilities.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from . import data_path

KINDS = ("gold", "llm", "simulated")
TEACHER_ACCURACY = 0.80
_SMS_TEST = 1500
_BANKING_TEST = 3000


@dataclass(frozen=True)
class Row:
    """A text.

    gold (str): What people said.
    label (Optional[str]): What training is told; None if the teacher gave no usable answer.
    soft (Optional[Dict[str, float]]): The teacher's probabilities, where there are any.
    """

    text: str
    gold: str
    label: str | None
    soft: dict[str, float] | None = None


@dataclass(frozen=True)
class Data:
    """A data set with one kind of labels. No text is in both parts.

    pool (List[Row]): To draw the training texts from.
    test (List[Row]): What nobody learns from; `label` is the teacher's answer, where it gave one.
    labels (Tuple[str, ...]): All there are.
    """

    pool: list[Row]
    test: list[Row]
    labels: tuple[str, ...]

    def sample(self, size: int, seed: int) -> list[Row]:
        """RETURNS (List[Row]): Texts to learn from; for one seed, fewer are the first of more."""
        rows = list(self.pool)
        random.Random(seed).shuffle(rows)
        return rows[:size]


@lru_cache
def load(name: str, kind: str) -> Data | None:
    """RETURNS (Optional[Data]): The data set with these labels; None if it has none of that kind."""
    reader = _READERS.get((name, kind))
    if reader is None:
        return None
    pool, test = reader()
    labels = tuple(sorted({row.gold for row in (*pool, *test)}))
    taken = {row.text for row in test}
    usable = {row.text: row for row in pool if row.label in labels and row.text not in taken and row.text.strip()}
    return Data(list(usable.values()), [row for row in test if row.text.strip()], labels)


def names() -> list[str]:
    """RETURNS (List[str]): The data sets."""
    return list(dict.fromkeys(name for name, _ in _READERS))


def _rows(path: Path, label: str = "gold", soft: Callable[[dict[str, Any]], Any] | None = None) -> Iterator[Row]:
    for line in path.read_text(encoding="utf8").splitlines():
        record = json.loads(line)
        yield Row(record["text"], record["gold"], record.get(label), soft(record) if soft else None)


def _emotion() -> tuple[list[Row], list[Row]]:
    return list(_rows(data_path("emotion", "train_gold.jsonl"))), list(_rows(data_path("emotion", "test_gold.jsonl")))


def _emotion_llm() -> tuple[list[Row], list[Row]]:
    """flan-ul2 on 498 tweets, its classes balanced; the test is that of all the others."""
    test = [Row(row.text, row.gold, None) for row in _emotion()[1]]
    return list(_rows(data_path("emotion", "css498_llm.jsonl"), "llm")), test


def _banking() -> tuple[list[Row], list[Row]]:
    pool, test = (data_path("banking77", f"{part}_gold.jsonl") for part in ("train", "test"))
    return list(_rows(pool)), list(_rows(test))


def _banking_llm() -> tuple[list[Row], list[Row]]:
    """Qwen2.5-7B labelled the official test, so here the official parts swap places: 3,000 of train are the test."""
    test = [Row(row.text, row.gold, None) for row in _rows(data_path("banking77", "train_gold.jsonl"))]
    random.Random(0).shuffle(test)
    return list(_rows(data_path("banking77", "test_qwen25_7b.jsonl"), "llm")), test[:_BANKING_TEST]


def _sms(label: str) -> tuple[list[Row], list[Row]]:
    """The split of `benchmarks.spam`; the labels are gpt-4o-mini's."""
    rows = list(_rows(data_path("sms_spam_llm", "all.jsonl"), label))
    random.Random(0).shuffle(rows)
    rows = list({row.text: row for row in rows}.values())
    return rows[_SMS_TEST:], rows[:_SMS_TEST]


def _babe(label: str) -> tuple[list[Row], list[Row]]:
    """The labels are gpt-3.5's, zero-shot. Those of the test are a vote of other models: no teacher to compare with."""
    test = [Row(row.text, row.gold, None) for row in _rows(data_path("babe_bias", "test_llm.jsonl"))]
    return list(_rows(data_path("babe_bias", "train_dev_llm.jsonl"), label)), test


def _simulated() -> tuple[list[Row], list[Row]]:
    """A teacher that sees each tweet's class through noise, and answers with the probabilities that follow from it.

    Each class is a point, near to those it shares words with; the teacher sees the point of the true class with normal
    noise, and its answer is the posterior over the classes given their frequencies. So its errors are confusable ones
    and its probabilities calibrated; the points' distance is set so that it is right in .80 of the texts. Its errors
    do not depend on the text beyond its class: a real teacher's do.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer

    pool, test = _emotion()
    rows = [*pool, *test]
    labels = sorted({row.gold for row in rows})
    gold = np.asarray([labels.index(row.gold) for row in rows])
    words = TfidfVectorizer(min_df=5).fit_transform([row.text for row in rows])
    centres = np.stack([np.asarray(words[gold == k].mean(axis=0)).ravel() for k in range(len(labels))])
    centres -= centres.mean(axis=0)
    points = centres / np.linalg.norm(centres, axis=1, keepdims=True)
    points = np.linalg.svd(points, full_matrices=False)[0] * np.linalg.svd(points, full_matrices=False)[1]
    noise = np.random.default_rng(0).normal(size=(len(rows), points.shape[1]))
    prior = np.log(np.bincount(gold) / len(gold))

    def answers(scale: float) -> Any:
        seen = scale * points[gold] + noise
        logits = prior - ((seen[:, None] - scale * points[None]) ** 2).sum(-1) / 2
        odds = np.exp(logits - logits.max(axis=1, keepdims=True))
        return odds / odds.sum(axis=1, keepdims=True)

    low, high = 0.0, 20.0
    for _ in range(40):
        middle = (low + high) / 2
        right = (answers(middle).argmax(axis=1) == gold).mean()
        low, high = (middle, high) if right < TEACHER_ACCURACY else (low, middle)
    found = [
        Row(row.text, row.gold, labels[int(p.argmax())], dict(zip(labels, p.tolist(), strict=True)))
        for row, p in zip(rows, answers(high), strict=True)
    ]
    return found[: len(pool)], found[len(pool) :]


_READERS: dict[tuple[str, str], Callable[[], tuple[list[Row], list[Row]]]] = {
    ("emotion", "gold"): _emotion,
    ("emotion", "llm"): _emotion_llm,
    ("emotion", "simulated"): _simulated,
    ("banking77", "gold"): _banking,
    ("banking77", "llm"): _banking_llm,
    ("sms_spam_llm", "gold"): lambda: _sms("gold"),
    ("sms_spam_llm", "llm"): lambda: _sms("llm"),
    ("babe_bias", "gold"): lambda: _babe("gold"),
    ("babe_bias", "llm"): lambda: _babe("llm"),
}
