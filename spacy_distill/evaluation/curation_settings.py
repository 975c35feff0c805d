"""The settings that `curate --sweep` tries: what is filtered or corrected, and what the student takes for targets."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from thinc.api import Config

from ..curation.types import RuleBook
from ..texts import is_config_key
from ..types import Annotation

MIN_CONFIDENCE = "spacy_distill.min_confidence.v1"
SPAN_ERRORS = "spacy_distill.span_errors.v1"
LABEL_ERRORS = "spacy_distill.label_errors.v1"
ON_TRIAL = (MIN_CONFIDENCE, SPAN_ERRORS, LABEL_ERRORS)
"""Rules that settings add; all others of the config are part of every setting but the one "without" it."""
NEEDED = ("spacy_distill.status.v1", "spacy_distill.leakage.v1")
"""Rules that no setting does without."""

THRESHOLDS = (0.5, 0.8, 0.9)


@dataclass(frozen=True, slots=True)
class Setting:
    """One way to make a corpus of annotations.

    name (str): For tables.
    rules (Mapping[str, Mapping[str, Any]]): What it adds to the rules that all share: a rule's name to its section.
    without (str): Which of those it leaves out, else "".
    soft (bool): Targets are the teacher's probabilities, as `corpus` makes them, not its best label (`--hard`).
    balance (float): Class weights: `balance` of the student's component.
    weight (Optional[str]): The texts' weights: `weight` of the student's component.
    """

    name: str
    rules: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    without: str = ""
    soft: bool = False
    balance: float = 0.0
    weight: str | None = None

    def sections(self) -> dict[str, Any]:
        """RETURNS (Dict[str, Any]): A curation config with the rules that this setting adds, and no others."""
        return {
            "curation": {"rules": list(self.rules)},
            "rules": {name: dict(section) for name, section in self.rules.items()},
        }

    def block(self, shared: Mapping[str, Any]) -> str:
        """RETURNS (str): What to write into the curation config: the list of rules, and the sections of those that
        this setting adds."""
        sections = self.sections()
        sections["curation"]["rules"] = [*shared_rules(shared, self.without)["curation"]["rules"], *self.rules]
        if not self.rules:
            del sections["rules"]
        return str(Config(sections).to_str())


def shared_rules(config: Mapping[str, Any], without: str = "") -> dict[str, Any]:
    """RETURNS (Dict[str, Any]): The curation config without the rules on trial in its list, and without that one."""
    sections = config.get("rules", {})
    names = [name for name in config["curation"]["rules"] if sections.get(name, {}).get("@misc") not in ON_TRIAL]
    return {**config, "curation": {**config["curation"], "rules": [name for name in names if name != without]}}


def settings_for(
    annotations: Sequence[Annotation], config: Mapping[str, Any], books: Sequence[RuleBook] = ()
) -> list[Setting]:
    """List what is worth trying on these annotations.

    annotations (Sequence[Annotation]): Of the train part.
    config (Mapping[str, Any]): The curation config: where it has a section for a rule on trial, that one is tried.
    books (Sequence[RuleBook]): What the rules did that all settings share: those that dropped or corrected something
        are tried without.
    RETURNS (List[Setting]): "no filter" first: hard labels, every text weighs the same.
    """
    made = [Setting("no filter")]
    for book in books:
        if (book.dropped or book.corrected) and config["rules"][book.rule]["@misc"] not in NEEDED:
            made.append(Setting(f"without {book.rule}", without=book.rule))
    if annotations[0].task == "ner":
        for threshold in THRESHOLDS if _has_scores(annotations) else ():
            drop = {"@misc": MIN_CONFIDENCE, "threshold": threshold, "unsure_entities": "drop"}
            made.append(Setting(f"texts with an entity < {threshold:g} dropped", {"min_confidence": drop}))
            unknown = {**drop, "unsure_entities": "unknown"}
            made.append(Setting(f"entities < {threshold:g} unknown", {"min_confidence": unknown}))
        errors = {name: {**section, "action": "correct"} for name, section in _rule(config, SPAN_ERRORS).items()}
        return [*made, Setting("span errors corrected", errors)]
    shares = {_share_below(annotations, threshold): threshold for threshold in reversed(THRESHOLDS)}
    for below, threshold in sorted(shares.items()):
        if 0.0 < below < 1.0:
            section = {"@misc": MIN_CONFIDENCE, "threshold": threshold}
            made.append(Setting(f"confidence ≥ {threshold:g}", {"min_confidence": section}))
            if all(map(is_config_key, annotations[0].labels)):  # Others cannot have a threshold of their own.
                within = {"@misc": MIN_CONFIDENCE, "threshold": 0.0, "per_label": _within(annotations, below)}
                made.append(Setting(f"the surest {1 - below:.0%} of each class", {"min_confidence": within}))
    errors = _rule(config, LABEL_ERRORS)
    dropped, softened = (
        {name: {**section, "action": action} for name, section in errors.items()} for action in ("drop", "soften")
    )
    if len({1.0 if each.confidence is None or each.gold else each.confidence for each in annotations}) > 1:
        made.append(Setting("texts weighted by confidence", weight="confidence"))
    return [
        *made,
        Setting("label errors dropped", dropped),
        Setting("soft targets", soft=True),
        Setting("soft targets, classes balanced", soft=True, balance=1.0),
        Setting("soft targets, label errors softened", softened, soft=True),
        Setting("soft targets, label errors softened, classes balanced", softened, soft=True, balance=1.0),
    ]


def _rule(config: Mapping[str, Any], function: str) -> dict[str, dict[str, Any]]:
    """RETURNS (Dict[str, Dict[str, Any]]): The config's section for a function, else one with its defaults."""
    for name, section in config.get("rules", {}).items():
        if section.get("@misc") == function:
            return {name: section}
    return {function.split(".")[1]: {"@misc": function}}


def _has_scores(annotations: Sequence[Annotation]) -> bool:
    return any(span.score is not None for annotation in annotations for span in annotation.ents or ())


def _share_below(annotations: Sequence[Annotation], threshold: float) -> float:
    """RETURNS (float): How much a threshold would drop, 0 to 1."""
    sure = [annotation.confidence for annotation in annotations if annotation.confidence is not None]
    return sum(confidence < threshold for confidence in sure) / len(annotations)


def _within(annotations: Sequence[Annotation], dropped: float) -> dict[str, float]:
    """RETURNS (Dict[str, float]): For each class the threshold below which that share of its texts lies, at most."""
    sure: dict[str, list[float]] = defaultdict(list)
    for annotation in annotations:
        for label in annotation.positive():
            sure[label].append(1.0 if annotation.confidence is None else annotation.confidence)
    return {label: sorted(found)[int(dropped * len(found))] for label, found in sorted(sure.items())}
