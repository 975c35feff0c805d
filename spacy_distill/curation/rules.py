"""The curation rules, each made by a factory. `configs/curation.cfg` names them by their `@misc` names.

The names (`spacy_distill.status.v1` and so on) are registered in `setup.cfg`. A rule of your own is a factory like
these under `@spacy.registry.misc("my.rule.v1")`, in a file that the command is given as `--code`.
"""

from collections import Counter
from dataclasses import replace
from typing import Callable, Dict, List, Literal, Optional

from ..errors import ConfigError
from ..texts import suggestion
from ..types import Annotation, Span
from .types import GROUP_IN_GOLD, IN_GOLD, NEAR_GOLD, Context, Rule, RuleResult

LEAKAGE = "spacy_distill.leakage.v1"
"""The rule that keeps gold out of the training data."""

Verdict = Callable[[Annotation], Optional[str]]


def judge_each(annotations: List[Annotation], verdict: Verdict, notes: Optional[Dict[str, int]] = None) -> RuleResult:
    """RETURNS (RuleResult): Those without a verdict are kept; a verdict is the reason to drop."""
    judged = [(annotation, verdict(annotation)) for annotation in annotations]
    return RuleResult(
        kept=[annotation for annotation, reason in judged if reason is None],
        dropped=[(annotation, reason) for annotation, reason in judged if reason is not None],
        notes=notes or {},
    )


def make_status() -> Rule:
    """Keep what can be trained on: status "ok", and a text that is more than white space.

    RETURNS (Rule): Notes count each status that was dropped.
    """

    def verdict(annotation: Annotation) -> Optional[str]:
        if annotation.status != "ok":
            return f"status {annotation.status}"
        return None if annotation.text.strip() else "the text is empty"

    def rule(annotations: List[Annotation], context: Context) -> RuleResult:
        reasons = Counter(reason for reason in map(verdict, annotations) if reason)
        return judge_each(annotations, verdict, dict(sorted(reasons.items())))

    return rule


def make_min_confidence(
    threshold: float,
    per_label: Optional[Dict[str, float]] = None,
    unsure_entities: Literal["drop", "unknown"] = "drop",
) -> Rule:
    """Drop annotations less sure than a threshold. Those without a confidence are kept, and counted in the notes;
    what a person checked is kept.

    Entities that have scores are each compared with their own label's threshold.

    threshold (float): 0 to 1.
    per_label (Optional[Dict[str, float]]): Another threshold for texts of these labels; the highest of a text's
        labels holds. `spacy-distill calibrate` finds thresholds, and whether they would help.
    unsure_entities (str): "drop", an entity that is less sure drops its text; "unknown", the text stays, and the
        entity's tokens become unknown, which training neither learns nor unlearns.
    RETURNS (Rule): Raises ConfigError if `per_label` names a label that is not on offer.
    """
    thresholds = per_label or {}
    if unsure_entities not in ("drop", "unknown"):
        raise ConfigError(f'min_confidence: unsure_entities is {unsure_entities!r}; expected "drop" or "unknown".')
    for name, value in {"threshold": threshold, **thresholds}.items():
        # A config's `.5` arrives as text: JSON numbers have a digit before the point.
        if not isinstance(value, (int, float)) or not 0.0 <= value <= 1.0:
            raise ConfigError(f"min_confidence: {name} is {value!r}; expected a number from 0 to 1, such as 0.5.")

    def is_unsure(span: Span) -> bool:
        return span.score is not None and span.score < thresholds.get(span.label, threshold)

    def verdict(annotation: Annotation) -> Optional[str]:
        if annotation.gold:
            return None
        scored = [span for span in annotation.ents or () if span.score is not None]
        unsure = next(filter(is_unsure, scored), None)
        if unsure is not None:
            needed = thresholds.get(unsure.label, threshold)
            return f"{unsure.label} at {unsure.start}-{unsure.end} has a score of {unsure.score:.3f}, below {needed:g}"
        if scored or annotation.confidence is None:
            return None
        labels = {span.label for span in annotation.ents or ()} or set(annotation.positive())
        needed = max((thresholds.get(label, threshold) for label in labels), default=threshold)
        if annotation.confidence >= needed:
            return None
        return f"confidence {annotation.confidence:.3f} is below {needed:g}"

    def rule(annotations: List[Annotation], context: Context) -> RuleResult:
        on_offer = list(dict.fromkeys(label for annotation in annotations for label in annotation.labels))
        for label in thresholds:
            if annotations and label not in on_offer:
                raise ConfigError(f"min_confidence: per_label has {label!r}.{suggestion(label, on_offer)}")
        unknown = sum(
            annotation.confidence is None and all(span.score is None for span in annotation.ents or ())
            for annotation in annotations
        )
        notes = {"kept without a confidence": unknown} if unknown else {}
        if unsure_entities == "unknown":
            unsure = sum(is_unsure(s) for each in annotations if not each.gold for s in each.ents or ())
            notes |= {"entities made unknown": unsure} if unsure else {}
            return judge_each([_without(each, is_unsure) for each in annotations], verdict, notes)
        return judge_each(annotations, verdict, notes)

    return rule


def _without(annotation: Annotation, is_unsure: Callable[[Span], bool]) -> Annotation:
    """RETURNS (Annotation): The same one if it is sure of its entities or a person checked it; else a copy in which the
    others are unknown. How sure the copy is as a whole, nobody said."""
    unsure = tuple(span for span in annotation.ents or () if is_unsure(span))
    if annotation.gold or not unsure:
        return annotation
    sure = tuple(span for span in annotation.ents or () if span not in unsure)
    missing = annotation.missing + unsure
    return replace(annotation, ents=sure, missing=missing, confidence=None, confidence_kind=None)


def make_leakage(groups: bool = True) -> Rule:
    """Drop texts that stand in the gold, which is kept for evaluation, or nearly: see `Context.leaks`.

    groups (bool): Drop the other texts of a gold text's group as well (the same review, thread or customer).
    RETURNS (Rule): Needs the gold in its context; without gold it drops nothing. Notes count each reason, groups all
        together.
    """

    def rule(annotations: List[Annotation], context: Context) -> RuleResult:
        leaks = context.leaks(annotations, groups=groups)
        notes = Counter(reason if reason in (IN_GOLD, NEAR_GOLD) else GROUP_IN_GOLD for reason in leaks.values())
        return judge_each(annotations, lambda annotation: leaks.get(annotation.id), dict(sorted(notes.items())))

    return rule
