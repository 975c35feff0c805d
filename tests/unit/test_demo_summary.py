"""The demo's table: two students and their teacher."""

from pathlib import Path

import pytest

from demo import summary
from spacy_distill.evaluation.evaluate import evaluate
from spacy_distill.evaluation.systems import System
from spacy_distill.types import Annotation


def one(i, status="ok"):
    cats = {"good": float(i % 2), "bad": float(1 - i % 2)} if status == "ok" else None
    return Annotation(str(i), f"text {i}", "textcat", ("good", "bad"), status, cats=cats)


@pytest.fixture
def said(tmp_path, monkeypatch, capsys):
    gold = [one(i) for i in range(40)]
    teacher = System("teacher", [one(i, "error" if i < 4 else "ok") for i in range(40)])
    for folder, speed in (("evaluation", 254_967.0), ("evaluation/large", 2_311.0)):
        (tmp_path / folder).mkdir()
        made = evaluate(gold, [System("student", gold, words_per_s=speed), teacher], resamples=50)
        (tmp_path / folder / "evaluation.json").write_text(made.to_json(), encoding="utf8")
    wheel = tmp_path / "packages" / "en_demo-1.0.0" / "dist" / "en_demo-1.0.0-py3-none-any.whl"
    wheel.parent.mkdir(parents=True)
    wheel.touch()
    monkeypatch.chdir(tmp_path)
    summary.main()
    return capsys.readouterr().out


def test_speeds_are_called_warm_and_have_two_digits(said):
    lines = said.splitlines()
    head = next(number for number, line in enumerate(lines) if "words/s," in line)
    assert "warm" in lines[head + 1]
    assert " 250\u202f000 " in said
    assert " 2\u202f300 " in said
    assert max(map(len, lines[: head + 2])) < 100


def test_what_is_said_of_the_teacher_is_said_once(said):
    assert said.count("The teacher was not reached for 4 of 40 texts") == 1
    assert Path("evaluation/report.html").as_posix() in said
