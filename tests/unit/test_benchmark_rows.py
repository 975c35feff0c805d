"""What long benchmarks keep, and that the README shows it."""

import json
import sys
from importlib import import_module
from pathlib import Path

import pytest

from benchmarks import ROOT, several_labels
from benchmarks.rows import Rows, means

README = (ROOT / "README.md").read_text(encoding="utf8")
GRID = [{"system": system, "seed": seed} for seed in (0, 1) for system in ("a", "b")]


def test_what_was_measured_is_not_measured_again(tmp_path, capsys):
    path = tmp_path / "rows.jsonl"
    rows = Rows(path, ("system", "seed"))
    rows.measure(GRID[:3], lambda spec: {"f": 0.123456789} if spec["system"] == "a" else None)
    assert [json.loads(line) for line in path.read_text("utf8").splitlines()] == [
        {"system": "a", "seed": 0, "f": 0.12346},
        {"system": "a", "seed": 1, "f": 0.12346},
    ]
    again, asked = Rows(path, ("system", "seed")), []
    assert again.missing(GRID) == [GRID[1], GRID[3]]
    again.measure(GRID, lambda spec: asked.append(spec) or {"f": 1.0})
    assert asked == [GRID[1], GRID[3]]
    assert [row["f"] for row in again.known(GRID)] == [0.12346, 1.0, 0.12346, 1.0]
    assert len(again) == len(Rows(path, ("system", "seed"))) == 4
    assert capsys.readouterr().out.splitlines()[0] == "1/3 {'system': 'a', 'seed': 0, 'f': 0.12346}"


def test_a_row_is_written_before_the_next_is_measured(tmp_path):
    def stops(spec):
        if spec["system"] == "b":
            raise KeyboardInterrupt
        return {"f": 1.0}

    with pytest.raises(KeyboardInterrupt):
        Rows(tmp_path / "rows.jsonl", ("system", "seed")).measure(GRID, stops)
    assert Rows(tmp_path / "rows.jsonl", ("system", "seed")).known(GRID) == [{**GRID[0], "f": 1.0}]


def test_nothing_begins_after_the_last_minute(tmp_path, capsys):
    rows = Rows(tmp_path / "rows.jsonl", ("system", "seed"))
    rows.measure(GRID, lambda spec: {"f": 1.0}, minutes=0)
    assert not len(rows)
    assert capsys.readouterr().out == "0 minutes are over: 4 measurements are left.\n"


def test_seeds_are_put_together():
    rows = [{**spec, "f": 0.1 * number, "mb": 2.0} for number, spec in enumerate(GRID)]
    assert means(rows, ("system",), {"f": 2, "mb": 1, "elsewhere": 1}, "f") == [
        {"system": "a", "f": 0.1, "mb": 2.0, "f_by_seed": [0.0, 0.2]},
        {"system": "b", "f": 0.2, "mb": 2.0, "f_by_seed": [0.1, pytest.approx(0.3)]},
    ]


def test_no_tested_question_is_learned(data: Path):
    pool, test = several_labels._load()
    assert len(test) == 2000
    assert len(pool) > 1800
    assert not {record.text for record in pool} & {record.text for record in test}
    assert {label for record in pool for label, p in (record.cats or {}).items() if p} == set(test[0].labels)


@pytest.mark.parametrize("name", ["students", "entity_tiers", "several_labels"])
def test_the_readme_shows_the_rows_that_are_kept(name, data: Path, monkeypatch, capsys):
    results = ROOT / "benchmarks" / "results"
    monkeypatch.setattr(sys, "argv", [name, "--results", str(results), "--minutes", "0", "--markdown"])
    import_module(f"benchmarks.{name}").main()
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| ")]
    assert len(lines) > 10
    assert [line for line in lines if line not in README] == []
