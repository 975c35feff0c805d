"""The curation rules, each made by a factory. `configs/curation.cfg` names them by their `@misc` names.

The names (`spacy_distill.status.v1` and so on) are registered in `setup.cfg`. A rule of your own is a factory like
these under `@spacy.registry.misc("my.rule.v1")`, in a file that the command is given as `--code`.
"""

from collections import Counter
from typing import Callable, Dict, List, Optional

from ..errors import ConfigError
from ..texts import suggestion
from ..types import Annotation
from .types import IN_GOLD, NEAR_GOLD, Context, Rule, RuleResult

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


def make_min_confidence(threshold: float, per_label: Optional[Dict[str, float]] = None) -> Rule:
    """Drop annotations less sure than a threshold. Those without a confidence are kept, and counted in the notes;
    what a person checked is kept.

    Entities that have scores are each compared with their own label's threshold; one that is less sure drops its text.

    threshold (float): 0 to 1.
    per_label (Optional[Dict[str, float]]): Another threshold for texts of these labels; the highest of a text's
        labels holds. `spacy-distill calibrate` finds thresholds, and whether they would help.
    RETURNS (Rule): Raises ConfigError if `per_label` names a label that is not on offer.
    """
    thresholds = per_label or {}
    for name, value in {"threshold": threshold, **thresholds}.items():
        # A config's `.5` arrives as text: JSON numbers have a digit before the point.
        if not isinstance(value, (int, float)) or not 0.0 <= value <= 1.0:
            raise ConfigError(f"min_confidence: {name} is {value!r}; expected a number from 0 to 1, such as 0.5.")

    def verdict(annotation: Annotation) -> Optional[str]:
        if annotation.gold:
            return None
        scored = [span for span in annotation.ents or () if span.score is not None]
        for span in scored:
            needed = thresholds.get(span.label, threshold)
            if span.score is not None and span.score < needed:
                return f"{span.label} at {span.start}-{span.end} has a score of {span.score:.3f}, below {needed:g}"
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
        return judge_each(annotations, verdict, {"kept without a confidence": unknown} if unknown else {})

    return rule


def make_leakage(groups: bool = True) -> Rule:
    """Drop texts that stand in the gold, which is kept for evaluation, or nearly: see `Context.leaks`.

    groups (bool): Drop the other texts of a gold text's group as well (the same review, thread or customer).
    RETURNS (Rule): Needs the gold in its context; without gold it drops nothing. Notes count each reason but the group.
    """

    def rule(annotations: List[Annotation], context: Context) -> RuleResult:
        leaks = context.leaks(annotations, groups=groups)
        notes = Counter(reason for reason in leaks.values() if reason in (IN_GOLD, NEAR_GOLD))
        return judge_each(annotations, lambda annotation: leaks.get(annotation.id), dict(sorted(notes.items())))

    return rule
