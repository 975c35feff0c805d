"""A large student labels what no teacher was asked about, for a small student to learn from: teacher, large, small.

The small student learns the large one's probabilities (Hinton et al. 2015, "Distilling the knowledge in a neural
network"), or its entities. It costs nothing but time, and pays where the large student is much the better of the two.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import srsly
from spacy.language import Language
from spacy.pipeline.textcat_multilabel import MultiLabel_TextCategorizer
from spacy.tokens import Doc

from ..corpus.build import DEV, LABELS, TRAIN, Corpus
from ..corpus.manifest import MANIFEST, Manifest, Part
from ..curation.types import Context
from ..docs import annotate_doc, confidence_of, make_doc, read_docs
from ..errors import ConfigError, StageError
from ..tasks.labels_combined import surest_side
from ..texts import normal_form
from ..types import Annotation, Span, Text
from .threshold import moved

_FIELDS = {"textcat": "doc.cats", "ner": "doc.ents"}
_UNNAMED = "pipeline"  # what spaCy calls it then


@dataclass(frozen=True, slots=True)
class PseudoLabelled:
    """`given` = `known` + `leaking` + `added`.

    corpus (Corpus): The old one, its train with more texts.
    given (int): Texts.
    known (int): Those in train already, those there several times, and those without a word.
    leaking (int): Those in dev or in the gold, nearly, or of a group with one that is.
    added (int): Those that train has now.
    """

    corpus: Corpus
    given: int
    known: int
    leaking: int
    added: int


def pseudo_label(
    student: Language,
    corpus_dir: Path,
    texts: Iterable[Text],
    *,
    gold: Iterable[Text] = (),
    progress: Callable[[int], None] | None = None,
) -> PseudoLabelled:
    """Let a trained student label more texts for a corpus.

    student (Language): Classifies texts, or finds entities, with the corpus's labels.
    corpus_dir (Path): What it was trained on; see `spacy-distill corpus`. It is not changed.
    texts (Iterable[Text]): Unlabelled texts; those that the corpus has may be among them.
    gold (Iterable[Text]): What must not be trained on, beside dev.
    progress (Optional[Callable[[int], None]]): Called with the number of texts labelled, or left out, since the last
        call.
    RETURNS (PseudoLabelled): The larger corpus, and the books.
    RAISES (ConfigError): The corpus or the student is of another task, or has other labels.
    RAISES (StageError): No text is left to label.
    """
    manifest = Manifest.read(corpus_dir / MANIFEST)
    threshold = _check(student, corpus_dir, manifest)
    train, dev = (list(read_docs(corpus_dir / part, student.vocab)) for part in (TRAIN, DEV))
    weighted = any(confidence_of(doc) is not None for doc in train)
    given = list(texts)
    groups: dict[str, set[str | None]] = {}
    for text in given:
        groups.setdefault(normal_form(text.text), set()).add(text.group)
    kept_out = [*gold]  # A corpus does not name its groups, but the texts that it was made from are often among these.
    for number, doc in enumerate(dev, 1):
        kept_out += [Text(f"dev {number}", doc.text, group) for group in groups.get(normal_form(doc.text), {None})]
    seen = {normal_form(doc.text) for doc in train} | {""}
    asked = []
    for text in given:
        if (form := normal_form(text.text)) not in seen:
            seen.add(form)
            asked.append(text)
    stubs = [
        Annotation(text.id, text.text, manifest.task, tuple(manifest.labels), "abstain", group=text.group)
        for text in asked
    ]
    leaks = Context.of(kept_out).leaks(stubs)
    asked = [text for text in asked if text.id not in leaks]
    if not asked:
        raise StageError(f"None of {len(given)} texts is left to label: train has them, or they leak from dev or gold.")
    for text in asked:
        if len(text.text) > student.max_length:
            raise ConfigError(
                f"Text {text.id} has {len(text.text):,} characters, and spaCy takes {student.max_length:,} at most:"
                " split it, or leave it out."
            )
    advance, name = progress or (lambda count: None), _name(student, manifest)
    advance(len(given) - len(asked))
    added, records = [], []
    for text, doc in zip(asked, student.pipe([text.text for text in asked]), strict=True):
        said = _said(doc, manifest, weighted, threshold) if manifest.task == "textcat" else {"ents": _entities(doc)}
        record = Annotation(
            text.id,
            text.text,
            manifest.task,
            tuple(manifest.labels),
            "ok",
            exclusive=manifest.exclusive,
            group=text.group,
            provenance={"model": name},
            **said,
        )
        records.append(record)
        added.append(annotate_doc(make_doc(student, text), record))
        advance(1)
    before = manifest.sources.get("pseudo_labelled", 0)
    sources = {**manifest.sources, "pseudo_labelled": before + len(added)}
    manifest = replace(
        manifest, train=manifest.train + Part.of(records), sources=sources, soft=manifest.task == "textcat"
    )
    corpus = Corpus([*train, *added], dev, srsly.read_json(corpus_dir / LABELS), manifest)
    return PseudoLabelled(corpus, len(given), len(given) - len(asked) - len(leaks), len(leaks), len(added))


def _check(student: Language, corpus_dir: Path, manifest: Manifest) -> float:
    """RETURNS (float): From which score on its labels hold, if a text may have several; else .5.
    RAISES (ConfigError): The pipeline does another task, or has other labels.
    """
    field = _FIELDS[manifest.task]
    pipes: list[Any] = [pipe for name, pipe in student.pipeline if field in student.get_pipe_meta(name).assigns]
    found = sorted({label for pipe in pipes for label in getattr(pipe, "labels", ())})
    other = set(found) - set(manifest.labels) if manifest.task == "ner" else set(found) ^ set(manifest.labels)
    if not found or other:
        what = {"textcat": "classes", "ner": "entities"}[manifest.task]
        raise ConfigError(
            f"The pipeline {student.pipe_names} gives the {what} {found}, the corpus {corpus_dir} has"
            f" {sorted(manifest.labels)}. Use one that was trained on this corpus."
        )
    for pipe in pipes if manifest.task == "textcat" else []:
        exclusive = getattr(pipe, "exclusive", not isinstance(pipe, MultiLabel_TextCategorizer))
        if exclusive != manifest.exclusive:
            kinds = {True: "exactly one class a text", False: "any number of classes a text"}
            raise ConfigError(
                f"The pipeline {student.pipe_names} gives {kinds[exclusive]}, the corpus {corpus_dir} has"
                f" {kinds[manifest.exclusive]}. Use one that was trained on this corpus."
            )
    return 0.5 if manifest.exclusive else float(pipes[0].cfg["threshold"])


def _name(student: Language, manifest: Manifest) -> str:
    """RETURNS (str): Who gave the labels: the pipeline by its name, or by its component, where nobody named it."""
    lang, name = student.meta["lang"], student.meta["name"]
    metas = [student.get_pipe_meta(pipe) for pipe in student.pipe_names]
    factories = ", ".join(meta.factory for meta in metas if _FIELDS[manifest.task] in meta.assigns)
    return f"the student {factories if name == _UNNAMED else f'{lang}_{name}'}"


def _said(doc: Doc, manifest: Manifest, weighted: bool, threshold: float) -> dict[str, Any]:
    cats = {label: moved(float(doc.cats[label]), threshold) for label in manifest.labels}
    return {"cats": cats, "confidence": _surest(cats, manifest.exclusive) if weighted else None}


def _entities(doc: Doc) -> tuple[Span, ...]:
    return tuple(Span(ent.start_char, ent.end_char, ent.label_) for ent in doc.ents)


def _surest(cats: dict[str, float], exclusive: bool) -> float:
    return max(cats.values()) if exclusive else surest_side(cats.values())
