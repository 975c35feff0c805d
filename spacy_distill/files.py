"""Files that several stages write, name or replace: their hash, what was in them, and JSON for people and programs."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any


def file_sha256(path: Path) -> str:
    """RETURNS (str): Hex digest of the file's bytes."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def shown_path(path: Path) -> str:
    """Name a file in what may be passed on, without saying where on this machine it lies.

    RETURNS (str): With forward slashes: a relative path as it is, an absolute one from the working directory on, or
        its last part if it lies elsewhere.
    """
    if not path.is_absolute():
        return path.as_posix()
    return path.relative_to(Path.cwd()).as_posix() if path.is_relative_to(Path.cwd()) else path.name


def describe_file(path: Path) -> dict[str, str]:
    """RETURNS (Dict[str, str]): `path`, see `shown_path`, and `sha256`."""
    return {"path": shown_path(path), "sha256": file_sha256(path)}


def same_content(one: Path, other: Path) -> bool:
    """RETURNS (bool): Whether both are files with the same bytes, or folders of such files under the same names."""
    if one.is_dir() != other.is_dir():
        return False
    if one.is_file():
        return one.read_bytes() == other.read_bytes()
    names = [{path.relative_to(folder) for path in folder.rglob("*") if path.is_file()} for folder in (one, other)]
    return names[0] == names[1] and all(same_content(one / name, other / name) for name in names[0])


def keep_old(path: Path) -> Path:
    """Keep what is in a file, or a folder, before it is written over: a copy of the file, or the folder itself.

    RETURNS (Path): `NAME~`, beside it; `NAME~2` and so on where earlier calls kept something.
    """
    names = (f"{path.name}~{number if number > 1 else ''}" for number in count(1))
    old = next(place for place in map(path.with_name, names) if not place.exists())
    if path.is_dir():
        path.rename(old)
    else:
        shutil.copyfile(path, old)
    return old


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Write a file in one step: whoever reads it finds all of it, or what stood there before. Its folder is made. One
    that was there keeps its permissions.

    YIELDS (Path): Where to write, a folder of files too if there is none yet. It takes its place at the end, or goes
        where that is not reached.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists() and not path.is_file():  # a pipe or the like, or a folder, which the system refuses
        yield path
        return
    path = path.resolve()
    there = path.exists()
    if there and not os.access(path, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        if there:
            part.touch(0o600)  # Until it is whole it is for nobody else.
        yield part
        if there:
            with suppress(OSError):  # Some network drives have no permissions.
                shutil.copymode(path, part)
        part.replace(path)
    finally:
        if part.is_dir():
            shutil.rmtree(part)
        part.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text as it is."""
    _write(path, [text])


def write_json(path: Path, data: Any) -> None:
    """Write indented JSON, not escaped, with a newline at the end."""
    _write(path, [json.dumps(data, ensure_ascii=False, indent=2), "\n"])


def write_jsonl(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write one JSON object a line."""
    _write(path, (json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def _write(path: Path, pieces: Iterable[str]) -> None:
    with whole_file(path) as part, part.open("w", encoding="utf8", newline="\n") as file:
        file.writelines(pieces)
