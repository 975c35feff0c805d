"""From annotated docs through the commands to a trained student, with every config as it is shipped."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import spacy
from typer.testing import CliRunner

from spacy_distill.cli import app
from spacy_distill.docs import annotate_doc, make_doc, write_docs
from spacy_distill.students.vectors import set_vectors
from spacy_distill.types import Annotation, Span, TaskName, Text

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
THINGS = {
    "fruit": ["pear", "plum", "apple", "cherry", "fig"],
    "tool": ["saw", "hammer", "chisel", "rake", "drill"],
}
FRAMES = ["we took the {} home", "is that {} really yours", "one {} for each of us", "the {} costs too much", "my {}!"]
LABELS = tuple(THINGS)


def annotations(task: TaskName, exclusive: bool) -> list[Annotation]:
    """RETURNS (List[Annotation]): 200 texts, of which 5 were not parsed and a few are copies."""
    chance = random.Random(0)
    found = []
    for index in range(200):
        label = LABELS[index % 2]
        thing = chance.choice(THINGS[label])
        frame = chance.choice(FRAMES) if index % 10 == 0 else f"number {index}, " + chance.choice(FRAMES)
        text, start = frame.format(thing), frame.index("{}")
        ok = index % 40 != 0
        cats = {name: 0.9 if name == label else 0.1 for name in LABELS}
        found.append(
            Annotation(
                f"r{index}",
                text,
                task,
                LABELS,
                "ok" if ok else "unparsed",
                exclusive=exclusive,
                cats=cats if ok and task == "textcat" else None,
                ents=(Span(start, start + len(thing), label),) if ok and task == "ner" else None,
            )
        )
    return found


def run(*args: str | Path) -> str:
    result = CliRunner().invoke(app, [str(arg) for arg in args])
    assert result.exit_code == 0, f"{result.output}\n{result.exception!r}"
    return result.output


@pytest.mark.slow
@pytest.mark.parametrize(
    ("config", "task", "exclusive"),
    [
        ("textcat_tiny", "textcat", True),
        ("textcat_tiny_vectors", "textcat", True),
        ("textcat_fast", "textcat", True),
        ("textcat_accurate", "textcat", True),
        ("textcat_multilabel", "textcat", False),
        ("ner", "ner", True),
    ],
)
def test_curate_corpus_train_predict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, config: str, task: TaskName, exclusive: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    nlp = spacy.blank("en")
    records = annotations(task, exclusive)
    write_docs(
        Path("annotations/pool.spacy"),
        (annotate_doc(make_doc(nlp, Text(item.id, item.text)), item) for item in records),
    )
    gold = Path("gold.jsonl")
    gold.write_text(json.dumps({"text": records[1].text.upper()}), encoding="utf8")
    said = run(
        "curate", "annotations/pool.spacy", "curated", "--config", CONFIGS / "curation.cfg", "--gold", gold, "--explain"
    )  # fmt: skip
    assert "the text is in the gold" in said
    assert "status unparsed" in said
    run("corpus", "curated", "corpus")
    if config == "textcat_tiny_vectors":
        words = sorted({token.lower_ for item in records for token in nlp.make_doc(item.text)})
        table = spacy.blank("en")
        set_vectors(table, words, np.random.default_rng(0).normal(size=(len(words), 8)).astype(np.float32), "words")
        Path("assets").mkdir()
        table.to_disk("assets/vectors")
    # The config as it is: its paths are those that `corpus` writes.
    data = spacy_command("debug", "data", CONFIGS / f"{config}.cfg")
    assert data.returncode == 0, data.stdout + data.stderr
    trained = spacy_command(
        "train", CONFIGS / f"{config}.cfg", "--output", "training", "--training.max_steps", "60",
        "--training.eval_frequency", "20",
    )  # fmt: skip
    assert trained.returncode == 0, trained.stdout + trained.stderr
    model = spacy.load("training/model-best")
    assert model.vocab.vectors.shape[0] == 0
    doc = model("where is the chisel, the pear is mine")
    if task == "ner":
        assert set(model.get_pipe("ner").labels) == set(LABELS)
        right = [
            [(ent.start_char, ent.end_char, ent.label_) for ent in model(item.text).ents]
            == [(span.start, span.end, span.label) for span in item.ents]
            for item in records
            if item.ents
        ]
    else:
        assert model.pipe_names == ["textcat" if exclusive else "textcat_multilabel"]
        assert list(doc.cats) == list(LABELS)
        right = [
            max(LABELS, key=model(item.text).cats.__getitem__) == item.label for item in records if item.status == "ok"
        ]
    assert sum(right) / len(right) > 0.9


def spacy_command(*args: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "spacy", *map(str, args)], capture_output=True, text=True, check=False)


def test_a_curation_that_keeps_nothing_says_which_rule(tmp_path: Path) -> None:
    nlp = spacy.blank("en")
    records = [item for item in annotations("textcat", True) if item.status != "ok"]
    docs = tmp_path / "pool.spacy"
    write_docs(docs, (annotate_doc(make_doc(nlp, Text(item.id, item.text)), item) for item in records))
    result = CliRunner().invoke(
        app, ["curate", str(docs), str(tmp_path / "curated"), "--config", str(CONFIGS / "curation.cfg")]
    )
    assert "the rule 'status' dropped the last 5 of 5" in str(result.exception)
    assert len((tmp_path / "curated" / "rejected.jsonl").read_text(encoding="utf8").splitlines()) == 5
    result = CliRunner().invoke(app, ["corpus", str(tmp_path / "curated"), str(tmp_path / "corpus")])
    assert "has no docs" in str(result.exception)
