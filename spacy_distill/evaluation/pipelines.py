"""A trained pipeline as a source of answers: which component answers, what it says, how fast it is and how large."""

from __future__ import annotations

import hashlib
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spacy.language import Language
from spacy.pipeline.textcat_multilabel import MultiLabel_TextCategorizer
from spacy.tokens import Doc

from ..errors import ConfigError, InputError
from ..files import file_sha256
from ..types import Annotation, Span, TaskName

BATCH_SIZE = 256
REPEATS = 5
_ASSIGNS: dict[TaskName, str] = {"textcat": "doc.cats", "ner": "doc.ents"}


@dataclass(frozen=True, slots=True)
class Component:
    """The component of a pipeline that gives a task's answers.

    name (str): Its name in the pipeline.
    task (TaskName): What it answers.
    labels (Tuple[str, ...]): Its labels, in its own order.
    exclusive (bool): Text classification: exactly one label a text.
    threshold (float): The component's own: where classes do not exclude each other, they hold from this score on.
    """

    name: str
    task: TaskName
    labels: tuple[str, ...]
    exclusive: bool
    threshold: float = 0.5


def find_component(nlp: Language, task: TaskName | None = None) -> Component:
    """Find the trained component that classifies texts or finds entities.

    task (Optional[TaskName]): Which, if the pipeline does both.
    RAISES (ConfigError): There is none, or more than one.
    """
    found = []
    for name in nlp.pipe_names:
        pipe: Any = nlp.get_pipe(name)
        for known, attribute in _ASSIGNS.items():
            if attribute in nlp.get_pipe_meta(name).assigns and hasattr(pipe, "predict") and task in (None, known):
                labels = tuple(nlp.pipe_labels[name])
                if not getattr(pipe, "exclusive", not isinstance(pipe, MultiLabel_TextCategorizer)):
                    found.append(Component(name, known, labels, False, float(pipe.cfg["threshold"])))
                else:
                    found.append(Component(name, known, labels, True))
    if len(found) != 1:
        wanted = f"one trained component for {task}" if task else "one trained component that answers"
        names = ", ".join(f"{component.name!r} ({component.task})" for component in found)
        remedy = " Say which with --task." if len({component.task for component in found}) > 1 else ""
        raise ConfigError(
            f"Expected {wanted} in the pipeline [{', '.join(nlp.pipe_names)}], found {names or 'none'}.{remedy}"
        )
    return found[0]


def predict(
    nlp: Language, component: Component, records: Sequence[Annotation], *, batch_size: int = BATCH_SIZE
) -> list[Annotation]:
    """Let a pipeline answer the records' texts.

    A text without a single word is not shown to the pipeline: its answer has the status "abstain". The confidence of
    exclusive classes is the best class's softmax probability.

    records (Sequence[Annotation]): Gives ids, texts and groups; nothing else is looked at.
    RETURNS (List[Annotation]): In the records' order.
    """
    asked = [record for record in records if record.text.strip()]
    docs = iter(nlp.pipe([record.text for record in asked], batch_size=batch_size))
    return [_answer(component, record, next(docs) if record.text.strip() else None) for record in records]


def _answer(component: Component, record: Annotation, doc: Doc | None) -> Annotation:
    cats = ents = confidence = None
    if doc is not None and component.task == "textcat":
        cats = {label: float(doc.cats[label]) for label in component.labels}
        if component.exclusive and abs(sum(cats.values()) - 1) < 1e-3:
            confidence = max(cats.values())
    elif doc is not None:
        ents = tuple(Span(ent.start_char, ent.end_char, ent.label_) for ent in doc.ents)
    return Annotation(
        id=record.id,
        text=record.text,
        task=component.task,
        labels=component.labels,
        status="abstain" if doc is None else "ok",
        exclusive=component.exclusive,
        cats=cats,
        ents=ents,
        confidence=confidence,
        confidence_kind=None if confidence is None else "logprob",
        threshold=component.threshold,
        group=record.group,
    )


def words(text: str) -> int:
    """RETURNS (int): How many words there are between white space, the same whatever the tokenizer."""
    return len(text.split())


def words_per_s(
    nlp: Language, texts: Sequence[str], *, batch_size: int = BATCH_SIZE, repeats: int = REPEATS
) -> float | None:
    """Measure a pipeline's speed, warm: one pass that does not count, then the median of `repeats` passes.

    RETURNS (Optional[float]): Whitespace words a second in this process; None if there are no words.
    """
    texts = [text for text in texts if text.strip()]
    total = sum(map(words, texts))
    if not total:
        return None
    seconds = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        for _doc in nlp.pipe(texts, batch_size=batch_size):
            pass
        seconds.append(time.perf_counter() - start)
    return total / statistics.median(seconds[1:])


def files_of(path: Path) -> Iterator[Path]:
    """YIELDS (Path): The file itself, or every file in the directory, sorted.

    RAISES (InputError): There is nothing.
    """
    if not path.exists():
        raise InputError(f"{path} does not exist.")
    yield from [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())


def size_mb(path: Path) -> float:
    """RETURNS (float): Size on disk of a file, or of all files in a directory, in MB of 10^6 bytes."""
    return sum(file.stat().st_size for file in files_of(path)) / 1e6


def sha256_of(path: Path) -> str:
    """RETURNS (str): Hex digest of a file; of a directory, the digest of its files' names and digests, sorted."""
    if path.is_file():
        return file_sha256(path)
    lines = [f"{file_sha256(file)}  {file.relative_to(path).as_posix()}\n" for file in files_of(path)]
    return hashlib.sha256("".join(lines).encode()).hexdigest()
