"""The whole line by its own commands, in a folder of its own: what every benchmark of a student needs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from spacy.util import load_config

from spacy_distill.students.tiers import Run, find_tiers, train_on_all, train_tier
from spacy_distill.types import TaskName

from . import ROOT


def command(*args: str | Path, folder: Path, show: bool = False) -> str:
    """Run `python -m …` in a folder.

    RETURNS (str): What it printed. RAISES (SystemExit): It failed; what it printed is shown.
    """
    result = subprocess.run(
        [sys.executable, "-m", *map(str, args)],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf8",
        check=False,
    )
    if result.returncode or show:
        print(result.stdout)
    if result.returncode:
        raise SystemExit(f"Failed: {' '.join(map(str, args))}")
    return result.stdout


def curate_and_train(folder: Path, config: str, *, gold: Path, seed: int = 0, overrides: tuple[str, ...] = ()) -> Path:
    """Curate `annotations/pool.spacy`, build the corpus, train.

    config (str): The student's config in `configs/`, without its ending.
    gold (Path): What must not be trained on.
    RETURNS (Path): `model-best`.
    """
    rules = ROOT / "configs" / "curation.cfg"
    command(
        "spacy_distill", "curate", "annotations/pool.spacy", "curated", "--config", rules, "--gold", gold, folder=folder
    )
    command("spacy_distill", "corpus", "curated", "corpus", "--seed", str(seed), folder=folder)
    output = folder / "training" / f"{config}-{seed}"
    student = ROOT / "configs" / f"{config}.cfg"
    command("spacy", "train", student, "--output", output, "--system.seed", str(seed), *overrides, folder=folder)
    return output / "model-best"


def train(
    name: str,
    corpus: Path,
    folder: Path,
    seed: int,
    *,
    task: TaskName,
    config: str | None = None,
    exclusive: bool = True,
    vectors: Path | None = None,
    max_steps: int | None = None,
    whole: bool = False,
) -> Run | None:
    """Train a student as a sweep does, unless that was done before: into `training/NAME` of a folder.

    config (Optional[str]): One of `configs/`, without its ending, if its name is another.
    vectors (Optional[Path]): A table for the student's words, see `write_vectors`.
    whole (bool): On dev too, as a sweep's winner, if it does not need dev to know when to stop.
    RETURNS (Optional[Run]): The training; None where something that it needs is not installed, which is said.
    """
    settings = load_config(ROOT / "configs" / f"{config or name}.cfg", interpolate=False)
    if "encoder" in settings["paths"]:
        settings["paths"]["encoder"] = str(fetch_encoder())
    if vectors is not None:
        settings["paths"]["vectors"] = str(vectors)
    for component in settings["components"].values():
        if "exclusive" in component:
            component["exclusive"] = exclusive
        embed = component.get("model", {}).get("tok2vec", {}).get("embed", {})
        if "include_static_vectors" in embed:
            embed["include_static_vectors"] = vectors is not None
    if max_steps is not None:
        settings["training"]["max_steps"] = max_steps
    (folder / "configs").mkdir(parents=True, exist_ok=True)
    settings.to_disk(folder / "configs" / f"{name}.cfg")
    (tier,) = (one for one in find_tiers(folder / "configs", task, exclusive) if one.name == name)
    if tier.missing:
        print(f"{name} is left out: {', '.join(tier.missing)} is not there.", flush=True)
        return None
    if whole and not tier.needs_dev:
        return train_on_all(tier, corpus, folder / "training")
    return train_tier(tier, [corpus], folder / "training", seed)


def fetch_encoder() -> Path:
    """RETURNS (Path): MiniLM's folder. Fetches it if need be."""
    encoder = ROOT / "assets" / "encoder"
    if not (encoder / "model.safetensors").exists():
        command("demo.fetch", "encoder", folder=ROOT, show=True)
    return encoder


def write_vectors(folder: Path, *texts: Path) -> Path:
    """RETURNS (Path): MiniLM's vectors of the words in all texts, in the folder's `vectors`."""
    if not (folder / "vectors").exists():
        command("spacy_distill", "vectors", fetch_encoder(), "vectors", *texts, folder=folder)
    return folder / "vectors"


def evaluate(folder: Path, model: Path, gold: Path, *options: str | Path) -> dict[str, Any]:
    """RETURNS (Dict[str, Any]): What `spacy-distill evaluate` wrote to evaluation.json."""
    command("spacy_distill", "evaluate", model, gold, "evaluation", *options, folder=folder, show=True)
    found: dict[str, Any] = json.loads((folder / "evaluation" / "evaluation.json").read_text(encoding="utf8"))
    return found
