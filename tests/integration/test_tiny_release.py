"""The tiny student from `spacy train` to a wheel that answers where only spaCy is."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import spacy
from spacy.tokens import DocBin

from spacy_distill.corpus.manifest import Manifest, Part
from spacy_distill.evaluation.run import evaluate_files
from spacy_distill.release import isolated
from spacy_distill.release.release import release

CONFIG = Path(__file__).resolve().parents[2] / "configs" / "textcat_tiny.cfg"
LABELS = ("complaint", "praise")
ITEMS = ("strap", "screen", "battery", "hinge", "lid", "case", "cable", "lens", "dial", "knob")
FRAMES = {"praise": ("I love the {}.", "The {} is great!"), "complaint": ("The {} broke.", "Awful {}, never again.")}
TEXTS = [(frame.format(item), label) for item in ITEMS for label, frames in FRAMES.items() for frame in frames]


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A corpus, and the pipeline that `spacy train` made of it with the config as it is."""
    root = tmp_path_factory.mktemp("project")
    (root / "corpus").mkdir()
    nlp = spacy.blank("en")
    for name, texts in (("train", TEXTS[:28]), ("dev", TEXTS[28:])):
        docs = []
        for text, label in texts:
            doc = nlp.make_doc(text)
            sure = 0.9 if name == "train" else 1.0
            doc.cats = {other: sure if other == label else 1 - sure for other in LABELS}
            docs.append(doc)
        DocBin(docs=docs).to_disk(root / "corpus" / f"{name}.spacy")
    (root / "corpus" / "labels.json").write_text(json.dumps(LABELS))
    train, dev = Part(28, {"complaint": 14, "praise": 14}), Part(12, {"complaint": 6, "praise": 6})
    Manifest("textcat", LABELS, True, True, train, dev, "silver", 0.5, 0, 40, {}, None, {}).write(
        root / "corpus" / "manifest.json"
    )
    with (root / "gold.jsonl").open("w") as file:
        for i, (text, label) in enumerate(TEXTS):
            file.write(json.dumps({"id": f"t{i}", "text": text, "gold": label}) + "\n")
    command = [sys.executable, "-m", "spacy", "train", CONFIG, "--output", "training/tiny"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=root)
    assert done.returncode == 0, done.stdout + done.stderr
    return root


def test_what_spacy_train_keeps_was_scored_on_dev(project):
    meta = json.loads((project / "training" / "tiny" / "model-best" / "meta.json").read_text())
    assert meta["performance"]["cats_score"] > 0.9
    assert meta["labels"] == {"textcat": list(LABELS)}


@pytest.mark.slow
def test_the_wheel_answers_where_only_spacy_is(project, tmp_path):
    model = project / "training" / "tiny" / "model-best"
    evaluation = evaluate_files(model, project / "gold.jsonl", project / "evaluation", corpus=project / "corpus")
    assert evaluation.results[0].scores["accuracy"].value > 0.9
    released = release(
        model,
        project / "packages",
        name="tiny_things",
        version="1.0.0",
        evaluation=project / "evaluation" / "evaluation.json",
        manifest=project / "corpus" / "manifest.json",
    )
    assert released.size_mb < 0.2
    with zipfile.ZipFile(released.wheel) as archive:
        archive.extractall(tmp_path / "site")
        metadata = archive.read("en_tiny_things-1.0.0.dist-info/METADATA").decode()
    assert [line.partition("<")[0] for line in metadata.splitlines() if line.startswith("Requires-Dist")] == [
        "Requires-Dist: spacy"
    ]
    for file in (tmp_path / "site").rglob("*.cfg"):
        assert "distill" not in file.read_text()
    program = Path(isolated.__file__).read_text() + (
        "\nnlp = sys.modules['spacy'].load('en_tiny_things')"
        "\nassert nlp.tokenizer.max_cache_size == 1_000_000"
        "\nassert not [name for name in sys.modules if name.startswith(('spacy_distill', 'scipy', 'sklearn'))]"
        "\nnlp.add_pipe('sentencizer')"
        "\nnlp.to_disk('saved')"
    )
    texts = [text for text, _ in TEXTS] + ["Is the lid ok?", "ça va 🙂"]
    # What was loaded from the wheel and saved anew loads as well, in a process that has not imported the wheel.
    for code, path in ((program, "en_tiny_things"), (Path(isolated.__file__).read_text(), "saved")):
        done = subprocess.run(
            [sys.executable, "-c", code, path],
            input=json.dumps(texts),
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(tmp_path / "site")},
        )
        assert done.returncode == 0, done.stderr
        answers = json.loads(done.stdout)
        for doc, answer in zip(spacy.load(model).pipe(texts), answers, strict=True):
            assert answer["cats"] == pytest.approx(doc.cats, abs=1e-6)
