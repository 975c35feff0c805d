"""What is compared: the student, its teacher, and the answer one would give without reading the text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from spacy.language import Language

from ..corpus.manifest import Manifest
from ..errors import InputError
from ..files import shown_path
from ..texts import told_apart, twin_of
from ..types import Annotation
from .pipelines import BATCH_SIZE, REPEATS, Component, predict, sha256_of, size_mb, words, words_per_s


@dataclass(frozen=True)
class System:
    """Something that answers, with what it costs to run.

    name (str): What the tables call it: "student", "teacher", "majority".
    annotations (Sequence[Annotation]): Its answers to gold's texts.
    model (Optional[str]): What it is, as it names itself.
    words_per_s (Optional[float]): Whitespace words a second.
    speed (str): How that was measured, for people to read.
    size_mb (Optional[float]): What has to be shipped, in MB of 10^6 bytes.
    files (Mapping[str, str]): Files it came from, by name, with their sha256.
    """

    name: str
    annotations: Sequence[Annotation]
    model: str | None = None
    words_per_s: float | None = None
    speed: str = ""
    size_mb: float | None = None
    files: Mapping[str, str] = field(default_factory=dict)


def student_system(
    nlp: Language, component: Component, gold: Sequence[Annotation], path: Path, *, batch_size: int = BATCH_SIZE
) -> System:
    """Run a trained pipeline over gold's texts and measure it.

    path (Path): The directory it was loaded from.
    """
    return System(
        name="student",
        annotations=predict(nlp, component, gold, batch_size=batch_size),
        model=f"{nlp.meta['lang']}_{nlp.meta['name']} [{', '.join(nlp.pipe_names)}]",
        words_per_s=words_per_s(nlp, [record.text for record in gold], batch_size=batch_size),
        speed=f"warm, one process, batches of {batch_size} texts, median of {REPEATS} passes",
        size_mb=size_mb(path),
        files={shown_path(path): sha256_of(path)},
    )


def teacher_system(
    annotations: Sequence[Annotation], gold: Sequence[Annotation], path: Path, weights: Path | None = None
) -> System:
    """Take a teacher's answers as they were annotated.

    annotations (Sequence[Annotation]): What the teacher said; records of other texts are left aside.
    path (Path): The DocBin they were read from.
    weights (Optional[Path]): The teacher's weights, for their size.
    """
    wanted = {record.id for record in gold}
    known = [record for record in annotations if record.id in wanted]
    if annotations and not known:
        raise InputError(
            f"{path} has no text of the gold file (its first id is {annotations[0].id!r}, gold's {gold[0].id!r})."
            " Annotate the gold file itself."
        )
    timed = [(words(record.text), record.provenance["latency_s"]) for record in known if _timed(record)]
    seconds = sum(latency for _, latency in timed)
    models = sorted({str(record.provenance["model"]) for record in known if record.provenance.get("model")})
    return System(
        name="teacher",
        annotations=known,
        model=", ".join(models) or None,
        words_per_s=sum(count for count, _ in timed) / seconds if seconds else None,
        speed="words over the sum of the replies' latencies, as if asked one at a time" if seconds else "",
        size_mb=size_mb(weights) if weights else None,
        files={shown_path(file): sha256_of(file) for file in (path, weights) if file},
    )


def _timed(record: Annotation) -> bool:
    return isinstance(record.provenance.get("latency_s"), (int, float))


def majority_system(gold: Sequence[Annotation], label: str, path: Path) -> System:
    """Answer every text with one label, whatever it says.

    label (str): The label: see `majority_label`.
    path (Path): The manifest it was read from.
    """
    return System(
        name="majority",
        annotations=[
            Annotation(
                id=record.id,
                text=record.text,
                task="textcat",
                labels=record.labels if label in record.labels else (*record.labels, label),
                status="ok",
                exclusive=record.exclusive,
                cats={label: 1.0},
                group=record.group,
            )
            for record in gold
        ],
        model=f"always {label!r}, the most frequent label in training",
        files={shown_path(path): sha256_of(path)},
    )


def majority_label(manifest: Manifest) -> str:
    """RETURNS (str): The most frequent class of the training texts; of several, the first on offer."""
    return max(manifest.labels, key=lambda label: manifest.train.labels.get(label, 0))


def check_label_names(gold: Sequence[Annotation], labels: Sequence[str], whose: str) -> None:
    """Refuse gold whose labels are spelt another way than a system's: it would score 0 without anyone knowing why.

    RAISES (InputError): A gold label is not the system's but for case, space or Unicode form, or none is shared.
    """
    for label in gold[0].labels:
        twin = None if label in labels else twin_of(label, labels)
        if twin is not None:
            said, meant = told_apart(label, twin)
            raise InputError(f"Gold has the label {said}, the {whose} {meant}. Spell them the same way.")
    if gold[0].labels and not set(labels) & set(gold[0].labels):
        raise InputError(
            f"Gold's labels ({', '.join(map(repr, gold[0].labels))}) and the {whose}'s"
            f" ({', '.join(map(repr, labels)) or 'none'}) have none in common."
        )
