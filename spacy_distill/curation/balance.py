"""Under-sampling: no label with more than so many texts."""

import hashlib
from collections import Counter

from ..errors import ConfigError
from ..types import Annotation
from .rules import judge_each
from .types import Context, Rule, RuleResult


def make_balance(cap: int, seed: int = 0) -> Rule:
    """Drop texts of labels that have more of them than a cap, the least confident first.

    Leaving out the least confident of each class cost a student less accuracy than leaving out as many at random; those
    of equal or no confidence go at random. What people checked goes last. A text with several labels is dropped only
    if each of them has too many, so that no label is left with fewer than the cap for the sake of another; texts
    without any label count as a label of their own. To give rare classes more weight without dropping anything, set
    `balance` of `soft_textcat`.

    cap (int): At least 1: as many texts of a label are kept, or as many as there are.
    seed (int): Another seed, another choice among the equally confident.
    RETURNS (Rule): Notes count the texts that each label lost.
    RAISES (ConfigError): The cap is not a number of texts.
    """
    if not isinstance(cap, int) or isinstance(cap, bool) or cap < 1:
        raise ConfigError(f"balance: cap is {cap!r}; expected a whole number, 1 or more.")

    def rank(annotation: Annotation) -> tuple[bool, float, str]:
        confidence = -1.0 if annotation.confidence is None else annotation.confidence
        drawn = hashlib.sha256(f"{seed}\n{annotation.id}".encode("utf8", "surrogatepass")).hexdigest()
        return annotation.gold, confidence, drawn

    def rule(annotations: list[Annotation], context: Context) -> RuleResult:
        left = Counter(label for annotation in annotations for label in _labels(annotation))
        lost: Counter[str | None] = Counter()
        dropped = set()
        for annotation in sorted(annotations, key=rank):
            labels = _labels(annotation)
            if all(left[label] > cap for label in labels):
                dropped.add(annotation.id)
                left.subtract(labels)
                lost.update(labels)
        notes = {label or "no label": count for label, count in sorted(lost.items(), key=lambda item: item[0] or "")}
        return judge_each(
            annotations,
            lambda annotation: (
                f"{_in_words(annotation)}: there are more than {cap}" if annotation.id in dropped else None
            ),
            notes,
        )

    return rule


def _labels(annotation: Annotation) -> set[str | None]:
    labels = {*annotation.positive(), *(span.label for span in annotation.ents or ())}
    return {*labels} or {None}


def _in_words(annotation: Annotation) -> str:
    return ", ".join(sorted(label or "no label" for label in _labels(annotation)))
