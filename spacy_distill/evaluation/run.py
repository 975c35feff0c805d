"""From files to an evaluation and its report: the stage itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import spacy
from spacy.language import Language
from spacy.vocab import Vocab

from ..corpus.build import DEV, TRAIN
from ..corpus.manifest import MANIFEST, Manifest
from ..docs import read_annotations, read_docs
from ..errors import ConfigError, StageError
from ..files import shown_path, write_text
from ..students.tiers import learned_dev
from ..texts import gold_annotations, normal_form, read_texts
from ..types import Annotation, TaskName
from .evaluate import Evaluation, evaluate, scored_texts
from .examples import disagreements
from .pipelines import find_component, sha256_of
from .report import write_report
from .scores import label_set
from .systems import check_label_names, majority_label, majority_system, student_system, teacher_system


def evaluate_files(
    student: Path,
    gold_file: Path,
    output_dir: Path,
    *,
    teacher: Path | None = None,
    corpus: Path | None = None,
    teacher_weights: Path | None = None,
    task: TaskName | None = None,
    fields: Mapping[str, str] | None = None,
    examples: bool = True,
    seed: int = 0,
) -> Evaluation:
    """Evaluate a trained pipeline, its teacher and the majority label; write `report.html` and `evaluation.json`.

    student (Path): A directory that `spacy.load` takes.
    gold_file (Path): See `read_texts`.
    teacher (Optional[Path]): An annotated DocBin of the gold file's texts. Texts that the teacher was
        not reached for are left out, or else the teacher is: see `evaluate`.
    corpus (Optional[Path]): The student's corpus directory, for its majority label (not of entities) and to see
        whether gold texts are in it.
    teacher_weights (Optional[Path]): For the teacher's size.
    fields (Optional[Mapping[str, str]]): Field names for `read_texts`.
    RETURNS (Evaluation): What was written.
    """
    nlp = load(student)
    component = find_component(nlp, task)
    texts = read_texts(gold_file, need_gold=True, **(fields or {}))
    gold = gold_annotations(texts, component.task, exclusive=component.exclusive)
    if not gold:
        raise StageError(f"{gold_file} has no texts.")
    check_label_names(gold, component.labels, "student")
    systems = [student_system(nlp, component, gold, student)]
    if teacher is not None:
        annotations = read_annotations(teacher, Vocab(), component.task)
        check_label_names(gold, label_set(annotations), "teacher")
        systems.append(teacher_system(annotations, gold, teacher, teacher_weights))
    if corpus is not None and (component.task == "textcat" or (corpus / MANIFEST).exists()):
        manifest = Manifest.read(corpus / MANIFEST)
        manifest.check_known(component.labels, corpus / MANIFEST)
        if component.task == "textcat":
            systems.append(majority_system(gold, majority_label(manifest), corpus / MANIFEST))
    scored = scored_texts(gold, systems)
    evaluation = evaluate(
        gold,
        systems,
        seed=seed,
        files={shown_path(gold_file): sha256_of(gold_file)},
        seen=seen_in(corpus, scored, whole=learned_dev(nlp)) if corpus is not None else {},
    )
    shown = {result.name for result in evaluation.results} - {"majority"}
    compared = [(system.name, system.annotations) for system in systems if system.name in shown]
    write_text(output_dir / "evaluation.json", evaluation.to_json())
    write_report(output_dir / "report.html", evaluation, disagreements(scored, compared) if examples else ())
    return evaluation


def seen_in(corpus: Path, gold: Sequence[Annotation], *, whole: bool = False) -> dict[str, int]:
    """Look for gold's texts in what a student was trained on. They are the same if their normal forms are.

    corpus (Path): What `spacy-distill corpus` wrote.
    whole (bool): It was trained on dev too.
    RETURNS (Dict[str, int]): "train" and "dev", and how many gold texts each has.
    RAISES (StageError, InputError): One of the two is not there, or not a DocBin.
    """
    forms = [normal_form(record.text) for record in gold]
    train, dev = ({normal_form(doc.text) for doc in read_docs(corpus / file, Vocab())} for file in (TRAIN, DEV))
    if whole:
        train, dev = train | dev, set()
    return {"train": sum(form in train for form in forms), "dev": sum(form in dev for form in forms)}


def load(path: Path) -> Language:
    """Load a trained pipeline.

    RAISES (StageError, ConfigError): There is none; spaCy cannot load it.
    """
    if not (path / "config.cfg").is_file():
        raise StageError(f"{path} is not a trained pipeline (it has no config.cfg). Run `spacy train` first.")
    try:
        return spacy.load(path)
    except Exception as error:
        raise ConfigError(f"{path} cannot be loaded by spaCy: {error}") from error
