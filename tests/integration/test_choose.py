"""`spacy-distill choose` from files to files, with a small random model."""

import json
import random

import pytest
from confection import Config
from spacy.util import load_config

pytest.importorskip("torch")
pytest.importorskip("transformers")

from tiny_model import save_model
from typer.testing import CliRunner

from spacy_distill.annotate import annotate, load_teacher
from spacy_distill.cli import app
from spacy_distill.errors import ConfigError, InputError, TeacherError
from spacy_distill.teacher.choose import Search, choose
from spacy_distill.teacher.ledger import Ledger
from spacy_distill.types import Text

pytestmark = pytest.mark.local

WORDS = {"good": ["fresh", "bright", "fine", "green"], "bad": ["stale", "flat", "dusty", "dull"]}


def records(count=40):
    rng = random.Random(0)
    rows = []
    for number in range(count):
        label = rng.choice(["good", "bad"])
        text = f"{rng.choice(WORDS[label])} leaf number {number}, {rng.choice(WORDS[label])}"
        rows.append({"id": str(number), "text": text, "gold": label})
    return rows


def texts(count=40):
    return [Text(row["id"], row["text"], None, row["gold"]) for row in records(count)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_model(tmp_path_factory.mktemp("models") / "tiny", window=300)


@pytest.fixture
def teacher(folder):
    return Config(
        {
            "nlp": {"lang": "en", "pipeline": ["llm"]},
            "components": {
                "llm": {
                    "factory": "llm",
                    "model": {
                        "@llm_models": "spacy_distill.Local.v1",
                        "name": str(folder),
                        "device": "cpu",
                        "threads": 1,
                    },
                    "task": {
                        "@llm_tasks": "spacy_distill.TextCat.v1",
                        "labels": ["good", "bad"],
                        "template": "complete",
                        "noun": "Tea",
                        "question": "Verdict",
                    },
                }
            },
        }
    )


SEARCH = Search({"plain": {}, "other": {"instruction": "Judge the tea.", "question": "It is"}}, shots=(0, 4))


def test_every_row_is_measured_on_the_same_unseen_texts(teacher, tmp_path):
    seen = []
    choice = choose(teacher, SEARCH, texts(), ledger=tmp_path / "ledger.sqlite", progress=seen.append)
    assert len(choice.trials) == 2 * 2 * 4
    assert {trial.texts for trial in choice.trials} == {36}
    assert len(choice.held_out) == 4
    assert sum(seen) == SEARCH.prompts(40)
    held = {text.text for text in texts() if text.id in choice.held_out}
    asked = [row["prompt"] for row in Ledger(tmp_path / "ledger.sqlite").rows()]
    endings = {prompt.rsplit("Tea: ", 1)[1].rsplit("\n", 1)[0] for prompt in asked}
    assert held
    assert not held & endings
    assert sum(any(text in prompt for text in held) for prompt in asked) == 2 * 39  # shown in two of the four prompts


def test_a_second_run_asks_nothing_and_says_the_same(teacher, tmp_path):
    ledger = tmp_path / "ledger.sqlite"
    first = choose(teacher, SEARCH, texts(), ledger=ledger)
    count = Ledger(ledger).counts()
    teacher["components"]["llm"]["model"]["threads"] = None
    other = Search(SEARCH.candidates, SEARCH.shots, ("prior", "none"))
    second = choose(teacher, SEARCH, texts(), ledger=ledger)
    assert choose(teacher, other, texts(), ledger=ledger).trials[0].calibration == "prior"
    assert Ledger(ledger).counts() == count
    assert second.to_dict() == first.to_dict()


def test_the_chosen_config_annotates_as_it_was_measured(teacher, tmp_path):
    ledger = tmp_path / "ledger.sqlite"
    for calibration in ("none", "content_free", "batch", "prior"):
        search = Search({"other": SEARCH.candidates["other"]}, shots=(4,), calibrations=(calibration,))
        choice = choose(teacher, search, texts(), ledger=ledger)
        path = tmp_path / f"{calibration}.cfg"
        choice.config.to_disk(path, interpolate=False)
        assert len(load_config(path)["components"]["llm"]["task"]["examples"]) == 4
        count = Ledger(ledger).counts()
        unseen = [text for text in texts() if text.id not in choice.held_out]
        docs, _ = annotate(load_teacher(path, ledger=ledger), unseen)
        right = [max(doc.cats, key=doc.cats.get) == text.gold for doc, text in zip(docs, unseen, strict=True)]
        assert tuple(right) == choice.best.right
        assert Ledger(ledger).counts() == count


def test_examples_that_the_config_has_are_chosen_anew(teacher, tmp_path):
    plain = choose(teacher, SEARCH, texts(), ledger=tmp_path / "ledger.sqlite")
    examples = [{"text": "fresh", "label": "good"}, {"text": "stale", "label": "bad"}]
    teacher["components"]["llm"]["task"].update(examples=examples, shots=1, pick="nearest")
    choice = choose(teacher, SEARCH, texts(), ledger=tmp_path / "ledger.sqlite")
    assert choice.to_dict() == plain.to_dict()
    assert choice.config == plain.config


def test_a_prompt_that_is_too_long_is_skipped_and_named(teacher, tmp_path):
    search = Search({"plain": {}}, shots=(0, 16))
    choice = choose(teacher, search, texts(), ledger=tmp_path / "ledger.sqlite")
    assert {trial.shots for trial in choice.trials} == {0}
    assert "tokens without its text" in choice.skipped["plain, 16 shots"]


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"serach": {}}, "Unknown in the candidates config: serach"),
        ({"search": {"shot": [1]}}, "Unknown in the candidates config: shot"),
        ({"search": {"shots": [-1]}}, "shots"),
        ({"search": {"shots": 8}}, "shots = 8: expected a list"),
        ({"search": {"calibrations": "none"}}, "calibrations = 'none': expected a list"),
        ({"candidates": {"plain": "Judge the tea."}}, r"write \[candidates\.plain\]"),
        ({"search": {"calibrations": ["platt"]}}, "Unknown calibration 'platt'"),
        ({"search": {"calibrations": []}}, "calibrations is empty"),
        ({"candidates": {"dear": {"noun": "Price in $"}}}, r"contains a \$"),
    ],
)
def test_a_candidates_config_that_says_something_else(config, message):
    with pytest.raises(ConfigError, match=message):
        Search.of(config)


def test_what_cannot_be_chosen_for(teacher, tmp_path):
    task = teacher["components"]["llm"]["task"]
    with pytest.raises(InputError, match="20 are needed"):
        choose(teacher, SEARCH, texts(22))
    with pytest.raises(ConfigError, match=r"plain, 0 shots does not make a task[\s\S]*colour"):
        choose(teacher, Search({"plain": {"colour": "red"}}), texts())
    task["labels"] = ["good", "bad", "so: so"]
    with pytest.raises(ConfigError, match="'so: so' cannot be written"):
        choose(teacher, SEARCH, texts())
    task["labels"] = ["good", "bad"]
    task["exclusive"] = False
    with pytest.raises(ConfigError, match="exclusive"):
        choose(teacher, SEARCH, texts())
    task["@llm_tasks"] = "spacy_distill.NER.v1"
    with pytest.raises(ConfigError, match="found 0 among llm"):
        choose(teacher, SEARCH, texts())


def test_a_missing_model_is_an_error_not_a_skipped_prompt(teacher):
    teacher["components"]["llm"]["model"]["name"] = "./absent.gguf"
    with pytest.raises(TeacherError, match=r"absent\.gguf does not exist"):
        choose(teacher, SEARCH, texts())


def test_from_files_to_files(teacher, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    teacher.to_disk("teacher.cfg")
    candidates = Config(
        {"search": {"shots": [0, 4], "seed": 1}, "candidates": {"plain": {}, "said": {"words": {"good": "fine"}}}}
    )
    candidates.to_disk("candidates.cfg")
    rows = "".join(json.dumps(row) + "\n" for row in records())
    (tmp_path / "gold.jsonl").write_text(rows)
    (tmp_path / "more.txt").write_text("".join(f"green leaf {n}\n" for n in range(30)))
    arguments = ["choose", "teacher.cfg", "gold.jsonl", "out/chosen.cfg", "--candidates", "candidates.cfg"]
    arguments += ["--unlabelled", "more.txt", "--unlabelled-count", "12"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert "▶" in result.output
    assert "Chosen:" in result.output
    figures = json.loads((tmp_path / "out" / "chosen.json").read_text())
    assert len(figures["trials"]) == 16
    assert figures["gold"]["path"] == "gold.jsonl"
    assert figures["chosen"] in figures["trials"]
    assert str(tmp_path) not in (tmp_path / "out" / "chosen.json").read_text()
    chosen = load_config("out/chosen.cfg")["components"]["llm"]
    assert chosen["model"]["temperature"] == figures["chosen"]["temperature"]
    assert Ledger("annotations/ledger.sqlite").counts() == {"ok": 4 * (36 + 12 + 3)}


def test_groups_are_held_out_whatever_their_field_is_called(teacher, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    teacher.to_disk("teacher.cfg")
    Config({"search": {"shots": [0, 4], "calibrations": ["none"]}}).to_disk("candidates.cfg")
    rows = [{**row, "thread": f"t{number // 2}"} for number, row in enumerate(records())]
    (tmp_path / "gold.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "more.txt").write_text("green leaf\n")
    arguments = ["choose", "teacher.cfg", "gold.jsonl", "chosen.cfg", "--candidates", "candidates.cfg"]
    arguments += ["--unlabelled", "more.txt", "--group-field", "thread"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    held_out = json.loads((tmp_path / "chosen.json").read_text())["held_out"]
    assert {rows[int(id)]["thread"] for id in held_out} == {f"t{int(id) // 2}" for id in held_out}
    assert len(held_out) == 2 * len({rows[int(id)]["thread"] for id in held_out})
