"""What a curation rule is given, what it returns, and the books that must close."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from ..texts import normal_form
from ..types import Annotation, Rejection, Text
from .clusters import near_clusters

IN_GOLD, NEAR_GOLD = "the text is in the gold", "the text is nearly one in the gold"
GROUP_IN_GOLD = "its group is in the gold"
"""What the notes call it; the reason names the group."""


@dataclass(frozen=True, slots=True)
class Context:
    """What a rule may know beside the annotations.

    gold_texts (FrozenSet[str]): Normal forms (`texts.normal_form`) of the texts kept for evaluation.
    gold_groups (FrozenSet[str]): The groups those texts belong to.
    """

    gold_texts: frozenset[str] = frozenset()
    gold_groups: frozenset[str] = frozenset()

    @classmethod
    def of(cls, gold: Iterable[Text]) -> Context:
        """RETURNS (Context): The context that these gold texts make."""
        gold = list(gold)
        return cls(
            frozenset(normal_form(text.text) for text in gold),
            frozenset(text.group for text in gold if text.group is not None),
        )

    def leaks(self, annotations: Sequence[Annotation], *, groups: bool = True) -> dict[str, str]:
        """Find what must not be trained on: texts in one cluster with a gold text (see `clusters.near_clusters`), and
        other texts of a gold text's group.

        annotations (Sequence[Annotation]): With unique ids.
        groups (bool): Whether to look at groups.
        RETURNS (Dict[str, str]): Of those that leak, id to reason.
        """
        gold = list(self.gold_texts)
        if not gold:
            return {}
        clusters = near_clusters([*gold, *(annotation.text for annotation in annotations)])
        found = {}
        for annotation, cluster in zip(annotations, clusters[len(gold) :], strict=True):
            if cluster < len(gold):
                found[annotation.id] = IN_GOLD if normal_form(annotation.text) in self.gold_texts else NEAR_GOLD
            elif groups and annotation.group in self.gold_groups:
                found[annotation.id] = f"its group {annotation.group} is in the gold"
        return found


@dataclass(frozen=True, slots=True)
class RuleResult:
    """What a rule made of the annotations it was given: each of them is in `kept` or in `dropped`, once.

    kept (List[Annotation]): In the order given. The same objects, or in the place of one a corrected copy
        (`dataclasses.replace`) with other classes or entities.
    dropped (List[Tuple[Annotation, str]]): The same objects, with the reason, for a person to read.
    notes (Mapping[str, int]): Whatever else is worth counting, such as how many the rule could not judge.
    review (List[Tuple[Annotation, str]]): What people should look at, as the rule was given it, with the reason: some
        of what is in `kept`.
    """

    kept: list[Annotation]
    dropped: list[tuple[Annotation, str]]
    notes: Mapping[str, int] = field(default_factory=dict)
    review: list[tuple[Annotation, str]] = field(default_factory=list)


Rule = Callable[[list[Annotation], Context], RuleResult]
"""A pure function over annotations of one task. A registered factory makes it (see `curation.rules`)."""


@dataclass(frozen=True, slots=True)
class RuleBook:
    """One rule's books: `given` = `kept` + `dropped`.

    rule (str): Its name in the config.
    given (int): Annotations before the rule.
    kept (int): Annotations after it.
    corrected (int): How many of them it put a corrected copy in the place of.
    dropped (int): Annotations it rejected.
    review (int): Annotations that it wants people to look at, and that no later rule dropped.
    notes (Mapping[str, int]): See `RuleResult.notes`.
    """

    rule: str
    given: int
    kept: int
    corrected: int
    dropped: int
    review: int
    notes: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Books:
    """A whole curation's books.

    rules (Tuple[RuleBook, ...]): In the order in which they ran; each is given what the one before kept.
    labels_before (Mapping[str, int]): Examples of each label on offer, see `label_counts`.
    labels_after (Mapping[str, int]): The same, of what was kept.
    """

    rules: tuple[RuleBook, ...]
    labels_before: Mapping[str, int]
    labels_after: Mapping[str, int]

    def rare_labels(self, at_least: int) -> list[str]:
        """RETURNS (List[str]): Labels with fewer kept examples than that."""
        return [label for label, count in self.labels_after.items() if count < at_least]


@dataclass(frozen=True, slots=True)
class Correction:
    """What a rule put in the place of an annotation.

    before (Annotation): As the rule was given it.
    after (Annotation): As the rule left it: other classes or entities, or more that is unknown.
    rule (str): The rule's name in the config.
    """

    before: Annotation
    after: Annotation
    rule: str


@dataclass(frozen=True, slots=True)
class Doubt:
    """An annotation that a rule kept, and that people should look at.

    annotation (Annotation): As the rule was given it.
    rule (str): The rule's name in the config.
    reason (str): Why, for a person to read.
    """

    annotation: Annotation
    rule: str
    reason: str


@dataclass(frozen=True, slots=True)
class Curation:
    """What a curation kept, what it corrected and rejected, and the books: given = kept + rejected.

    review (List[Doubt]): What people should look at first, of what was kept.
    """

    kept: list[Annotation]
    corrected: list[Correction]
    rejected: list[Rejection]
    review: list[Doubt]
    books: Books


def in_one_order(annotations: Iterable[Annotation], labels: tuple[str, ...]) -> list[Annotation]:
    """RETURNS (List[Annotation]): The annotations with their labels in this order: files may list the same ones in
    different orders, which says nothing."""
    return [each if each.labels == labels else replace(each, labels=labels) for each in annotations]


def labels_of(annotation: Annotation) -> set[str | None]:
    """RETURNS (Set[Optional[str]]): The classes that hold, or the labels of the entities; None alone if there are
    none."""
    labels: set[str | None] = {*annotation.positive(), *(span.label for span in annotation.ents or ())}
    return labels or {None}


def label_counts(annotations: Iterable[Annotation]) -> dict[str, int]:
    """Count examples of each label on offer, those with none included.

    RETURNS (Dict[str, int]): Texts of a class (classes that hold, see `Annotation.positive`), or entities of a label.
    """
    counts: Counter[str] = Counter()
    for annotation in annotations:
        counts.update(dict.fromkeys(annotation.labels, 0))
        if annotation.status == "ok":
            counts.update(span.label for span in annotation.ents or ())
            counts.update(annotation.positive())
    return dict(counts)
