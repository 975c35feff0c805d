"""A frozen pipeline as a wheel that pip installs and `spacy.load` finds by name."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import subprocess
import sys
import warnings
from collections.abc import Mapping, Set
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from packaging.requirements import Requirement
from packaging.version import InvalidVersion, Version
from spacy.cli.package import package as spacy_package

from ..corpus.manifest import UNRECORDED, Part
from ..errors import ConfigError, InputError, StageError
from ..evaluation.report import speed
from ..records import FORMATS
from .freeze import CARRIED, carried_entry_points

_ENTRY_POINTS = re.compile(r"entry_points=\{[^\n]*\}")  # of the setup.py that spaCy writes
NOT_REQUIRED = ("spacy-distill", "spacy_distill")

_ALLOWED = (
    " Before you pass the pipeline on, make sure that the terms of such models and the rights in the texts allow it."
    " Its errors resemble theirs."
)
SILVER_NOTE = f"Its training labels were made by a language model (silver), not by people.{_ALLOWED}"
PEOPLE_NOTE = (
    "Its training labels were all decided by people. Before you pass the pipeline on, make sure that the rights in the"
    " texts allow it."
)
UNKNOWN_NOTE = (
    "Whether people or a language model made its training labels is not recorded. Before you pass the pipeline on, make"
    " sure that the terms of such a model and the rights in the texts allow it."
)


def package(
    frozen: Path,
    output_dir: Path,
    *,
    name: str,
    version: str,
    description: str = "",
    license: str = "",
    evaluation: Mapping[str, Any] | None = None,
    corpus: Mapping[str, str] | None = None,
    train: Part | None = None,
) -> Path:
    """Build the wheel. The frozen directory gets the same `meta.json` and a model card, `README.md`.

    frozen (Path): See `freeze`.
    output_dir (Path): Gets a directory `<lang>_<name>-<version>`; one that is there already is replaced.
    name (str): The package's name, with or without the language in front.
    evaluation (Optional[Mapping[str, Any]]): What `evaluation.json` holds: figures for the card and `meta.json`.
    corpus (Optional[Mapping[str, str]]): Training files by name with their sha256.
    train (Optional[Part]): Of the manifest: whose the training labels are.
    RETURNS (Path): The wheel.
    RAISES (ConfigError): A name or version that pip would not take, or the build failed.
    """
    meta = json.loads((frozen / "meta.json").read_text(encoding="utf8"))
    name = check_name(name, meta["lang"])
    try:
        version = str(Version(version))
    except InvalidVersion as error:
        raise ConfigError(f"The version {version!r} is not one that pip understands; write it like 1.0.0.") from error
    meta.update(
        name=name,
        version=version,
        description=description or describe(meta, evaluation, train),
        license=license,
        notes=note(evaluation, train),
        performance=performance(evaluation) if evaluation else {},
        distillation={
            "teacher": teacher_of(evaluation, train),
            "train": {"texts": train.docs, "people": train.gold, "models": dict(train.models)} if train else None,
            "corpus": dict(corpus or {}),
        },
    )
    (frozen / "meta.json").write_text(json.dumps(meta, indent=2, ensure_ascii=False) + "\n", encoding="utf8")
    (frozen / "README.md").write_text(card(meta, evaluation), encoding="utf8")
    output_dir.mkdir(parents=True, exist_ok=True)
    project = output_dir / f"{meta['lang']}_{name}-{version}"
    if project.exists():
        shutil.rmtree(project)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # spaCy leaves the files it writes to the garbage collector
        spacy_package(
            frozen,
            output_dir,
            code_paths=sorted(frozen.glob("*.py")),
            name=name,
            version=version,
            create_sdist=False,
            create_wheel=False,
            require_parent=True,
        )
    _drop_our_requirement(project)
    _add_entry_points(project, f"{meta['lang']}_{name}", {file.stem for file in frozen.glob("*.py")})
    return build_wheel(project)


def _drop_our_requirement(project: Path) -> None:
    """Where the pipeline carries code of ours, spaCy found the original in this package and would ask for it."""
    meta = json.loads((project / "meta.json").read_text(encoding="utf8"))
    meta["requirements"] = [line for line in meta["requirements"] if Requirement(line).name not in NOT_REQUIRED]
    (project / "meta.json").write_text(json.dumps(meta, indent=2, ensure_ascii=False) + "\n", encoding="utf8")


def _add_entry_points(project: Path, package: str, modules: Set[str]) -> None:
    """Have spaCy find what the package carries without importing it first: a pipeline that was loaded from it, changed
    and saved elsewhere loads in another process.

    modules (Set[str]): Names of the modules that the package carries.
    """
    groups: dict[str, list[str]] = {"spacy_models": [f"{package} = {package}"]}
    for one in carried_entry_points():
        module = one.module.removeprefix(CARRIED)
        if module in modules:
            groups.setdefault(one.group, []).append(f"{one.name} = {package}.{module}:{one.attr}")
    setup = project / "setup.py"
    said = setup.read_text(encoding="utf8")
    setup.write_text(_ENTRY_POINTS.sub(lambda _: f"entry_points={groups!r}", said), encoding="utf8")


def check_name(name: str, lang: str) -> str:
    """RETURNS (str): The name without the language in front. RAISES (ConfigError): It cannot be a package's name."""
    name = name.removeprefix(f"{lang}_")
    if not (name.isascii() and name.isidentifier() and name.islower()) or "__" in name or name.endswith("_"):
        raise ConfigError(
            f"The name {name!r} cannot be installed. Use small letters, digits and single underscores, such as"
            " 'reviews_small'."
        )
    return name


def build_wheel(project: Path) -> Path:
    """Build a package directory's wheel, with this environment's setuptools where it can, else in one that pip makes.

    RETURNS (Path): The wheel.
    RAISES (ConfigError): The build failed.
    """
    command = [sys.executable, "-m", "build", ".", "--wheel"]
    if importlib.util.find_spec("setuptools") and Version(installed_version("setuptools")) >= Version("70.1"):
        command.append("--no-isolation")  # builds wheels by itself, and needs no network
    done = subprocess.run(command, cwd=project, capture_output=True, text=True)
    wheels = list((project / "dist").glob("*.whl"))
    if done.returncode or len(wheels) != 1:
        said = "\n".join((done.stdout + done.stderr).strip().splitlines()[-8:])
        raise ConfigError(f"Building the wheel in {project} failed:\n{said}")
    return wheels[0]


def student_result(evaluation: Mapping[str, Any]) -> dict[str, Any]:
    """RETURNS (Dict[str, Any]): What `evaluation.json` says of the system under test."""
    found: dict[str, Any] = evaluation["results"][0]
    return found


def performance(evaluation: Mapping[str, Any]) -> dict[str, Any]:
    """RETURNS (Dict[str, Any]): The figures against gold for `meta.json`, named as spaCy names them."""
    student = student_result(evaluation)
    prefix = "ents" if evaluation["task"] == "ner" else "cats"
    names = {"micro_f1": "micro_f", "macro_f1": "macro_f", "precision": "micro_p", "recall": "micro_r"}
    if prefix == "ents":
        names = {"micro_f1": "f", "precision": "p", "recall": "r"}
    found = {f"{prefix}_{short}": round(student["scores"][long]["value"], 4) for long, short in names.items()}
    if evaluation["exclusive"] and prefix == "cats":
        found["cats_accuracy"] = round(student["scores"]["accuracy"]["value"], 4)
    found[f"{prefix}_f_per_type"] = {
        score["label"]: {key: round(score[full], 4) for key, full in (("p", "precision"), ("r", "recall"), ("f", "f1"))}
        for score in student["labels"]
        if score["support"]
    }
    if student["words_per_s"]:
        found["speed"] = round(student["words_per_s"], 1)
    return found


def teacher_of(evaluation: Mapping[str, Any] | None, train: Part | None = None) -> str | None:
    """RETURNS (Optional[str]): The models that made the training labels, as they named themselves; where nobody counted
    those, the teacher that was evaluated."""
    if train is None or train.gold is None:
        return (evaluation or {}).get("teacher")
    return ", ".join(model for model in train.models if model != UNRECORDED) or None


def is_file(model: str) -> bool:
    """RETURNS (bool): Whether a model is a file of labels, as `Recorded.v1` and `import` name it: anybody may have made
    them."""
    return Path(model).suffix.lower() in FORMATS


def note(evaluation: Mapping[str, Any] | None, train: Part | None = None) -> str:
    """RETURNS (str): Who made the training labels, as far as it is known, and what follows from it."""
    teacher = teacher_of(evaluation, train)
    if train is None or train.gold is None:
        return SILVER_NOTE if teacher else UNKNOWN_NOTE
    if train.gold == train.docs:
        return PEOPLE_NOTE
    models = ", ".join(train.models)
    if train.gold:
        return f"{train.gold} of {train.docs} training texts were labelled by people, the rest by {models}.{_ALLOWED}"
    unknown = [model for model in train.models if model == UNRECORDED or is_file(model)]
    if len(unknown) < len(train.models) and unknown:
        who = ", ".join(unknown)
        return f"Its training labels come from {models}; whether people made those of {who} is not recorded.{_ALLOWED}"
    if unknown:
        return f"Its training labels come from {models}. {UNKNOWN_NOTE}" if teacher else UNKNOWN_NOTE
    return f"Its training labels were made by {models} (silver), not by people.{_ALLOWED}"


def describe(meta: Mapping[str, Any], evaluation: Mapping[str, Any] | None, train: Part | None = None) -> str:
    """RETURNS (str): One sentence on what the pipeline does."""
    labels = [label for found in meta["labels"].values() for label in found]
    shown = ", ".join(labels[:8]) + (" …" if len(labels) > 8 else "")
    what = "Finds" if any(name.endswith("ner") for name in meta["labels"]) else "Sorts texts into"
    teacher = teacher_of(evaluation, train)
    return f"{what} {shown}." + (f" Distilled from {teacher}." if teacher and not is_file(teacher) else "")


def card(meta: Mapping[str, Any], evaluation: Mapping[str, Any] | None) -> str:
    """RETURNS (str): The model card, in Markdown."""
    environment = Environment(
        loader=PackageLoader("spacy_distill.release"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["cell"] = lambda value: str(value).replace("|", "\\|").replace("\n", " ")
    environment.filters["speed"] = speed
    return environment.get_template("card.md.jinja").render(
        meta=meta,
        evaluation=evaluation,
        package=f"{meta['lang']}_{meta['name']}",
        classifier=next((name for name, labels in meta["labels"].items() if labels), ""),
    )


def read_evaluation(path: Path, model_sha256: str) -> dict[str, Any]:
    """Read `evaluation.json` and make sure that it is about the model at hand.

    model_sha256 (str): See `sha256_of`.
    RAISES (StageError): No such file, or it is about another model.
    RAISES (InputError): It is no evaluation.
    """
    if not path.is_file():
        raise StageError(f"{path} does not exist. Run `spacy-distill evaluate` first.")
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf8"))
        digests = student_result(found)["files"].values()
    except (ValueError, KeyError, IndexError, TypeError) as error:
        raise InputError(f"{path} is not what `spacy-distill evaluate` writes.") from error
    if model_sha256 not in digests:
        raise StageError(
            f"{path} is about another model than the one to be released. Run `spacy-distill evaluate` again."
        )
    return found
