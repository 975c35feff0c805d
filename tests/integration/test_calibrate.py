"""`spacy-distill calibrate` from files to files."""

import json
import random
from pathlib import Path

import pytest
from typer.testing import CliRunner

from spacy_distill.annotate import annotate, load_teacher
from spacy_distill.cli import app
from spacy_distill.curation.curate import load_rules
from spacy_distill.docs import write_docs
from spacy_distill.errors import InputError, StageError
from spacy_distill.texts import read_texts

TEACHER = """[nlp]
lang = "en"
pipeline = ["llm"]

[components]

[components.llm]
factory = "llm"

[components.llm.task]
@llm_tasks = "spacy_distill.{task}.v1"
labels = ["tea", "milk: whole"]

[components.llm.model]
@llm_models = "spacy_distill.Recorded.v1"
path = "said.jsonl"
label_field = "said"
{field}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A gold file of 400 texts, and a teacher that is wrong in a third of them and mostly knows it."""
    monkeypatch.chdir(tmp_path)
    rng = random.Random(0)
    rows = []
    for number in range(400):
        gold = rng.choice(["tea", "milk: whole"])
        right = rng.random() > 0.33
        said = gold if right else {"tea": "milk: whole", "milk: whole": "tea"}[gold]
        row = {"id": str(number), "text": f"cup {number}", "label": gold, "said": said, "stated": 0.95}
        rows.append({**row, "sure": rng.uniform(0.7, 0.99) if right else rng.uniform(0.5, 0.8)})
    Path("said.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path


def annotated(name: str, field: str, task: str = "TextCat") -> str:
    Path(f"{name}.cfg").write_text(TEACHER.format(task=task, field=field))
    docs, _ = annotate(load_teacher(Path(f"{name}.cfg")), read_texts(Path("said.jsonl"), gold_field="label"))
    write_docs(Path(f"{name}.spacy"), docs)
    return f"{name}.spacy"


def run(*arguments: str):
    return CliRunner().invoke(app, ["calibrate", "said.jsonl", "out", *arguments, "--gold-field", "label"])


def test_kinds_are_compared_and_thresholds_printed_as_they_go_into_the_config(folder: Path) -> None:
    votes = annotated("votes", 'confidence_field = "sure"\nconfidence_kind = "votes"')
    stated = annotated("stated", 'confidence_field = "stated"')
    result = run(votes, stated)
    assert result.exit_code == 0, result.output
    assert "votes (votes) tells" not in result.output
    assert "Use votes (votes)" in result.output
    assert "stated: 100 % of the answers have a confidence of 0.9 or more" in " ".join(result.output.split())
    found = json.loads(Path("out/calibration.json").read_text())
    assert found["best"] == "votes"
    assert {kind["name"]: kind["auroc"]["value"] for kind in found["kinds"]}["stated"] == 0.5
    assert "cup" not in Path("out/calibration.json").read_text()  # no texts
    assert Path("out/risk_coverage.svg").read_text().startswith("<svg")
    lines = result.output.split("have these lines there:\n")[1].split("Wrote")[0]
    Path("curation.cfg").write_text('[curation]\nrules = ["min_confidence"]\n[rules]\n' + lines)
    assert list(load_rules(Path("curation.cfg"))) == ["min_confidence"]
    assert "A config cannot name 'milk: whole'" in " ".join(result.output.split())


def test_the_field_with_gold_is_asked_for(folder: Path) -> None:
    votes = annotated("votes", 'confidence_field = "sure"')
    command = ["calibrate", "said.jsonl", "out", votes]
    result = CliRunner().invoke(app, command)
    fields = "'id', 'text', 'label', 'said', 'stated', 'sure'"
    assert f"said.jsonl:1 has no field 'gold' (it has: {fields}). Name" in str(result.exception)
    result = CliRunner().invoke(app, [*command, "--gold-field", "golld"])
    assert f"said.jsonl: no record has the field 'golld' (they have: {fields}). Correct" in str(result.exception)


@pytest.mark.parametrize(
    ("files", "error", "message"),
    [
        (["plain"], InputError, "no answer has a confidence"),
        (["missing"], StageError, "missing.spacy does not exist"),
        (["votes", "other"], InputError, "is of another task"),
    ],
)
def test_what_cannot_be_compared(folder: Path, files: list[str], error: type[Exception], message: str) -> None:
    annotated("plain", "")
    annotated("votes", 'confidence_field = "sure"')
    annotated("other", "", task="NER")
    result = run(*(f"{name}.spacy" for name in files))
    assert isinstance(result.exception, error)
    assert message in str(result.exception)
