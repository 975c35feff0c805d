"""The records that travel between stages. Frozen: a stage returns new ones, it never changes what it was given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

TaskName = Literal["textcat", "ner"]

Status = Literal["ok", "abstain", "unparsed", "unknown_label", "error"]
"""What became of one text: `ok`; `abstain`, the teacher declined to choose; `unparsed`, a reply that is not in the
agreed form; `unknown_label`, a label that was not offered; `error`, no reply at all. Only `ok` is ever trained on."""

ConfidenceKind = Literal["logprob", "votes", "verbalised"]
"""Where a confidence comes from. Only the first two may be called a probability."""

_EMPTY: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Text:
    """One text as a user brings it.

    id (str): Unique within a run. From the record's `id`, or made from the text's content.
    text (str): The text itself.
    group (Optional[str]): Texts of one group (one review, one customer, one thread) never straddle a split.
    gold (Any): What a person said: a label, a list of labels, or a list of `(start, end, label)`; None if unchecked.
    where (str): "file:line", for messages; "" if it is from no file.
    """

    id: str
    text: str
    group: str | None = None
    gold: Any = None
    where: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Span:
    """A labelled stretch of text.

    start (int): First character, in Unicode code points.
    end (int): One past the last character.
    label (str): The entity's label.
    score (Optional[float]): How sure its source is, 0 to 1, where that is known.
    """

    start: int
    end: int
    label: str
    score: float | None = None


@dataclass(frozen=True, slots=True)
class Annotation:
    """What one source (a teacher, or a person) said of one text for one task.

    id (str): The text's id.
    text (str): The text.
    task (TaskName): "textcat" or "ner".
    labels (Tuple[str, ...]): Every label that was on offer, in order.
    status (Status): Only "ok" has `cats` or `ents`.
    exclusive (bool): Text classification only: exactly one label a text.
    cats (Optional[Mapping[str, float]]): Label to score, 0 to 1; for exclusive classes they add up to 1.
    ents (Optional[Tuple[Span, ...]]): Entities, in order, not overlapping.
    missing (Tuple[Span, ...]): Stretches whose annotation is unknown; training skips their tokens.
    doubtful (Tuple[Span, ...]): What its source named beside the entities: too unsure, or overlapping with one.
    confidence (Optional[float]): 0 to 1.
    confidence_kind (Optional[ConfidenceKind]): Where the confidence comes from.
    threshold (float): Where classes do not exclude each other: a class holds if its score is at least this.
    group (Optional[str]): See `Text.group`.
    gold (bool): Checked by a person.
    provenance (Mapping[str, Any]): Model, parameters, prompt hash, tokens, cost, time: plain types only.
    notes (Mapping[str, Any]): What else its task noted: quotes that mark nothing (`unaligned`), a reply that could not
        be read (`raw`). Plain types only.
    """

    id: str
    text: str
    task: TaskName
    labels: tuple[str, ...]
    status: Status
    exclusive: bool = True
    cats: Mapping[str, float] | None = None
    ents: tuple[Span, ...] | None = None
    missing: tuple[Span, ...] = ()
    doubtful: tuple[Span, ...] = ()
    confidence: float | None = None
    confidence_kind: ConfidenceKind | None = None
    threshold: float = 0.5
    group: str | None = None
    gold: bool = False
    provenance: Mapping[str, Any] = field(default_factory=lambda: _EMPTY)
    notes: Mapping[str, Any] = field(default_factory=lambda: _EMPTY)

    @property
    def label(self) -> str | None:
        """RETURNS (Optional[str]): The highest-scored class; None where there are no classes. Ties go to the first
        label on offer."""
        cats = self.cats
        if not cats:
            return None
        return max(self.labels, key=lambda label: cats.get(label, 0.0))

    def positive(self) -> tuple[str, ...]:
        """RETURNS (Tuple[str, ...]): The classes that hold: the best one if exclusive, else all at or above
        `threshold`, in the order of `labels`."""
        if self.exclusive:
            return () if self.label is None else (self.label,)
        cats = self.cats or {}
        return tuple(label for label in self.labels if cats.get(label, 0.0) >= self.threshold)


@dataclass(frozen=True, slots=True)
class Rejection:
    """An annotation that a rule kept out of the corpus.

    annotation (Annotation): What was rejected, whole.
    rule (str): The rule's name in the config.
    reason (str): Why, for a person to read.
    """

    annotation: Annotation
    rule: str
    reason: str
