"""Prove that a frozen pipeline runs without this package and says what the trained one says."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from spacy.language import Language

from ..errors import ConfigError

TOLERANCE = 1e-6
_ERROR = re.compile(r"^[\w.]+(Error|Exception): ")
SAMPLES = (
    "The battery lasts two days and the screen is bright.",
    "Refund requested: it stopped working after a week!!!",
    "Meet me in Lisbon on 3 May, says Dr. Ada Okafor.",
    "WIN a prize now, call 0800 000 000",
    "whisk 2 eggs w/ 100g sugar 🥚🍬 and bake",
    "Ça va ? Наука 科学 naïve café",
    "word " * 400,
    ".",
)
"""Invented texts of several kinds: the check is that both pipelines agree, whatever they say."""


def verify(trained: Language, frozen_path: Path, texts: Sequence[str] = ()) -> int:
    """Compare a trained pipeline with its frozen copy, which is loaded in a process that has neither this package nor
    spaCy-llm.

    trained (Language): The pipeline before it was frozen.
    frozen_path (Path): See `freeze`.
    texts (Sequence[str]): Texts of the user's own to compare on, beside `SAMPLES`.
    RETURNS (int): How many texts were compared.
    RAISES (ConfigError): The frozen pipeline does not load, or answers differently.
    """
    asked = [text for text in (*SAMPLES, *texts) if text.strip()]
    found = _answers_in_isolation(frozen_path, asked)
    for text, doc, answer in zip(asked, trained.pipe(asked), found, strict=True):
        expected = [[ent.start_char, ent.end_char, ent.label_] for ent in doc.ents]
        same = set(doc.cats) == set(answer["cats"]) and answer["ents"] == expected
        if not same or any(not abs(score - answer["cats"][label]) <= TOLERANCE for label, score in doc.cats.items()):
            raise ConfigError(
                f"The frozen pipeline at {frozen_path} answers differently from the trained one, first for"
                f" text {asked.index(text)} of the check: {answer} instead of {dict(doc.cats)}, {expected}."
            )
    return len(asked)


def _answers_in_isolation(path: Path, texts: Sequence[str]) -> list[dict[str, Any]]:
    program = Path(__file__).with_name("isolated.py").read_text(encoding="utf8")
    done = subprocess.run(
        [sys.executable, "-c", program, str(path.resolve())],
        input=json.dumps(texts),
        capture_output=True,
        text=True,
        encoding="utf8",
        cwd=path.resolve(),
    )
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["no message"]
        error = next((line for line in reversed(lines) if _ERROR.match(line)), lines[-1])
        raise ConfigError(f"The frozen pipeline at {path} does not load with spaCy alone: {error}")
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found
