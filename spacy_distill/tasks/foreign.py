"""Tasks of spaCy-llm's or the user's own: the statuses that their parsers do not give.

spaCy-llm's parsers turn a reply that they cannot read into all-zero classes or no entities, which would train a student
as if the teacher had said "none". What is not surely an answer is "unparsed" here.
"""

import logging
import warnings
from typing import Any, Dict, List, Optional, Sequence

from spacy.tokens import Doc

from ..docs import note
from ..teacher.types import Reply
from ..types import Status, TaskName
from .base import provenance

logger = logging.getLogger("spacy_distill")

_NONE = "==NONE=="
"""How spaCy-llm's prompts ask a model to say that nothing fits."""


def parse_foreign(
    task: Any, labels: Sequence[str], doc: Doc, replies: Sequence[Reply], shards: Optional[List[Doc]] = None
) -> Doc:
    """Let a task of another's parse its replies, and note what became of them.

    task (Any): A task by spaCy-llm's protocol. Nothing is noted unless its class is called TextCat… or NER….
    labels (Sequence[str]): The labels on offer.
    replies (Sequence[Reply]): One for each shard.
    shards (Optional[List[Doc]]): The doc's parts, for a task that cuts docs up.
    RETURNS (Doc): The doc, or the one that the task made in its place; classes set before are kept.
    """
    before = dict(doc.cats)
    status = _status_of(replies)
    parsed = doc
    if status == "ok":
        try:
            with warnings.catch_warnings():
                # A task that puts shards together leaves custom data behind, and says so; it is put back below.
                warnings.filterwarnings("ignore", message=r"\[W10[12]\]")
                parsed = next(iter(task.parse_responses([doc if shards is None else shards], [replies])))
        except Exception as error:
            logger.warning("%s: the reply could not be parsed (%s)", doc._.distill["id"], type(error).__name__)
            status = "unparsed"
    if parsed is not doc:
        parsed.user_data = {**doc.user_data, **parsed.user_data}
        parsed._.distill = doc._.distill
        parsed.cats = {**before, **parsed.cats}
    name = _task_name(task)
    if name is None:
        return parsed
    exclusive = len(labels) > 1 and bool(getattr(task, "_exclusive_classes", True))
    if status == "ok":
        status = (
            _textcat_status(parsed, labels, exclusive, replies)
            if name == "textcat"
            else _ner_status(parsed, labels, replies)
        )
    facts: Dict[str, Any] = {
        "status": status,
        "labels": list(labels),
        "exclusive": exclusive,
        "provenance": provenance(replies),
    }
    note(parsed, name, facts if status == "ok" else {**facts, "raw": "\n\n".join(replies)})
    return parsed


def _task_name(task: Any) -> Optional[TaskName]:
    name = type(task).__name__
    if name.startswith("TextCat"):
        return "textcat"
    return "ner" if name.startswith("NER") else None


def _status_of(replies: Sequence[Reply]) -> Status:
    """RETURNS (Status): "ok" if every shard has a whole reply."""
    statuses = {reply.meta.status for reply in replies}
    if "error" in statuses:
        return "error"
    if "refused" in statuses:
        return "abstain"
    return "unparsed" if "truncated" in statuses else "ok"


def _textcat_status(doc: Doc, labels: Sequence[str], exclusive: bool, replies: Sequence[Reply]) -> Status:
    said = [reply.strip().upper() for reply in replies]
    if len(labels) == 1:  # its prompt asks for one of two words
        return "ok" if set(said) <= {"POS", "NEG"} else "unparsed"
    total = sum(doc.cats.get(label, 0.0) for label in labels)
    if exclusive:
        if set(said) == {_NONE}:
            return "abstain"
        return "ok" if 0.95 < total < 1.05 else "unparsed"  # less where one of the shards could not be read
    return "ok" if total > 0 or set(said) == {_NONE} else "unparsed"


def _ner_status(doc: Doc, labels: Sequence[str], replies: Sequence[Reply]) -> Status:
    """Without entities a reply must at least have the form that was asked for: `1. quote | False | …`, or `LABEL:`."""
    if any(ent.label_ in labels for ent in doc.ents):
        return "ok"
    forms = ("|", _NONE.casefold(), *(f"{label.casefold()}:" for label in labels))
    in_form = all(any(form in reply.casefold() for form in forms) or reply.strip() == "None" for reply in replies)
    return "ok" if in_form else "unparsed"
