"""Files in each tool's published form, with invented content."""

import csv
import json
from pathlib import Path
from typing import Any

import datasets
import pytest
import spacy

from spacy_distill.errors import ConfigError, InputError
from spacy_distill.formats.registry import read, write
from spacy_distill.formats.types import FormatName, Imported, Tools, Wanted
from spacy_distill.tasks.ner import NERTask
from spacy_distill.tasks.textcat import TextCatTask
from spacy_distill.teacher.types import Reply
from spacy_distill.types import Annotation, Span, TaskName

NLP = spacy.blank("en")
TOOLS = Tools(NLP)


def take(folder: Path, name: FormatName, records: Any, task: TaskName = "textcat", **settings: Any) -> Imported:
    path = folder / "file.json"
    if name == "prodigy":
        path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf8")
    else:
        path.write_text(records if isinstance(records, str) else json.dumps(records), encoding="utf8")
    fields = {name: settings.pop(f"{name}_field", name) for name in ("label", "id", "group")}
    wanted = Wanted(task, **fields)
    return read(path, name, wanted, **settings)


def answers(found: Imported) -> list[tuple[str, Any, bool]]:
    return [
        (
            one.text,
            [(span.start, span.end, span.label) for span in one.ents] if one.ents is not None else one.positive(),
            one.gold,
        )
        for one in found.annotations
    ]


# Prodigy: https://prodi.gy/docs/api-interfaces

OPTIONS = [{"id": "BUG", "text": "a bug"}, {"id": "PRAISE", "text": "praise"}]


def test_prodigy_choices(tmp_path: Path) -> None:
    hashes = {"_input_hash": 12, "_task_hash": -34, "_view_id": "choice", "_annotator_id": "db-ana", "_timestamp": 17}
    records = [
        {"text": "It broke", "options": OPTIONS, "accept": ["BUG"], "answer": "accept", **hashes},
        {"text": "Fine", "options": OPTIONS, "accept": [], "answer": "accept", **hashes},
        {"text": "Hm", "options": OPTIONS, "accept": ["BUG"], "answer": "reject", **hashes},
        {"text": "Uh", "options": OPTIONS, "accept": ["BUG"], "answer": "ignore", **hashes},
        {"text": "Later", "options": OPTIONS},
    ]
    found = take(tmp_path, "prodigy", records)
    assert answers(found) == [("It broke", ("BUG",), True)]
    assert found.annotations[0].labels == ("BUG", "PRAISE")
    reasons = [why for _, why in found.aside]
    assert sorted(reasons) == ["ignored", "no answer", "no class holds", "rejected, without saying what is right"]
    assert found.records == 5
    assert answers(take(tmp_path, "prodigy", records, exclusive=False))[1] == ("Fine", (), True)
    with pytest.raises(InputError, match=r"file.json:1: unknown label 'BUG'. Did you mean 'bug'"):
        take(tmp_path, "prodigy", records, labels=["bug", "praise"])


def test_prodigy_binary_answers_about_one_class(tmp_path: Path) -> None:
    records = [
        {"text": "a", "label": "BUG", "answer": "accept", "_view_id": "classification"},
        {"text": "b", "label": "BUG", "answer": "reject", "_view_id": "classification"},
        {"text": "c", "label": "PRAISE", "answer": "ignore", "_view_id": "classification"},
    ]
    assert answers(take(tmp_path, "prodigy", records, labels=["BUG", "PRAISE"])) == [
        ("a", ("BUG",), True),
        ("b", ("PRAISE",), True),
    ]
    found = take(tmp_path, "prodigy", records, labels=["BUG"], exclusive=False)
    assert [one.cats for one in found.annotations] == [{"BUG": 1.0}, {"BUG": 0.0}]
    assert found.aside == [(f"{tmp_path / 'file.json'}:3", "ignored")]


def test_prodigy_spans(tmp_path: Path) -> None:
    text = "\U0001f600 Zo\u00eb saw Oslo"
    spans = [
        {"start": 10, "end": 14, "token_start": 3, "token_end": 3, "label": "PLACE"},
        {"start": 2, "end": 5, "token_start": 1, "token_end": 1, "label": "WHO"},
    ]
    tokens = [{"text": "\U0001f600", "start": 0, "end": 1, "id": 0, "ws": True}]
    records = [
        {"text": text, "tokens": tokens, "spans": spans, "_view_id": "ner_manual", "answer": "accept"},
        {"text": "nobody", "tokens": [], "_view_id": "ner_manual", "answer": "accept"},
        {"text": "no", "spans": [], "_view_id": "ner_manual", "answer": "reject"},
        {"text": text + "!", "spans": spans[1:], "_view_id": "ner", "_is_binary": True, "answer": "accept"},
    ]
    found = take(tmp_path, "prodigy", records, "ner")
    assert answers(found) == [(text, [(2, 5, "WHO"), (10, 14, "PLACE")], True), ("nobody", [], True)]
    assert len(found.aside) == 2
    with pytest.raises(InputError, match=r"file.json:1: expected a whole number as the span's 'end', found '5'"):
        take(tmp_path, "prodigy", [{"text": "x", "spans": [{"start": 2, "end": "5"}], "answer": "accept"}], "ner")
    with pytest.raises(InputError, match=r'file.json:1: expected the answer "accept"'):
        take(tmp_path, "prodigy", [{"text": "x", "answer": "yes"}])
    with pytest.raises(InputError, match=r"file.json:1 has no text in 'text' \(it has: 'html'\)"):
        take(tmp_path, "prodigy", [{"html": "x"}])


# Label Studio: https://labelstud.io/guide/task_format and /guide/predictions


def studio(text: str, result: list[Any], number: int = 1, **more: Any) -> dict[str, Any]:
    annotation = {"id": 7, "completed_by": 1, "result": result, "was_cancelled": False, "lead_time": 3.2, **more}
    return {"id": number, "data": {"text": text}, "annotations": [annotation], "predictions": [], "meta": {}}


def choice(*names: str, tag: str = "label") -> dict[str, Any]:
    value = {"choices": list(names)}
    return {"id": "a1", "from_name": tag, "to_name": "text", "type": "choices", "origin": "manual", "value": value}


def region(start: int, end: int, quote: str, label: str, **more: Any) -> dict[str, Any]:
    value = {"start": start, "end": end, "text": quote, "labels": [label]}
    return {"id": "b2", "from_name": "label", "to_name": "text", "type": "labels", "value": value, **more}


def test_label_studio_choices(tmp_path: Path) -> None:
    tasks = [
        studio("a", [choice("BUG")]),
        studio("b", [], 2),
        studio("c", [choice("BUG")], 3, was_cancelled=True),
        {"id": 4, "data": {"text": "d"}, "annotations": []},
        {"id": 5, "data": {"text": "e"}, "predictions": [{"score": 0.75, "result": [choice("PRAISE")]}]},
    ]
    found = take(tmp_path, "label-studio", tasks)
    assert answers(found) == [("a", ("BUG",), True), ("e", ("PRAISE",), False)]
    assert [(one.id, one.confidence) for one in found.annotations] == [("1", 1.0), ("5", 0.75)]
    assert sorted(why for _, why in found.aside) == ["no answer", "no class holds", "skipped"]
    found = take(tmp_path, "label-studio", tasks, exclusive=False)
    assert answers(found)[1] == ("b", (), True)
    tagged = [studio("a", [choice("x", tag="mood"), choice("y", tag="topic")])]
    with pytest.raises(InputError, match=r"no result is from 'label', only from 'mood', 'topic'\. Name one with"):
        take(tmp_path, "label-studio", tagged)
    assert answers(take(tmp_path, "label-studio", tagged, label_field="mood")) == [("a", ("x",), True)]


@pytest.mark.parametrize("field", ["id", "group"])
def test_a_misspelt_field_of_another_tools_file_is_refused(tmp_path: Path, field: str) -> None:
    task = studio("a", [choice("BUG")])
    task["data"]["topic"] = "t"
    with pytest.raises(InputError, match=rf"file.json: no record has the field 'topci'\. Correct --{field}-field"):
        take(tmp_path, "label-studio", [task], **{f"{field}_field": "topci"})
    (found,) = take(tmp_path, "label-studio", [task], **{f"{field}_field": "topic"}).annotations
    assert getattr(found, field) == "t"


def test_label_studio_counts_code_points_and_once_counted_utf16(tmp_path: Path) -> None:
    text = "\U0001f600\U0001f600 Zo\u00eb\nsaw Oslo"
    tasks = [
        studio(text, [region(3, 6, "Zo\u00eb", "WHO"), region(11, 15, "Oslo", "PLACE")]),
        studio(text, [region(5, 8, "Zo\u00eb", "WHO"), region(13, 17, "Oslo", "PLACE")], 2),
        studio(text, [region(3, 10, "Zo\u00eb\\nsaw", "WHO")], 3),
    ]
    assert [answer for _, answer, _ in answers(take(tmp_path, "label-studio", tasks, "ner"))] == [
        [(3, 6, "WHO"), (11, 15, "PLACE")],
        [(3, 6, "WHO"), (11, 15, "PLACE")],
        [(3, 10, "WHO")],
    ]
    with pytest.raises(InputError, match=r"record 1: 'Zoë' does not stand at 2-5 of its text; ' Zo' does"):
        take(tmp_path, "label-studio", [studio(text, [region(2, 5, "Zo\u00eb", "WHO")])], "ner")


def test_label_studio_scores_of_predicted_spans_are_kept(tmp_path: Path) -> None:
    prediction = {"model_version": "m1", "score": 0.5, "result": [region(0, 4, "Oslo", "PLACE", score=0.5)]}
    found = take(tmp_path, "label-studio", [{"data": {"text": "Oslo"}, "predictions": [prediction]}], "ner")
    assert found.annotations[0].ents == (Span(0, 4, "PLACE", 0.5),)
    assert not found.annotations[0].gold


def test_label_studio_in_another_form_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r'record 1 has no "data". Export the project as JSON, not as JSON-MIN'):
        take(tmp_path, "label-studio", [{"text": "a", "label": "BUG", "annotator": 1}])
    with pytest.raises(InputError, match="expected a JSON list of records, found a dict"):
        take(tmp_path, "label-studio", {"data": {}})
    with pytest.raises(InputError, match=r"file.json:2 is not JSON"):
        take(tmp_path, "label-studio", "[\n{,}]")


def test_what_label_studio_is_given(tmp_path: Path) -> None:
    text = "\U0001f600 Oslo"
    silver = Annotation("s", text, "ner", ("PLACE",), "ok", ents=(Span(2, 6, "PLACE", 0.9),), confidence=0.9)
    gold = Annotation("g", "no", "ner", ("PLACE",), "ok", ents=(), gold=True, confidence=1.0)
    unread = Annotation("u", "hm", "ner", ("PLACE",), "unparsed")
    write([silver, gold, unread], tmp_path / "out.json", "label-studio", TOOLS)
    first, second, third = json.loads((tmp_path / "out.json").read_text(encoding="utf8"))
    (prediction,) = first["predictions"]
    assert prediction["score"] == 0.9
    assert prediction["result"][0]["value"] == {"start": 2, "end": 6, "text": "Oslo", "labels": ["PLACE"]}
    assert second["annotations"][0]["result"] == []
    assert set(third) == {"data"}


# Argilla 2: https://docs.argilla.io/latest/reference/argilla/records/records


def record(text: str, number: int, **more: Any) -> dict[str, Any]:
    parts = {"metadata": {"group": "g1"}, "suggestions": {}, "responses": {}, "vectors": {}, "_server_id": "f00"}
    return {"id": str(number), "fields": {"text": text}, **parts, **more}


def test_argilla_labels(tmp_path: Path) -> None:
    suggestion = {"label": {"value": "BUG", "score": 0.8, "agent": "m"}}
    records = [
        record("a", 1, responses={"label": [{"value": "BUG", "user_id": "u1"}, {"value": "BUG", "user_id": "u2"}]}),
        record("b", 2, suggestions=suggestion),
        record("c", 3, responses={"label": [{"value": "BUG", "user_id": "u1", "status": "discarded"}]}),
        record("d", 4, suggestions=suggestion, responses={"label": [{"value": "PRAISE", "user_id": "u1"}]}),
        record("e", 5),
    ]
    found = take(tmp_path, "argilla", records)
    assert answers(found) == [("a", ("BUG",), True), ("b", ("BUG",), False), ("d", ("PRAISE",), True)]
    assert [(one.id, one.group) for one in found.annotations] == [("1", "g1"), ("2", "g1"), ("4", "g1")]
    assert [one.confidence for one in found.annotations] == [1.0, 0.8, 1.0]
    assert sorted(why for _, why in found.aside) == ["discarded", "no answer"]
    assert (found.records, found.repeats) == (6, 1)
    several = [record("a", 1, responses={"topics": [{"value": ["x", "y"], "user_id": "u1"}]})]
    with pytest.raises(InputError, match=r"no answer to 'label', only to 'topics'. Name one with --label-field"):
        take(tmp_path, "argilla", several)
    found = take(tmp_path, "argilla", several, label_field="topics", exclusive=False)
    assert answers(found) == [("a", ("x", "y"), True)]


def test_argilla_counts_utf16(tmp_path: Path) -> None:
    text = "Some text \U0001f680 rocket"
    value = [{"start": 13, "end": 19, "label": "THING"}]
    records = [record(text, 1, responses={"label": [{"value": value, "user_id": "u1"}]})]
    (found,) = take(tmp_path, "argilla", records, "ner").annotations
    assert [text[span.start : span.end] for span in found.ents or ()] == ["rocket"]
    write([found], tmp_path / "out.json", "argilla", TOOLS)
    (written,) = json.loads((tmp_path / "out.json").read_text(encoding="utf8"))
    assert written["responses"]["label"][0]["value"] == value
    assert set(written) == set(records[0])
    value[0]["start"] = 11
    with pytest.raises(InputError, match="THING at 11-19 lies outside its text, or cuts a character in two"):
        take(tmp_path, "argilla", records, "ner")


def test_argilla_scores_of_suggested_spans_are_kept(tmp_path: Path) -> None:
    value = [{"start": 0, "end": 4, "label": "A"}, {"start": 5, "end": 6, "label": "B"}]
    records = [record("Oslo x", 1, suggestions={"label": {"value": value, "score": [0.5, 0.25], "agent": None}})]
    (found,) = take(tmp_path, "argilla", records, "ner").annotations
    assert found.ents == (Span(0, 4, "A", 0.5), Span(5, 6, "B", 0.25))


# Tables


def test_people_fill_the_column_gold(tmp_path: Path) -> None:
    given = [
        Annotation(str(i), f"t{i}", "textcat", ("x", "y"), "ok", cats={"x": 0.75, "y": 0.25}, confidence=0.75)
        for i in range(3)
    ]
    path = tmp_path / "t.csv"
    write(given, path, "csv", TOOLS)
    with path.open(encoding="utf8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["gold"] for row in rows] == ["", "", ""]
    rows[0]["gold"], rows[1]["gold"], rows[2]["label"] = "y", "x", "y"
    with path.open("w", encoding="utf8", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    found = read(path, "csv", Wanted("textcat"))
    assert [(one.label, one.gold) for one in found.annotations] == [("y", True), ("x", True), ("y", False)]
    assert found.changed == ["2"]
    assert [one.gold for one in read(path, "csv", Wanted("textcat"), gold=True).annotations] == [True] * 3


def test_csv_of_others(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text('text,label,id\r\n"a\r\nb",x,7\r\nc,,8\r\n', encoding="utf-8-sig", newline="")
    found = read(path, "csv", Wanted("textcat"), gold=True)
    assert answers(found) == [("a\r\nb", ("x",), True)]
    assert found.aside == [(f"{path}:4", "no answer")]
    path.write_text('text,label\n"Oslo","[[0, 4, ""PLACE""]]"\n', encoding="utf8")
    assert answers(read(path, "csv", Wanted("ner"))) == [("Oslo", [(0, 4, "PLACE")], False)]
    path.write_text("text,label\nOslo,PLACE\n", encoding="utf8")
    with pytest.raises(InputError, match=r't.csv:2: expected spans as \[\[start, end, "LABEL"\]'):
        read(path, "csv", Wanted("ner"))
    path.write_text("text,label\nOslo\n", encoding="utf8")
    with pytest.raises(InputError, match=r"t.csv:2 has not as many fields as the header"):
        read(path, "csv", Wanted("ner"))
    path.write_text('text,label\n"Oslo" he said,x\n', encoding="utf8")
    with pytest.raises(InputError, match=r"t.csv:2 is not readable as CSV"):
        read(path, "csv", Wanted("textcat"))


def test_texts_are_written_as_they_are(tmp_path: Path) -> None:
    one = Annotation("1", "=1+1", "textcat", ("x",), "ok", False, {"x": 1.0})
    write([one], tmp_path / "t.csv", "csv", TOOLS)
    assert "1,,=1+1," in (tmp_path / "t.csv").read_text(encoding="utf8")


def test_datasets_of_others(tmp_path: Path) -> None:
    features = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["no", "yes"])})
    split = datasets.Dataset.from_dict({"text": ["a", "b", "c"], "label": [1, 0, -1]}, features=features)
    datasets.DatasetDict({"train": split, "test": split.select([0])}).save_to_disk(str(tmp_path / "d"))
    found = read(tmp_path / "d", "datasets", Wanted("textcat"), gold=True)
    assert answers(found) == [("a", ("yes",), True), ("b", ("no",), True)]
    assert (found.records, found.repeats) == (4, 1)
    assert found.aside == [(f"{tmp_path / 'd'}, train row 3", "no answer")]


# CoNLL


def test_conll_of_others(tmp_path: Path) -> None:
    path = tmp_path / "t.conll"
    path.write_text(
        "-DOCSTART- -X- -X- O\n\nZoe NNP B-NP B-PER\nRoe NNP I-NP I-PER\nsaw VBD O O\nOslo NNP B-NP B-LOC\n\n\n"
        "# made up\n"
        "# NN O B-X\nno DT O O\n",
        encoding="utf8",
    )
    found = read(path, "conll", Wanted("ner"), gold=True)
    assert answers(found) == [
        ("Zoe Roe saw Oslo", [(0, 7, "PER"), (12, 16, "LOC")], True),
        ("# no", [(0, 1, "X")], True),
    ]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("a O\nb I-PER\n", r"t.conll:2: I-PER follows O, so these tags are not IOB2"),
        ("a B-LOC\nb I-PER\n", r"t.conll:2: I-PER follows an entity LOC"),
        ("a O\nb\n", r"t.conll:2: expected a token and its tag"),
        ("a U-PER\n", r"t.conll:1: expected a token and its tag"),
        ('# distill = {"text": 3}\na O\n', r"t.conll:1: expected the text"),
        ('# distill = {"text": "b"}\na\tO\n', r"t.conll:2: the token 'a' is not what its text goes on with"),
    ],
)
def test_conll_that_is_not_iob2(tmp_path: Path, lines: str, message: str) -> None:
    path = tmp_path / "t.conll"
    path.write_text(lines, encoding="utf8")
    with pytest.raises(InputError, match=message):
        read(path, "conll", Wanted("ner"))
    with pytest.raises(ConfigError, match="--task ner"):
        read(path, "conll", Wanted("textcat"))


def test_conll_moves_no_span(tmp_path: Path) -> None:
    fits = Annotation("1", "in Oslo\n now", "ner", ("A",), "ok", ents=(Span(3, 7, "A"),))
    given = [
        fits,
        Annotation("2", "Oslofjord", "ner", ("A",), "ok", ents=(Span(0, 4, "A"),)),
        Annotation("3", "unread", "ner", ("A",), "unparsed"),
        Annotation("4", "half known", "ner", ("A",), "ok", ents=(), missing=(Span(0, 4, ""),)),
    ]
    aside = write(given, tmp_path / "t.conll", "conll", TOOLS)
    assert aside == [
        ("2", "A at 0-4 does not stand on token boundaries"),
        ("3", "status unparsed"),
        ("4", "part of its text is unknown, which IOB2 cannot say"),
    ]
    lines = (tmp_path / "t.conll").read_text(encoding="utf8").splitlines()
    assert lines[1:] == ["in\tO", "Oslo\tB-A", "now\tO", ""]
    assert read(tmp_path / "t.conll", "conll", Wanted("ner")).annotations == [fits]


# Fine-tuning


def lines(path: Path) -> list[list[dict[str, str]]]:
    return [json.loads(line)["messages"] for line in path.read_text(encoding="utf8").splitlines()]


def test_fine_tuning_has_the_tasks_own_prompt_and_an_answer_that_it_reads(tmp_path: Path) -> None:
    task = TextCatTask(["bug", "praise"], words={"bug": "a fault"})
    given = [
        Annotation("1", "It broke \U0001f600", "textcat", ("bug", "praise"), "ok", cats={"bug": 0.9, "praise": 0.1}),
        Annotation("2", "?", "textcat", ("bug", "praise"), "abstain"),
    ]
    aside = write(given, tmp_path / "f.jsonl", "openai-finetune", Tools(NLP, task, "Be brief."))
    assert aside == [("2", "status abstain")]
    ((system, user, assistant),) = lines(tmp_path / "f.jsonl")
    assert system == {"role": "system", "content": "Be brief."}
    assert user == {"role": "user", "content": str(task.prompt(given[0].text))}
    assert assistant == {"role": "assistant", "content": '{"label": "a fault"}'}
    assert task.read(Reply(assistant["content"])).cats == {"bug": 1.0, "praise": 0.0}


def test_fine_tuning_on_entities(tmp_path: Path) -> None:
    task = NERTask(["WHO", "PLACE"], max_chars=100)
    text = 'Zo\u00eb "Z" saw Oslo'
    ents = (Span(0, 3, "WHO"), Span(5, 6, "WHO"), Span(12, 16, "PLACE"))
    given = [
        Annotation("1", text, "ner", ("WHO", "PLACE"), "ok", ents=ents),
        Annotation("2", "no", "ner", ("WHO", "PLACE"), "ok", ents=()),
        Annotation("3", "long " * 30, "ner", ("WHO", "PLACE"), "ok", ents=()),
        Annotation("4", "half", "ner", ("WHO", "PLACE"), "ok", ents=(), missing=(Span(0, 4, ""),)),
    ]
    aside = write(given, tmp_path / "f.jsonl", "openai-finetune", Tools(NLP, task))
    assert [place for place, _ in aside] == ["3", "4"]
    first, second = lines(tmp_path / "f.jsonl")
    assert [turn["role"] for turn in first] == ["user", "assistant"]
    doc = next(iter(task.parse_responses([[NLP(text)]], [[Reply(first[1]["content"])]])))
    assert [(ent.start_char, ent.end_char, ent.label_) for ent in doc.ents] == [
        (span.start, span.end, span.label) for span in ents
    ]
    assert second[1]["content"] == '{"entities": []}'


def test_fine_tuning_without_a_fitting_teacher_is_refused(tmp_path: Path) -> None:
    one = Annotation("1", "t", "textcat", ("a", "b"), "ok", False, {"a": 0.0, "b": 0.0})
    for task, message in (
        (None, "name its config with --config"),
        (
            TextCatTask(["a", "c"]),
            "the config alone has 'c'; the annotations alone have 'b'. Give the config they were",
        ),
        (TextCatTask(["a", "b", "A, c"]), "labels: the config alone has 'A, c'. Give the config they were made with"),
        (NERTask(["a", "b"]), "The config is for ner, the annotations are for textcat. Give the config they were"),
        (TextCatTask(["a", "b"], confidence="verbalised"), "which no annotation holds"),
    ):
        with pytest.raises(ConfigError, match=message):
            write([one], tmp_path / "f.jsonl", "openai-finetune", Tools(NLP, task))
    asked = Tools(NLP, TextCatTask(["a", "b"], exclusive=False))
    assert write([one], tmp_path / "f.jsonl", "openai-finetune", asked) == [
        ("1", "no class holds, which the prompt does not allow")
    ]
