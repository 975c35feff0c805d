"""Texts that occur more than once, or nearly: their labels are settled, and one of them stays."""

from collections import defaultdict
from collections.abc import Hashable
from typing import Literal

from ..texts import normal_form
from ..types import Annotation
from .clusters import NEAR, check_threshold, near_clusters
from .rules import judge_each
from .types import Context, Rule, RuleResult

Resolve = Literal["majority", "confidence", "drop"]


def make_duplicates(threshold: float = NEAR, resolve: Resolve = "majority") -> Rule:
    """Keep one text of each cluster of texts that are the same (case, spacing and Unicode form aside) or nearly.

    Where their labels differ, they are settled first. What people checked outranks what a teacher said; where the votes
    are even, nothing stays. Of those that say what was settled on stays the one a person checked, else the most
    confident, else the first. Nothing that a person checked is dropped but for something that a person checked.

    Of texts with entities only copies are duplicates: the same sentence with another name in it is another example.

    threshold (float): From 0.5 to 1: from how much similarity on texts are near, see `clusters.near_clusters`.
        1: copies alone.
    resolve (str): "majority", what was said most often stays; "confidence", what was said with the most confidence
        stays; "drop", nothing stays.
    RETURNS (Rule): Notes count the clusters of more than one text, and those in conflict.
    RAISES (ConfigError): The threshold is out of its range.
    """
    check_threshold(threshold)

    def rule(annotations: list[Annotation], context: Context) -> RuleResult:
        entities = any(annotation.task == "ner" for annotation in annotations)
        texts = [annotation.text for annotation in annotations]
        clusters: dict[int, list[Annotation]] = defaultdict(list)
        for annotation, number in zip(annotations, near_clusters(texts, 1.0 if entities else threshold), strict=True):
            clusters[number].append(annotation)
        reasons: dict[str, str] = {}
        several = conflicts = 0
        for cluster in clusters.values():
            several += len(cluster) > 1
            answers = {_answer(annotation) for annotation in cluster}
            conflicts += len(answers) > 1
            chosen = _settle(cluster, resolve) if len(answers) > 1 else _answer(cluster[0])
            agreeing = [annotation for annotation in cluster if _answer(annotation) == chosen]
            stays = max(agreeing, key=_rank) if agreeing else None
            for annotation in cluster:
                if stays is None:
                    reasons[annotation.id] = f"{len(answers)} answers for one text, none of them preferred"
                    continue
                copy = normal_form(annotation.text) == normal_form(stays.text)
                if _answer(annotation) != chosen and stays.gold and not annotation.gold:
                    same = "the same text" if copy else "nearly the same text"
                    reasons[annotation.id] = f"a person decided otherwise on {same} ({stays.id})"
                elif _answer(annotation) != chosen:
                    votes = len(_voters(cluster))
                    reasons[annotation.id] = f"{resolve} of {votes} says otherwise than {_in_words(annotation)}"
                elif annotation is not stays:
                    reasons[annotation.id] = f"{'a copy of' if copy else 'nearly'} {stays.id}"
        counts = {"clusters": several, "clusters in conflict": conflicts}
        notes = {name: count for name, count in counts.items() if count}
        return judge_each(annotations, lambda annotation: reasons.get(annotation.id), notes)

    return rule


def _voters(cluster: list[Annotation]) -> list[Annotation]:
    """RETURNS (List[Annotation]): What people checked, else all."""
    return [annotation for annotation in cluster if annotation.gold] or cluster


def _settle(cluster: list[Annotation], resolve: Resolve) -> Hashable | None:
    """RETURNS (Hashable | None): The answer that stays; None if none is preferred."""
    voters = _voters(cluster)
    votes: dict[Hashable, float] = defaultdict(float)
    for annotation in voters:
        if resolve == "majority":
            votes[_answer(annotation)] += 1
        else:
            votes[_answer(annotation)] = max(votes[_answer(annotation)], annotation.confidence or 0.0)
    most = max(votes.values())
    best = [answer for answer, count in votes.items() if count == most]
    return best[0] if len(best) == 1 and resolve != "drop" else None


def _answer(annotation: Annotation) -> Hashable:
    """RETURNS (Hashable): What was said of the text, comparable between texts of the same normal form."""
    if annotation.ents is not None:
        return tuple(
            (normal_form(annotation.text[span.start : span.end]), span.label)
            for span in sorted(annotation.ents, key=lambda span: (span.start, span.end, span.label))
        )
    return annotation.positive()


def _rank(annotation: Annotation) -> tuple[bool, float]:
    return annotation.gold, -1.0 if annotation.confidence is None else annotation.confidence


def _in_words(annotation: Annotation) -> str:
    if annotation.ents is not None:
        return f"{len(annotation.ents)} entities"
    return ", ".join(annotation.positive()) or "no label"
