"""`spacy-distill curate` as people call it: what it refuses, and what it says."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from spacy_distill.cli.curate import SWEEP, curate
from spacy_distill.cli.import_ import import_
from spacy_distill.errors import ConfigError, InputError

RULES = Path(__file__).resolve().parents[2] / "configs" / "curation.cfg"
LISTED = '["status", "leakage", "duplicates", "span_errors"]'


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder with twelve imported texts."""
    monkeypatch.chdir(tmp_path)
    nouns = ("lamp", "kettle", "ladder", "violin", "carpet", "bucket")
    write("labels.jsonl", *({"text": f"the {noun} is {word}", "label": word} for noun in nouns for word in ("a", "b")))
    import_(Path("labels.jsonl"), Path("pool.spacy"))
    return tmp_path


def write(name: str, *rows: object) -> Path:
    Path(name).write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf8")
    return Path(name)


def rules(*names: str, more: str = "") -> Path:
    text = RULES.read_text(encoding="utf8")
    assert LISTED in text
    Path("rules.cfg").write_text(text.replace(LISTED, json.dumps(names)) + more, encoding="utf8")
    return Path("rules.cfg")


def test_gold_that_no_rule_keeps_out_is_refused() -> None:
    gold = write("gold.jsonl", {"text": "the lamp is a", "gold": "a"})
    with pytest.raises(ConfigError, match=r"rules\.cfg lists no rule with .*leakage\.v1.*--gold"):
        curate(Path("pool.spacy"), Path("curated"), config=rules("status", "duplicates"), gold=[gold])
    assert not Path("curated").exists()


def test_the_rule_that_keeps_gold_out_may_have_any_name(capsys: pytest.CaptureFixture[str]) -> None:
    gold = write("gold.jsonl", {"text": "the lamp is a", "gold": "a"})
    guard = rules("guard", more='\n[rules.guard]\n@misc = "spacy_distill.leakage.v1"\n')
    curate(Path("pool.spacy"), Path("curated"), config=guard, gold=[gold])
    assert "the text is in the gold" in Path("curated/rejected.jsonl").read_text(encoding="utf8")
    assert "No --gold" not in capsys.readouterr().out


def test_a_group_in_the_gold_is_named_and_counted(capsys: pytest.CaptureFixture[str]) -> None:
    nouns = ("lamp", "lamp", "kettle", "ladder")
    rows = ({"text": f"{noun} {'red' * i}", "label": "ab"[i % 2], "group": noun} for i, noun in enumerate(nouns))
    import_(write("grouped.jsonl", *rows), Path("grouped.spacy"))
    gold = write("gold.jsonl", *({"text": f"another {noun}", "topic": noun} for noun in ("lamp", "kettle")))
    curate(Path("grouped.spacy"), Path("curated"), config=RULES, gold=[gold], group_field="topic")
    rows = map(json.loads, Path("curated/rejected.jsonl").read_text(encoding="utf8").splitlines())
    lamp, kettle = ("its group lamp is in the gold", "its group kettle is in the gold")
    assert [row["reason"] for row in rows] == [lamp, lamp, kettle]
    shown = " ".join(capsys.readouterr().out.split())
    assert "its group is in the gold: 3" in shown
    assert "the gold has none" not in shown
    curate(Path("grouped.spacy"), Path("curated"), config=RULES, gold=[gold])
    assert "The texts have groups, the gold has none" in capsys.readouterr().out


def test_gold_without_texts_is_refused() -> None:
    with pytest.raises(InputError, match=r"empty\.jsonl has no texts"):
        curate(Path("pool.spacy"), Path("curated"), config=RULES, gold=[write("empty.jsonl")])
    assert not Path("curated").exists()


@pytest.mark.parametrize("names", [("status", "leakage"), ("status",)])
def test_without_gold_it_says_so(names: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    curate(Path("pool.spacy"), Path("curated"), config=rules(*names))
    assert re.search(r"No --gold was given: nothing keeps the texts you evaluate on", capsys.readouterr().out)


@pytest.mark.parametrize("option", ["group", "gold"])
def test_a_misspelt_field_of_the_gold_is_refused(option: str) -> None:
    texts = write("texts.jsonl", {"text": "the lamp is a"})
    gold = write("gold.jsonl", {"text": "the kettle is b", "topic": "b"})
    with pytest.raises(InputError, match=rf"texts\.jsonl, gold\.jsonl: no record has the field 'topci'.*--{option}-"):
        curate(Path("pool.spacy"), Path("curated"), config=RULES, gold=[texts, gold], **{f"{option}_field": "topci"})
    assert not Path("curated").exists()
    curate(Path("pool.spacy"), Path("curated"), config=RULES, gold=[texts, gold], **{f"{option}_field": "topic"})


def test_gold_labels_that_were_not_on_offer_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    gold = write("gold.jsonl", *({"text": f"other {label}", "gold": label} for label in ("a", "hamm", "hamm")))
    curate(Path("pool.spacy"), Path("curated"), config=RULES, gold=[gold])
    assert "Gold has labels that were not on offer: 'hamm' (2)" in capsys.readouterr().out


MINE = """
import spacy
from spacy_distill.curation.types import RuleResult

@spacy.registry.misc("mine.doubts.v1")
def make_doubts():
    return lambda given, _: RuleResult(given, [], {}, [(item, "it is a thing") for item in given])
"""


def test_the_books_count_what_review_holds_and_explain_shows_it(capsys: pytest.CaptureFixture[str]) -> None:
    """The first rule doubts every text, the second drops half of them."""
    Path("mine.py").write_text(MINE, encoding="utf8")
    section = '\n[rules.doubts]\n@misc = "mine.doubts.v1"\n'
    config = rules("doubts", "balance", more=section)
    config.write_text(config.read_text(encoding="utf8").replace("cap = 5000", "cap = 3"), encoding="utf8")
    curate(Path("pool.spacy"), Path("curated"), config=config, code=Path("mine.py"), explain=True)
    rows = Path("curated/review.jsonl").read_text(encoding="utf8").splitlines()
    books = json.loads(Path("curated/curation.json").read_text(encoding="utf8"))
    assert [book["review"] for book in books["rules"]] == [len(rows), 0] == [6, 0]
    said = capsys.readouterr().out
    assert said.count("it is a thing") == 3
    assert said.count("kept for review") == 3


def test_code_that_is_no_file_is_refused(folder: Path) -> None:
    for path in (folder, folder / "none.py"):
        with pytest.raises(ConfigError, match="does not exist or is not a file"):
            curate(Path("pool.spacy"), Path("curated"), config=RULES, code=path)


def test_a_sweep_of_other_annotations_does_not_stay_beside_new_results(capsys: pytest.CaptureFixture[str]) -> None:
    curate(Path("pool.spacy"), Path("curated"), config=RULES)
    sources = json.loads(Path("curated/curation.json").read_text(encoding="utf8"))["sources"]
    write("curated/sweep.json", {"sources": sources})
    curate(Path("pool.spacy"), Path("curated"), config=rules("status"))
    assert Path("curated", SWEEP).is_file()
    write("labels.jsonl", {"text": "a new one", "label": "a"}, {"text": "another", "label": "b"})
    import_(Path("labels.jsonl"), Path("pool.spacy"))
    capsys.readouterr()
    curate(Path("pool.spacy"), Path("curated"), config=RULES)
    assert not Path("curated", SWEEP).exists()
    assert "sweep.json was of other annotations: removed" in capsys.readouterr().out
