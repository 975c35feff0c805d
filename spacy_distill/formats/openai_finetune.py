"""Chat JSONL for those who go on to tune a language model: a task's own prompt, and the answer in its reply form.

One `{"messages": [...]}` a line, as OpenAI's fine-tuning API and many trainers read it. Prompts are those that
`annotate` sends, down to the system message, so that a tuned model can take the teacher's place. Written only.
See https://platform.openai.com/docs/guides/supervised-fine-tuning
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..errors import ConfigError
from ..files import write_jsonl
from ..tasks.base import Task
from ..types import Annotation
from .types import Aside, Tools

SHOWN_LABELS = 5


def write(annotations: Sequence[Annotation], path: Path, tools: Tools) -> list[Aside]:
    """Write an example for each annotation that is a whole answer.

    RETURNS (List[Aside]): Records that are none, or that the teacher would be asked in parts.
    RAISES (ConfigError): No teacher, or one for another task or other labels.
    """
    task, first = tools.teacher, annotations[0]
    if task is None:
        raise ConfigError("Prompts are written by the teacher's task: name its config with --config.")
    if differing := _differing(task, first):
        raise ConfigError(f"{differing}. Give the config they were made with.")
    if task.confidence == "verbalised":
        raise ConfigError('The config asks for a confidence in the reply, which no annotation holds: use "logprob".')
    system = [{"role": "system", "content": tools.system}] if tools.system else []
    aside: list[Aside] = []
    rows = []
    for annotation in annotations:
        reason = _reason(annotation, task)
        answer = None if reason else task.answer(annotation)
        if answer is None:
            aside.append((annotation.id, reason or "no class holds, which the prompt does not allow"))
            continue
        prompt = str(task.prompt(annotation.text, task.frames.of(annotation.text, annotation.group)))
        turns = [{"role": "user", "content": prompt}, {"role": "assistant", "content": answer}]
        rows.append({"messages": [*system, *turns]})
    write_jsonl(path, rows)
    return aside


def _differing(task: Task, annotation: Annotation) -> str:
    """RETURNS (str): What the config's task and the annotations do not have in common; "" if they fit."""
    if task.task != annotation.task:
        return f"The config is for {task.task}, the annotations are for {annotation.task}"
    alone = {
        "the config alone has": [label for label in task.labels if label not in annotation.labels],
        "the annotations alone have": [label for label in annotation.labels if label not in task.labels],
    }
    parts = [
        f"{who} {', '.join(map(repr, labels[:SHOWN_LABELS]))}{' …' if len(labels) > SHOWN_LABELS else ''}"
        for who, labels in alone.items()
        if labels
    ]
    return f"The config and the annotations differ in their labels: {'; '.join(parts)}" if parts else ""


def _reason(annotation: Annotation, task: Task) -> str:
    """RETURNS (str): Why an annotation is no example; "" if it is one."""
    if annotation.status != "ok":
        return f"status {annotation.status}"
    if annotation.missing:
        return "part of its text is unknown"
    if task.max_chars is not None and len(annotation.text) > task.max_chars:
        return "longer than max_chars, so it would be asked in parts"
    return ""
