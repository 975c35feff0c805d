"""What is written down about files says nothing of this machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from spacy_distill.files import shown_path


def test_no_place_on_this_machine_is_written_down(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "project").mkdir()
    monkeypatch.chdir(tmp_path / "project")
    assert shown_path(Path("assets/gold.jsonl")) == "assets/gold.jsonl"
    assert shown_path(Path.cwd() / "assets" / "gold.jsonl") == "assets/gold.jsonl"
    assert shown_path(tmp_path / "elsewhere" / "gold.jsonl") == "gold.jsonl"
