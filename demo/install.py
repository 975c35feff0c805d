"""Try the wheel as a stranger would: a new virtual environment, the wheel, spaCy, and nothing else.

    python -m demo.install packages

Labels a few new sentences in a process that may not open a connection and has no environment variables.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import venv
from pathlib import Path

FOLDER = Path(".venv-student")
SENTENCES = [
    "The picture is crisp and the menus are a joy to use.",
    "It stopped working after two days and nobody answers the phone.",
    "I would buy this camera again without a second thought.",
    "Do not waste your money on this player.",
]
PROGRAM = """
import json, sys

def no_network(event, args):
    if event in ("socket.connect", "socket.getaddrinfo"):
        raise RuntimeError("the student tried to open a connection")

sys.addaudithook(no_network)
import spacy

for name in ("spacy_distill", "spacy_llm", "torch", "pycurl"):
    try:
        __import__(name)
    except ImportError:
        continue
    raise SystemExit(f"{name} is installed: this environment is not clean")
nlp = spacy.load(sys.argv[1])
for doc in nlp.pipe(json.loads(sys.argv[2])):
    label = max(doc.cats, key=doc.cats.get)
    print(f"{label:>10} {doc.cats[label]:.2f}  {doc.text}")
"""


def main(packages: Path) -> None:
    """Install the newest wheel below a folder and let it label `SENTENCES`."""
    wheel = newest_wheel(packages)
    shutil.rmtree(FOLDER, ignore_errors=True)
    print(f"A clean virtual environment in {FOLDER}, with {wheel.name} and what it asks for …", flush=True)
    venv.create(FOLDER, with_pip=True)
    python = FOLDER / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", str(wheel)], check=True)
    command = [str(python.absolute()), "-I", "-c", PROGRAM, wheel.name.split("-")[0], json.dumps(SENTENCES)]
    answers = subprocess.run(command, check=True, env={}, stdout=subprocess.PIPE, text=True, encoding="utf8").stdout
    print(f"New sentences, no network, no keys, no spacy_distill:\n{answers}", end="")
    FOLDER.joinpath("answers.txt").write_text(answers, encoding="utf8")


def newest_wheel(packages: Path) -> Path:
    """RETURNS (Path): The wheel made last. RAISES (SystemExit): There is none."""
    wheels = sorted(packages.glob("**/*.whl"), key=lambda path: path.stat().st_mtime)
    if not wheels:
        raise SystemExit(f"There is no wheel in {packages}. Run the step `release` first.")
    return wheels[-1]


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "packages"))
