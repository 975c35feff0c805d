"""What every format reads and writes: one record's answer, and the books of a passage from one form to another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from ..types import Annotation, Span, TaskName

if TYPE_CHECKING:
    from spacy.language import Language

    from ..tasks.base import Task

FormatName = Literal["prodigy", "label-studio", "argilla", "datasets", "csv", "conll", "openai-finetune"]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to read from a file, and under which names it stands there.

    task (TaskName): Classes or entities. A record may hold both.
    text (str): The field with the text.
    label (str): The field, question or control tag with the answer.
    id (str): The field with the id. Ours stands in what `export` puts with each record.
    group (str): The field with the group.
    """

    task: TaskName
    text: str = "text"
    label: str = "label"
    id: str = "id"
    group: str = "group"


@dataclass(frozen=True, slots=True)
class Said:
    """What one record of a file says of a text.

    where (str): "file:line", or "file, record 3".
    text (str): The text.
    id (Optional[str]): None: it is made from the text.
    group (Optional[str]): See `Text.group`.
    classes (Optional[Tuple[str, ...]]): All classes that hold. None: it does not say.
    decisions (Mapping[str, bool]): Whether single classes hold, where a record decides on one and leaves others open.
    ents (Optional[Tuple[Span, ...]]): All entities; offsets in code points, whatever the file counts in.
    offered (Tuple[str, ...]): The labels on offer, if the record says.
    person (Optional[bool]): Whether a person said so; None if the file cannot tell.
    confidence (Optional[float]): How sure its source is, 0 to 1.
    aside (Optional[str]): Why the record is no answer, such as "ignored".
    exported (Optional[Mapping[str, Any]]): What `export` put with the record, see `carry.pack`.
    """

    where: str
    text: str
    id: str | None = None
    group: str | None = None
    classes: tuple[str, ...] | None = None
    decisions: Mapping[str, bool] = field(default_factory=dict)
    ents: tuple[Span, ...] | None = None
    offered: tuple[str, ...] = ()
    person: bool | None = None
    confidence: float | None = None
    aside: str | None = None
    exported: Mapping[str, Any] | None = None


Aside = tuple[str, str]
"""A record that was left out, by its id or place, and why."""


@dataclass(frozen=True, slots=True)
class Imported:
    """What a file's records say, text by text. The books close: `records` = texts + `repeats` + `aside`.

    annotations (List[Annotation]): One a text, in the order in which the texts first occur.
    records (int): Records in the file.
    repeats (int): Records that say of a text what another says too, or a part of it.
    changed (List[str]): Ids of texts whose answer is another than the exported one, though no person is said to have
        checked it.
    aside (List[Aside]): Records that are no answer.
    """

    annotations: list[Annotation]
    records: int
    repeats: int
    changed: list[str]
    aside: list[Aside]


@dataclass(frozen=True, slots=True)
class Tools:
    """What some formats need beside the annotations.

    nlp (Language): Its tokenizer cuts texts, for CoNLL.
    teacher (Optional[Task]): Writes prompts and answers, for fine-tuning.
    system (Optional[str]): What the teacher's model is told before every prompt.
    """

    nlp: Language
    teacher: Task | None = None
    system: str | None = None
