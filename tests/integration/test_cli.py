"""The command line: help that teaches, projects that load, bad input in one line, labels from elsewhere."""

from __future__ import annotations

import csv
import errno
import inspect
import json
import logging
import os
import re
import shlex
import sqlite3
import subprocess
import sys
import typing
import zipfile
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from shutil import copyfile, copytree, ignore_patterns
from typing import Any

import pytest
import spacy
import srsly
import typer
from spacy.tokens import DocBin
from spacy.util import load_config, load_model_from_config
from spacy_llm.registry import registry

from spacy_distill.annotate import load_teacher
from spacy_distill.cli import app, main
from spacy_distill.cli.common import print_aside
from spacy_distill.cli.init import STUDENTS
from spacy_distill.docs import annotations_of, facts_of, read_annotations, read_docs
from spacy_distill.release.package import build_wheel, check_name
from spacy_distill.students.tiers import find_tiers
from spacy_distill.teacher.ledger import Ledger
from spacy_distill.types import Annotation

ROOT = Path(__file__).resolve().parents[2]
COMMANDS = {command.name: command.callback for command in app.registered_commands}
TEACHER = """
[nlp]
lang = "en"
pipeline = ["llm"]
[components]
[components.llm]
factory = "llm"
[components.llm.model]
@llm_models = "{model}"
{settings}
[components.llm.task]
@llm_tasks = "spacy_distill.TextCat.v1"
labels = ["bug", "question"]
"""
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Iterator[Run]:
    """Runs a command as the shell does, in an empty folder. Gives the exit code, standard output and errors."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")
    logger = logging.getLogger("spacy_distill")
    level = logger.level

    def command(*args: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["spacy-distill", *map(str, args)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            main()
        out, err = capsys.readouterr()
        return int(end.value.code or 0), out, err

    yield command
    logger.setLevel(level)


def write(path: str, *rows: object) -> Path:
    """Write rows as JSON lines; strings as they are."""
    file = Path(path)
    file.write_text("".join(f"{r if isinstance(r, str) else json.dumps(r)}\n" for r in rows), encoding="utf8")
    return file


def teacher(*replies: str, model: str = "spacy_distill.Scripted.v1") -> Path:
    settings = f"replies = {json.dumps(list(replies))}" if "Scripted" in model else ""
    return write("teacher.cfg", TEACHER.format(model=model, settings=settings))


def annotations(path: str) -> list[Annotation]:
    return [found for doc in read_docs(Path(path), spacy.blank("en").vocab) for found in annotations_of(doc)]


# Help


@pytest.mark.parametrize("name", COMMANDS)
def test_help_teaches(run: Run, name: str) -> None:
    code, out, _ = run(name, "--help")
    assert code == 0
    for word in ("Reads", "rites", "Example", "Next"):
        assert word in out, f"{name} --help does not say {word}"
    command = typer.main.get_command(app).commands[name]  # type: ignore[attr-defined]
    unexplained = [param.name for param in command.params if not param.help]
    assert not unexplained


@pytest.mark.parametrize("name", COMMANDS)
def test_the_example_in_the_help_is_a_command(name: str) -> None:
    text = " ".join(inspect.getdoc(COMMANDS[name]).split())  # type: ignore[arg-type, union-attr]
    (example,) = re.findall(r"Example: `spacy-distill ([^`]+)`", text)
    first, *args = shlex.split(example)
    assert first == name
    typer.main.get_command(app).commands[name].make_context(name, args)  # type: ignore[attr-defined]
    following = re.findall(r"Next: .*`spacy-distill (\w+)", text)
    assert all(step in COMMANDS for step in following)


def test_the_help_names_every_command_in_the_order_of_the_line(run: Run) -> None:
    code, out, _ = run("--help")
    assert code == 0
    listed = [line for line in out.splitlines() if line.startswith("│")]
    places = [next(i for i, line in enumerate(listed) if re.match(rf"│ {name}\b", line)) for name in COMMANDS]
    assert places == sorted(places)


def test_the_version_is_that_of_the_package(run: Run) -> None:
    assert run("--version") == (0, f"{version('spacy-distill')}\n", "")


def test_an_output_that_its_books_would_overwrite_is_refused(run: Run) -> None:
    write("labels.jsonl", {"text": "x", "label": "a"}, {"text": "y", "label": "b"})
    code, _, err = run("import", "labels.jsonl", "out.json")
    assert code == 1
    assert "out.json is to be a spaCy DocBin: give it a name that ends in .spacy" in err


def test_what_people_corrected_is_gold_for_other_commands(run: Run) -> None:
    write("labels.jsonl", *({"text": f"text {n}", "label": "ab"[n % 2]} for n in range(4)))
    assert run("import", "labels.jsonl", "pool.spacy")[0] == 0
    assert run("export", "pool.spacy", "table.csv", "--format", "csv")[0] == 0
    table = Path("table.csv").read_text("utf8").splitlines(keepends=True)
    Path("checked.csv").write_text("".join(table[:3]), "utf8")
    assert run("import", "checked.csv", "checked.spacy", "--format", "csv", "--gold")[0] == 0
    code, said, err = run(
        "curate", "pool.spacy", "curated", "--config", ROOT / "configs/curation.cfg", "--gold", "checked.spacy"
    )
    assert (code, err) == (0, ""), said
    assert "leakage" in said
    assert len(Path("curated/rejected.jsonl").read_text("utf8").splitlines()) == 2
    code, _, err = run(
        "curate", "pool.spacy", "curated", "--config", ROOT / "configs/curation.cfg", "--gold", "pool.spacy"
    )
    assert code == 1
    assert "pool.spacy: nobody has checked any of its texts" in err


# init


def scaffold(run: Run, task: str, kind: str, labels: Sequence[str], *more: object) -> tuple[int, str, str]:
    write("mine.jsonl", {"text": "It broke."}, {"text": "How?"})
    options = [part for label in labels for part in ("--label", label)]
    return run(
        "init", "desk", *options, "--texts", "mine.jsonl", "--task", task, "--teacher", kind, "--model", "m", *more
    )


@pytest.mark.parametrize("kind", ["chat", "local"])
@pytest.mark.parametrize("task", ["textcat", "textcat_multilabel", "ner"])
def test_init_writes_a_project_that_loads(run: Run, task: str, kind: str) -> None:
    gold: Any = {"textcat": "bug", "textcat_multilabel": ["bug", "question"], "ner": [[0, 2, "bug"]]}[task]
    write("gold.jsonl", {"text": "It broke.", "gold": gold})
    code, out, err = scaffold(run, task, kind, ["bug", "question"], "--gold", "gold.jsonl", "--key-env", "MY_KEY")
    assert (code, err) == (0, "")
    assert "2 texts, 2 labels" in out
    configs = {path.stem: load_config(path, interpolate=True) for path in Path("desk/configs").glob("*.cfg")}
    student = "ner" if task == "ner" else "textcat_tiny"
    tiers = find_tiers(Path("desk/configs"), "ner" if task == "ner" else "textcat", task == "textcat")
    assert {tier.name for tier in tiers} == set(STUDENTS[task]) == set(configs) - {"teacher", "curation"}
    nlp = load_teacher(Path("desk/configs/teacher.cfg"))
    component = nlp.get_pipe("llm")
    assert component.labels == ("bug", "question")  # type: ignore[attr-defined]
    assert component.task.task == ("ner" if task == "ner" else "textcat")  # type: ignore[attr-defined]
    if task != "ner":
        assert component.task.exclusive == (task == "textcat")  # type: ignore[attr-defined]
        assert component.task.allow_none == (task == "textcat_multilabel")  # type: ignore[attr-defined]
    assert type(component._model).__name__.lower() == kind  # type: ignore[attr-defined]
    project = srsly.read_yaml("desk/project.yml")
    defined = {command["name"] for command in project["commands"]}
    assert set(project["workflows"]["all"]) <= defined
    assert "evaluate" in defined
    assert project["vars"]["student"] == student
    for name, *args in distill_commands(project):
        typer.main.get_command(app).commands[name].make_context(name, args)  # type: ignore[attr-defined]
    assert Path("desk/assets/texts.jsonl").read_bytes() == Path("mine.jsonl").read_bytes()
    missing = {place for tier in tiers for place in tier.missing} - {"torch", "huggingface_hub"}
    assert missing == ({"assets/vectors"} if task != "ner" else set()), "an encoder is on the hub, not in a clone"


def test_a_step_runs_again_when_what_it_reads_has_changed(run: Run) -> None:
    assert scaffold(run, "textcat", "chat", ["bug", "question"])[0] == 0
    for path in (Path("desk/project.yml"), ROOT / "project.yml"):
        deps = {command["name"]: set(command.get("deps", [])) for command in srsly.read_yaml(path)["commands"]}
        assert "curated/curation.json" in deps["corpus"]  # its manifest says what curation did
        assert "corpus/manifest.json" in deps.get("pseudo-label", {"corpus/manifest.json"})
        assert {"assets", "configs"} <= deps["sweep"]  # word vectors and an encoder may come later


def distill_commands(project: dict[str, Any]) -> Iterator[list[str]]:
    """YIELDS (List[str]): Arguments of each of a project's calls of ours."""
    for command in project["commands"]:
        for line in command["script"]:
            line = re.sub(r"\$\{vars\.(\w+)\}", lambda found: project["vars"][found.group(1)], line)
            if line.startswith("python -m spacy_distill "):
                yield shlex.split(line)[3:]


LABELS = [
    "refund, please",
    'say "hi"',
    "it's",
    "größe 🙂",
    "日本",
    "$5",
    "50%",
    "a: b",
    "c = d",
    "#1",
    "[x]",
    "1",
    "null",
]


@pytest.mark.parametrize("with_gold", ["labelled", "unlabelled", "none"])
@pytest.mark.parametrize("task", ["textcat", "textcat_multilabel", "ner"])
def test_init_makes_a_project_of_labels_that_exist(
    run: Run, task: str, with_gold: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def said(label: str) -> Any:
        return {"textcat": label, "textcat_multilabel": [label], "ner": [[0, 2, label]]}[task]

    texts = [{"text": f"It is {number}.", "the model's": said(label)} for number, label in enumerate(LABELS)]
    write("mine.jsonl", *texts)
    gold = [{**texts[0], "gold": said(LABELS[1])}]
    if with_gold == "unlabelled":
        gold[0].pop("the model's")
    write("gold.jsonl", *gold)
    more = () if with_gold == "none" else ("--gold", "gold.jsonl")
    code, out, err = run(
        "init", "desk", "--texts", "mine.jsonl", "--label-field", "the model's", "--task", task, "--lang", "de", *more
    )
    assert (code, err) == (0, "")
    assert "preview" not in out
    assert f"{len(LABELS)} labels" in out
    monkeypatch.chdir("desk")
    assert not Path("configs/teacher.cfg").exists()
    project = srsly.read_yaml("project.yml")
    assert set(project["workflows"]["all"]) <= {command["name"] for command in project["commands"]}
    commands = list(distill_commands(project))
    for name, *args in commands:
        typer.main.get_command(app).commands[name].make_context(name, args)  # type: ignore[attr-defined]
    imports = [args for args in commands if args[0] == "import"]
    assert len(imports) == (2 if with_gold == "labelled" else 1)
    assert ("evaluate" in project["workflows"]["all"]) == (with_gold != "none")
    assert any("--teacher" in args for args in commands) == (with_gold == "labelled")
    for args in imports:
        code, _, err = run(*args)
        assert (code, err) == (0, "")
    assert all(args[-2:] == ["--lang", "de"] for args in commands if args[0] == "vectors")
    found = read_annotations(Path("annotations/pool.spacy"), spacy.blank("de").vocab)
    assert [annotation.status for annotation in found] == ["ok"] * len(LABELS)
    for annotation, label in zip(found, LABELS, strict=True):
        if task == "ner":
            assert [span.label for span in annotation.ents or ()] == [label]
        else:
            assert max(annotation.cats or {}, key=(annotation.cats or {}).__getitem__) == label


def test_labels_that_people_gave_are_theirs_to_the_end(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [{"text": f"It is a {word} {i}.", "said": word} for i, word in enumerate(["pan", "pot"] * 12)]
    mine = write("mine.jsonl", *rows)
    code, _, err = run("init", "my desk", "--texts", mine, "--label-field", "said", "--by-people")
    assert (code, err) == (0, "")
    monkeypatch.chdir("my desk")
    commands = {args[0]: args for args in distill_commands(srsly.read_yaml("project.yml"))}
    for _ in range(2):  # a second run replaces what it wrote itself
        assert run(*commands["import"])[0] == 0
    found = read_annotations(Path("annotations/pool.spacy"), spacy.blank("en").vocab)
    assert [one.gold for one in found] == [True] * len(rows)
    assert run(*commands["curate"])[0] == 0
    assert run(*commands["corpus"])[0] == 0
    manifest = srsly.read_json("corpus/manifest.json")
    assert manifest["train"]["gold"] == manifest["train"]["docs"] > 0
    assert manifest["dev_from"] == "gold"
    write("assets/texts.jsonl", *rows[1:])
    code, _, err = run(*commands["import"])
    assert code == 1
    assert "which would be lost" in err
    for wrong in (("--reply-field", "said", "--label", "pan"), ("--format", "csv", "--reply-field", "said")):
        assert run("import", mine.resolve(), "other.spacy", "--gold", *wrong)[0] == 1


@pytest.mark.parametrize("cell", ["OTHER;pan", "OTHER|pan", "OTHER, pan"])
def test_several_labels_in_one_cell_are_not_a_label(run: Run, cell: str) -> None:
    texts = write("mine.jsonl", {"text": "a", "said": cell}, {"text": "b", "said": "pan"})
    options = ("--texts", texts, "--label-field", "said")
    code, _, err = run("init", "desk", *options, "--task", "textcat_multilabel")
    assert code == 1
    assert f"1 of 2 records have what looks like several labels in one in 'said' (mine.jsonl:1: '{cell}')" in err
    assert 'JSON list: ["a", "b"]' in err
    assert run("init", "desk", *options)[0] == 0  # where each has one, it is one
    write("mine.jsonl", {"text": "a", "said": [cell]}, {"text": "b", "said": ["pan", "pot"]})
    assert run("init", "other", *options, "--task", "textcat_multilabel")[0] == 0


def test_ids_are_no_labels(run: Run) -> None:
    texts = write("mine.jsonl", *({"text": f"text {i}", "id": f"r{i}"} for i in range(30)))
    code, _, err = run("init", "desk", "--texts", texts, "--label-field", "id")
    assert code == 1
    assert "'id' has 30 different labels in 30 places, such as 'r0' and 'r9'" in err


def test_a_table_with_semicolons_is_named(run: Run) -> None:
    Path("mine.csv").write_text("text;label\nIt broke, twice;bug\n", encoding="utf8")
    code, _, err = run("import", "mine.csv", "pool.spacy")
    assert code == 1
    assert "mine.csv has its fields separated by semicolons: save it with commas, or as JSONL." in err


def test_labels_that_are_the_gold_are_no_teachers(run: Run) -> None:
    write("mine.jsonl", {"text": "It broke.", "gold": "bug"}, {"text": "How?", "gold": "question"})
    write("gold.jsonl", {"text": "Why?", "gold": "question"})
    code, _, err = run("init", "desk", "--texts", "mine.jsonl", "--label-field", "gold", "--gold", "gold.jsonl")
    assert (code, err) == (0, "")
    project = srsly.read_yaml("desk/project.yml")
    assert project["workflows"]["all"] == ["import", "curate", "corpus", "train", "evaluate", "release"]
    assert not any("--teacher" in args for args in distill_commands(project))


@pytest.mark.parametrize("suffix", ["csv", "tsv"])
@pytest.mark.parametrize("task", ["textcat_multilabel", "ner"])
def test_a_tables_cells_hold_lists_as_json(run: Run, task: str, suffix: str) -> None:
    found = ["bug", "question"] if task == "textcat_multilabel" else [[0, 2, "bug"], [3, 8, "question"]]
    mark = {"csv": ",", "tsv": "\t"}[suffix]
    with Path(f"mine.{suffix}").open("w", encoding="utf8", newline="") as file:
        rows = csv.writer(file, delimiter=mark)
        rows.writerows([["text", "said"], ["It broke.", json.dumps(found)], ["Oh well.", "[]"], ["Why?", ""]])
    code, out, err = run("init", "desk", "--texts", f"mine.{suffix}", "--label-field", "said", "--task", task)
    assert (code, err) == (0, "")
    assert "3 texts, 2 labels" in out
    kind = ("--task", "ner") if task == "ner" else ("--multi-label",)
    code, _, err = run("import", f"mine.{suffix}", "pool.spacy", "--label-field", "said", *kind)
    assert (code, err) == (0, "")
    pool = read_annotations(Path("pool.spacy"), spacy.blank("en").vocab)
    assert [one.status for one in pool] == ["ok", "ok", "unparsed"]
    if task == "ner":
        assert [[(span.start, span.end, span.label) for span in one.ents or ()] for one in pool[:2]] == [
            [tuple(span) for span in found],
            [],
        ]
    else:
        assert [one.cats for one in pool[:2]] == [{"bug": 1.0, "question": 1.0}, {"bug": 0.0, "question": 0.0}]


@pytest.mark.parametrize("command", ["init", "import"])
@pytest.mark.parametrize(
    ("value", "task", "message"),
    [
        (["a", "b"], "textcat", "2 of 2 records have several labels in 'said', or none (mine.jsonl:1: ['a', 'b'])"),
        ([[0, 2, "a"]], "textcat", "mine.jsonl:1: 'said' has entity spans, such as [0, 2, 'a']"),
        ([{"start": 0, "end": 2, "label": "a"}], "textcat_multilabel", "mine.jsonl:1: 'said' has entity spans"),
        ("a", "ner", "mine.jsonl:1: 'said' has a class, 'a', and no spans"),
        (3, "textcat", "mine.jsonl:1: expected a label, a list of labels or spans in 'said', found 3"),
        (0, "textcat", "mine.jsonl:1: expected a label, a list of labels or spans in 'said', found 0. Write each"),
    ],
)
def test_labels_of_another_form_are_found_at_once(run: Run, command: str, value: Any, task: str, message: str) -> None:
    write("mine.jsonl", {"text": "It broke.", "said": value}, {"text": "How?", "said": value})
    if command == "init":
        code, _, err = run("init", "desk", "--texts", "mine.jsonl", "--label-field", "said", "--task", task)
    else:
        kind = {"textcat": (), "textcat_multilabel": ("--multi-label",), "ner": ("--task", "ner")}[task]
        code, _, err = run("import", "mine.jsonl", "pool.spacy", "--label-field", "said", *kind)
    assert (code, message in err) == (1, True), err
    assert ("--task" in err) == (value not in (0, 3))
    assert not Path("desk").exists()


def test_some_answers_of_several_labels_are_the_models_mistakes(run: Run) -> None:
    write("mine.jsonl", *({"text": f"It {i}.", "said": ["a", "b"] if i == 7 else "ab"[i % 2]} for i in range(20)))
    assert run("import", "mine.jsonl", "pool.spacy", "--label-field", "said")[0] == 0
    statuses = [one.status for one in read_annotations(Path("pool.spacy"), spacy.blank("en").vocab)]
    assert (statuses.count("ok"), statuses[7]) == (19, "unparsed")


@pytest.mark.parametrize("task", ["textcat", "ner"])
def test_any_label_survives_into_the_teachers_config(run: Run, task: str) -> None:
    code, _, err = scaffold(run, task, "chat", LABELS)
    assert (code, err) == (0, "")
    path = Path("desk/configs/teacher.cfg")
    assert load_teacher(path).get_pipe("llm").labels == tuple(LABELS)  # type: ignore[attr-defined]
    assert all(label in srsly.read_yaml("desk/project.yml")["description"] for label in LABELS)
    text = path.read_text(encoding="utf8")
    for label in LABELS[:5]:
        assert f'# {label} = "…"' in text
        text = text.replace(f'# {label} = "…"', f'{label} = "meaning of {LABELS.index(label)}"')
    path.write_text(text, encoding="utf8")
    prompt = load_teacher(path).get_pipe("llm").task.prompt("x")  # type: ignore[attr-defined]
    assert all(f"meaning of {number}" in prompt for number in range(5))


@pytest.mark.parametrize(
    ("labels", "more", "message"),
    [
        (["a", "A"], (), "differ in case"),
        (["a", " "], (), "is empty"),
        (["a\nb"], (), "line break"),
        (["${x}"], (), "takes ${…} for a reference"),
        (["a"], (), "Repeat --label for each, or choose --task textcat_multilabel"),
        (["a", "b"], ("--lang", "xx1"), "--lang 'xx1'"),
        (["a", "b"], ("--model", ""), "--model"),
        (["a", "b"], ("--endpoint", "localhost:11434"), "is no URL"),
        (["a", "b"], ("--gold", "gold.jsonl"), "gold.jsonl:2: unknown label 'A'. Did you mean 'a'?"),
        (["a", "b"], ("--gold", "none.jsonl"), "none.jsonl does not exist"),
        (["a", "b"], ("--texts", "empty.txt"), "empty.txt has no texts"),
        (["a", "b"], ("--label-field", "label"), "leave --model out"),
        (["a", "b"], ("--label-field", "a", "--key-env", "K"), "leave --model, --key-env out"),
        ([], (), "--label, once for each"),
        ([], ("--model", "", "--label-field", "lable"), "no record has a label in 'lable' (they have: 'text')"),
        (["a", "b"], ("--texts", "said.jsonl"), "have the fields `text` and `gold`: rename other ones"),
    ],
)
def test_init_finds_mistakes_now(run: Run, labels: list[str], more: tuple[str, ...], message: str) -> None:
    write("gold.jsonl", {"text": "x", "gold": "a"}, {"text": "y", "gold": "A"})
    write("empty.txt")
    write("said.jsonl", {"said": "x"})
    code, _, err = scaffold(run, "textcat", "chat", labels, *more)
    assert code == 1
    assert message in err
    assert err.count("\n") == 1
    assert not Path("desk").exists()


def test_init_takes_the_tokenizer_of_the_language(run: Run) -> None:
    rows = [{"text": "这个手机质量不错", "label": "good"}, {"text": "屏幕坏了", "label": "bad"}]
    texts = write("mine.jsonl", *rows)
    assert run("init", "desk", "--texts", texts, "--label-field", "label", "--lang", "zh")[0] == 0
    configs = sorted(Path("desk/configs").glob("textcat_*.cfg"))
    assert len(configs) == len(STUDENTS["textcat"])
    for path in configs:
        config = {**load_config(path), "components": {}}
        config["nlp"]["pipeline"] = []
        nlp = load_model_from_config(config, auto_fill=True, validate=False)
        assert [token.text for token in nlp.make_doc("屏幕坏了")] == list("屏幕坏了"), path


def test_init_writes_over_nothing_unless_told(run: Run) -> None:
    assert scaffold(run, "textcat", "chat", ["a", "b"])[0] == 0
    before = {path: path.read_bytes() for path in Path("desk").rglob("*") if path.is_file()}
    code, _, err = scaffold(run, "textcat", "chat", ["a", "other"])
    assert code == 1
    assert "desk/project.yml" in err.replace("\\", "/")
    assert "--force" in err
    assert {path: path.read_bytes() for path in Path("desk").rglob("*") if path.is_file()} == before
    code, said, _ = scaffold(run, "textcat", "chat", ["a", "other"], "--force")
    assert code == 0
    assert load_teacher(Path("desk/configs/teacher.cfg")).get_pipe("llm").labels == ("a", "other")  # type: ignore[attr-defined]
    kept = {path.with_name(path.name.removesuffix("~")): path.read_bytes() for path in Path("desk").rglob("*~")}
    assert {path.name for path in kept} == {"project.yml", "teacher.cfg"}
    assert kept == {path: before[path] for path in kept}
    assert all(f"{path}~" in said for path in kept)


def test_init_does_not_write_over_texts_either(run: Run) -> None:
    Path("desk/assets").mkdir(parents=True)
    mine = write("desk/assets/texts.jsonl", {"text": "precious"})
    code, _, err = scaffold(run, "textcat", "chat", ["a", "b"])
    assert code == 1
    assert "texts.jsonl" in err
    assert "precious" in mine.read_text(encoding="utf8")
    assert run("init", "desk", "--label", "a", "--label", "b", "--texts", mine, "--model", "m")[0] == 0, (
        "texts that are in place stay"
    )
    assert "precious" in mine.read_text(encoding="utf8")
    code, said, _ = scaffold(run, "textcat", "chat", ["a", "b"], "--force")
    assert (code, "texts.jsonl~" in said) == (0, True)
    assert "precious" not in mine.read_text(encoding="utf8")
    assert "precious" in mine.with_name("texts.jsonl~").read_text(encoding="utf8")


@pytest.mark.parametrize("folder", ["My Desk – 2", "Größe", "2024", "a__b_", "日本"])
def test_init_names_a_package_that_release_takes(run: Run, folder: str) -> None:
    write("mine.jsonl", {"text": "x"})
    assert run("init", folder, "--label", "a", "--label", "b", "--texts", "mine.jsonl", "--model", "m")[0] == 0
    name = srsly.read_yaml(Path(folder) / "project.yml")["vars"]["name"]
    assert check_name(name, "en") == name


@pytest.mark.slow
def test_init_works_from_the_wheel(tmp_path: Path) -> None:
    source = tmp_path / "source"
    for name in ("spacy_distill", "configs"):
        copytree(ROOT / name, source / name, symlinks=True, ignore=ignore_patterns("__pycache__"))
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        copyfile(ROOT / name, source / name)
    site = tmp_path / "site"
    with zipfile.ZipFile(build_wheel(source)) as wheel:
        wheel.extractall(site)
    wanted = [p.relative_to(ROOT) for p in (ROOT / "spacy_distill").rglob("*.jinja")]
    wanted += [Path("spacy_distill/cli/template/configs") / path.name for path in (ROOT / "configs").glob("*.cfg")]
    assert len(wanted) > 8
    assert [str(path) for path in [*wanted, Path("spacy_distill/py.typed")] if not (site / path).is_file()] == []
    config = Path("spacy_distill/cli/template/configs/ner.cfg")
    assert (site / config).read_bytes() == (ROOT / "configs" / "ner.cfg").read_bytes()
    assert not (site / "tests").exists()
    (tmp_path / "mine.txt").write_text("one\ntwo\n", encoding="utf8")
    made = shell(
        "init", "desk", "--label", "a", "--label", "b", "--texts", "mine.txt", "--model", "m", cwd=tmp_path, path=site
    )
    assert made.returncode == 0, made.stderr
    assert (tmp_path / "desk" / "configs" / "textcat_accurate.cfg").is_file()
    load_teacher(tmp_path / "desk" / "configs" / "teacher.cfg")


def shell(*args: str, cwd: Path, path: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "spacy_distill", *args],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(path)},
        capture_output=True,
        text=True,
        encoding="utf8",
        check=False,
    )


# Bad input


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("annotate", "teacher.cfg", "bad.jsonl", "out.spacy"), "bad.jsonl:2 is not JSON"),
        (("annotate", "teacher.cfg", "field.jsonl", "out.spacy"), "field.jsonl:2 has no text in 'text'"),
        (("annotate", "teacher.cfg", "none.jsonl", "out.spacy"), "none.jsonl does not exist"),
        (("annotate", "teacher.cfg", "empty.txt", "out.spacy"), "empty.txt has no texts"),
        (("annotate", "none.cfg", "good.jsonl", "out.spacy"), "none.cfg does not exist"),
        (("preview", "teacher.cfg", "bad.jsonl"), "bad.jsonl:2 is not JSON"),
        (("preview", "teacher.cfg", "empty.txt"), "empty.txt has no texts"),
        (("annotate", ROOT / "configs/curation.cfg", "good.jsonl", "out.spacy"), "it has no section [nlp]"),
        (("ledger", "none.sqlite"), "a Recorded teacher needs none"),
        (("import", "bad.jsonl", "out.spacy"), "bad.jsonl:2 is not JSON"),
        (("import", "good.jsonl", "out.spacy"), "no record has a label in 'label' (they have: 'text')"),
        (("import", "good.jsonl", "out.spacy", "--reply-field", "said"), "needs the labels on offer: name each"),
        (("import", "label.jsonl", "out.spacy"), "label.jsonl:2: expected a label, a list of labels"),
        (("import", "span.jsonl", "out.spacy", "--task", "ner"), "span.jsonl:2: expected [start, end, label]"),
        (("import", "label.jsonl", "out.spacy", "--lang", "xx1"), "--lang 'xx1'"),
        (("curate", "none.spacy", "curated", "--config", ROOT / "configs/curation.cfg"), "none.spacy does not exist"),
        (("corpus", "none.spacy", "corpus"), "none.spacy does not exist"),
        (("choose", "teacher.cfg", "good.jsonl", "out.cfg"), "good.jsonl:1 has no field 'gold' (it has: 'text')"),
        (("evaluate", "none", "good.jsonl", "evaluation"), "none is not a trained pipeline"),
        (("release", "none", "packages", "--name", "a_b"), "none"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_1(run: Run, args: tuple[object, ...], message: str) -> None:
    teacher("bug")
    write("good.jsonl", {"text": "fine"})
    write("bad.jsonl", {"text": "fine"}, '{"text": ')
    write("field.jsonl", {"text": "fine"}, {"body": "not"})
    write("label.jsonl", {"text": "fine", "label": "bug"}, {"text": "not", "label": 3})
    write("span.jsonl", {"text": "fine", "label": [[0, 4, "A"]]}, {"text": "not", "label": [[0, 3]]})
    write("empty.txt")
    code, _, err = run(*args)
    assert code == 1
    assert message in err
    assert err.startswith("✘ ")
    assert err.count("\n") == 1
    assert not Path("out.spacy").exists()


@pytest.mark.parametrize(
    "args",
    [
        ("init", "desk", "--label", "a", "--label", "b", "--texts", "t.txt", "--model", "m", "--task", "tagger"),
        ("import", "t.jsonl", "out.spacy", "--task", "tagger"),
        ("curate", "t.spacy", "curated", "--task", "tagger"),
        ("corpus", "t.spacy", "corpus", "--task", "tagger"),
        ("evaluate", "model", "t.jsonl", "evaluation", "--task", "tagger"),
    ],
)
def test_a_task_that_does_not_exist_is_a_usage_error(run: Run, args: tuple[str, ...]) -> None:
    code, _, err = run(*args)
    assert code == 2
    assert "--task" in err
    assert "'tagger' is not one of 'textcat'" in re.sub(r"[\s│]+", " ", err)


def test_a_real_process_ends_with_one_line_too(tmp_path: Path) -> None:
    (tmp_path / "bad.jsonl").write_text('{"text": "fine"}\nnonsense\n', encoding="utf8")
    ended = shell("import", "bad.jsonl", "out.spacy", cwd=tmp_path)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr.startswith("✘ bad.jsonl:2 is not JSON")
    assert ended.stderr.count("\n") == 1


@registry.llm_models("test_cli.interrupted.v1")
def make_interrupted() -> Callable[..., Any]:
    """A model at whose second prompt the user presses Ctrl-C."""
    asked: list[str] = []

    def answer(prompts: typing.Iterable[typing.Iterable[str]]) -> typing.Iterable[typing.Iterable[str]]:
        asked.extend(str(prompt) for of_doc in prompts for prompt in of_doc)
        if len(asked) == 2:
            raise KeyboardInterrupt
        return [['{"label": "bug"}']]

    return answer


def test_an_interrupted_run_goes_on_where_it_stopped(run: Run) -> None:
    config = teacher(model="test_cli.interrupted.v1")
    texts = write("t.txt", "one", "two", "three")
    code, out, err = run("annotate", config, texts, "out/pool.spacy")
    assert code == 130
    assert "1 replies came before the interruption ($0.00), all kept in out/ledger.sqlite" in out
    assert err == "Stopped. What is done is kept: run the same command again to go on.\n"
    assert not Path("out/pool.spacy").exists()
    code, _, _ = run("annotate", config, texts, "out/pool.spacy", "--limit", 2)
    books = srsly.read_json("out/pool.json")
    assert (code, books["asked"], books["from_ledger"]) == (0, 1, 1)


def test_as_many_reasons_as_records_do_not_fill_the_screen(capsys: pytest.CaptureFixture[str]) -> None:
    often = [(f"row {number}", "ignored") for number in range(5)]
    print_aside([*((f"n{i}", f"Dish at {i}-{i + 4} does not stand on token boundaries") for i in range(1000)), *often])
    lines = capsys.readouterr().out.splitlines()
    assert lines[:3] == [
        "1005 records set aside:",
        "  5 × ignored (row 0, row 1, row 2, …)",
        "  1 × Dish at 0-4 does not stand on token boundaries (n0)",
    ]
    assert (len(lines), lines[-1]) == (22, "  … 981 more reasons")


def test_what_the_system_refuses_takes_one_line(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    labels = write("labels.jsonl", {"text": "a", "label": "bug"})
    assert run("import", labels, "labels.jsonl/pool.spacy")[::2] == (1, "✘ labels.jsonl: File exists.\n")

    def full(*args: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(DocBin, "to_disk", full)
    assert run("import", labels, "pool.spacy")[::2] == (1, "✘ No space left on device.\n")
    assert [*map(str, Path().iterdir())] == ["labels.jsonl"]


def test_a_ledger_on_a_full_disk_keeps_what_it_has(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    config = teacher(model="test_cli.interrupted.v1")
    texts = write("t.txt", "one")

    def full(*args: object, **kwargs: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    with monkeypatch.context() as disk:
        disk.setattr(Ledger, "put", full)
        code, _, err = run("annotate", config, texts, "pool.spacy")
    kept = "What is done is kept: run the same command again to go on."
    assert (code, err) == (1, f"✘ The ledger cannot be written: database or disk is full. {kept}\n")
    assert run("annotate", config, texts, "pool.spacy")[0] == 0


def test_a_command_that_keeps_nothing_promises_nothing_when_interrupted(run: Run) -> None:
    assert run("import", write("labels.jsonl", {"text": "a", "label": "bug"}), "pool.spacy")[0] == 0
    rules = write("rules.py", "raise KeyboardInterrupt")  # What Ctrl-C raises.
    code, _, err = run("curate", "pool.spacy", "out", "--config", write("curation.cfg", CURATION), "--code", rules)
    assert (code, err) == (130, "Stopped.\n")
    assert not Path("out").exists()


# corpus


def test_the_corpus_says_whose_labels_dev_has(run: Run) -> None:
    answers = [
        {"text": f"{word} {i}", "options": [{"id": "bug"}, {"id": "question"}], "accept": [label], "answer": "accept"}
        for label, word in (("bug", "it broke again,"), ("question", "where do I find"))
        for i in range(20)
    ]
    assert run("import", write("people.jsonl", *answers), "people.spacy", "--format", "prodigy")[0] == 0
    _, out, _ = run("corpus", "people.spacy", "corpus")
    assert "Corpus for textcat, dev from people's labels" in out
    manifest = srsly.read_json("corpus/manifest.json")
    train, dev = manifest["train"], manifest["dev"]
    assert (train["gold"], dev["gold"], train["models"]) == (train["docs"], dev["docs"], {})
    assert re.search(rf"decided by people +│ +{train['gold']} +│ +{dev['gold']} ", out)
    labels = [{"text": answer["text"], "label": answer["accept"][0]} for answer in answers]
    assert run("import", write("llm.jsonl", *labels), "silver.spacy")[0] == 0
    _, out, _ = run("corpus", "silver.spacy", "corpus")
    assert "Corpus for textcat, dev from the teacher's labels" in out
    assert "people" not in out
    train = srsly.read_json("corpus/manifest.json")["train"]
    assert (train["gold"], train["models"]) == (0, {"llm.jsonl": train["docs"]})


# preview and annotate


def test_preview_shows_the_prompt_and_annotate_asks_nothing_again(run: Run) -> None:
    config = teacher('{"label": "bug"}', "{}", '{"label": "question"}')
    first = "It [broke]. " + "So it did the last time. " * 12 + "Help!"  # wider than a screen
    texts = write("t.jsonl", {"text": first}, {"text": "Hm."}, {"text": "How?"})
    code, out, _ = run("preview", config, texts, "-n", 2)
    assert code == 0
    nlp = load_teacher(config)
    (((prompt,), _),) = nlp.get_pipe("llm").task.generate_prompts([nlp.make_doc(first)])  # type: ignore[attr-defined]
    shown = " ".join(line.strip("│ ") for line in out.splitlines())
    assert " ".join(str(prompt).split()) in " ".join(shown.split()), "the prompt is shown word for word"
    assert "unparsed" in out
    assert "2 replies asked for" in out
    config = teacher('{"label": "question"}')
    code, out, _ = run("annotate", config, texts, "annotations/pool.spacy")
    assert code == 0
    assert "1 replies asked for" in out
    assert "2 were in the ledger" in out
    found = annotations("annotations/pool.spacy")
    assert [(item.status, item.label) for item in found] == [("ok", "bug"), ("unparsed", None), ("ok", "question")]
    assert srsly.read_json("annotations/pool.json")["statuses"] == {"textcat": {"ok": 2, "unparsed": 1}}


def test_preview_reads_the_fields_that_annotate_reads(run: Run) -> None:
    """A text is shown no example of its group: with other groups it is asked in other words, and paid for twice."""
    config = teacher('{"label": "bug"}', '{"label": "bug"}')
    examples = [{"text": "It tore.", "label": "bug", "group": "a"}, {"text": "Why?", "label": "question", "group": "b"}]
    config.write_text(f"{config.read_text()}examples = {json.dumps(examples)}\n")
    rows = ({"id": "x", "key": str(n), "thread": group, "text": f"It broke {n}."} for n, group in enumerate("ab"))
    fields = ("--id-field", "key", "--group-field", "thread")
    texts = write("t.jsonl", *rows)
    assert "the id 'x' stands at" in run("preview", config, texts)[2]
    assert run("preview", config, texts, *fields)[0] == 0
    out = run("annotate", config, texts, "annotations/pool.spacy", *fields)[1]
    assert "0 replies asked for" in out


def test_texts_without_a_recorded_reply_are_named(run: Run) -> None:
    settings = 'path = "part.jsonl"\nlabel_field = "label"'
    config = write("teacher.cfg", TEACHER.format(model="spacy_distill.Recorded.v1", settings=settings))
    write("part.jsonl", {"text": "It broke.", "label": "bug"})
    texts = [{"id": f"t{i}", "text": f"new {i}"} for i in range(5)]
    code, out, _ = run("annotate", config, write("t.jsonl", {"id": "t", "text": "It broke."}, *texts), "o.spacy")
    assert code == 0
    assert "5 prompts got no reply:\n  5 × no reply recorded for this text in part.jsonl (t0, t1, t2, …): add" in out
    assert "Run this command again" not in out
    assert list(srsly.read_json("o.json")["unanswered"].values()) == [["t0", "t1", "t2"]]
    out = run("annotate", config, write("t.jsonl", texts[4]), "o.spacy")[1]
    assert "1 prompt got no reply:\n  1 × no reply recorded for this text in part.jsonl (t4): add" in out


# import


def test_import_takes_labels_and_counts_those_that_are_null(run: Run) -> None:
    rows = [{"text": "a", "label": "bug"}, {"text": "b", "label": None}, {"text": "c", "label": "question, maybe"}]
    code, out, _ = run("import", write("labels.jsonl", *rows), "pool.spacy")
    assert code == 0
    found = annotations("pool.spacy")
    assert [(item.status, item.label) for item in found] == [
        ("ok", "bug"),
        ("unparsed", None),
        ("ok", "question, maybe"),
    ]
    assert srsly.read_json("pool.json")["statuses"] == {"textcat": {"ok": 2, "unparsed": 1}}
    assert "unparsed" in out
    assert re.search(r"^3 records read in [\d.]+ s\.$", out, re.MULTILINE)
    assert "asked for" not in out
    assert "ledger" not in out


def test_import_refuses_to_make_a_label_up(run: Run) -> None:
    labels = write("labels.csv", "text,llm", "a,bug", "b,Bug", "c,crash")
    options = ("--label-field", "llm", "--label", "bug", "--label", "question")
    assert run("import", labels, "pool.spacy", *options)[0] == 0
    assert [item.status for item in annotations("pool.spacy")] == ["ok", "ok", "unknown_label"]
    assert [item.label for item in annotations("pool.spacy")] == ["bug", "bug", None]


def test_import_names_what_is_no_label(run: Run) -> None:
    said = ["ham", "spam", "ham", "eggs", "toast", "tea", "jam", "ham", "spam", "hamm"]
    labels = write("labels.jsonl", *({"text": str(at), "label": name} for at, name in enumerate(said)))
    code, out, _ = run("import", labels, "pool.spacy", "--label", "hamm", "--label", "spamm")
    assert code == 0
    assert "\nNot among the labels: 'ham' (3), 'spam' (2), 'eggs' (1), 'toast' (1), 'tea' (1) and 1 more.\n" in out
    unknown = {"textcat": {"ham": 3, "spam": 2, "eggs": 1, "toast": 1, "tea": 1, "jam": 1}}
    assert srsly.read_json("pool.json")["unknown"] == unknown
    spans = write("spans.jsonl", {"text": "Ada met Bo", "label": [[0, 3, "WHO"], [8, 10, "Whom"], [8, 10, "Whom"]]})
    code, out, _ = run("import", spans, "spans.spacy", "--task", "ner", "--label", "WHO")
    assert "Not among the labels: 'Whom' (2)." in out
    assert srsly.read_json("spans.json")["unknown"] == {"ner": {"Whom": 2}}
    assert run("import", labels, "pool.spacy")[0] == 0
    assert "Not among the labels" not in run("import", labels, "pool.spacy")[1]


@pytest.mark.parametrize("span", [[0, 3, "WHO"], {"start": 0, "end": 3, "label": "WHO"}])
@pytest.mark.parametrize("options", [(), ("--label", "WHO"), ("--multi-label",)])
def test_import_refuses_spans_where_classes_are_expected(run: Run, span: object, options: tuple[str, ...]) -> None:
    spans = write("spans.jsonl", {"text": "nobody", "label": []}, {"text": "Ada met Bo", "label": [span]})
    code, _, err = run("import", spans, "pool.spacy", *options)
    assert code == 1
    assert f"spans.jsonl:2: 'label' has entity spans, such as {span!r}. Import them with --task ner." in err
    assert not Path("pool.spacy").exists()


@pytest.mark.parametrize("option", ["--id-field", "--group-field"])
@pytest.mark.parametrize("command", ["import", "import --format csv", "annotate", "annotate --limit 1"])
def test_a_misspelt_field_is_refused(run: Run, command: str, option: str) -> None:
    texts = write("texts.csv", "text,label,topic", "a,bug,t", "b,question,t")
    name, *more = command.split()
    files = [texts] if name == "import" else [teacher("bug"), texts]
    code, _, err = run(name, *files, "pool.spacy", *more, option, "topci")
    assert code == 1
    assert "texts.csv: no record has the field 'topci'" in err
    assert f"Correct {option}" in err
    assert not Path("pool.spacy").exists()


def test_import_takes_several_labels_a_text(run: Run) -> None:
    rows = [{"text": "a", "label": ["x", "y"]}, {"text": "b", "label": []}, {"text": "c", "label": ["z"]}]
    assert run("import", write("labels.jsonl", *rows), "pool.spacy", "--multi-label")[0] == 0
    found = annotations("pool.spacy")
    assert [(item.status, item.positive()) for item in found] == [("ok", ("x", "y")), ("ok", ()), ("ok", ("z",))]
    assert all(not item.exclusive and item.labels == ("x", "y", "z") for item in found)


def test_import_takes_spans(run: Run) -> None:
    text = "🙂 Zoë saw Oslo"
    rows = [
        {"text": text, "label": [[2, 5, "WHO"], {"start": 10, "end": 14, "label": "WHERE"}]},
        {"text": "nobody", "label": []},
        {"text": "broken", "label": None},
    ]
    assert run("import", write("spans.jsonl", *rows), "pool.spacy", "--task", "ner")[0] == 0
    found = annotations("pool.spacy")
    assert [item.status for item in found] == ["ok", "ok", "unparsed"]
    assert [(text[s.start : s.end], s.label) for s in found[0].ents or ()] == [("Zoë", "WHO"), ("Oslo", "WHERE")]
    assert found[1].ents == ()
    assert found[0].labels == ("WHERE", "WHO")


def test_import_leaves_tokens_unknown_where_a_span_marks_nothing(run: Run) -> None:
    rows = [
        {"text": "add salt", "label": [[4, 8, "Ingredient"]]},
        {"text": "melt butter in a pan", "label": [[6, 9, "DISH"], [17, 20, "TOOL"], [0, 4, "INGREDIENT"]]},
        {"text": "the pho", "label": [[4, 7, "INGREDIENT"], [4, 7, "DISH"]]},
    ]
    options = ("--task", "ner", "--label", "DISH", "--label", "INGREDIENT")
    code, out, _ = run("import", write("spans.jsonl", *rows), "pool.spacy", *options)
    assert code == 0
    found = annotations("pool.spacy")
    assert [[(span.start, span.label) for span in item.ents or ()] for item in found] == [
        [(4, "INGREDIENT")],
        [(0, "INGREDIENT")],
        [],
    ]
    assert [[(span.start, span.end) for span in item.missing] for item in found] == [
        [],
        [(5, 11), (17, 20)],
        [(4, 7)],
    ]
    counts = srsly.read_json("pool.json")["unaligned"]
    assert counts == {"two_labels": 2, "boundary": 1, "unknown_label": 1}
    assert (
        "4 quotes or spans mark nothing: 2 × two labels for one place, 1 × not on its tokens, 1 × unknown label." in out
    )
    assert "The tokens of those spans are unknown" in out


def test_import_parses_raw_replies_like_live_ones(run: Run) -> None:
    rows = [
        {"text": "a", "said": 'Sure! {"label": "bug"}'},
        {"text": "b", "said": "{}"},
        {"text": "c", "said": '{"label": "weather"}'},
        {"text": "d", "said": None},
    ]
    options = ("--reply-field", "said", "--label", "bug", "--label", "question")
    assert run("import", write("replies.jsonl", *rows), "pool.spacy", *options)[0] == 0
    assert [item.status for item in annotations("pool.spacy")] == ["ok", "unparsed", "unknown_label", "unparsed"]
    second = list(read_docs(Path("pool.spacy"), spacy.blank("en").vocab))[1]
    assert (facts_of(second, "textcat") or {})["raw"] == "{}"


def test_import_keeps_a_confidence_and_its_kind(run: Run) -> None:
    rows = [{"text": "a", "label": "x", "share": 0.75}, {"text": "b", "label": "y", "share": 1}]
    labels = write("labels.jsonl", *rows)
    assert run("import", labels, "pool.spacy", "--confidence-field", "share")[0] == 0
    first, _ = annotations("pool.spacy")
    assert (first.confidence, first.confidence_kind) == (0.75, "votes")
    assert first.cats == pytest.approx({"x": 0.75, "y": 0.25})
    code, _, err = run("import", labels, "pool.spacy", "--confidence-field", "share", "--confidence-kind", "guess")
    assert code == 2
    assert "--confidence-kind" in err


CURATION = """
[curation]
rules = ["min_confidence"]
[rules]
[rules.min_confidence]
@misc = "spacy_distill.min_confidence.v1"
threshold = 0.5
per_label = {"WHERE": 0.9}
unsure_entities = "unknown"
"""


@pytest.mark.parametrize(("field", "sure"), [("sure", [0.6, 0.6]), ("lp", [-0.5, -0.5]), (None, [0.6, 0.6])])
def test_entities_less_sure_than_their_label_asks_become_unknown(
    run: Run, field: str | None, sure: list[float]
) -> None:
    spans: list[Any] = [[0, 3, "WHO"], [8, 12, "WHERE"]]
    if field is None:
        spans = [{"start": s, "end": e, "label": name, "score": 0.6} for s, e, name in spans]
    option = {"sure": ("--confidence-field", "sure"), "lp": ("--logprob-field", "lp"), None: ()}[field]
    labels = write("spans.jsonl", {"text": "Zo\u00eb saw Oslo", "label": spans, field or "unused": sure})
    assert run("import", labels, "pool.spacy", "--task", "ner", *option)[0] == 0
    (found,) = annotations("pool.spacy")
    assert [span.score for span in found.ents or ()] == pytest.approx([0.6, 0.6], abs=0.01)
    assert found.confidence_kind == ("logprob" if field == "lp" else "votes")
    code, out, _ = run("curate", "pool.spacy", "out", "--config", write("curation.cfg", CURATION))
    assert code == 0
    assert "entities made unknown" in out
    (found,) = annotations("out/kept.spacy")
    assert [(span.start, span.label) for span in found.ents or ()] == [(0, "WHO")]
    assert [(span.start, span.end) for span in found.missing] == [(8, 12)]


def test_several_teachers_become_one(run: Run) -> None:
    said = {"a": ["bug", "bug", "bug"], "b": ["bug", "question", None], "c": ["question", "question", None]}
    for name, labels in said.items():
        rows = [{"id": str(i), "text": f"text {i}", "label": label} for i, label in enumerate(labels)]
        file = write(f"{name}.jsonl", *rows)
        assert run("import", file, f"{name}.spacy", "--label", "bug", "--label", "question")[0] == 0
    files = ("a.spacy", "b.spacy", "c.spacy")
    code, out, err = run("aggregate", *files, "pool.spacy")
    assert (code, err) == (0, "")
    assert "3 texts: 0 unanimous, 2 disputed, 1 with one vote alone, 0 with none." in out
    docs = list(read_docs(Path("pool.spacy"), spacy.blank("en").vocab))
    assert [annotations_of(doc)[0].label for doc in docs] == ["bug", "question", "bug"]
    assert (
        run("aggregate", *files, "pool.spacy", "--method", "weighted", "--weight", 5, "--weight", 1, "--weight", 1)[0]
        == 0
    )
    docs = list(read_docs(Path("pool.spacy"), spacy.blank("en").vocab))
    assert [annotations_of(doc)[0].label for doc in docs] == ["bug", "bug", "bug"]
    code, _, err = run("aggregate", *files)
    assert code == 1
    assert "c.spacy exists, and no aggregation wrote it" in err


# export


def test_what_people_corrected_elsewhere_comes_back_as_gold(run: Run) -> None:
    rows = [{"text": "It broke", "label": "bug"}, {"text": "How?", "label": "bug"}, {"text": "Hm", "label": None}]
    assert run("import", write("labels.jsonl", *rows), "pool.spacy", "--label", "bug", "--label", "question")[0] == 0
    code, out, _ = run("export", "pool.spacy", "review.jsonl", "--format", "prodigy")
    assert code == 0
    assert "3 records: 3 written" in out
    first, second, third = srsly.read_jsonl("review.jsonl")
    answers = [{"answer": "accept"}, {"answer": "accept", "accept": ["question"]}, {"answer": "ignore"}]
    pairs = zip((first, second, third), answers, strict=True)
    write("review.jsonl", *({**task, **answer} for task, answer in pairs))
    code, out, _ = run("import", "review.jsonl", "gold.spacy", "--format", "prodigy")
    assert code == 0
    assert "3 records: 2 texts, 2 of them gold." in out
    assert "1 × ignored (review.jsonl:3)" in out
    assert [(item.label, item.gold) for item in annotations("gold.spacy")] == [("bug", True), ("question", True)]
    code, out, _ = run("export", "pool.spacy", "tune.jsonl", "--format", "openai-finetune", "--config", teacher("{}"))
    assert code == 0
    assert "1 × status unparsed" in out
    assert [row["messages"][-1]["content"] for row in srsly.read_jsonl("tune.jsonl")] == ['{"label": "bug"}'] * 2


@pytest.mark.parametrize("form", ["csv", "prodigy", "datasets"])
def test_export_does_not_write_over_what_people_filled_in(run: Run, form: str) -> None:
    if form == "datasets":
        pytest.importorskip("datasets")
    rows = [{"text": "It broke", "label": "bug"}, {"text": "How?", "label": "question"}]
    assert run("import", write("labels.jsonl", *rows), "pool.spacy")[0] == 0
    command = ("export", "pool.spacy", "out/review", "--format", form)
    assert run(*command)[0] == 0
    assert run(*command)[0] == 0  # it would stay as it is
    assert not Path("out/review~").exists()
    answers = Path("out/review/answers.txt") if form == "datasets" else Path("out/review")
    with answers.open("a", encoding="utf8") as file:
        file.write("mine\n")
    filled = answers.read_bytes()
    code, _, err = run(*command)
    assert code == 1
    assert f"{Path('out/review')} exists, and has something else than would be written" in err
    assert "--force" in err
    assert answers.read_bytes() == filled
    code, said, _ = run(*command, "--force")
    assert (code, f"What was in it stands in {Path('out/review~')}" in said) == (0, True)
    kept = Path("out/review~/answers.txt") if form == "datasets" else Path("out/review~")
    assert kept.read_bytes() == filled
    assert not answers.exists() or answers.read_bytes() != filled
    assert run(*command)[0] == 0
    with answers.open("a", encoding="utf8") as file:
        file.write("mine too\n")
    assert f"What was in it stands in {Path('out/review~2')}" in run(*command, "--force")[1]
    assert kept.read_bytes() == filled


def test_export_does_not_write_over_its_input_or_gold(run: Run) -> None:
    labels = write("labels.jsonl", {"text": "Ada", "label": [[0, 3, "WHO"]]})
    assert run("import", labels, "pool.spacy", "--task", "ner")[0] == 0
    before = {path: path.read_bytes() for path in (Path("pool.spacy"), labels)}
    for options in ((), ("--force",)):
        code, _, err = run("export", "pool.spacy", Path("pool.spacy").resolve(), "--format", "conll", *options)
        assert code == 1
        assert "pool.spacy is the file that is read. Name another output." in err
    code, _, err = run("export", "pool.spacy", labels, "--format", "prodigy")
    assert code == 1
    assert "labels.jsonl exists" in err
    assert {path: path.read_bytes() for path in before} == before
    code, _, err = run("export", "typo.spacy", labels, "--format", "prodigy")
    assert code == 1
    assert "typo.spacy does not exist" in err
    assert run("export", "pool.spacy", write("empty.txt"), "--format", "prodigy")[0] == 0  # there is nothing to lose


def test_what_people_decided_is_not_overwritten(run: Run) -> None:
    rows = [{"text": "It broke", "label": "bug", "id": "r1"}, {"text": "How?", "label": "question", "id": "r2"}]
    labels = write("labels.jsonl", *rows)
    checked = write("checked.csv", "id,text,gold", "r1,It broke,bug", "r2,How?,question")
    as_gold = ("pool.spacy", "--format", "csv", "--gold")
    assert run("import", labels, "pool.spacy")[0] == 0
    assert run("import", labels, "pool.spacy")[0] == 0  # nobody checked what stands there
    assert run("import", checked, *as_gold)[0] == 0
    assert run("import", checked, *as_gold)[0] == 0  # the same people's decisions again, or newer ones
    fewer = write("fewer.csv", "id,text,gold", "r1,It broke,question", "r2,How?,")
    before = Path("pool.spacy").read_bytes(), Path("pool.json").read_bytes()
    for command in (
        ("import", labels, "pool.spacy"),
        ("import", fewer, *as_gold, "--label", "bug", "--label", "question"),
        ("annotate", teacher('{"label": "bug"}'), labels, "pool.spacy"),
    ):
        code, _, err = run(*command)
        assert code == 1
        assert re.search(r"pool\.spacy holds what people decided on [12] texts? \((r1, )?r2\)", err)
        assert (Path("pool.spacy").read_bytes(), Path("pool.json").read_bytes()) == before
    assert not Path("ledger.sqlite").exists()  # nothing was asked
    corpus = DocBin(docs=[spacy.blank("en")("made by hand")])
    corpus.to_disk("mine.spacy")
    write("text.spacy", "no DocBin")
    for name in ("mine.spacy", "text.spacy"):
        code, _, err = run("import", labels, name)
        assert code == 1
        assert f"{name} exists, and neither `annotate` nor `import` wrote it" in err


def test_corrections_of_a_part_do_not_replace_the_rest_but_join_it(run: Run) -> None:
    rows = [{"text": f"text {n}", "label": "bug", "share": 0.75, "id": f"r{n}"} for n in range(4)]
    named = ("--label", "bug", "--label", "question")
    assert run("import", write("labels.jsonl", *rows), "pool.spacy", *named, "--confidence-field", "share")[0] == 0
    before = Path("pool.spacy").read_bytes(), Path("pool.json").read_bytes()
    options = [{"id": name} for name in ("bug", "question")]
    sessions = []
    for n in (3, 1):
        task = {"id": f"r{n}", "text": f"text {n}", "options": options, "accept": ["question"], "answer": "accept"}
        sessions.append(write(f"done{n}.jsonl", task))
    code, _, err = run("import", sessions[0], "pool.spacy", "--format", "prodigy")
    assert code == 1
    assert "pool.spacy has 3 texts of which done3.jsonl says nothing, and they would be lost." in err
    join = "spacy-distill aggregate pool.spacy pool_corrections.spacy pool_merged.spacy"
    assert err.endswith(f"Write the corrections to pool_corrections.spacy, then join them: {join}\n")
    assert (Path("pool.spacy").read_bytes(), Path("pool.json").read_bytes()) == before
    assert run("import", sessions[0], "pool_corrections.spacy", "--format", "prodigy")[0] == 0
    code, out, _ = run("import", sessions[1], "more.spacy", "--format", "prodigy")
    assert "1 record: 1 text, 1 of them gold." in out
    assert run("aggregate", "pool_corrections.spacy", "more.spacy", "both.spacy")[0] == 0
    for files in (join.split()[2:-1], ["pool.spacy", "both.spacy"]):
        assert run("aggregate", *files, "pool_merged.spacy")[0] == 0
    found = annotations("pool_merged.spacy")
    assert [(item.label, item.gold) for item in found] == [("bug", False), ("question", True)] * 2
    assert found[0].cats == pytest.approx({"bug": 0.75, "question": 0.25})
    code, _, err = run(*join.split()[1:])
    assert code == 1
    assert "pool_merged.spacy holds what people decided on 1 text (r1)" in err


def test_corrections_of_classes_do_not_replace_entities(run: Run) -> None:
    spans = write("spans.jsonl", {"text": "Ada", "label": [[0, 3, "WHO"]], "id": "r0"})
    assert run("import", spans, "pool.spacy", "--task", "ner")[0] == 0
    checked = write("checked.csv", "id,text,gold", "r0,Ada,bug")
    code, _, err = run("import", checked, "pool.spacy", "--format", "csv", "--gold")
    assert code == 1
    assert "pool.spacy has annotations for ner, which would be lost. Name another output." in err


def test_spans_off_the_tokens_are_reported(run: Run) -> None:
    write("spans.jsonl", {"text": "Oslofjord", "spans": [{"start": 0, "end": 4, "label": "A"}], "answer": "accept"})
    code, out, _ = run("import", "spans.jsonl", "pool.spacy", "--task", "ner", "--format", "prodigy")
    assert code == 0
    assert "A at 0-4, 'Oslo'" in out
    (found,) = annotations("pool.spacy")
    assert (found.ents, [(span.start, span.end) for span in found.missing]) == ((), [(0, 9)])
