"""Classes a teacher probably got wrong, found by what it said of like texts.

A quick linear model of words and runs of characters learns the teacher's classes from four fifths of the texts, each
class weighing the same, and judges the last fifth. By confident learning (Northcutt et al. 2021,
https://arxiv.org/abs/1911.00068) a class's probability is held against its threshold: how probable the model finds the
class on average of texts that the teacher put into it. A text is doubtful where another class stands better to its
threshold than the teacher's does.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..errors import ConfigError
from ..types import Annotation
from .out_of_fold import Floats, check_folds, clusters_of, out_of_fold
from .types import Context, Rule, RuleResult

_LEAST = 20
"""A class with fewer texts is neither learned nor judged: the teacher knows better than a model of so few."""

_BUCKETS = 2**17


def make_label_errors(action: Literal["soften", "review", "drop"] = "soften", mix: float = 0.5, folds: int = 5) -> Rule:
    """Find the texts where the teacher contradicts what it says of like texts.

    It pays only where such a model knows better than the teacher, which is the exception: `curate --sweep` tries it.
    Classes that exclude each other alone: a rare label among many, which others may go with, looks like an error
    to such a model. What people checked stays as it is. A softened text loses its confidence, so a filter by
    confidence goes before this rule.

    action (str): What becomes of doubtful texts. "soften": their scores become `(1 - mix) teacher + mix model`, so that
        the student learns less of them, and what it learns fits the rest better. "review": they are kept as they are,
        and written to review.jsonl for people to look at. "drop".
    mix (float): For "soften": above 0, to 1.
    folds (int): The parts the texts are divided into, at least 2: each is judged by a model of the others.
    RETURNS (Rule): Notes count the doubtful texts and those that could not be judged.
    RAISES (ConfigError): A setting out of its range.
    """
    check_folds("label_errors", folds)
    if action not in ("soften", "review", "drop"):
        raise ConfigError(f'label_errors: action is {action!r}; expected "soften", "review" or "drop".')
    if not isinstance(mix, (int, float)) or not 0.0 < mix <= 1.0:
        raise ConfigError(f"label_errors: mix is {mix!r}; expected a number above 0, to 1, such as 0.5.")

    def rule(annotations: list[Annotation], context: Context) -> RuleResult:
        given = [annotation for annotation in annotations if annotation.cats and annotation.exclusive]
        others = sum(annotation.status == "ok" for annotation in annotations) - len(given)
        if len(np.unique(clusters_of(given))) < folds:
            counts = {"too few texts to judge": len(given), "not judged": others}
            return RuleResult(list(annotations), [], {name: number for name, number in counts.items() if number})
        opinions = _Opinions.of(given, folds)
        doubtful = {
            annotation.id: index
            for index, annotation in enumerate(given)
            if opinions.doubtful[index] and not annotation.gold
        }
        counts = {"doubtful": len(doubtful), "not judged": opinions.unjudged + others}
        notes = {name: number for name, number in counts.items() if number}
        if action == "soften":
            kept = [
                opinions.soften(doubtful[item.id], item, mix) if item.id in doubtful else item for item in annotations
            ]
            return RuleResult(kept, [], notes)
        reasons = [(item, opinions.reason(doubtful[item.id], item)) for item in annotations if item.id in doubtful]
        if action == "review":
            return RuleResult(list(annotations), [], notes, reasons)
        return RuleResult([item for item in annotations if item.id not in doubtful], reasons, notes)

    return rule


@dataclass(frozen=True, slots=True)
class _Opinions:
    """What models that have not seen a text say of it.

    scores (NDArray[float]): For each text and label on offer `(N, L)`.
    doubtful (NDArray[bool]): The texts whose scores speak against the teacher's `(N,)`.
    unjudged (int): Texts of a class that has too few to judge it.
    """

    scores: Floats
    doubtful: NDArray[np.bool_]
    unjudged: int

    @classmethod
    def of(cls, annotations: Sequence[Annotation], folds: int) -> "_Opinions":
        labels, texts = annotations[0].labels, _features([annotation.text for annotation in annotations])
        clusters = clusters_of(annotations)
        classes = np.array([labels.index(annotation.positive()[0]) for annotation in annotations])
        scores, judged, doubtful = _judge(texts, classes, len(labels), clusters, folds)
        return cls(scores, doubtful, int((~judged).sum()))

    def reason(self, index: int, annotation: Annotation) -> str:
        """RETURNS (str): What the model says of a doubtful text."""
        scores = self.scores[index]
        found = ", ".join(f"{annotation.labels[number]} {scores[number]:.2f}" for number in (-scores).argsort()[:2])
        said = ", ".join(annotation.positive())
        return f"the teacher says {said}; a model of its other texts, {found}"

    def soften(self, index: int, annotation: Annotation, mix: float) -> Annotation:
        """RETURNS (Annotation): A copy with other scores."""
        cats = annotation.cats or {}
        said = np.array([cats.get(label, 0.0) for label in annotation.labels])
        mixed = (1.0 - mix) * said + mix * self.scores[index]
        softened = dict(zip(annotation.labels, mixed.tolist(), strict=True))
        return replace(annotation, cats=softened, confidence=None, confidence_kind=None)


def _features(texts: Sequence[str]) -> Any:
    """RETURNS (csr_matrix): Words, pairs of words, and runs of three and four characters, as tf-idf `(N, F)`."""
    from sklearn.feature_extraction.text import HashingVectorizer, TfidfTransformer
    from sklearn.pipeline import make_union

    common = {"n_features": _BUCKETS, "alternate_sign": False, "norm": None}
    words = HashingVectorizer(ngram_range=(1, 2), token_pattern=r"\S+", **common)
    characters = HashingVectorizer(analyzer="char_wb", ngram_range=(3, 4), **common)
    counts: Any = make_union(words, characters).transform(texts).tocsc()
    return TfidfTransformer(sublinear_tf=True).fit_transform(counts[:, np.diff(counts.indptr) > 1].tocsr())


def _judge(
    texts: Any, classes: NDArray[np.int64], count: int, clusters: NDArray[np.int64], folds: int
) -> tuple[Floats, NDArray[np.bool_], NDArray[np.bool_]]:
    """Judge one division of texts into classes.

    classes (NDArray[int]): What the teacher said, from 0 to `count` - 1 `(N,)`.
    RETURNS (Tuple[NDArray, NDArray, NDArray]): Each class's probability `(N, count)`; whether the teacher's class has
        enough texts, and whether the text is doubtful, each `(N,)`.
    """
    sizes = np.bincount(classes, minlength=count)
    known = sizes[classes] >= _LEAST
    weights = len(classes) / (count * sizes[classes])
    probabilities = out_of_fold(texts, classes, count, clusters=clusters, folds=folds, known=known, weights=weights)
    thresholds = [
        probabilities[classes == number, number].mean() if sizes[number] >= _LEAST else np.inf
        for number in range(count)
    ]
    best = (probabilities - thresholds).argmax(axis=1)
    return probabilities, known, known & (best != classes)
