"""The curation rules, each made by a factory. `configs/curation.cfg` names them by their `@misc` names.

The names (`spacy_distill.status.v1` and so on) are registered in `setup.cfg`. A rule of your own is a factory like
these under `@spacy.registry.misc("my.rule.v1")`, in a file that the command is given as `--code`.
"""

from collections import Counter, defaultdict
from typing import Callable, Dict, Hashable, List, Literal, Optional, Tuple

from ..errors import ConfigError
from ..texts import normal_form, suggestion
from ..types import Annotation
from .types import Context, Rule, RuleResult

Verdict = Callable[[Annotation], Optional[str]]


def _judge_each(annotations: List[Annotation], verdict: Verdict, notes: Optional[Dict[str, int]] = None) -> RuleResult:
    """RETURNS (RuleResult): Those without a verdict are kept; a verdict is the reason to drop."""
    judged = [(annotation, verdict(annotation)) for annotation in annotations]
    return RuleResult(
        kept=[annotation for annotation, reason in judged if reason is None],
        dropped=[(annotation, reason) for annotation, reason in judged if reason is not None],
        notes=notes or {},
    )


def _answer(annotation: Annotation) -> Hashable:
    """RETURNS (Hashable): What was said of the text, comparable between texts of the same normal form."""
    if annotation.ents is not None:
        return tuple(
            (normal_form(annotation.text[span.start : span.end]), span.label)
            for span in sorted(annotation.ents, key=lambda span: (span.start, span.end, span.label))
        )
    return annotation.positive()


def _in_words(annotation: Annotation) -> str:
    if annotation.ents is not None:
        return f"{len(annotation.ents)} entities"
    return ", ".join(annotation.positive()) or "no label"


def _by_text(annotations: List[Annotation]) -> Dict[str, List[Annotation]]:
    groups: Dict[str, List[Annotation]] = defaultdict(list)
    for annotation in annotations:
        groups[normal_form(annotation.text)].append(annotation)
    return groups


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
        return _judge_each(annotations, verdict, dict(sorted(reasons.items())))

    return rule


def make_min_confidence(threshold: float, per_label: Optional[Dict[str, float]] = None) -> Rule:
    """Drop annotations less sure than a threshold. Those without a confidence are kept, and counted in the notes.

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
        return _judge_each(annotations, verdict, {"kept without a confidence": unknown} if unknown else {})

    return rule


def make_leakage(groups: bool = True) -> Rule:
    """Drop texts that stand in the gold, which is kept for evaluation, whatever their case, spacing or Unicode form.

    groups (bool): Drop the other texts of a gold text's group as well (the same review, thread or customer).
    RETURNS (Rule): Needs the gold in its context; without gold it drops nothing.
    """

    def verdict(annotation: Annotation, context: Context) -> Optional[str]:
        if normal_form(annotation.text) in context.gold_texts:
            return "the text is in the gold"
        if groups and annotation.group in context.gold_groups:
            return f"its group {annotation.group} is in the gold"
        return None

    def rule(annotations: List[Annotation], context: Context) -> RuleResult:
        return _judge_each(annotations, lambda annotation: verdict(annotation, context))

    return rule


def make_conflicts(resolve: Literal["majority", "confidence", "drop"] = "majority") -> Rule:
    """Settle texts that occur more than once (case, spacing and Unicode form aside) with different labels.

    What people checked outranks what a teacher said. Where the votes are even, all of them are dropped.

    resolve (str): "majority", what was said most often stays; "confidence", what was said with the most confidence
        stays; "drop", nothing stays.
    RETURNS (Rule): Notes count the texts in conflict.
    """

    def winner(group: List[Annotation]) -> Optional[Hashable]:
        voters = [annotation for annotation in group if annotation.gold] or group
        votes: Dict[Hashable, float] = defaultdict(float)
        for annotation in voters:
            if resolve == "majority":
                votes[_answer(annotation)] += 1
            else:
                votes[_answer(annotation)] = max(votes[_answer(annotation)], annotation.confidence or 0.0)
        most = max(votes.values())
        best = [answer for answer, count in votes.items() if count == most]
        return best[0] if len(best) == 1 and resolve != "drop" else None

    def rule(annotations: List[Annotation], context: Context) -> RuleResult:
        reasons: Dict[int, str] = {}
        conflicts = 0
        for group in _by_text(annotations).values():
            answers = {_answer(annotation) for annotation in group}
            if len(answers) == 1:
                continue
            conflicts += 1
            chosen = winner(group)
            for annotation in group:
                if chosen is None:
                    reasons[id(annotation)] = f"{len(answers)} answers for one text, none of them preferred"
                elif _answer(annotation) != chosen:
                    reasons[id(annotation)] = f"{resolve} of {len(group)} says otherwise than {_in_words(annotation)}"
        notes = {"texts in conflict": conflicts} if conflicts else {}
        return _judge_each(annotations, lambda annotation: reasons.get(id(annotation)), notes)

    return rule


def make_duplicates() -> Rule:
    """Keep one of several copies of a text (case, spacing and Unicode form aside) that were given the same label.

    RETURNS (Rule): The copy a person checked stays, else the most confident, else the first.
    """

    def rank(annotation: Annotation) -> Tuple[bool, float]:
        return annotation.gold, -1.0 if annotation.confidence is None else annotation.confidence

    def rule(annotations: List[Annotation], context: Context) -> RuleResult:
        first: Dict[Tuple[str, Hashable], Annotation] = {}
        keys = [(normal_form(annotation.text), _answer(annotation)) for annotation in annotations]
        for key, annotation in zip(keys, annotations, strict=True):
            if key not in first or rank(annotation) > rank(first[key]):
                first[key] = annotation
        reasons = {
            id(annotation): f"a copy of {first[key].id}"
            for key, annotation in zip(keys, annotations, strict=True)
            if first[key] is not annotation
        }
        return _judge_each(annotations, lambda annotation: reasons.get(id(annotation)))

    return rule
