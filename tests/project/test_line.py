"""The whole line, run as a user runs it: `spacy project run all`, from texts to a wheel in a clean environment."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from chat_server import Answer, ChatServer, Seen, completion

ROOT = Path(__file__).resolve().parents[2]
LABELS = ("refund, please", "how-to")
THINGS = ("lamp", "kettle", "desk", "chair", "clock", "radio", "fan", "shelf", "mirror", "rug", "plant", "bowl", "vase")
FRAMES = {
    "refund, please": ("Send my money back for the {}.", "The {} came broken, I want a refund.", "Refund this {} now!"),
    "how-to": ("How do I set up the {}?", "Where is the manual for my {}?", "Which side of the {} goes up?"),
}


def _texts() -> list[tuple[str, str]]:
    found = [(f.format(thing), label) for label, frames in FRAMES.items() for f in frames for thing in THINGS]
    random.Random(0).shuffle(found)
    return found


def _answer(seen: Seen) -> Answer:
    """Answer by the text's own words, four in five times in the agreed form."""
    text = next(text for text, _ in _texts() if text in seen.prompt)
    label = next(label for found, label in _texts() if found == text)
    if text.startswith("Which") and "lamp" in text:
        return Answer(200, completion("I cannot decide."))
    if text.startswith("Where") and "desk" in text:
        return Answer(200, completion(json.dumps({"label": "complaint"})))
    return Answer(200, completion(json.dumps({"label": label})))


def _run(*args: str, cwd: Path) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.endswith("_API_KEY")}
    result = subprocess.run(
        [sys.executable, "-m", *args],
        cwd=cwd,
        env={**environment, "PYTHONPATH": str(ROOT), "COLUMNS": "200", "OMP_NUM_THREADS": "1"},  # other tests run too
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, f"{' '.join(args)}\n{result.stdout}\n{result.stderr}"
    return result.stdout + result.stderr


@pytest.mark.slow
def test_a_scaffolded_project_runs_from_texts_to_a_wheel(tmp_path: Path) -> None:
    texts = _texts()
    (tmp_path / "mine.csv").write_text("text\n" + "".join(f'"{text}"\n' for text, _ in texts[20:]), encoding="utf8")
    gold = "".join(json.dumps({"text": text, "gold": label}) + "\n" for text, label in texts[:20])
    (tmp_path / "checked.jsonl").write_text(gold, encoding="utf8")
    server = ChatServer(behave=_answer)
    try:
        labels = [part for label in LABELS for part in ("--label", label)]
        _run(
            "spacy_distill", "init", "helpdesk", *labels, "--texts", "mine.csv", "--gold", "checked.jsonl",
            "--model", "loopback-1", "--endpoint", server.url, cwd=tmp_path,
        )  # fmt: skip
        project = tmp_path / "helpdesk"
        shown = _run("spacy", "project", "run", "preview", cwd=project)
        assert "refund, please" in shown
        assert len(server.seen) == 10
        first = _run("spacy", "project", "run", "all", cwd=project)
        assert len(server.seen) == len(texts), "each text was asked once, the previewed ones not again"
        second = _run("spacy", "project", "run", "all", cwd=project)
        assert len(server.seen) == len(texts)
        assert second.count("Skipping") == first.count("Running command")
    finally:
        server.close()
    pool = json.loads((project / "annotations" / "pool.json").read_text(encoding="utf8"))
    assert sum(pool["statuses"]["textcat"].values()) == len(texts) - 20
    rejected = [
        json.loads(line) for line in (project / "curated" / "rejected.jsonl").read_text(encoding="utf8").splitlines()
    ]
    kept = json.loads((project / "corpus" / "manifest.json").read_text(encoding="utf8"))
    assert pool["statuses"]["textcat"]["ok"] + len([r for r in rejected if r["rule"] == "status"]) == len(texts) - 20
    assert LABELS[0] in json.dumps(kept)
    evaluation = json.loads((project / "evaluation" / "evaluation.json").read_text(encoding="utf8"))
    student = evaluation["results"][0]
    assert student["scores"]["accuracy"]["value"] > 0.8
    (wheel,) = project.glob("packages/**/*.whl")
    assert wheel.stat().st_size < 5_000_000


@pytest.mark.slow
@pytest.mark.local
def test_the_demo_on_a_few_texts(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    assets = ROOT / "assets"
    needed = [assets / "unlabelled.jsonl", assets / "encoder" / "model.safetensors", *assets.glob("model/*.gguf")]
    if len(needed) != 3 or not all(path.exists() for path in needed):
        pytest.skip("the demo's text and models are absent: run `make test`, or its steps text, model and encoder")
    ignored = shutil.ignore_patterns(".*", "annotations", "curated", "corpus", "training", "packages", "evaluation")
    project = tmp_path / "demo"
    project.mkdir()
    for name in ("configs", "demo"):
        shutil.copytree(ROOT / name, project / name, ignore=ignored)
    shutil.copy(ROOT / "project.yml", project)
    for folder in ("model", "encoder"):
        (project / "assets" / folder).mkdir(parents=True)
        for path in (assets / folder).iterdir():
            (project / "assets" / folder / path.name).symlink_to(path)
    for name, count in {"reviews": 240, "gold_sample": 40, "gold": 60, "unlabelled": 300}.items():
        lines = (assets / f"{name}.jsonl").read_text(encoding="utf8").splitlines(keepends=True)
        (project / "assets" / f"{name}.jsonl").write_text("".join(lines[:count]), encoding="utf8")
    _edit(project / "configs" / "candidates.cfg", r"shots = .*", "shots = [0]")
    _edit(project / "configs" / "textcat_tuned.cfg", r"tuned_layers = .*", "tuned_layers = 1")
    steps = re.search(r"all: \[(.*)\]", (project / "project.yml").read_text(encoding="utf8"))
    assert steps is not None
    shown = ""
    for step in steps.group(1).split(", "):
        if step not in ("text", "model", "encoder"):
            shown = _run("spacy", "project", "run", step, cwd=project)
    assert all(name in shown for name in ("teacher", "large student", "tiny student", "majority"))
    answers = (project / ".venv-student" / "answers.txt").read_text(encoding="utf8").splitlines()
    assert len(answers) == 4
    evaluation: dict[str, Any] = json.loads((project / "evaluation" / "evaluation.json").read_text(encoding="utf8"))
    assert {result["name"] for result in evaluation["results"]} == {"student", "teacher", "majority"}
    again = _run("spacy", "project", "run", "annotate", cwd=project)
    assert "Skipping" in again


def _edit(path: Path, pattern: str, replacement: str) -> None:
    text, count = re.subn(pattern, replacement, path.read_text(encoding="utf8"))
    assert count == 1, path
    path.write_text(text, encoding="utf8")
