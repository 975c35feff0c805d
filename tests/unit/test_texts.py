"""Reading texts and gold: every format, and errors that name file, line and remedy."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import pytest
import spacy

from spacy_distill.docs import doc_of, write_docs
from spacy_distill.errors import ConfigError, InputError
from spacy_distill.records import read_records
from spacy_distill.texts import check_gold_names, check_labels, gold_annotations, normal_form, read_texts, suggestion
from spacy_distill.types import Annotation, Span, Text


def _write(path: Path, content: str) -> Path:
    path.write_bytes(content.encode("utf8"))
    return path


def test_every_format_gives_the_same_texts(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    texts = ["Plain.", 'With "quotes", a comma', "Ünïcode 🙂 é", "tab-free"]
    rows = "".join(f'"{t.replace(chr(34), chr(34) * 2)}"\n' for t in texts)
    table = pyarrow.table({"text": texts})
    parquet.write_table(table, tmp_path / "a.parquet")
    paths = [
        _write(tmp_path / "a.jsonl", "".join(json.dumps({"text": t}) + "\n" for t in texts)),
        _write(tmp_path / "a.csv", "text\n" + rows),
        _write(tmp_path / "a.tsv", "text\n" + rows),
        _write(tmp_path / "a.txt", "\n".join(texts) + "\n\n"),
        tmp_path / "a.parquet",
    ]
    for path in paths:
        found = list(read_texts(path))
        assert [text.text for text in found] == texts, path
        assert [text.id for text in found] == [text.id for text in read_texts(paths[0])]


@pytest.mark.parametrize("field", ["id", "group", "gold"])
def test_a_misspelt_field_is_refused_before_anything_is_read(tmp_path: Path, field: str) -> None:
    path = _write(tmp_path / "a.jsonl", '{"text": "x", "topic": 1}\n{"text": "y", "topic": 2, "late": null}\n')
    message = rf"a\.jsonl: no record has the field 'topci' \(they have: 'text', 'topic', 'late'\).*--{field}-field"
    with pytest.raises(InputError, match=message):
        next(read_texts(path, **{f"{field}_field": "topci"}))
    assert len(list(read_texts(path, **{f"{field}_field": "late"}))) == 2  # some have it
    assert len(list(read_texts(path))) == 2  # the usual names may be missing
    assert not list(read_texts(_write(tmp_path / "empty.jsonl", ""), **{f"{field}_field": "topci"}))


def test_a_field_that_a_file_beside_it_has_may_be_missing(tmp_path: Path) -> None:
    path = _write(tmp_path / "a.jsonl", '{"text": "x"}\n')
    beside = _write(tmp_path / "b.jsonl", '{"text": "y", "topic": 1}\n')
    assert [text.group for text in read_texts(path, [beside], group_field="topic")] == [None]
    with pytest.raises(InputError, match=r"a\.jsonl, .*b\.jsonl: no record has the field 'topci'"):
        list(read_texts(path, [beside], group_field="topci"))


def test_an_id_does_not_depend_on_the_line(tmp_path: Path) -> None:
    first = list(read_texts(_write(tmp_path / "a.txt", "one\ntwo\none\n")))
    second = list(read_texts(_write(tmp_path / "b.txt", "two\none\n")))
    assert first[0].id == second[1].id
    assert first[1].id == second[0].id
    assert len({text.id for text in first}) == 3


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", '{"text": "fine"}\n{"text": \n', r"a\.jsonl:2 is not JSON"),
        ("a.jsonl", '["text"]\n', r"a\.jsonl:1 is a JSON list; expected an object"),
        ("a.jsonl", '{"body": "x"}\n', r"a\.jsonl:1 has no text in 'text' \(it has: 'body'\).*--text-field"),
        ("a.jsonl", '{"text": 3}\n', r"a\.jsonl:1 has no text in 'text', but 3\."),
        ("a.jsonl", '{"text": null, "label": 1}\n', r"a\.jsonl:1: 'text' is empty\. Write"),
        ("a.csv", "text,label\nx,1\n,1\n", r"a\.csv:3: 'text' is empty\. Write"),
        (
            "a.jsonl",
            '{"id": 1, "text": "x"}\n{"id": 1, "text": "y"}\n',
            r"a\.jsonl:2: the id '1' stands at .*:1 already",
        ),
        ("a.csv", "text,gold\nx,y,z\n", r"a\.csv:2 has more fields"),
        ("a.csv", "text,gold,,gold,\nx,y,,z,\n", r"a\.csv has several columns named 'gold'"),
        ("a.tsv", 'text\tgold\nx\ty\n"Yes" he said\ty\n', r"a\.tsv:3 is not readable as TSV .* doubled"),
        ("a.xml", "<x/>", "unknown ending '.xml'"),
        ("a.parquet", "not parquet", "is not a Parquet file"),
    ],
)
def test_bad_input_is_named(tmp_path: Path, name: str, content: str, message: str) -> None:
    if name.endswith("parquet"):
        pytest.importorskip("pyarrow")
    path = _write(tmp_path / name, content)
    with pytest.raises(InputError, match=message):
        list(read_texts(path))


def test_missing_gold_is_named_where_it_is_needed(tmp_path: Path) -> None:
    path = _write(tmp_path / "gold.csv", "text,gold\nx,a\ny,\n")
    with pytest.raises(InputError, match=r"gold\.csv:3: 'gold' is empty\. Fill it"):
        list(read_texts(path, need_gold=True))
    assert [text.gold for text in read_texts(path)] == ["a", None]
    path = _write(tmp_path / "gold.jsonl", '{"text": "x", "label": "a"}\n')
    with pytest.raises(
        InputError, match=r"gold\.jsonl:1 has no field 'gold' \(it has: 'text', 'label'\).*--gold-field"
    ):
        list(read_texts(path, need_gold=True))


def test_not_utf8_and_missing_files_are_named(tmp_path: Path) -> None:
    path = tmp_path / "latin.txt"
    path.write_bytes("café\n".encode("latin-1"))
    with pytest.raises(InputError, match="not UTF-8"):
        list(read_texts(path))
    with pytest.raises(InputError, match="does not exist"):
        list(read_texts(tmp_path / "none.jsonl"))


def test_a_byte_order_mark_and_windows_lines_are_no_text(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"\xef\xbb\xbfone\r\ntwo\r\n")
    assert [text.text for text in read_texts(path)] == ["one", "two"]
    assert [where for where, _ in read_records(path)] == [f"{path}:1", f"{path}:2"]


def test_gold_classes() -> None:
    (one,) = gold_annotations([Text("1", "x", gold="a, b")], "textcat", labels=["a, b", "c"])
    assert one.cats == {"a, b": 1.0, "c": 0.0}
    assert one.gold
    (several,) = gold_annotations([Text("1", "x", gold=["b", "a"])], "textcat", exclusive=False)
    assert several.positive() == ("a", "b")


def test_gold_entities_are_code_points() -> None:
    text = "🙂 Zoë ate"
    (found,) = gold_annotations([Text("1", text, gold=[[2, 5, "WHO"]])], "ner")
    assert found.ents == (Span(2, 5, "WHO"),)
    assert text[2:5] == "Zoë"


@pytest.mark.parametrize(
    ("gold", "task", "message"),
    [
        (None, "textcat", "has no gold. Name the field"),
        (None, "ner", "has no gold. Name the field"),
        (["a", "b"], "textcat", "exactly one label, found 2"),
        ("A", "textcat", "unknown label 'A'. Did you mean 'a'?"),
        ("z", "textcat", "unknown label 'z'. Known: 'a', 'b'"),
        ("a\u200b", "textcat", r"unknown label 'a\\u200b'. Did you mean 'a'"),
        ("a, b", "textcat", r"unknown label 'a, b'. Write several labels as \[\"a\", \"b\"\]."),
        ([[0, 9, "a"]], "ner", "0-9 lies outside its text of 4 characters"),
        ([[2, 2, "a"]], "ner", "lies outside"),
        (["a"], "ner", r"expected \[start, end, label\]"),
    ],
)
def test_bad_gold_is_named(gold: object, task: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        gold_annotations([Text("r7", "text", gold=gold)], task, labels=["a", "b"])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "labels",
    [
        [],
        [""],
        [" a"],
        [" "],
        ["a\nb"],
        ["a", "A"],
        ["a", "a"],
        ["é", "é"],
        ["a b", "a  b"],
        ["a", "a\u200b"],
        ["a,b", "a, b"],
        ["\u200b"],
    ],
)
def test_labels_that_would_be_lost_are_refused(labels: list[str]) -> None:
    with pytest.raises(ConfigError):
        check_labels(labels)


def test_names_that_look_the_same_are_written_so_that_they_do_not() -> None:
    with pytest.raises(ConfigError, match=r"'caf\\xe9' and 'cafe\\u0301' differ"):
        check_labels(["café", "cafe\u0301"])
    assert suggestion("cafe\u0301", ["café"]) == r" Did you mean 'caf\xe9', not 'cafe\u0301'?"
    with pytest.raises(InputError, match=r"the label 'cafe\\u0301' is 'caf\\xe9' in the annotations"):
        check_gold_names([Text("g", "x", gold="cafe\u0301")], ["café"])


@pytest.mark.parametrize("twin", ["ham\u200b", "ham\u00ad", "\ufeffham", "HAM", " ham"])
def test_gold_that_spells_a_label_otherwise_is_refused(twin: str) -> None:
    with pytest.raises(InputError, match=r"is 'ham' in the annotations\. Spell them the same way"):
        check_gold_names([Text("g", "x", gold=twin)], ["ham", "spam"])


def test_space_around_a_comma_makes_no_other_label() -> None:
    with pytest.raises(InputError, match="the label 'a, b' is 'a,b' in the annotations"):
        check_gold_names([Text("g", "x", gold=[[0, 1, "a, b"]])], ["a,b"])


def test_gold_labels_that_nobody_was_offered_are_counted() -> None:
    golds = ["ham", "hamm", ["spam", "hamm"], '["spam", "x"]', [[0, 1, "y"]], {"label": "z"}, None, 3]
    texts = [Text(str(number), "x", gold=gold) for number, gold in enumerate(golds)]
    assert check_gold_names(texts, ["ham", "spam"]) == {"hamm": 2, "x": 1, "y": 1, "z": 1}


def test_what_nobody_sees_makes_no_other_text() -> None:
    assert normal_form("soft\u00adly \u200b now\ufeff") == normal_form("Softly now")


def test_half_a_surrogate_pair_is_named_by_its_line(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "\\ud83d\\ude00"}\n{"text": "cut \\ud83d"}\n', encoding="utf8")
    with pytest.raises(InputError, match=r"a\.jsonl:2.*surrogate"):
        list(read_texts(path))


@pytest.mark.parametrize("name", ["a.jsonl", "a.csv"])
def test_a_text_may_be_as_long_as_spacy_takes(tmp_path: Path, name: str) -> None:
    csv.field_size_limit(131_072)  # As it is in a new process.
    line = '{"text": "%s"}' if name == "a.jsonl" else "%s"
    path = _write(tmp_path / name, f"{line if '{' in line else 'text'}\n{line % ('x' * 1_000_000)}\n")
    assert len(list(read_texts(path))[-1].text) == 1_000_000
    path = _write(tmp_path / name, path.read_text(encoding="utf8").replace("xx", "xxx", 1))
    with pytest.raises(InputError, match=r":2: the text has 1,000,001 characters.*Split it"):
        list(read_texts(path))


def test_bad_gold_from_a_file_is_named_by_its_line(tmp_path: Path) -> None:
    path = _write(tmp_path / "gold.jsonl", '{"text": "x", "gold": "a"}\n\n{"text": "y", "gold": "b"}\n')
    with pytest.raises(InputError, match=r"gold\.jsonl:3: unknown label 'b'"):
        gold_annotations(read_texts(path), "textcat", labels=["a"])


def test_overlapping_gold_entities_are_refused_by_name() -> None:
    text = Text("r7", "Ada Byron King", gold=[[4, 14, "WHO"], {"start": 0, "end": 9, "label": "POET"}])
    with pytest.raises(InputError, match="record r7: POET at 0-9 and WHO at 4-14 overlap"):
        gold_annotations([text], "ner")
    (side_by_side,) = gold_annotations([Text("r8", "AdaByron", gold=[[3, 8, "B"], [0, 3, "A"]])], "ner")
    assert side_by_side.ents == (Span(0, 3, "A"), Span(3, 8, "B"))


def test_a_tables_cell_holds_spans_or_several_labels_as_json(tmp_path: Path) -> None:
    path = tmp_path / "gold.csv"
    path.write_text('text,gold\nred apple,"[[4, 9, ""fruit""]]"\n', "utf8")
    (spans,) = gold_annotations(read_texts(path), "ner")
    assert spans.ents == (Span(4, 9, "fruit"),)
    path.write_text('text,gold\nred apple,"[""fruit"", ""red""]"\n', "utf8")
    (labels,) = gold_annotations(read_texts(path), "textcat", exclusive=False)
    assert labels.positive() == ("fruit", "red")
    path.write_text("text,gold\nred apple,[fruit\n", "utf8")
    with pytest.raises(InputError, match=r"gold.csv:2: the gold '\[fruit' is not JSON"):
        gold_annotations(read_texts(path), "ner")


def test_gold_with_spans_comes_back_from_a_docbin(tmp_path: Path) -> None:
    nlp = spacy.blank("en")
    record = Annotation("r1", "red apple", "ner", ("fruit",), "ok", ents=(Span(4, 9, "fruit"),), group="g", gold=True)
    unchecked = replace(record, id="r2", text="a pear", ents=(), gold=False)
    write_docs(tmp_path / "gold.spacy", [doc_of(nlp, item)[0] for item in (record, unchecked)])
    (found,) = gold_annotations(read_texts(tmp_path / "gold.spacy"), "ner")
    assert (found.id, found.text, found.group, found.ents, found.gold) == ("r1", "red apple", "g", record.ents, True)
