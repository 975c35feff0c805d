"""Where a local model's weights are, and how they are loaded: a folder, a GGUF file, or a name on the hub."""

from __future__ import annotations

import contextlib
import hashlib
import io
import logging
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from ..errors import TeacherError

logger = logging.getLogger("spacy_distill")

Device = Literal["auto", "cpu", "cuda"]

_MODEL_FILES = (".safetensors", ".bin", ".json", ".model", ".jinja", ".txt")
_SAMPLES, _SAMPLE_BYTES = 16, 1 << 16
_LOADING = threading.Lock()
"""Standard error and gguf's readers are the whole process's."""


@dataclass(frozen=True, slots=True)
class Source:
    """Weights that were found, not loaded.

    place (str): The folder, or the name on the hub.
    gguf (Optional[str]): The GGUF file in that folder; None for a folder of `config.json` and safetensors.
    local (bool): On this machine: loading never opens a connection.
    """

    place: str
    gguf: str | None
    local: bool


def find(name: str) -> Source:
    """Tell what a model's name stands for.

    name (str): A GGUF file, a folder, or a hub name such as "org/model". A path that exists is never a hub name.
    RETURNS (Source): Where to load it from.
    RAISES (TeacherError): It is written as a path and there is nothing, or the folder holds no model.
    """
    path = Path(name).expanduser()
    if path.is_file():
        if path.suffix.lower() != ".gguf":
            raise TeacherError(
                f"{path.name} is not a GGUF file. Give the folder that holds the model, or a .gguf file."
            )
        return Source(str(path.parent), path.name, True)
    if path.is_dir():
        if (path / "config.json").is_file():
            return Source(str(path), None, True)
        files = sorted(file.name for file in path.glob("*.gguf"))
        if len(files) == 1:
            return Source(str(path), files[0], True)
        if files:
            raise TeacherError(f"The folder {name} holds several models: name one of {', '.join(files)}.")
        raise TeacherError(f"The folder {name} is no model: it holds neither config.json nor a .gguf file.")
    if name.startswith((".", "~", "/")) or name.lower().endswith(".gguf") or len(path.parts) != len(name.split("/")):
        raise TeacherError(f"The model {name} does not exist. Fetch it first, or mend `name` in the model's config.")
    if len(path.parts) > 2:
        raise TeacherError(f"The model {name} does not exist, and a hub name has one slash at most.")
    return Source(name, None, False)


def identity(name: str) -> str:
    """Tell weights apart without reading them whole, wherever they lie: by samples of every file that could change an
    answer, tokenizer and settings included. Weights trained further have the same size as before.

    RETURNS (str): "local:DIGEST"; "hub" for a hub name; "local" where nothing is found.
    """
    try:
        source = find(name)
    except TeacherError:
        return "local"
    if not source.local:
        return "hub"
    folder = Path(source.place)
    files = [folder / source.gguf] if source.gguf else sorted(f for f in folder.iterdir() if f.suffix in _MODEL_FILES)
    digest = hashlib.sha256()
    for path in files:
        size = path.stat().st_size
        digest.update(f"{size}\n".encode())
        with path.open("rb") as file:
            for part in range(_SAMPLES):
                file.seek(size * part // _SAMPLES)
                digest.update(file.read(_SAMPLE_BYTES))
    return f"local:{digest.hexdigest()[:16]}"


def load(name: str, device: Device = "auto", threads: int | None = None) -> tuple[Any, Any]:
    """Load a tokenizer and a causal language model. Takes seconds to minutes.

    name (str): See `find`.
    device (Device): "auto" takes the GPU if there is one.
    threads (Optional[int]): Threads on the CPU, for the whole process. None: torch's own choice.
    RETURNS (Tuple[PreTrainedTokenizer, PreTrainedModel]): The model in evaluation mode: float32 on the CPU, its own
        type on a GPU.
    RAISES (TeacherError): The extra `local` is not installed, or the weights cannot be loaded.
    """
    source = find(name)
    try:
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer
    except ImportError as error:
        raise TeacherError(
            f"A local model needs torch and transformers ({error}). Install: pip install 'spacy-distill[local]'"
        ) from error
    if threads is not None:
        torch.set_num_threads(threads)
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    where: dict[str, Any] = {"local_files_only": source.local}
    if source.gguf:
        where["gguf_file"] = source.gguf
    logger.info("Loading %s on %s", source.gguf or Path(source.place).name, device)
    try:
        with _LOADING, _quiet(), read_gguf_once():
            tokenizer = AutoTokenizer.from_pretrained(source.place, **where)
            dtype = torch.float32 if device == "cpu" else "auto"
            model = AutoModelForCausalLM.from_pretrained(source.place, dtype=dtype, **where)
    except (OSError, ValueError, KeyError, ImportError, RuntimeError) as error:
        raise TeacherError(f"The model {name} cannot be loaded ({type(error).__name__}: {error}).") from error
    return tokenizer, model.to(device).eval()


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the loaders' progress bars off the terminal: they are not all under one switch."""
    with contextlib.redirect_stderr(io.StringIO()):
        yield


@contextlib.contextmanager
def read_gguf_once() -> Iterator[None]:
    """Let transformers read a GGUF file's header once, not for the tokenizer, the config and the weights each, and make
    the table of its tensors' names once, not for every module of the model. It takes a third of the time."""
    try:
        import gguf
    except ImportError:  # transformers says what it is needed for.
        yield
        return
    reader, names = gguf.GGUFReader, gguf.get_tensor_name_map
    gguf.GGUFReader, gguf.get_tensor_name_map = lru_cache(maxsize=1)(reader), lru_cache(maxsize=1)(names)
    try:
        yield
    finally:
        gguf.GGUFReader, gguf.get_tensor_name_map = reader, names
