"""A corpus's folder and those within it that hold the same texts, divided otherwise into train and dev."""

from __future__ import annotations

import shutil
from itertools import count
from pathlib import Path

from .build import MANIFEST


def split_folders(corpus: Path, number: int) -> list[Path]:
    """RETURNS (List[Path]): Where so many splits stand, the corpus's own first."""
    return [corpus, *(corpus / f"split-{i}" for i in range(1, number))]


def find_splits(corpus: Path) -> list[Path]:
    """RETURNS (List[Path]): The folders of all the splits there are, the corpus's own first."""
    found = next(i for i in count(1) if not (split_folders(corpus, i + 1)[-1] / MANIFEST).is_file())
    return split_folders(corpus, found)


def remove_splits(corpus: Path, number: int) -> None:
    """Remove what an earlier corpus left beyond so many splits."""
    for folder in find_splits(corpus)[number:]:
        shutil.rmtree(folder)
