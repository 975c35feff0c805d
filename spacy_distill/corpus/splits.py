"""A corpus's folder and those within it that hold the same texts, divided otherwise into train and dev."""

from __future__ import annotations

import shutil
from itertools import count, takewhile
from pathlib import Path

from .manifest import MANIFEST


def split_folder(corpus: Path, number: int) -> Path:
    """RETURNS (Path): Where a split stands; the corpus's own, 0, in the corpus's folder itself."""
    return corpus / f"split-{number}" if number else corpus


def find_splits(corpus: Path) -> list[Path]:
    """RETURNS (List[Path]): The folders of all the splits there are, the corpus's own first."""
    further = (split_folder(corpus, number) for number in count(1))
    return [corpus, *takewhile(lambda folder: (folder / MANIFEST).is_file(), further)]


def remove_splits(corpus: Path) -> None:
    """Remove all splits but the corpus's own."""
    for folder in find_splits(corpus)[1:]:
        shutil.rmtree(folder)
