"""Files are there whole or not at all, and what is written down about them says nothing of this machine."""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest

from spacy_distill.files import shown_path, whole_file, write_json, write_jsonl


def test_no_place_on_this_machine_is_written_down(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "project").mkdir()
    monkeypatch.chdir(tmp_path / "project")
    assert shown_path(Path("assets/gold.jsonl")) == "assets/gold.jsonl"
    assert shown_path(Path.cwd() / "assets" / "gold.jsonl") == "assets/gold.jsonl"
    assert shown_path(tmp_path / "elsewhere" / "gold.jsonl") == "gold.jsonl"


def interrupted() -> Iterator[dict[str, int]]:
    yield {"row": 1}
    raise KeyboardInterrupt


@pytest.mark.parametrize("before", [None, '{"row": 0}\n'])
def test_a_file_cut_off_is_not_there(tmp_path: Path, before: str | None) -> None:
    file = tmp_path / "rows.jsonl"
    if before is not None:
        file.write_text(before, encoding="utf8")
    with pytest.raises(KeyboardInterrupt):
        write_jsonl(file, interrupted())
    assert [path.read_text(encoding="utf8") for path in tmp_path.iterdir()] == ([] if before is None else [before])


def test_a_folder_cut_off_is_not_there(tmp_path: Path) -> None:
    for stopped in (True, False):
        with pytest.raises(KeyboardInterrupt) if stopped else nullcontext(), whole_file(tmp_path / "set") as part:
            part.mkdir()
            (part / "rows").write_text("half", encoding="utf8")
            if stopped:
                raise KeyboardInterrupt
        assert [path.name for path in tmp_path.iterdir()] == ([] if stopped else ["set"])


def test_two_runs_may_write_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "rows.json"
    with whole_file(file) as part:
        part.write_text("half", encoding="utf8")
        with monkeypatch.context() as other:
            other.setattr(os, "getpid", lambda: 1)
            write_json(file, "theirs")
        part.write_text("ours", encoding="utf8")
    assert {path.name: path.read_text(encoding="utf8") for path in tmp_path.iterdir()} == {"rows.json": "ours"}


def test_a_link_stays_one_and_so_does_a_pipe(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("there")
    write_json(tmp_path / "link", 1)
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "there").read_text(encoding="utf8") == "1\n"
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    thread = threading.Thread(target=write_json, args=(pipe, 2))
    thread.start()
    assert pipe.read_text(encoding="utf8") == "2\n"
    thread.join()
    assert pipe.is_fifo()


def test_a_file_keeps_who_may_read_it(tmp_path: Path) -> None:
    file = tmp_path / "texts.jsonl"
    write_json(file, 1)
    for mode in (0o600, 0o664):
        file.chmod(mode)
        with whole_file(file) as part:
            part.write_text("2", encoding="utf8")
            assert stat.S_IMODE(part.stat().st_mode) == 0o600
        assert file.read_text(encoding="utf8") == "2"
        assert stat.S_IMODE(file.stat().st_mode) == mode


def test_a_file_that_may_not_be_written_to_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "rows.json"
    write_json(file, 1)
    file.chmod(0o400)
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # As for anybody but root.
    with pytest.raises(PermissionError) as caught:
        write_json(file, 2)
    assert caught.value.filename == str(file)
    assert [path.read_text(encoding="utf8") for path in tmp_path.iterdir()] == ["1\n"]
