"""Every format alike: what is written comes back equal, and what is no answer is counted."""

import json
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest
import spacy
from spacy.tokens import Doc

from spacy_distill.docs import annotations_of, doc_of, facts_of
from spacy_distill.errors import ConfigError, InputError
from spacy_distill.formats.combine import combine
from spacy_distill.formats.offsets import from_utf16, to_utf16
from spacy_distill.formats.registry import FORMATS, read, write
from spacy_distill.formats.types import FormatName, Imported, Said, Tools, Wanted
from spacy_distill.types import Annotation, Span, TaskName

TOOLS = Tools(spacy.blank("en"))
READABLE = [name for name, form in FORMATS.items() if form.read]
REVIEWED = ["prodigy", "label-studio", "argilla"]
NASTY = [
    "\U0001f600",
    "caf\u00e9",
    "cafe\u0301",
    "\n",
    "\r\n",
    "\r",
    '"quoted"',
    "it's",
    "a,b;c",
    "\t",
    "\u2028",
    "=SUM(A1)",
    "\U0001f468\u200d\U0001f469\u200d\U0001f467",
    "\u4f60\u597d",
    "#",
    "{}",
    "\\n",
    "O",
    "# distill = ",
    "-DOCSTART-",
    "Oslo",
]
LABELS = ("spam, or not", 'a "b"', "\u00e9t\u00e9")


def texts(seed: int) -> list[str]:
    chosen = random.Random(seed)
    made = [" ".join(chosen.choice(NASTY) for _ in range(chosen.randrange(1, 9))) for _ in range(30)]
    return ["", " ", "\n", *made]


def classes(seed: int, exclusive: bool) -> list[Annotation]:
    chosen = random.Random(seed)
    made = []
    for number, text in enumerate(texts(seed)):
        weights = [chosen.random() + 0.01 for _ in LABELS]
        total = sum(weights) if exclusive else 1.1
        gold = number % 3 == 0
        best = chosen.choice(LABELS)
        cats = {label: float(label == best) for label in LABELS}
        if not gold:
            cats = {label: weight / total for label, weight in zip(LABELS, weights, strict=True)}
        one = Annotation(f"id-{number}", text, "textcat", LABELS, "ok", exclusive, cats, group=f"g{number % 5}")
        known = {"confidence": 1.0} if gold else {"confidence": chosen.random(), "confidence_kind": "logprob"}
        one = replace(one, gold=gold, **known, provenance={} if gold else {"model": "m", "cost_usd": 0.1})
        if number % 7 == 6:
            one = replace(one, status="unparsed", cats=None, gold=False, confidence=None, confidence_kind=None)
            one = replace(one, notes={"raw": '{"label": '})
        made.append(one)
    return made


def entities(seed: int) -> list[Annotation]:
    chosen = random.Random(seed)
    made = []
    for number, text in enumerate(texts(seed)):
        words = [token for token in TOOLS.nlp.make_doc(text) if not token.is_space]
        spans = tuple(
            Span(word.idx, word.idx + len(word), chosen.choice(("PER", "L O C")), chosen.random())
            for word in words
            if chosen.random() < 0.4
        )
        one = Annotation(
            str(number), text, "ner", ("PER", "L O C"), "ok", ents=spans, group=None if number % 2 else "g"
        )
        if number % 3 == 0:
            one = replace(one, ents=tuple(replace(span, score=None) for span in spans), gold=True, confidence=1.0)
        elif number % 5 == 4 and words:
            one = replace(one, missing=(Span(words[0].idx, words[0].idx + 1, ""),), confidence=0.25)
        elif words:
            end = words[-1].idx + len(words[-1])
            one = replace(one, doubtful=(Span(words[0].idx, end, "other", 0.25), Span(words[0].idx, end, "L O C")))
            one = replace(one, notes={"unaligned": [{"quote": "Bergen", "label": "PER", "reason": "not found"}]})
        made.append(one)
    return made


def there_and_back(annotations: list[Annotation], name: FormatName, folder: Path, **settings: Any) -> Imported:
    path = folder / name
    write(annotations, path, name, TOOLS)
    return read(path, name, Wanted(annotations[0].task), **settings)


def test_every_format_is_registered() -> None:
    assert set(FORMATS) == set(get_args(FormatName))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("exclusive", [True, False])
@pytest.mark.parametrize("name", [name for name in READABLE if name != "conll"])
def test_classes_come_back_equal(name: FormatName, exclusive: bool, seed: int, tmp_path: Path) -> None:
    given = classes(seed, exclusive)
    found = there_and_back(given, name, tmp_path)
    assert found.annotations == given
    assert (found.records, found.repeats, found.changed, found.aside) == (len(given), 0, [], [])


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", READABLE)
def test_entities_come_back_equal(name: FormatName, seed: int, tmp_path: Path) -> None:
    given = entities(seed)
    found = there_and_back(given, name, tmp_path)
    if name == "conll":
        given = [one for one in given if not one.missing]
    assert found.annotations == given
    assert found.records == len(given)
    assert (found.aside, found.changed) == ([], [])


@pytest.mark.parametrize("name", READABLE)
def test_docs_come_back_with_all_that_was_quoted(name: FormatName, tmp_path: Path) -> None:
    def quoted(doc: Doc) -> tuple[list[tuple[str, str, float | None]], Any]:
        group = doc.spans["teacher"]
        scored = zip(group, group.attrs["scores"], strict=True)
        return [(str(span), span.label_, score) for span, score in scored], (facts_of(doc, "ner") or {})["unaligned"]

    given = next(one for one in entities(0) if len(one.ents or ()) > 1 and len(one.doubtful) > 1)
    doc, _ = doc_of(TOOLS.nlp, given)
    (found,) = there_and_back(annotations_of(doc), name, tmp_path).annotations
    back, _ = doc_of(TOOLS.nlp, found)
    assert quoted(back) == quoted(doc)
    assert len(quoted(doc)[0]) == len(given.ents or ()) + 2


@pytest.mark.parametrize("name", READABLE)
def test_spans_that_overlap_are_refused_by_id(name: FormatName, tmp_path: Path) -> None:
    bad = Annotation("r7", "New York City", "ner", ("A",), "ok", ents=(Span(0, 8, "A"), Span(4, 13, "A")))
    with pytest.raises(InputError, match=r"Record r7: A at 0-8 and A at 4-13 overlap"):
        write([bad], tmp_path / "out", name, TOOLS)
    outside = replace(bad, ents=(Span(4, 14, "A"),))
    with pytest.raises(InputError, match="Record r7: 4-14 lies outside its text of 13"):
        write([outside], tmp_path / "out", name, TOOLS)
    with pytest.raises(InputError, match="'r7' occurs twice"):
        write([replace(bad, ents=())] * 2, tmp_path / "out", name, TOOLS)
    with pytest.raises(InputError, match="no annotations"):
        write([], tmp_path / "out", name, TOOLS)


@pytest.mark.parametrize("name", READABLE)
def test_a_file_that_is_not_there_or_not_in_form(name: FormatName, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nowhere"):
        read(tmp_path / "nowhere", name, Wanted("ner"))
    path = tmp_path / "broken.jsonl"
    path.write_text('{"nonsense"\n', encoding="utf8")
    with pytest.raises(InputError, match="broken"):
        read(path, name, Wanted("ner"))


def test_what_is_written_only(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="written only"):
        read(tmp_path, "openai-finetune", Wanted("ner"))


@pytest.mark.parametrize("text", ["", "plain", "\U0001f600x\U0001f468\u200d\U0001f469", "e\u0301\U0001f1f3\U0001f1f4"])
def test_offsets_there_and_back(text: str) -> None:
    for offset in range(len(text) + 1):
        units = to_utf16(text, offset)
        assert units == len(text[:offset].encode("utf-16-le")) // 2
        assert from_utf16(text, units) == offset
    last = to_utf16(text, len(text))
    assert from_utf16(text, last + 1) is None
    assert from_utf16(text, -1) is None
    assert (from_utf16(text, 1) is None) == (text[:1] > "\uffff" or not text)


# What records say together


def say(where: str, text: str = "t", **said: Any) -> Said:
    return Said(where, text, person=said.pop("person", True), **said)


def together(*said: Said, task: TaskName = "textcat", **settings: Any) -> Imported:
    return combine(said, Wanted(task), **settings)


def test_two_exclusive_classes_one_rejected_is_the_other_accepted() -> None:
    found = together(say("1", decisions={"a": False}), say("2", "u", decisions={"b": True}))
    assert [(one.label, one.gold, one.confidence) for one in found.annotations] == [("b", True, 1.0)] * 2
    assert found.annotations[0].cats == {"a": 0.0, "b": 1.0}


def test_a_rejection_among_three_classes_is_set_aside_until_the_rest_is_known() -> None:
    labels = ["a", "b", "c"]
    found = together(say("1", decisions={"a": False}), labels=labels)
    assert found.aside == [("1", "it rejects a class without saying which holds")]
    assert not found.annotations
    found = together(say("1", decisions={"a": False}), say("2", decisions={"b": False}), labels=labels)
    assert [one.label for one in found.annotations] == ["c"]
    assert (found.records, found.repeats, found.aside) == (2, 1, [])
    found = together(*(say(label, decisions={label: False}) for label in labels), labels=labels)
    assert [reason for _, reason in found.aside] == ["no class holds"] * 3


def test_where_classes_do_not_exclude_each_other_a_rejection_is_a_negative() -> None:
    settings: dict[str, Any] = {"labels": ["a", "b"], "exclusive": False}
    found = together(say("1", decisions={"a": False}), say("2", decisions={"b": True}), **settings)
    assert found.annotations[0].cats == {"a": 0.0, "b": 1.0}
    found = together(say("1", decisions={"a": False}), **settings)
    assert found.aside == [("1", "not every class is decided")]
    found = together(say("1", decisions={"a": False}), labels=["a"], exclusive=False)
    assert found.annotations[0].cats == {"a": 0.0}


def test_people_who_disagree_are_set_aside_and_counted() -> None:
    found = together(say("1", classes=("a",)), say("2", classes=("b",)), say("3", "u", classes=("a",)))
    assert [(place, why) for place, why in found.aside] == [("1", "people disagree"), ("2", "people disagree")]
    assert len(found.annotations) == 1
    spans = [(Span(0, 1, "A"),), (Span(0, 2, "A"),)]
    found = together(*(say(str(i), "Oslo", ents=ents) for i, ents in enumerate(spans)), task="ner")
    assert len(found.aside) == 2


def test_a_person_comes_before_a_suggestion() -> None:
    found = together(say("1", classes=("a",), person=False, confidence=0.9), say("2", classes=("b",)))
    assert [(one.label, one.gold) for one in found.annotations] == [("b", True)]
    found = together(say("1", classes=("a",), person=False, confidence=0.9), labels=["a", "b"])
    assert [(one.label, one.gold, one.confidence) for one in found.annotations] == [("a", False, 0.9)]


def test_where_the_file_cannot_tell_gold_is_said() -> None:
    unknown = say("1", classes=("a",), person=None)
    assert [together(unknown, gold=gold).annotations[0].gold for gold in (False, True)] == [False, True]
    assert not together(replace(unknown, person=False), gold=True).annotations[0].gold


@pytest.mark.parametrize(
    ("said", "settings", "message"),
    [
        ([say("f:1", classes=("a", "b"))], {}, "f:1: 'a', 'b' hold, but classes exclude .* --multi-label"),
        ([say("f:1", classes=("A",))], {"labels": ["a", "b"]}, "f:1: unknown label 'A'. Did you mean 'a'"),
        ([say("f:1", "x", id="7", classes=("a",)), say("f:2", "y", id="7")], {}, "f:2: the id '7' stands at f:1"),
        ([say("f:1", "\ud83d", classes=("a",))], {}, "f:1: the text holds half of a surrogate pair"),
        ([say("f:1", "abc", ents=(Span(1, 1, "A"),))], {"task": "ner"}, "f:1: 1-1 lies outside"),
        ([say("f:1", "abc", ents=(Span(0, 2, "A"), Span(1, 3, "B")))], {"task": "ner"}, "f:1: A at 0-2 and B at 1-3"),
        ([say("f:1", classes=("a",), exported={"id": 1})], {}, "f:1: what stands in 'distill' is not"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(said: list[Said], settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        together(*said, **settings)


# People's corrections


def answered(name: FormatName, path: Path, change: Callable[[list[Any]], None]) -> None:
    """Change a file's records, as a tool does when people answer."""
    lines = path.read_text(encoding="utf8")
    records = [json.loads(line) for line in lines.split("\n") if line] if name == "prodigy" else json.loads(lines)
    change(records)
    written = "\n".join(map(json.dumps, records)) if name == "prodigy" else json.dumps(records)
    path.write_text(written, encoding="utf8")


def correct(name: FormatName, record: Any, label: str) -> None:
    if name == "prodigy":
        record |= {"accept": [label], "answer": "accept", "_view_id": "choice"}
    elif name == "label-studio":
        result = [
            {"id": "x", "from_name": "label", "to_name": "text", "type": "choices", "value": {"choices": [label]}}
        ]
        record["annotations"] = [{"id": 1, "completed_by": 2, "was_cancelled": False, "result": result}]
    else:
        record["responses"] = {"label": [{"value": label, "user_id": "u", "status": "submitted"}]}


@pytest.mark.parametrize("name", REVIEWED)
def test_a_correction_comes_back_as_gold_and_keeps_its_id_and_group(name: FormatName, tmp_path: Path) -> None:
    given = [one for one in classes(1, True) if not one.gold][1:5]
    assert [one.status for one in given] == ["ok", "ok", "ok", "unparsed"]
    path = tmp_path / "file"
    write(given, path, name, TOOLS)

    def change(records: list[Any]) -> None:
        correct(name, records[0], LABELS[2])
        correct(name, records[1], given[1].label or "")
        correct(name, records[3], LABELS[1])

    answered(name, path, change)
    found = read(path, name, Wanted("textcat")).annotations
    assert [one.gold for one in found] == [True, True, False, True]
    assert [one.label for one in found] == [LABELS[2], given[1].label, given[2].label, LABELS[1]]
    assert [(one.id, one.group, one.text) for one in found] == [(one.id, one.group, one.text) for one in given]
    assert found[0].cats == {LABELS[0]: 0.0, LABELS[1]: 0.0, LABELS[2]: 1.0}
    assert {(one.confidence, one.confidence_kind, one.status) for one in found if one.gold} == {(1.0, None, "ok")}
    assert found[2] == given[2]


@pytest.mark.parametrize("name", REVIEWED)
def test_a_text_that_was_changed_on_the_way_is_set_aside(name: FormatName, tmp_path: Path) -> None:
    given = entities(2)[:4]
    path = tmp_path / "file"
    write(given, path, name, TOOLS)

    def change(records: list[Any]) -> None:
        place = {"prodigy": records[3], "label-studio": records[3].get("data"), "argilla": records[3].get("fields")}
        place[name]["text"] += " more"

    answered(name, path, change)
    found = read(path, name, Wanted("ner"))
    assert found.annotations == given[:3]
    assert [why for _, why in found.aside] == ["its text was changed since it was exported"]


def test_a_file_for_the_other_task_is_refused(tmp_path: Path) -> None:
    write(entities(1), tmp_path / "f.jsonl", "prodigy", TOOLS)
    with pytest.raises(InputError, match=r"f.jsonl:1 was exported for ner: import it with --task ner"):
        read(tmp_path / "f.jsonl", "prodigy", Wanted("textcat"))
