"""Student tiers: configs of `spacy train` found by name, each trained with several seeds by `spacy train` itself.

A finished training is not done again: its folder holds `run.json`, with a key made of the config, the corpus and the
seed. One that was cut off has none, and starts anew.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import spacy
import srsly
from spacy import util
from spacy.language import Language
from spacy.util import registry
from spacy.vocab import Vocab
from thinc.api import Config

from ..corpus.build import DEV, LABELS, TRAIN
from ..docs import confidence_of, read_docs, write_docs
from ..errors import ConfigError, StageError
from ..files import file_sha256, write_json
from ..types import TaskName
from .train import MODEL_BEST, read_student

RUN, LOG = "run.json", "train.log"
_LEARNED_DEV = "learned_dev"  # in meta.json
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS")
_SAID_LINES = 3


@dataclass(frozen=True, slots=True)
class Tier:
    """A kind of student.

    name (str): Its config's name without the ending: "textcat_fast".
    config (Path): The config.
    missing (Tuple[str, ...]): What it needs and is not installed, as the config names it.
    seeded (bool): Another seed gives another student.
    needs_dev (bool): It stops by dev. What learns all in its first step does not.
    """

    name: str
    config: Path
    missing: tuple[str, ...] = ()
    seeded: bool = True
    needs_dev: bool = True


@dataclass(frozen=True, slots=True)
class Run:
    """One training.

    tier (str): The tier's name.
    seed (int): Of the training.
    model (Path): The best step, as `spacy train` left it.
    train_s (float): Seconds on the clock.
    kept (bool): It was done before, and not again.
    split (int): Which of the corpus's splits it learned from.
    """

    tier: str
    seed: int
    model: Path
    train_s: float
    kept: bool
    split: int = 0


def find_tiers(configs: Path, task: TaskName, exclusive: bool) -> list[Tier]:
    """Find the training configs whose component does the task.

    configs (Path): A directory.
    exclusive (bool): Text classification: exactly one label a text. Other configs do the other kind.
    RETURNS (List[Tier]): By name. A tier that cannot be trained here says what is missing.
    """
    found = []
    for path in sorted(configs.glob("*.cfg")):
        try:
            config = Config().from_disk(path, interpolate=False)
        except ValueError as error:
            raise ConfigError(f"{path} is not a config: {error}") from error
        if _does(config, task, exclusive):
            needs_dev = config["training"].get("max_steps") != 1
            seeded = needs_dev or any(key == "tuned_layers" and value for _, key, value in settings_in(config))
            found.append(Tier(path.stem, path, tuple(_missing(config)), seeded, needs_dev))
    return found


def check_student(path: Path, task: TaskName, exclusive: bool) -> None:
    """Make sure that a student's config is for a task, before anything is done.

    RAISES (ConfigError): No such config, one for another task, or something it needs is not installed.
    """
    config = read_student(path)
    if not _does(config, task, exclusive):
        what = "ner" if task == "ner" else f"textcat with exclusive = {str(exclusive).lower()}"
        trained = [str(section["factory"]) for section in config.get("components", {}).values() if "factory" in section]
        raise ConfigError(
            f"{path} trains {', '.join(trained) or 'nothing'}, and the annotations are for {what}: name another config."
        )
    if missing := list(_missing(config)):
        raise ConfigError(f"{path} needs {', '.join(missing)}, which is not there: install it, or name another config.")


def _does(config: Config, task: TaskName, exclusive: bool) -> bool:
    if not {"nlp", "components", "training"} <= set(config):
        return False
    components = [component for component in config["components"].values() if "factory" in component]
    if task == "ner":
        return any(component["factory"] in ("ner", "encoder_ner") for component in components)
    return any("textcat" in component["factory"] and _exclusive(component) == exclusive for component in components)


def _exclusive(component: Mapping[str, Any]) -> bool:
    return bool(component.get("exclusive", "multilabel" not in component["factory"]))


def _missing(config: Config) -> Iterator[str]:
    """YIELDS (str): What the config names and does not exist: pretrained models, registered functions, factories."""
    ours = any(str(component.get("factory")).startswith("encoder_") for component in config["components"].values())
    for name, place in _pretrained(config):
        on_hub = name == "encoder" and (not Path(place).parent.is_dir() or (len(Path(place).parts) == 1 and not ours))
        if on_hub and not find_spec("huggingface_hub"):
            yield "huggingface_hub"
        if not Path(place).exists() and not util.is_package(place) and not on_hub:
            yield place
    lang = str(config["nlp"].get("lang", "en"))
    spacy.blank(lang)  # loads the factories of all installed packages
    for _, key, value in settings_in(config):
        kind = "factories" if key == "factory" else key.removeprefix("@")
        if (key == "factory" or key.startswith("@")) and not (
            registry.has(kind, str(value)) or registry.has(kind, f"{lang}.{value}")
        ):
            yield str(value)
        if key == "tuned_layers" and value and not find_spec("torch"):
            yield "torch"


def _pretrained(config: Config) -> Iterator[tuple[str, str]]:
    """YIELDS (Tuple[str, str]): What a student starts from, by the name of its path: a folder, a file, an installed
    pipeline, or an encoder's name on the hub."""
    for name in ("encoder", "vectors", "init_tok2vec"):
        if isinstance(place := config.get("paths", {}).get(name), str):
            yield name, place


def settings_in(section: Mapping[str, Any], where: str = "") -> Iterator[tuple[str, str, Any]]:
    """YIELDS (Tuple[str, str, Any]): Each setting of a config: its section, its name, its value, or one of several."""
    for key, value in section.items():
        if isinstance(value, Mapping):
            yield from settings_in(value, f"{where}.{key}".lstrip("."))
        else:
            for item in value if isinstance(value, (list, tuple)) else [value]:
                yield where, key, item


def train_tier(tier: Tier, splits: Sequence[Path], output_dir: Path, seed: int) -> Run:
    """Train a tier with `spacy train` in a process of its own with one thread, unless that was done before.

    splits (Sequence[Path]): Folders of a corpus, see `splits.find_splits`. Seeds take turns.
    output_dir (Path): Of all trainings: this one gets `TIER/SEED`.
    RETURNS (Run): The training.
    RAISES (StageError): It failed. The message has the last lines of its log.
    """
    folder = output_dir / tier.name / str(seed)
    split = seed % len(splits)
    corpus = splits[split]
    key = _key(tier, corpus, seed)
    if (folder / RUN).is_file():
        known = json.loads((folder / RUN).read_text(encoding="utf8"))
        if known["key"] == key and (folder / MODEL_BEST).is_dir():
            return Run(tier.name, seed, folder / MODEL_BEST, known["train_s"], True, split)
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    command = [sys.executable, "-m", "spacy", "train", str(tier.config), "--output", str(folder)]
    paths = {"train": TRAIN, "dev": DEV, "labels": LABELS}
    for name in paths.keys() & Config().from_disk(tier.config, interpolate=False).get("paths", {}).keys():
        command += [f"--paths.{name}", str(corpus / paths[name])]
    start = time.perf_counter()
    with (folder / LOG).open("w", encoding="utf8") as log:
        done = subprocess.run(
            [*command, "--system.seed", str(seed)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, **dict.fromkeys(_THREADS, "1"), "PYTHONIOENCODING": "utf8"},
            check=False,
        )
    train_s = time.perf_counter() - start
    if _key(tier, corpus, seed) != key:
        raise StageError(f"{tier.name}, seed {seed}: its config or corpus changed while it was trained. Run it again.")
    if done.returncode or not (folder / MODEL_BEST).is_dir():
        lines = [line for line in (folder / LOG).read_text("utf8", "replace").splitlines() if line.strip()]
        raise StageError(f"{tier.name}, seed {seed}: {' / '.join(lines[-_SAID_LINES:])} ({folder / LOG} has it all)")
    shutil.rmtree(folder / "model-last", ignore_errors=True)
    write_json(folder / RUN, {"key": key, "tier": tier.name, "seed": seed, "train_s": train_s})
    return Run(tier.name, seed, folder / MODEL_BEST, train_s, False, split)


def train_on_all(tier: Tier, corpus: Path, output_dir: Path) -> Run:
    """Train a tier on train and dev together: for one that needs no dev to know when to stop.

    output_dir (Path): Of all trainings: this one gets `TIER/whole`.
    RETURNS (Run): The training. Its score on dev says nothing, and is not kept. See `learned_dev`.
    RAISES (StageError): It failed.
    """
    folder = output_dir / tier.name / "whole"
    vocab = Vocab()
    docs = [doc for part in (TRAIN, DEV) for doc in read_docs(corpus / part, vocab)]
    weighted = any(confidence_of(doc) is not None for doc in docs)
    write_docs(folder / TRAIN, docs, keep="confidence" if weighted else "targets")
    for name in (DEV, LABELS):
        shutil.copyfile(corpus / name, folder / name)
    run = train_tier(tier, [folder], folder, 0)
    meta = run.model / "meta.json"
    write_json(meta, {**srsly.read_json(meta), "performance": {}, _LEARNED_DEV: True})
    return run


def learned_dev(nlp: Language) -> bool:
    """RETURNS (bool): The pipeline was trained by `train_on_all`."""
    return bool(nlp.meta.get(_LEARNED_DEV))


def _key(tier: Tier, corpus: Path, seed: int) -> str:
    """RETURNS (str): The same for the same training: config, pretrained models, corpus, seed, versions."""
    files = [tier.config, *(corpus / name for name in (TRAIN, DEV, LABELS))]
    for _, name in _pretrained(Config().from_disk(tier.config, interpolate=False)):
        place = util.get_package_path(name) if util.is_package(name) else Path(name)
        files += [place] if place.is_file() else sorted(file for file in place.rglob("*") if file.is_file())
    facts = [version("spacy"), version("spacy-distill"), str(seed), *(file_sha256(file) for file in files)]
    return hashlib.sha256("\n".join(facts).encode()).hexdigest()
