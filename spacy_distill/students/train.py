"""Train a student as `spacy train` does, inside this process: for whoever trains many small ones."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import spacy
from confection import ConfigValidationError
from spacy.language import Language
from spacy.training.initialize import init_nlp
from spacy.training.loop import train as train_nlp
from spacy.util import load_config
from thinc.api import Config

from ..corpus.build import DEV, LABELS, TRAIN
from ..errors import ConfigError

MODEL_BEST = "model-best"


def read_student(config: Path, overrides: Mapping[str, Any] | None = None) -> Config:
    """Read a student's config, such as `configs/textcat_fast.cfg`.

    overrides (Optional[Mapping[str, Any]]): Other settings, by their dotted names.
    RAISES (ConfigError): No such config, or one without such settings.
    """
    if not config.is_file():
        raise ConfigError(f"{config} does not exist. Name a student's config, such as configs/textcat_fast.cfg.")
    try:
        return load_config(config, overrides=dict(overrides or {}))
    except ValueError as error:
        raise ConfigError(f"{config} cannot be read: {error}") from error


def train(
    config: Path, corpus: Path, output_dir: Path, *, seed: int = 0, overrides: Mapping[str, Any] | None = None
) -> Language:
    """Train on a corpus, and take the step that was best on its dev part. spaCy prints nothing.

    config (Path): See `read_student`.
    corpus (Path): What `spacy-distill corpus` wrote.
    output_dir (Path): Where `model-best` and `model-last` go.
    overrides (Optional[Mapping[str, Any]]): Other settings, by their dotted names.
    RETURNS (Language): `model-best`, loaded.
    RAISES (ConfigError): No such config, or one that spaCy refuses.
    """
    paths = {"paths.train": corpus / TRAIN, "paths.dev": corpus / DEV, "paths.labels": corpus / LABELS}
    settings = {**{name: str(path) for name, path in paths.items()}, "system.seed": seed, **(overrides or {})}
    loaded = read_student(config, settings)
    try:
        nlp = init_nlp(loaded)
    except ConfigValidationError as error:
        raise ConfigError(f"{config} cannot be trained: {error}") from error
    output_dir.mkdir(parents=True, exist_ok=True)
    train_nlp(nlp, output_dir, stdout=io.StringIO(), stderr=io.StringIO())
    return spacy.load(output_dir / MODEL_BEST)


def component_overrides(config: Path, **settings: Any) -> dict[str, Any]:
    """Make the overrides that set these, such as class weights (`balance`), of each component that has such a setting.

    RETURNS (Dict[str, Any]): For `train`.
    """
    loaded = read_student(config)
    spacy.blank(loaded["nlp"]["lang"])  # loads the factories of all installed packages
    found: dict[str, Any] = {}
    for name, section in loaded.get("components", {}).items():
        known = Language.get_factory_meta(section["factory"]).default_config if "factory" in section else None
        found |= {f"components.{name}.{key}": value for key, value in settings.items() if key in (known or {})}
    return found
