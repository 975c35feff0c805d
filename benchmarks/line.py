"""The whole line by its own commands, in a folder of its own: what every benchmark of a student needs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

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


def evaluate(folder: Path, model: Path, gold: Path, *options: str | Path) -> dict[str, Any]:
    """RETURNS (Dict[str, Any]): What `spacy-distill evaluate` wrote to evaluation.json."""
    command("spacy_distill", "evaluate", model, gold, "evaluation", *options, folder=folder, show=True)
    found: dict[str, Any] = json.loads((folder / "evaluation" / "evaluation.json").read_text(encoding="utf8"))
    return found
