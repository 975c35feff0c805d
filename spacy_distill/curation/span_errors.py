"""Entities a teacher probably got wrong, found by what it said of like words elsewhere.

Confident learning (Northcutt et al. 2021, https://arxiv.org/abs/1911.00068) over tokens: a linear model of words,
affixes, shapes and neighbours learns the teacher's labels from four fifths of the texts and judges the last fifth.
Where it is surer of something else than it usually is of what is labelled so, the teacher contradicts itself.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import spacy
from numpy.typing import NDArray
from spacy.tokens import Doc

from ..errors import ConfigError
from ..types import Annotation, Span
from .out_of_fold import Floats, check_folds, clusters_of, out_of_fold
from .types import Context, Rule, RuleResult

_MOST_SPANS = 8
"""A text with more entities counts no more than one with so many: one long list must not outvote the rest."""

_BUCKETS = 2**18

_MOST_REASONS = 4

Finding = tuple[str, str]
"""What is doubtful in a text: the note that counts its correction, and the reason for a person to read."""


def make_span_errors(
    folds: int = 5, min_probability: float = 0.6, action: Literal["correct", "review", "drop"] = "correct"
) -> Rule:
    """Find the entities where the teacher contradicts what it says of like words.

    What people checked stays as it is, and so does text classification. A text whose entities are corrected loses its
    confidence, so a filter by confidence goes before this rule.

    folds (int): The parts the texts are divided into, at least 2: each is judged by a model of the others.
    min_probability (float): From 0 to 1: a label is held to be wrong only if another one is at least so probable.
    action (str): What becomes of doubtful texts. "correct": an entity gets the label that is more probable; an entity
        that is probably none, and tokens outside entities that probably are one, become *missing*: training neither
        learns nor unlearns them. "review": they are kept as they are, and written to review.jsonl for people to look
        at. "drop".
    RETURNS (Rule): Notes count the entities and tokens that were corrected, or else the doubtful texts.
    RAISES (ConfigError): A setting out of its range.
    """
    check_folds("span_errors", folds)
    if action not in ("correct", "review", "drop"):
        raise ConfigError(f'span_errors: action is {action!r}; expected "correct", "review" or "drop".')
    if not isinstance(min_probability, (int, float)) or not 0.0 <= min_probability <= 1.0:
        raise ConfigError(
            f"span_errors: min_probability is {min_probability!r}; expected a number from 0 to 1, such as 0.6."
        )

    def rule(annotations: list[Annotation], context: Context) -> RuleResult:
        if all(annotation.task != "ner" or not annotation.ents for annotation in annotations):
            return RuleResult(list(annotations), [])
        texts = _Tokens.of(annotations)
        if len(np.unique(texts.clusters)) < folds:
            return RuleResult(list(annotations), [], {"too few texts to judge": len(annotations)})
        probabilities = _judge(texts, folds)
        thresholds = _Thresholds.of(texts, probabilities, min_probability)
        judged = [
            (item, [])
            if item.gold or item.ents is None
            else thresholds.judge(item, texts, index, probabilities[texts.rows(index)])
            for index, item in enumerate(annotations)
        ]
        if action == "correct":
            counts = Counter(name for _, findings in judged for name, _ in findings)
            return RuleResult([corrected for corrected, _ in judged], [], dict(sorted(counts.items())))
        pairs = list(zip(annotations, (findings for _, findings in judged), strict=True))
        reasons = [(item, _in_words(findings)) for item, findings in pairs if findings]
        notes = {"doubtful": len(reasons)} if reasons else {}
        if action == "review":
            return RuleResult(list(annotations), [], notes, reasons)
        return RuleResult([item for item, findings in pairs if not findings], reasons, notes)

    return rule


@dataclass(frozen=True, slots=True)
class _Tokens:
    """The texts' tokens, and the teacher's label of each.

    docs (List[Doc]): A text each.
    labels (Tuple[str, ...]): Entity labels; row 0 of a probability is "none", row 1 the first label, and so on.
    tags (NDArray[int]): Of every token of every text `(T,)`: 0 for none, else the label's number.
    known (NDArray[bool]): Whether the teacher said anything of a token: not where its annotation is missing `(T,)`.
    starts (NDArray[int]): Where each text's tokens begin `(N + 1,)`.
    clusters (NDArray[int]): What a fold must not divide `(N,)`: the text's group, or the text itself, by number.
    weights (NDArray[float]): How much each text counts `(N,)`, see `_MOST_SPANS`.
    """

    docs: list[Doc]
    labels: tuple[str, ...]
    tags: NDArray[np.int64]
    known: NDArray[np.bool_]
    starts: NDArray[np.int64]
    clusters: NDArray[np.int64]
    weights: Floats

    @classmethod
    def of(cls, annotations: Sequence[Annotation]) -> "_Tokens":
        tokenizer = spacy.blank("xx").tokenizer
        docs = [tokenizer(annotation.text) for annotation in annotations]
        labels = annotations[0].labels
        tags, known = [], []
        for doc, annotation in zip(docs, annotations, strict=True):
            found = np.zeros(len(doc), dtype=np.int64)
            said = np.full(len(doc), annotation.ents is not None)
            for span in annotation.missing:
                said[_tokens_of(doc, span)] = False
            for span in annotation.ents or ():
                found[_tokens_of(doc, span)] = 1 + labels.index(span.label)
                said[_tokens_of(doc, span)] = True
            tags.append(found)
            known.append(said)
        starts = np.cumsum([0, *map(len, docs)])
        clusters = clusters_of(annotations)
        spans = np.array([len(annotation.ents or ()) for annotation in annotations])
        weights = _MOST_SPANS / np.maximum(spans, _MOST_SPANS)
        return cls(docs, labels, np.concatenate(tags), np.concatenate(known), starts, clusters, weights)

    def rows(self, index: int) -> slice:
        """RETURNS (slice): The rows of one text's tokens."""
        return slice(int(self.starts[index]), int(self.starts[index + 1]))


def _tokens_of(doc: Doc, span: Span) -> slice:
    found = doc.char_span(span.start, span.end, alignment_mode="expand")
    return slice(found.start, found.end) if found is not None else slice(0, 0)


def _features(doc: Doc) -> Iterator[dict[str, float]]:
    """YIELDS (Dict[str, float]): A token's word, affixes and shape, and the two words on each side."""
    words = ["", "", *(token.lower_ for token in doc), "", ""]
    for index, token in enumerate(doc):
        word = token.lower_
        yield {
            f"word={word}": 1.0,
            f"suffix={word[-3:]}": 1.0,
            f"ending={word[-2:]}": 1.0,
            f"prefix={word[:3]}": 1.0,
            f"shape={token.shape_}": 1.0,
            **{f"{place:+}={words[index + 2 + place]}": 0.5 for place in (-2, -1, 1, 2)},
        }


def _judge(texts: _Tokens, folds: int) -> Floats:
    """RETURNS (NDArray[float]): For every token the probability of none and of each label, `(T, 1 + L)`, by a model
    that has not seen its text."""
    from sklearn.feature_extraction import FeatureHasher

    hashed: Any = FeatureHasher(_BUCKETS).transform(row for doc in texts.docs for row in _features(doc))
    lengths = np.diff(texts.starts)
    return out_of_fold(
        hashed[:, np.unique(hashed.indices)],
        texts.tags,
        1 + len(texts.labels),
        clusters=np.repeat(texts.clusters, lengths),
        folds=folds,
        known=texts.known,
        weights=np.repeat(texts.weights, lengths),
    )


@dataclass(frozen=True, slots=True)
class _Thresholds:
    """How sure the model is on average of what the teacher labelled so: confident learning's thresholds.

    labels (NDArray[float]): For each label, its share among the labels `(L,)`.
    none (float): Of tokens outside entities.
    entity (float): Of tokens in entities, that they are in one.
    """

    labels: Floats
    none: float
    entity: float

    @classmethod
    def of(cls, texts: _Tokens, probabilities: Floats, least: float) -> "_Thresholds":
        tags = texts.tags
        inside = tags > 0
        outside = texts.known & ~inside
        among = _among_labels(probabilities)
        means = [
            float(among[tags == 1 + index, index].mean()) if (tags == 1 + index).any() else 1.0
            for index in range(len(texts.labels))
        ]
        none = float(probabilities[outside, 0].mean()) if outside.any() else 1.0
        return cls(np.maximum(means, least), none, float(1.0 - probabilities[inside, 0].mean()))

    def judge(
        self, annotation: Annotation, texts: _Tokens, index: int, probabilities: Floats
    ) -> tuple[Annotation, list[Finding]]:
        """Find what is doubtful in a text.

        probabilities (NDArray[float]): Of the text's tokens, `(T, 1 + L)`.
        RETURNS (Tuple[Annotation, List[Finding]]): A corrected copy, or the same one if nothing is doubtful; and each
            thing that is.
        """
        doc = texts.docs[index]
        ents: list[Span] = []
        missing: list[Span] = []
        found: list[Finding] = []

        def doubt(note: str, start: int, end: int, said: str, held: str) -> None:
            quote = " ".join(annotation.text[start:end].split())
            found.append((note, f"the teacher says {said} of {quote!r}, a model of its other texts {held}"))

        for span in annotation.ents or ():
            mean = probabilities[_tokens_of(doc, span)].mean(axis=0, keepdims=True)
            if mean[0, 0] >= self.none:
                missing.append(span)
                doubt("entities made unknown", span.start, span.end, span.label, "none")
                continue
            among = _among_labels(mean)[0]
            best = int(among.argmax())
            if texts.labels[best] != span.label and among[best] >= self.labels[best]:
                doubt("entities relabelled", span.start, span.end, span.label, texts.labels[best])
                span = replace(span, label=texts.labels[best], score=None)
            ents.append(span)
        outside = (texts.tags == 0)[texts.rows(index)] & texts.known[texts.rows(index)]
        for token in doc:
            if outside[token.i] and not token.is_space and 1.0 - probabilities[token.i, 0] >= self.entity:
                missing.append(Span(token.idx, token.idx + len(token), ""))
                doubt("other tokens made unknown", token.idx, token.idx + len(token), "none", "an entity")
        if not found:
            return annotation, found
        corrected = replace(annotation, ents=tuple(ents), missing=(*annotation.missing, *missing))
        # The teacher was so sure of what it said, not of what it is held to have meant.
        changed = tuple(ents) != annotation.ents
        return replace(corrected, confidence=None, confidence_kind=None) if changed else corrected, found


def _in_words(findings: Sequence[Finding]) -> str:
    """RETURNS (str): The reasons, of many the first."""
    said = [reason for _, reason in findings]
    return "; ".join(said[:_MOST_REASONS]) + ("; …" if len(said) > _MOST_REASONS else "")


def _among_labels(probabilities: Floats) -> Floats:
    """RETURNS (NDArray[float]): Shares of the labels, "none" left out `(…, L)`."""
    labels = probabilities[:, 1:]
    return np.asarray(labels / np.maximum(labels.sum(axis=1, keepdims=True), 1e-12))
