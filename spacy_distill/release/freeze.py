"""Turn a trained pipeline into one that spaCy loads by itself: stock factories, a config without traces of training.

Nothing of this package is needed to run the result: where a component is ours, the module that runs it goes along, as
a Python file in the frozen directory that imports spaCy alone (`spacy_distill.students.runtime`). Nothing of the texts
it was trained on is left in it but what the weights hold: spaCy writes every word it saw in training to
`vocab/strings.json`, and that list is dropped too, unless a component needs it: see `needing_words`.
"""

from __future__ import annotations

import importlib
import re
import shutil
import tempfile
from collections.abc import Mapping
from importlib.metadata import EntryPoint, distribution
from pathlib import Path
from typing import Any

import spacy
from spacy import util
from spacy.language import Language
from thinc.api import Config

from ..errors import ConfigError
from ..evaluation.run import load
from ..students.encoder import RUNTIME_FACTORY as ENCODER_FACTORY
from ..students.soft_textcat import STOCK_FACTORY
from ..students.tiers import settings_in
from ..students.tiny import RUNTIME_FACTORY

NOT_STOCK = ("spacy_distill", "spacy_llm")
CARRIED = "spacy_distill.students.runtime."
"""Modules that go along with a pipeline that needs them. They import spaCy and what it brings, nothing else, and their
components need no list of words."""
_STOCK = ("spacy", "spacy_legacy", "thinc")
_SHIPPED_AS = {**STOCK_FACTORY, **RUNTIME_FACTORY, **ENCODER_FACTORY}
# Components that need no list of words.
_WORDLESS = {
    *("textcat", "textcat_multilabel", "ner", "tok2vec", "transformer", "sentencizer", "senter"),
    *("doc_cleaner", "merge_entities", "merge_noun_chunks", "merge_subtokens", "token_splitter"),
}
_ABSOLUTE_PATH = re.compile(r"^(/|~/|[A-Za-z]:[\\/]|\\\\)\w")
_META = ("lang", "name", "version", "description", "author", "email", "url", "license", "sources")


def freeze(source: Path, target: Path) -> Language:
    """Write a trained pipeline as stock spaCy. It predicts the same: see `verify`.

    source (Path): `model-best` as `spacy train` wrote it.
    target (Path): A directory for the frozen pipeline; what it held is replaced.
    RETURNS (Language): The frozen pipeline, as loaded from `target`.
    RAISES (StageError): There is no trained pipeline at `source`.
    RAISES (ConfigError): A component or setting needs more than spaCy, or the config has an absolute path.
    """
    trained = load(source)
    config = stock_config(trained)
    carried = check_portable(config)
    frozen = util.load_model_from_config(config, auto_fill=True)
    for name, pipe in frozen.components:  # a function component's factory is spaCy's own, whoever wrote the function
        carried |= _check_module(f"[components.{name}]", getattr(pipe, "__module__", type(pipe).__module__))
    wordless = not needing_words(config)
    with tempfile.TemporaryDirectory() as directory:
        trained.to_disk(directory)
        frozen.from_disk(directory, exclude=["config", "meta", *(["vocab"] if wordless else [])])
    if wordless:
        frozen.vocab.lookups = trained.vocab.lookups
        frozen.vocab.vectors.from_bytes(trained.vocab.vectors.to_bytes(exclude=["strings"]), exclude=["strings"])
    frozen.vocab.vectors.name = trained.vocab.vectors.name
    frozen.meta = {name: trained.meta[name] for name in _META if name in trained.meta}
    if target.exists():
        shutil.rmtree(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    frozen.to_disk(target)
    for module in carried:
        shutil.copy(str(importlib.import_module(module).__file__), target)
    return spacy.load(target)


def stock_config(nlp: Language) -> Config:
    """RETURNS (Config): The sections `nlp` and `components`, with the factories we train turned into those that ship,
    spaCy's own where it has one. For all that concerns training spaCy fills in its own defaults."""
    full = nlp.config.interpolate()
    components = {}
    for name, settings in full["components"].items():
        components[name] = dict(settings)
        if shipped := _SHIPPED_AS.get(settings["factory"]):
            known = Language.get_factory_meta(shipped).default_config or {}  # what is not there is for training alone
            kept = {key: value for key, value in settings.items() if key in known}
            components[name] = {"factory": shipped, **kept}
            if components[name].get("threshold", 0.0) is None:  # its file has what was chosen
                del components[name]["threshold"]
        if settings["factory"] == "transformer":  # It has its weights, and needs no more than a name of where from.
            model = dict(settings["model"])
            components[name]["model"] = {**model, "name": re.split(r"[/\\]", str(model["name"]).rstrip("/\\"))[-1]}
    return Config({"nlp": dict(full["nlp"]), "components": components})


def check_portable(config: Mapping[str, Any]) -> set[str]:
    """Make sure that a config needs spaCy alone, or packages that pip can install, and names no place on this machine.

    RETURNS (Set[str]): Modules of ours that have to go along; see `CARRIED`.
    RAISES (ConfigError): The message names the component or setting.
    """
    carried: set[str] = set()
    for where, key, value in settings_in(config):
        if isinstance(value, str) and _ABSOLUTE_PATH.match(value):
            raise ConfigError(f"[{where}] {key} = {value!r} is a path on this machine. Train without it, then release.")
        if key == "factory" or key.startswith("@"):
            module = _module(config["nlp"]["lang"], "factories" if key == "factory" else key[1:], value)
            carried |= _check_module(f"[{where}] {key} = {value!r}", module)
    return carried


def _check_module(what: str, module: str) -> set[str]:
    """RETURNS (Set[str]): The module, if it has to go along."""
    if module.startswith(CARRIED):
        return {module}
    package = module.split(".")[0]
    if package in NOT_STOCK:
        raise ConfigError(
            f"{what} is code of {package}, which the released pipeline does without, and spaCy has nothing to put in"
            " its place. Remove that component, or replace it with a trained one."
        )
    if package not in _STOCK and package not in util.packages_distributions():
        raise ConfigError(
            f"{what} is code in {package!r}, which is not an installed package: whoever installs the pipeline would not"
            " have it."
        )
    return set()


def carried_entry_points() -> list[EntryPoint]:
    """RETURNS (List[EntryPoint]): What modules that go along register, by spaCy's groups and names."""
    return [one for one in distribution("spacy-distill").entry_points if one.module.startswith(CARRIED)]


def needing_words(config: Mapping[str, Any]) -> list[str]:
    """RETURNS (List[str]): The components for whose sake the words of the training texts go along: a tagger's tags or a
    ruler's patterns are among them."""
    lang = config["nlp"]["lang"]
    return [
        name
        for name, pipe in config["components"].items()
        if pipe["factory"] not in _WORDLESS and not _module(lang, "factories", pipe["factory"]).startswith(CARRIED)
    ]


def _module(lang: str, registry: str, name: str) -> str:
    """RETURNS (str): The module of a registered function, preferring the language's own. What is ours stays ours, also
    where a package that carries it was loaded before."""
    for ours in carried_entry_points():
        if (ours.group, ours.name) == (f"spacy_{registry}", name):
            return ours.module
    for full_name in (f"{lang}.{name}", name):
        if util.registry.has(registry, full_name):
            return str(util.registry.find(registry, full_name)["module"])
    raise ConfigError(f"The config needs {name!r} from the registry {registry!r}, which has no such function.")
