"""The benchmark of students: the same texts for all, none of the test among them, and a race that sees dev alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks import entity_tiers
from benchmarks.students_data import TEACHER_ACCURACY, load, names
from benchmarks.students_table import markdown, rows_of, summary
from spacy_distill.texts import read_texts


def _found(system: str, seed: int, accuracy: float, dev: float | None, speed: float = 1000.0) -> dict[str, Any]:
    figures = dict.fromkeys(
        (
            "macro_f1",
            "words_per_s_fresh",
            "share_of_tokenizer",
            "share_of_tokenizer_fresh",
            "train_s",
            "mb",
            "rss_mb",
        ),
        1.0,
    )
    place = {"system": system, "data": "emotion", "labels": "gold", "size": 500, "seed": seed}
    return {**place, **figures, "accuracy": accuracy, "dev": dev, "words_per_s_warm": speed}


FOUND = [
    _found("small", 0, 0.60, 0.70),
    _found("small", 1, 0.64, 0.50),
    _found("large", 0, 0.80, 0.60),
    _found("large", 1, 0.70, 0.65),
    _found("peer", 0, 0.66, None),
    _found("peer", 1, 0.68, None),
    {"system": "other", "data": "emotion", "labels": "gold", "size": 500, "seed": 0, "failed": "no memory"},
]


def test_the_race_is_decided_on_dev_seed_by_seed() -> None:
    rows = {row["system"]: row for row in rows_of(FOUND, ["small", "large"])}
    assert set(rows) == {"small", "large", "peer", "raced"}
    assert rows["small"]["accuracy"] == pytest.approx(0.62)
    assert rows["raced"]["chosen"] == ["small", "large"]
    assert rows["raced"]["accuracy_by_seed"] == [0.60, 0.70]  # not the .80 that only the test could know of


def test_a_seed_that_lacks_one_of_the_students_is_no_race() -> None:
    found = [one for one in FOUND if (one["system"], one["seed"]) != ("large", 1)]
    raced = {row["system"]: row for row in rows_of(found, ["small", "large"])}["raced"]
    assert (raced["seeds"], raced["chosen"]) == ([0], ["small"])


def test_of_equals_on_dev_the_faster_is_taken() -> None:
    found = [_found("small", 0, 0.6, 0.7, speed=2000.0), _found("large", 0, 0.8, 0.7, speed=10.0)]
    assert {row["system"]: row for row in rows_of(found, ["large", "small"])}["raced"]["chosen"] == ["small"]


def test_from_a_models_labels_what_a_reviewed_dev_would_have_chosen_is_a_row_too() -> None:
    small = {**_found("small", 0, 0.8, 0.6), "labels": "llm", "dev_reviewed": 0.7}
    large = {**_found("large", 0, 0.7, 0.9), "labels": "llm", "dev_reviewed": 0.5}  # learns what the model gets wrong
    rows = {row["system"]: row for row in rows_of([small, large], ["small", "large"])}
    assert rows["raced"]["chosen"] == ["large"]
    assert rows["raced_reviewed"]["chosen"] == ["small"]
    assert rows["raced_reviewed"]["accuracy"] == pytest.approx(0.8)


def test_the_summary_sets_the_raced_student_against_the_best_peer() -> None:
    found = summary(rows_of(FOUND, ["small", "large"]), ["peer", "other"])
    (cell,) = found["cells"]
    assert (cell["data"], cell["labels"], cell["size"], cell["best_peer"]) == ("emotion", "gold", 500, "peer")
    assert cell["by_seed"] == pytest.approx([-0.06, 0.02])
    assert cell["difference"] == pytest.approx(-0.02)
    assert found["worst"] == pytest.approx(-0.02)
    assert list(found["mean_accuracy"]) == ["large", "peer", "raced", "small"]


def test_a_peer_with_fewer_seeds_is_compared_on_those_it_has() -> None:
    found = [one for one in FOUND if (one["system"], one["seed"]) != ("peer", 0)]
    (cell,) = summary(rows_of(found, ["small", "large"]), ["peer"])["cells"]
    assert cell["by_seed"] == [pytest.approx(0.02)]
    assert cell["difference"] == pytest.approx(0.02)
    line = markdown(rows_of(found, ["small", "large"]), [], ["small"], {"peer": "a peer"}).splitlines()[2]
    assert line.startswith(r"| six emotions: 500 | 68.0\* (a peer) | 62.0 | 65.0 (")


def test_the_markdown_has_a_line_for_each_cell() -> None:
    found = [{**one, "mb": 9.0 if one["system"] == "large" else 1.0} for one in FOUND]
    more = [{**one, "size": 1000, "accuracy": one.get("accuracy", 0.0) + 0.1} for one in found if one["seed"] == 0]
    rows = rows_of([*found, *more], ["small", "large"])
    lines = markdown(rows, [], ["large", "small", "unmeasured"], {"peer": "a peer"}).splitlines()
    assert [*lines[:1], *lines[2:]] == [
        "| texts, gold labels | best peer | `small` | `large` | raced on dev | raced − peer |",
        "| six emotions: 500 | 67.0 (a peer) | 62.0 | 75.0 | 65.0 (1 small, 1 large) | −2.0 (−6.0 to +2.0) |",
        r"| six emotions: 1,000 | 76.0\* (a peer) | 70.0\* | 90.0\* | 70.0\* (small) | −6.0 |",
        "| mean | 71.5 | 66.0 | 82.5 | 67.5 | −4.0 |",
        "",
        "| peer | rows | mean | raced there |",
        "|---|---|---|---|",
        "| a peer | 2 | 71.5 | 67.5 |",
    ]


def test_a_peer_is_compared_on_the_rows_and_seeds_that_it_has() -> None:
    found = [*FOUND, *({**one, "size": 1000} for one in FOUND if one["system"] != "peer"), _found("rare", 1, 0.5, None)]
    beside = summary(rows_of(found, ["small", "large"]), ["peer", "rare"])["peers"]
    assert beside["peer"] == {"cells": 1, "accuracy": pytest.approx(0.67), "raced": pytest.approx(0.65)}
    assert beside["rare"] == {"cells": 1, "accuracy": 0.5, "raced": 0.7}


def test_the_markdown_says_how_good_the_teacher_was() -> None:
    found = [{**one, "labels": "llm"} for one in FOUND]
    for teacher, said in (({"pool_accuracy": 0.5}, "(50.0)"), ({"pool_accuracy": 0.5, "test_accuracy": 0.6}, "60.0")):
        teachers = [{"data": "emotion", "labels": "llm", **teacher}]
        lines = markdown(rows_of(found, ["small"]), teachers, ["small"], {"peer": "a peer"}).splitlines()
        assert lines[0].startswith("| texts, llm labels | teacher | best peer | `small` |")
        assert lines[2].startswith(f"| six emotions: 500 | {said} | 67.0 (a peer) | 62.0 |")
        assert len(lines) == 3


@pytest.mark.parametrize("name", names())
def test_no_text_is_on_both_sides(data: Path, name: str) -> None:
    for kind in ("gold", "llm", "simulated"):
        found = load(name, kind)
        if found is None:
            continue
        assert not {row.text for row in found.pool} & {row.text for row in found.test}
        assert {row.label for row in found.pool} <= set(found.labels)
        assert len(found.test) >= 1000 - 1
        small, large = found.sample(100, 3), found.sample(300, 3)
        assert large[:100] == small != found.sample(100, 4)


def test_the_simulated_teacher_is_right_as_often_as_it_says(data: Path) -> None:
    found = load("emotion", "simulated")
    assert found is not None
    right = [row.label == row.gold for row in found.pool]
    assert sum(right) / len(right) == pytest.approx(TEACHER_ACCURACY, abs=0.01)
    sure = [max(row.soft.values()) for row in found.pool if row.soft]
    assert sum(sure) / len(sure) == pytest.approx(TEACHER_ACCURACY, abs=0.01)  # calibrated
    half = sorted(zip(sure, right, strict=True), reverse=True)[: len(sure) // 2]
    assert sum(correct for _, correct in half) / len(half) > TEACHER_ACCURACY + 0.1


def test_no_tested_sentence_is_learned_nor_gives_words_to_the_vectors(data: Path, tmp_path: Path) -> None:
    cell = entity_tiers._cell("mit_restaurant:500", 0, tmp_path)
    tested = {record.text for record in cell.gold}
    assert len(cell.labelled) == 500
    assert len(tested) > 1400
    assert not tested & {record.text for record in cell.labelled}
    assert not tested & {text.text for path in cell.unlabelled for text in read_texts(path)}
    assert {span.label for record in cell.labelled for span in record.ents or ()} == set(cell.gold[0].labels)
