"""Freeze, verify, package: the stage itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from spacy.vocab import Vocab

from ..corpus.build import DEV, TRAIN
from ..corpus.manifest import Manifest
from ..docs import read_docs
from ..evaluation.pipelines import sha256_of, size_mb
from ..evaluation.run import load
from ..students.tiers import learned_dev
from .freeze import freeze, needing_words
from .package import package, read_evaluation
from .verify import verify

CHECKED_TEXTS = 200


@dataclass(frozen=True, slots=True)
class Release:
    """What was released.

    wheel (Path): Install it with pip.
    package (str): The name that `spacy.load` takes.
    size_mb (float): The wheel's size, in MB of 10^6 bytes.
    checked (int): On how many texts it was seen to answer as the trained pipeline does.
    needing_words (Sequence[str]): Components for whose sake the wheel has the list of words seen in training.
    """

    wheel: Path
    package: str
    size_mb: float
    checked: int
    needing_words: Sequence[str] = ()


def release(
    model: Path,
    output_dir: Path,
    *,
    name: str,
    version: str,
    evaluation: Path | None = None,
    manifest: Path | None = None,
    description: str = "",
    license: str = "",
) -> Release:
    """Turn a trained pipeline into a wheel that needs spaCy alone.

    model (Path): `model-best`.
    evaluation (Optional[Path]): `evaluation.json` about this model.
    manifest (Optional[Path]): The corpus's `manifest.json`: it says whose the training labels are. It and the corpus
        beside it are recorded by sha256, and texts of `dev.spacy` serve to check the frozen pipeline.
    RETURNS (Release): The wheel and what was checked.
    """
    report = read_evaluation(evaluation, sha256_of(model)) if evaluation else None
    corpus: dict[str, str] = {}
    texts: list[str] = []
    trained = load(model)
    labelled = None
    if manifest:
        facts = Manifest.read(manifest)
        facts.check_known([label for labels in trained.pipe_labels.values() for label in labels], manifest)
        labelled = facts.train + facts.dev if learned_dev(trained) else facts.train
        train, dev = manifest.with_name(TRAIN), manifest.with_name(DEV)
        corpus = {file.name: sha256_of(file) for file in (manifest, train, dev)}
        texts = [doc.text for doc in islice(read_docs(dev, Vocab()), CHECKED_TEXTS)]
    frozen_dir = output_dir / "frozen"
    frozen = freeze(model, frozen_dir)
    checked = verify(trained, frozen_dir, texts)
    wheel = package(
        frozen_dir,
        output_dir,
        name=name,
        version=version,
        description=description,
        license=license,
        evaluation=report,
        corpus=corpus,
        train=labelled,
    )
    lang = frozen.meta["lang"]
    package_name = f"{lang}_{name.removeprefix(f'{lang}_')}"
    return Release(wheel, package_name, size_mb(wheel), checked, needing_words(frozen.config))
