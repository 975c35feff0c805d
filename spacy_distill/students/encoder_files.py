"""A pretrained encoder as transformers saves it: read without transformers."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ConfigError, InputError
from .runtime.frozen_encoder import EPSILON, LONGEST, Encoder, WordPieces

CONFIG, TOKENIZER, WEIGHTS = FILES = ("config.json", "tokenizer.json", "model.safetensors")
_KINDS = {"F32": "<f4", "F16": "<f2", "BF16": "<u2"}


def read_encoder(name: str) -> Encoder:
    """Read a BERT and its word pieces.

    name (str): A folder with config.json, tokenizer.json and model.safetensors, or a name on the hub.
    RAISES (InputError): It is not there.
    RAISES (ConfigError): It is not a BERT with word pieces.
    """
    folder = Path(name) if Path(name).is_dir() else _download(name)
    if missing := [file for file in FILES if not (folder / file).is_file()]:
        raise InputError(f"The encoder {name} has no {', '.join(missing)}.")
    config, tokenizer = (json.loads((folder / file).read_text(encoding="utf8")) for file in (CONFIG, TOKENIZER))
    normalizer, model = tokenizer["normalizer"] or {}, tokenizer["model"]
    lowercase = normalizer.get("lowercase", True)
    strips_accents = normalizer.get("strip_accents")
    found = {
        "model_type": config.get("model_type"),
        "hidden_act": config.get("hidden_act"),
        "position_embedding_type": config.get("position_embedding_type", "absolute"),
        "layer_norm_eps": config.get("layer_norm_eps"),
        "tokenizer": model["type"],
        "normalizer": normalizer.get("type"),
        "clean_text": normalizer.get("clean_text", True),
        "handle_chinese_chars": normalizer.get("handle_chinese_chars", True),
        "strip_accents": lowercase if strips_accents is None else strips_accents,
    }
    wanted = ("bert", "gelu", "absolute", EPSILON, "WordPiece", "BertNormalizer", True, True, lowercase)
    if tuple(found.values()) != wanted:
        raise ConfigError(
            f"The encoder {name} is {found}; this runs BERT with word pieces alone, cased with accents or"
            " neither, such as all-MiniLM-L6-v2, BGE or E5. For others there are configs/textcat_transformer.cfg and"
            " configs/ner_transformer.cfg."
        )
    by_id = {number: piece for piece, number in model["vocab"].items()}
    pieces = [by_id.get(number, "") for number in range(max(by_id) + 1)]
    weights = {name.removeprefix("bert."): array for name, array in read_safetensors(folder / WEIGHTS).items()}
    kept = {name: array for name, array in weights.items() if name.startswith(("embeddings.", "encoder."))}
    if (places := len(kept["embeddings.position_embeddings.weight"])) < LONGEST:
        raise ConfigError(f"The encoder {name} reads {places} word pieces at most; this runs such as read {LONGEST}.")
    return Encoder(Encoder.pack(kept), WordPieces(pieces, lowercase), config["num_attention_heads"])


def _download(name: str) -> Path:
    parent = Path(name).parent
    if len(Path(name).parts) != 2 or parent.is_dir():  # A place on this machine is no name on the hub.
        raise InputError(f"There is no folder {name}. The config's [paths] encoder names it, or one on the hub.")
    try:
        from huggingface_hub import snapshot_download
    except ImportError as error:
        raise InputError(
            f"There is no folder {name}; an encoder from the hub needs: pip install 'spacy-distill[local]'"
        ) from error
    try:
        return Path(snapshot_download(name, allow_patterns=list(FILES)))
    except (OSError, ValueError) as error:
        raise InputError(f"The encoder {name} is not a folder, and cannot be had from the hub: {error}") from error


def read_safetensors(path: Path) -> dict[str, Any]:
    """Read a file of weights: eight bytes that hold a length, a JSON header of that length, the numbers.

    RETURNS (Dict[str, NDArray[float32]]): Weights by name; whole numbers are left out.
    RAISES (ConfigError): Weights are of a kind that NumPy does not know.
    """
    data = memoryview(path.read_bytes())
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(bytes(data[8 : 8 + length]))
    numbers = data[8 + length :]
    weights = {}
    for name, found in header.items():
        kind = found.get("dtype", "")
        if kind in _KINDS:
            array = np.frombuffer(numbers[slice(*found["data_offsets"])], _KINDS[kind]).reshape(found["shape"])
            if kind == "BF16":  # the upper half of a float32
                array = (array.astype(np.uint32) << 16).view(np.float32)
            weights[name] = array.astype(np.float32)
        elif kind.startswith("F"):
            raise ConfigError(f"{path} has {name} as {kind}; save it as {', '.join(_KINDS)}.")
    return weights
