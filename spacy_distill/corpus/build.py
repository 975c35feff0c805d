"""Curated docs in; out come train and dev as `spacy train` reads them, the labels, and a manifest."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import spacy
from spacy.language import Language
from spacy.tokens import Doc
from spacy.training import Example

from ..curation.types import Context
from ..docs import doc_of, write_docs
from ..errors import ConfigError, InputError, StageError
from ..files import write_json
from ..types import Annotation, Text
from .manifest import MANIFEST, Manifest, Part
from .oversample import repeats
from .split import split
from .splits import remove_splits

logger = logging.getLogger("spacy_distill")

TRAIN, DEV, LABELS = "train.spacy", "dev.spacy", "labels.json"


@dataclass(frozen=True, slots=True)
class Corpus:
    """What a student is trained on.

    train (List[Doc]): Docs with targets, soft unless asked otherwise.
    dev (List[Doc]): Docs with hard labels.
    labels (Any): What `spacy init labels` would write: a list of classes, or a parser's actions.
    manifest (Manifest): The facts.
    """

    train: list[Doc]
    dev: list[Doc]
    labels: Any
    manifest: Manifest

    def write(self, output_dir: Path, *, confidence: bool = False) -> None:
        """Write `train.spacy`, `dev.spacy`, `labels.json` and `manifest.json`. The docs have what training needs and
        no more: who said what stands in the curated docs. What stood there before is removed, further splits too: a
        new train beside an old dev, if this is stopped between them, would have texts of it.

        confidence (bool): A student's `weight = "confidence"` needs to know how sure the teacher was, too.
        """
        keep: Literal["confidence", "targets"] = "confidence" if confidence else "targets"
        remove_splits(output_dir)
        for name in (MANIFEST, LABELS, DEV, TRAIN):
            (output_dir / name).unlink(missing_ok=True)
        write_docs(output_dir / TRAIN, self.train, keep=keep)
        write_docs(output_dir / DEV, self.dev, keep=keep)
        write_json(output_dir / LABELS, self.labels)
        self.manifest.write(output_dir / MANIFEST)


def build(
    docs: Sequence[Doc],
    annotations: Sequence[Annotation],
    *,
    dev_share: float = 0.15,
    seed: int = 0,
    soft: bool = True,
    temperature: float = 1.0,
    oversample: int = 0,
    gold_dev: Sequence[Annotation] | None = None,
    nlp: Language | None = None,
    sources: Mapping[str, Any] | None = None,
    curation: Sequence[Mapping[str, Any]] | None = None,
) -> Corpus:
    """Build a corpus of one task.

    docs (Sequence[Doc]): Curated docs, and `annotations` their records, in the same order. They are not changed.
    dev_share (float): Between 0 and 1: how much goes to dev.
    seed (int): The split's seed.
    soft (bool): Keep the teacher's probabilities as targets. Dev is hard in any case: with soft labels there spaCy
        cannot score.
    temperature (float): Above 0. The probabilities p that train keeps become p^(1/T), normalised: flatter above 1,
        sharper below (Hinton et al. 2015, https://arxiv.org/abs/1503.02531). Teachers are too sure more often than not.
    oversample (int): Repeat texts in train until each label that has fewer texts has so many, see `oversample.repeats`;
        0 for no copies. The `balance` of the students counts copies like other texts: with 1 classes weigh the same in
        total with copies or without, and below 1 both add up. Use one of the two.
    gold_dev (Optional[Sequence[Annotation]]): Gold to use as dev; all curated docs then go to train.
    nlp (Optional[Language]): Tokenizes the gold; needed with `gold_dev` alone.
    sources (Optional[Mapping[str, Any]]): For the manifest: where it all comes from.
    curation (Optional[Sequence[Mapping[str, Any]]]): For the manifest: the curation's books.
    RAISES (StageError): Nothing to train on, or nothing for dev.
    RAISES (InputError): An annotation that must not be trained on, or gold that is in the curated docs.
    """
    if not 0.0 < dev_share < 1.0:
        raise ConfigError(f"dev_share is {dev_share}; expected a number between 0 and 1, such as 0.15.")
    if not 0.0 < temperature < float("inf"):
        raise ConfigError(f"temperature is {temperature}; expected a number above 0, such as 2.")
    if temperature != 1.0 and (not soft or (annotations and annotations[0].task == "ner")):
        what = "Entities have no probabilities" if soft else "Hard labels are no probabilities"
        raise ConfigError(f"{what}: leave temperature at 1.")
    if not annotations:
        raise StageError("There are no curated docs: curation kept nothing. Its curation.json says which rule did it.")
    _check([*annotations, *(gold_dev or ())])
    first = annotations[0]
    clusters = None
    if gold_dev is not None:
        if nlp is None:
            raise ConfigError("Gold for dev has to be tokenized: pass `nlp`.")
        if not gold_dev:
            raise StageError("The gold for dev has no texts.")
        _check_overlap(annotations, gold_dev)
        train, dev = list(range(len(docs))), []
        dev_records = list(gold_dev)
        dev_docs = _gold_docs(nlp, dev_records)
    else:
        parts = split(annotations, dev_share=dev_share, seed=seed)
        train, dev, clusters = list(parts.train), list(parts.dev), parts.clusters
        if not train or not dev:
            raise StageError(
                f"The split left {len(train)} texts for train and {len(dev)} for dev: {len(annotations)} curated texts"
                f" form only {clusters} sets that stay together. Annotate more texts, use finer groups, choose another"
                " --dev-share, or bring a dev set of your own with --gold-dev."
            )
        dev_records = [annotations[index] for index in dev]
        dev_docs = [docs[index] for index in dev]
    train_records = [annotations[index] for index in train]
    train_docs = [_target(docs[index], annotations[index], soft, temperature) for index in train]
    copies = repeats(train_records, oversample, seed=seed)
    train_docs += [train_docs[index] for index, _ in copies]
    dev_docs = [_target(doc, annotation, False) for doc, annotation in zip(dev_docs, dev_records, strict=True)]
    manifest = Manifest(
        task=first.task,
        labels=list(first.labels),
        exclusive=first.exclusive,
        soft=soft and first.task == "textcat",
        temperature=temperature,
        train=Part.of(train_records),
        dev=Part.of(dev_records),
        dev_from="gold" if all(record.gold for record in dev_records) else "silver",
        dev_share=dev_share if gold_dev is None else None,
        seed=seed,
        clusters=clusters,
        sources=dict(sources or {}),
        curation=curation,
        versions={"spacy": version("spacy"), "spacy_distill": version("spacy-distill")},
        dev_groups=_numbered(dev_records, annotations if gold_dev is None else dev_records),
        oversample=oversample,
        repeated=dict(Counter(label for _, label in copies)),
    )
    return Corpus(train_docs, dev_docs, _label_data(first, train_docs), manifest)


def _numbered(dev: Sequence[Annotation], texts: Sequence[Annotation]) -> list[int]:
    """RETURNS (List[int]): For each text of dev the number of its group among all texts, the same in every split; one
    of its own for a text without. Empty if no text of dev has a group."""
    if not any(record.group for record in dev):
        return []

    def name(record: Annotation) -> tuple[str, str]:
        return ("text", record.id) if record.group is None else ("group", record.group)

    numbers = {unit: number for number, unit in enumerate(dict.fromkeys(map(name, texts)))}
    return [numbers[name(record)] for record in dev]


def _check(annotations: Sequence[Annotation]) -> None:
    first = annotations[0]
    if first.task == "textcat" and first.exclusive and len(first.labels) < 2:
        raise ConfigError(
            f"There is one class, {first.labels[0]!r}, and each text has exactly one: nothing to learn."
            " Offer a second label, or classify with exclusive = false."
        )
    for annotation in annotations:
        if annotation.status != "ok":
            raise InputError(
                f"Record {annotation.id} has the status {annotation.status!r}, which must not be trained on. Curate"
                " with the rule `status` first."
            )
        if set(annotation.labels) != set(first.labels) or annotation.exclusive != first.exclusive:
            raise InputError(
                f"Records {first.id} and {annotation.id} were annotated with different labels. Annotate both with one"
                " list."
            )
        total = sum((annotation.cats or {}).values())
        if annotation.task == "textcat" and annotation.exclusive and not 0.95 < total < 1.05:
            raise InputError(
                f"Record {annotation.id}: its classes exclude each other, but their scores add up to {total:.3f}"
                " instead of 1."
            )


def _check_overlap(annotations: Sequence[Annotation], gold: Sequence[Annotation]) -> None:
    context = Context.of(Text(annotation.id, annotation.text, annotation.group) for annotation in gold)
    both = list(context.leaks(annotations))
    if both:
        raise InputError(
            f"{len(both)} curated texts are in the gold for dev as well, or nearly, or share a group with it (the"
            f" first: {both[0]}). Curate with this file as --gold, so that the rule `leakage` takes them out"
            " and counts them."
        )


def _target(doc: Doc, annotation: Annotation, soft: bool, temperature: float = 1.0) -> Doc:
    """RETURNS (Doc): A copy with the annotation's classes and no others; an entity's doc as it is."""
    if annotation.cats is None:
        return doc
    positive = annotation.positive()
    copy = doc.copy()
    copy.cats = (
        _tempered(
            {label: float(annotation.cats.get(label, 0.0)) for label in annotation.labels},
            annotation.exclusive,
            temperature,
        )
        if soft
        else {label: float(label in positive) for label in annotation.labels}
    )
    return copy


def _tempered(cats: dict[str, float], exclusive: bool, temperature: float) -> dict[str, float]:
    """RETURNS (Dict[str, float]): p^(1/T) / sum of p^(1/T), over the classes, or where they do not exclude each other
    over p and 1 - p of each."""
    if temperature == 1.0:
        return cats
    if not exclusive:
        return {label: _tempered({"": p, "not": 1.0 - p}, True, temperature)[""] for label, p in cats.items()}
    highest = max(cats.values())  # Before the power: a sharp one takes small figures to nothing.
    powers = {label: (p / highest) ** (1.0 / temperature) for label, p in cats.items()}
    return {label: power / sum(powers.values()) for label, power in powers.items()}


def _gold_docs(nlp: Language, gold: Sequence[Annotation]) -> list[Doc]:
    made = [doc_of(nlp, annotation) for annotation in gold]
    if missed := sum(len(misfits) for _, misfits in made):
        logger.warning("%d gold entities do not stand on token boundaries: dev does not score them.", missed)
    return [doc for doc, _ in made]


def _label_data(first: Annotation, train: Sequence[Doc]) -> Any:
    """RETURNS (Any): Labels in the form in which each component's `initialize` takes them."""
    if first.task == "textcat":
        return list(first.labels)
    ner: Any = spacy.blank("xx").add_pipe("ner")
    actions = ner.moves.get_actions(entity_types=first.labels, examples=[Example(doc, doc) for doc in train])
    ner.moves.initialize_actions(actions)
    return ner.label_data
