"""What `benchmarks.curation` measures with: for each data set a pool with a teacher's labels, and texts with gold."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import spacy
from spacy.tokens import Doc

from spacy_distill.annotate import annotate
from spacy_distill.curation.aggregation import aggregate
from spacy_distill.docs import annotate_doc, annotations_of, make_doc
from spacy_distill.files import write_jsonl
from spacy_distill.texts import gold_annotations, read_texts
from spacy_distill.types import Annotation, Span, Text

from . import data_path, entities

Row = Mapping[str, Any]

SPAM_TEST, EMOTION_POOL = 1500, 5000
SPAM_MODELS = ("gpt-3.5-turbo-0125", "gpt-4o-mini", "gpt-4.1-mini", "gpt-4.1", "gpt-5-nano", "gpt-5-mini", "gpt-5")
BIAS_MODELS = ("zephyr", "openchat", "llama_13b")
BANKING_MODELS = ("claude_4_5_sonnet", "gpt_5_mini", "gpt_5_2")
RESTAURANT_FILES = ("llm_generated_Simple-Prompt.jsonl", "llm_generated_Diversify-X.jsonl")


@dataclass(frozen=True)
class Data:
    """One data set, as one seed sees it.

    docs (List[Doc]): The pool, annotated by the teacher; `records` are its annotations.
    gold (List[Annotation]): What people said of other texts: every student is measured on these.
    judged (List[Annotation]): What people said of the texts on which the teacher is measured: `gold`, or where the
        teacher did not label those, texts of the pool.
    answers (List[Annotation]): What the teacher said of `judged`.
    """

    docs: list[Doc]
    records: list[Annotation]
    gold: list[Annotation]
    judged: list[Annotation]
    answers: list[Annotation]


def recorded(
    folder: Path, rows: Sequence[Row], labels: Sequence[str], *, task: str = "textcat", **fields: str
) -> tuple[list[Doc], list[Annotation]]:
    """Annotate rows with what they hold, by way of the model `Recorded.v1`, as `import` does.

    fields (str): Settings of the model: which field holds what.
    """
    path = folder / "rows.jsonl"
    write_jsonl(path, rows)
    registered = {"textcat": "spacy_distill.TextCat.v1", "ner": "spacy_distill.NER.v1"}[task]
    model = {"@llm_models": "spacy_distill.Recorded.v1", "path": str(path), **fields}
    nlp = spacy.blank("en")
    nlp.add_pipe("llm", config={"task": {"@llm_tasks": registered, "labels": list(labels)}, "model": model})
    docs = list(annotate(nlp, list(read_texts(path)))[0])
    return docs, [annotations_of(doc)[0] for doc in docs]


def panel(
    folder: Path, rows: Sequence[Row], labels: Sequence[str], fields: Sequence[str]
) -> tuple[list[Doc], list[Annotation]]:
    """Several models' labels, each annotated by itself, and aggregated by majority."""
    sources = {field: recorded(folder, rows, labels, label_field=field)[1] for field in fields}
    found = aggregate(sources).annotations
    nlp = spacy.blank("en")
    return [annotate_doc(make_doc(nlp, Text(item.id, item.text)), item) for item in found], found


def gold_of(folder: Path, rows: Sequence[Row], labels: Sequence[str], task: Any = "textcat") -> list[Annotation]:
    path = folder / "gold.jsonl"
    write_jsonl(path, rows)
    return gold_annotations(read_texts(path), task, labels=labels)


def rows_of(*parts: str) -> list[Row]:
    """RETURNS (List[Mapping[str, Any]]): A file's records, the first of each text."""
    lines = data_path(*parts).read_text(encoding="utf8").splitlines()
    return list({row["text"]: row for row in map(json.loads, lines)}.values())


def spam(folder: Path, seed: int, limit: int | None, *, models: Sequence[str]) -> Data:
    rows = rows_of("sms_spam_llm", "all.jsonl")
    random.Random(0).shuffle(rows)
    test, pool = rows[:SPAM_TEST][:limit], rows[SPAM_TEST:][:limit]
    labels, fields = ("ham", "spam"), [f"llm:{model}" for model in models]
    take = partial(panel, fields=fields) if len(fields) > 1 else partial(recorded, label_field=fields[0])
    docs, records = take(folder, pool, labels)
    gold = gold_of(folder, test, labels)
    return Data(docs, records, gold, gold, take(folder, test, labels)[1])


def bias(folder: Path, seed: int, limit: int | None) -> Data:
    labels = ("biased", "not_biased")
    test = rows_of("babe_bias", "test_llm.jsonl")[:limit]
    pool = rows_of("babe_bias", "train_dev_llm.jsonl")[:limit]
    docs, records = panel(folder, pool, labels, [f"llm:{model}:8-shot" for model in BIAS_MODELS])
    gold = gold_of(folder, test, labels)
    return Data(docs, records, gold, gold, panel(folder, test, labels, [f"llm:{model}" for model in BIAS_MODELS])[1])


def banking(folder: Path, seed: int, limit: int | None) -> Data:
    labels = sorted({row["gold"] for row in rows_of("banking77", "train_gold.jsonl")})
    pool = rows_of("banking77", "train500_3llm.jsonl")[:limit]
    docs, records = panel(folder, pool, labels, [f"llm:{model}" for model in BANKING_MODELS])
    judged = gold_of(folder, pool, labels)
    gold = gold_of(folder, rows_of("banking77", "test_gold.jsonl")[:limit], labels)
    return Data(docs, records, gold, judged, records)


def emotion(folder: Path, seed: int, limit: int | None, *, noise: float) -> Data:
    train = rows_of("emotion", "train_gold.jsonl")
    random.Random(seed).shuffle(train)
    pool, rest = train[:EMOTION_POOL][:limit], train[EMOTION_POOL:]
    test = rows_of("emotion", "test_gold.jsonl")[:limit]
    labels = sorted({row["gold"] for row in train})
    said = simulate(rest, [*pool, *test], labels, noise, seed)
    fields = {"label_field": "said", "confidence_field": "sure", "confidence_kind": "logprob"}
    docs, records = recorded(folder, said[: len(pool)], labels, **fields)
    gold = gold_of(folder, test, labels)
    return Data(docs, records, gold, gold, recorded(folder, said[len(pool) :], labels, **fields)[1])


def simulate(
    known: Sequence[Row], rows: Sequence[Row], labels: Sequence[str], noise: float, seed: int
) -> list[dict[str, Any]]:
    """Simulate a teacher that takes a class for one like it, more often where a text is hard.

    A linear model of other texts gives each text's class probabilities p. The teacher's answer is the largest of
    log p + a [gold] + Gumbel noise, which draws a class in proportion to p exp(a [gold]); a is such that the share
    `noise` of the answers is wrong. Its confidence is the softmax of the same figures, sharpened or flattened until it
    is on average half-way between the share of right answers and 1: too sure, as language models are.

    RETURNS (List[Dict[str, Any]]): The rows with "said" and "sure".
    """
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    model = make_pipeline(TfidfVectorizer(ngram_range=(1, 2), min_df=2), LogisticRegression(max_iter=300))
    model.fit([row["text"] for row in known], [row["gold"] for row in known])
    p = np.log(model.predict_proba([row["text"] for row in rows])[:, [list(model.classes_).index(x) for x in labels]])
    truth = np.array([labels.index(row["gold"]) for row in rows])
    drawn = p + np.random.default_rng(seed).gumbel(size=p.shape)
    right = truth[:, None] == np.arange(len(labels))
    tilt = bisect(lambda a: float((np.argmax(drawn + a * right, axis=1) == truth).mean()), 1.0 - noise, -20.0, 20.0)
    scores = drawn + tilt * right
    sharpness = bisect(lambda s: float(softmax(scores * s).max(axis=1).mean()), 1.0 - noise / 2, 0.0, 20.0)
    sure = softmax(scores * sharpness).max(axis=1)
    found = [labels[index] for index in scores.argmax(axis=1)]
    return [
        {"text": row["text"], "said": said, "sure": round(float(each), 6)}
        for row, said, each in zip(rows, found, sure, strict=True)
    ]


def bisect(rising: Callable[[float], float], target: float, low: float, high: float) -> float:
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if rising(middle) < target else (low, middle)
    return (low + high) / 2


def softmax(scores: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    raised = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(raised / raised.sum(axis=1, keepdims=True))


def cooking(folder: Path, seed: int, limit: int | None) -> Data:
    pool = rows_of("reddit_cooking", "train_gpt35.jsonl")[:limit]
    fields = {"label_field": entities.LABEL_FIELD, "reply_field": entities.REPLY_FIELD}
    docs, records = recorded(folder, pool, entities.LABELS, task="ner", **fields)
    judged = gold_of(folder, [row for row in pool if "gold" in row], entities.LABELS, "ner")
    gold = gold_of(folder, rows_of("reddit_cooking", "eval_gold.jsonl"), entities.LABELS, "ner")
    return Data(docs, records, gold, judged, records)


def restaurant(folder: Path, seed: int, limit: int | None) -> Data:
    test = rows_of("mit_restaurant", "test_gold.jsonl")[:limit]
    pool = [row for name in RESTAURANT_FILES for row in rows_of("mit_restaurant", name)[:limit]]
    pool = list({row["text"]: row for row in pool}.values())
    labels = sorted({label for row in rows_of("mit_restaurant", "train_gold.jsonl") for _, _, label in row["gold"]})
    fields = {"label_field": "llm", "logprob_field": "llm_logprob"}
    docs, records = recorded(folder, pool, labels, task="ner", **fields)
    return Data(docs, records, gold_of(folder, test, labels, "ner"), [], [])


DATASETS: dict[str, Callable[[Path, int, int | None], Data]] = {
    "sms_spam_weakest": partial(spam, models=("gpt-4o-mini",)),
    "sms_spam_seven": partial(spam, models=SPAM_MODELS),
    "babe_bias": bias,
    "banking77": banking,
    "emotion_20": partial(emotion, noise=0.2),
    "emotion_40": partial(emotion, noise=0.4),
    "reddit_cooking": cooking,
    "mit_restaurant": restaurant,
}


def as_answer(gold: Annotation, said: Any) -> Annotation:
    """RETURNS (Annotation): A student's answer to a gold text, from what was kept of it: see `kept_of`."""
    if gold.task == "ner":
        return replace(gold, ents=tuple(Span(*span) for span in said), gold=False)
    return replace(gold, cats={label: float(label == said) for label in gold.labels}, gold=False)


def kept_of(answer: Annotation) -> Any:
    """RETURNS (Any): The label, or the spans, of an answer: enough to score it, and no text."""
    if answer.ents is not None:
        return [[span.start, span.end, span.label] for span in answer.ents]
    return answer.label
