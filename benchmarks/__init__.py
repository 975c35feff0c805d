"""Measurements against peers: `python -m benchmarks.NAME`. Each shows a table and ends with one line of JSON."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent


def data_path(*parts: str) -> Path:
    """Find the real data: in the folder that the environment variable SPACY_DISTILL_DATA names, else in
    `../shared/data`. Where they are not, say so and exit with 0.

    RETURNS (Path): An existing file or folder.
    """
    path = Path(os.environ.get("SPACY_DISTILL_DATA") or ROOT.parent / "shared" / "data").joinpath(*parts)
    if not path.exists():
        print(f"{path} is not there: nothing to measure with. Set SPACY_DISTILL_DATA to the folder of the data.")
        sys.exit(0)
    return path


def print_json(**figures: Any) -> None:
    """Print a benchmark's last line: every figure by name."""
    print(json.dumps(figures, ensure_ascii=False), flush=True)
