"""From a trained model to a wheel in an environment that has spaCy and nothing of ours."""

import json
import os
import re
import shutil
import subprocess
import venv
from pathlib import Path

import pytest
import spacy
from spacy.tokens import DocBin
from spacy.training import Example

from spacy_distill.corpus.manifest import Manifest, Part
from spacy_distill.docs import annotate_doc, write_docs
from spacy_distill.errors import StageError
from spacy_distill.evaluation.run import evaluate_files
from spacy_distill.release.release import release
from spacy_distill.students import soft_textcat  # noqa: F401  (registers the factory where nothing is installed)
from spacy_distill.types import Annotation

LABELS = ("complaint", "praise")
ITEMS = ("strap", "screen", "battery", "hinge", "lid", "case", "cable", "lens", "dial", "knob")
FRAMES = {"praise": ("I love the {}.", "The {} is great!"), "complaint": ("The {} broke.", "Awful {}, never again.")}
TEXTS = [(frame.format(item), label) for item in ITEMS for label, frames in FRAMES.items() for frame in frames]

USE = """
import importlib.util, json, sys
import spacy
missing = [name for name in ("spacy_distill", "spacy_llm", "torch") if importlib.util.find_spec(name)]
nlp = spacy.load("en_tiny_reviews")
texts = json.load(sys.stdin)
cats = [doc.cats for doc in nlp.pipe(texts)]
factory = nlp.get_pipe_meta("soft_textcat").factory
print(json.dumps({"found": missing, "cats": cats, "version": nlp.meta["version"], "factory": factory}))
"""


def train(path):
    nlp = spacy.blank("en")
    bow = {"@architectures": "spacy.TextCatBOW.v3", "exclusive_classes": True, "length": 1024, "ngram_size": 1}
    nlp.add_pipe("soft_textcat", config={"model": {**bow, "no_output_layer": False, "nO": None}})
    examples = [
        Example.from_dict(nlp.make_doc(text), {"cats": {name: 0.85 if name == label else 0.15 for name in LABELS}})
        for text, label in TEXTS
    ]
    nlp.initialize(lambda: examples)
    for _ in range(10):
        nlp.update(examples)
    path.mkdir(parents=True)
    nlp.to_disk(path)
    return nlp, examples


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A directory as the stages before leave it."""
    root = tmp_path_factory.mktemp("project")
    nlp, examples = train(root / "training" / "tiny" / "model-best")
    (root / "corpus").mkdir()
    for name in ("train", "dev"):
        DocBin(docs=[example.reference for example in examples]).to_disk(root / "corpus" / f"{name}.spacy")
    part = Part(40, {"complaint": 20, "praise": 20}, 4, {"labels.jsonl": 36})
    manifest = Manifest("textcat", LABELS, True, True, part, part, "silver", 0.5, 0, 80, {}, None, {})
    manifest.write(root / "corpus" / "manifest.json")
    docs = []
    with (root / "gold.jsonl").open("w") as file:
        for i, (text, label) in enumerate(TEXTS):
            file.write(json.dumps({"id": f"t{i}", "text": text, "gold": label, "group": f"g{i // 2}"}) + "\n")
            said = LABELS[0] if i % 10 == 0 else label
            cats = {name: float(name == said) for name in LABELS}
            provenance = {"model": "teacher-model", "latency_s": 0.1}
            record = Annotation(f"t{i}", text, "textcat", LABELS, "ok", cats=cats, provenance=provenance)
            docs.append(annotate_doc(nlp.make_doc(text), record))
    write_docs(root / "annotations" / "gold.spacy", docs)
    return root


@pytest.fixture(scope="module")
def evaluation(project):
    return evaluate_files(
        project / "training" / "tiny" / "model-best",
        project / "gold.jsonl",
        project / "evaluation",
        teacher=project / "annotations" / "gold.spacy",
        corpus=project / "corpus",
        teacher_weights=project / "gold.jsonl",
    )


def test_evaluate_writes_report_and_figures(project, evaluation):
    found = json.loads((project / "evaluation" / "evaluation.json").read_text())
    student, teacher, majority = found["results"]
    assert [r["name"] for r in found["results"]] == ["student", "teacher", "majority"]
    assert student["scores"]["accuracy"]["value"] > 0.9
    assert majority["scores"]["accuracy"]["value"] == 0.5
    assert teacher["model"] == "teacher-model"
    assert teacher["words_per_s"] == pytest.approx(found["words"] / (0.1 * found["texts"]))
    assert student["words_per_s"] > 1000
    assert 0 < student["size_mb"] < 5
    assert (found["texts"], found["units"]) == (40, 20)
    html = (project / "evaluation" / "report.html").read_text()
    assert found["verdict"][0] in html
    assert re.search("[0-9a-f]{64}", html)


@pytest.mark.parametrize("silent", [10, 2])
def test_texts_that_the_teacher_was_not_reached_for_are_no_answers_of_its(project, tmp_path, silent):
    nlp = spacy.blank("en")
    docs = []
    for i, (text, label) in enumerate(TEXTS):
        cats = {name: float(name == label) for name in LABELS} if i < 40 - silent else None
        record = Annotation(f"t{i}", text, "textcat", LABELS, "ok" if cats else "error", cats=cats)
        docs.append(annotate_doc(nlp.make_doc(text), record))
    write_docs(tmp_path / "gold.spacy", docs)
    model, gold = project / "training" / "tiny" / "model-best", project / "gold.jsonl"
    found = evaluate_files(
        model, gold, tmp_path / "evaluation", teacher=tmp_path / "gold.spacy", corpus=project / "corpus"
    )
    html = (tmp_path / "evaluation" / "report.html").read_text()
    assert f"The teacher was not reached for {silent} of 40 texts" in html
    assert "teacher wrong" not in html
    assert set(found.seen.values()) == {found.texts} == {40 if silent == 10 else 38}
    names = [result.name for result in found.results]
    assert names == (["student", "majority"] if silent == 10 else ["student", "teacher", "majority"])


def test_the_corpus_of_another_project_is_refused(project, tmp_path):
    part = Part(40, {"bug": 20, "question": 20, "praise": 0}, 0, {"gpt": 40})
    other = Manifest("textcat", ("bug", "question"), True, True, part, part, "silver", 0.5, 0, 80, {}, None, {})
    shutil.copytree(project / "corpus", tmp_path / "other")
    other.write(tmp_path / "other" / "manifest.json")
    model = project / "training" / "tiny" / "model-best"
    told = r"manifest\.json is of a corpus with 'bug', 'question', which the pipeline does not know"
    with pytest.raises(StageError, match=told):
        evaluate_files(model, project / "gold.jsonl", tmp_path / "evaluation", corpus=tmp_path / "other")
    with pytest.raises(StageError, match=told):
        release(model, tmp_path, name="other", version="0.1.0", manifest=tmp_path / "other" / "manifest.json")
    assert not list(tmp_path.glob("*.whl"))


def test_gold_that_the_student_was_trained_on_is_told(project, evaluation):
    first, second = evaluation.verdict[:2]
    assert first == (
        "The student was trained on 40 of 40 gold texts (found in train.spacy) and looks better than it is:"
        " `spacy-distill curate --gold` keeps such texts out."
    )
    assert second.startswith("The student was chosen by its answers to 40 of 40 gold texts (found in dev.spacy)")
    assert first in json.loads((project / "evaluation" / "evaluation.json").read_text())["verdict"]
    assert "<h1>The student was trained on 40 of 40 gold texts" in (project / "evaluation" / "report.html").read_text()


@pytest.fixture(scope="module")
def released(project, evaluation):
    return release(
        project / "training" / "tiny" / "model-best",
        project / "packages",
        name="tiny_reviews",
        version="1.2.0",
        evaluation=project / "evaluation" / "evaluation.json",
        manifest=project / "corpus" / "manifest.json",
    )


def test_release_builds_a_wheel_with_its_card(project, released):
    assert released.wheel.name == "en_tiny_reviews-1.2.0-py3-none-any.whl"
    assert released.package == "en_tiny_reviews"
    assert released.checked >= 40
    frozen = project / "packages" / "frozen"
    meta = json.loads((frozen / "meta.json").read_text())
    assert set(meta["distillation"]["corpus"]) == {"manifest.json", "train.spacy", "dev.spacy"}
    assert meta["performance"]["cats_accuracy"] > 0.9
    card = (frozen / "README.md").read_text()
    assert "teacher-model" not in card  # it was evaluated, and made no training label
    assert "| Teacher | labels.jsonl |" in card
    assert "4 of 40 training texts were labelled by people, the rest by labels.jsonl." in card
    assert meta["distillation"]["train"] == {"texts": 40, "people": 4, "models": {"labels.jsonl": 36}}


@pytest.mark.slow
def test_the_wheel_works_where_only_spacy_is(project, released, tmp_path):
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv" / ("Scripts" if os.name == "nt" else "bin") / "python"
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", released.wheel]
    subprocess.run(install, check=True, env=clean, cwd=tmp_path)
    offline = {**clean, "http_proxy": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9"}
    texts = [text for text, _ in TEXTS] + ["Is the lid ok?", "ça va 🙂"]
    done = subprocess.run(
        [python, "-c", USE], input=json.dumps(texts), capture_output=True, text=True, env=offline, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["found"] == []
    assert found["factory"] == "textcat"
    assert found["version"] == "1.2.0"
    trained = spacy.load(project / "training" / "tiny" / "model-best")
    for doc, cats in zip(trained.pipe(texts), found["cats"], strict=True):
        assert cats == pytest.approx(doc.cats, abs=1e-6)
    listed = subprocess.run([python, "-m", "pip", "list"], capture_output=True, text=True, env=clean, check=True).stdout
    assert "spacy " in listed
    assert "distill" not in listed


def test_the_command_prints_what_to_do_next(project, evaluation):
    from typer import Typer
    from typer.testing import CliRunner

    from spacy_distill.cli.release import release as command

    app = Typer()
    app.command()(command)
    arguments = [project / "training" / "tiny" / "model-best", project / "other", "--name", "tiny_two"]
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert done.exit_code == 0, done.output
    assert "answers as the trained pipeline does on" in done.output
    assert 'nlp = spacy.load("en_tiny_two")' in done.output
    assert list(Path(project / "other").rglob("*.whl"))
