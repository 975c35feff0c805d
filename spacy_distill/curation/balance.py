"""Under-sampling: no label with more than so many texts."""

import hashlib
from collections import Counter

from ..errors import ConfigError
from ..texts import suggestion
from ..types import Annotation
from .rules import judge_each
from .types import Context, Rule, RuleResult, labels_of


def make_balance(cap: int, seed: int = 0, per_label: dict[str, int] | None = None) -> Rule:
    """Drop texts of labels that have more of them than a cap, the least confident first.

    Leaving out the least confident of each class cost a student less accuracy than leaving out as many at random; those
    of equal or no confidence go at random. What people checked goes last. A text with several labels is dropped only
    if each of them has too many, so that no label is left with fewer than the cap for the sake of another; texts
    without any label count as a label of their own. To give rare classes more weight without dropping anything, set
    `balance` of the student's component; to repeat their texts in train, see `spacy-distill corpus --oversample`.

    cap (int): At least 1: as many texts of a label are kept, or as many as there are.
    seed (int): Another seed, another choice among the equally confident.
    per_label (Optional[Dict[str, int]]): Another cap for these labels.
    RETURNS (Rule): Notes count the texts that each label lost. Raises ConfigError if `per_label` names a label that is
        not on offer.
    RAISES (ConfigError): A cap is not a number of texts.
    """
    caps = per_label or {}
    for name, value in [("cap", cap), *((f"per_label {label}", value) for label, value in caps.items())]:
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise ConfigError(f"balance: {name} is {value!r}; expected a whole number, 1 or more.")

    def cap_of(label: str | None) -> int:
        return cap if label is None else caps.get(label, cap)

    def reason(annotation: Annotation) -> str:
        labels = sorted(labels_of(annotation), key=lambda label: label or "")
        return ", ".join(f"{label or 'no label'}: there are more than {cap_of(label)}" for label in labels)

    def rank(annotation: Annotation) -> tuple[bool, float, str]:
        confidence = -1.0 if annotation.confidence is None else annotation.confidence
        drawn = hashlib.sha256(f"{seed}\n{annotation.id}".encode("utf8", "surrogatepass")).hexdigest()
        return annotation.gold, confidence, drawn

    def rule(annotations: list[Annotation], context: Context) -> RuleResult:
        on_offer = list(dict.fromkeys(label for annotation in annotations for label in annotation.labels))
        for label in caps:
            if annotations and label not in on_offer:
                raise ConfigError(f"balance: per_label has {label!r}.{suggestion(label, on_offer)}")
        left = Counter(label for annotation in annotations for label in labels_of(annotation))
        lost: Counter[str | None] = Counter()
        dropped = set()
        for annotation in sorted(annotations, key=rank):
            labels = labels_of(annotation)
            if all(left[label] > cap_of(label) for label in labels):
                dropped.add(annotation.id)
                left.subtract(labels)
                lost.update(labels)
        notes = {label or "no label": count for label, count in sorted(lost.items(), key=lambda item: item[0] or "")}
        return judge_each(annotations, lambda item: reason(item) if item.id in dropped else None, notes)

    return rule
