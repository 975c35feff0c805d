import json
import logging
import re
from pathlib import Path
from typing import Any

import pytest

from spacy_distill.errors import InputError
from spacy_distill.teacher.recorded import Recorded
from spacy_distill.teacher.types import Prompt, Reply


def write(path: Path, *records: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf8")
    return path


def ask(model: Recorded, *texts: str) -> list[Reply]:
    found = dict(model.stream(Prompt(text, prefix="Classify.\n\n", suffix="\nLabel:") for text in texts))
    return [found[index] for index in range(len(texts))]


def test_labels_become_replies_that_tasks_parse(tmp_path: Path) -> None:
    path = write(
        tmp_path / "labels.jsonl",
        {"text": "one", "llm": "ham"},
        {"text": "several", "llm": ["caf\u00e9", "tea"]},
        {"text": "none", "llm": []},
        {"text": "unread", "llm": None},
        {"text": "absent"},
    )
    one, several, none, unread, absent, unknown = ask(
        Recorded(path), "one", "several", "none", "unread", "absent", "never seen"
    )
    assert one == '{"label": "ham"}'
    assert several == '{"labels": ["caf\u00e9", "tea"]}'
    assert none == '{"labels": []}'
    assert none.meta.spans == []  # No classes, or no entities: what was asked decides.
    assert one.meta.spans is None
    assert (unread, unread.meta.status, unread.meta.spans) == ("", "ok", None)  # For the task: unparsed.
    assert (absent, absent.meta.status) == ("", "ok")
    assert (unknown.meta.status, unknown.meta.error) == (
        "error",
        "no reply recorded for this text in labels.jsonl",
    )
    assert one.meta.model == "labels.jsonl"


def test_raw_replies_are_handed_on_to_the_letter(tmp_path: Path) -> None:
    raw = ' Sure! DISH: p\u00e2t\u00e9\n{"half": '
    path = write(tmp_path / "raw.jsonl", {"text": "a", "raw": raw, "llm": "x"}, {"text": "b", "raw": None, "llm": "y"})
    first, second = ask(Recorded(path, reply_field="raw"), "a", "b")
    assert first == raw
    assert second == ""


def test_spans_keep_their_offsets_and_scores(tmp_path: Path) -> None:
    path = write(
        tmp_path / "spans.jsonl",
        {
            "text": "\U0001f600 miso soup",
            "llm": [[2, 6, "INGREDIENT"], [2, 11, "DISH"]],
            "lp": [-0.6931471805599453, 0],
        },
        {"text": "no scores", "llm": [{"start": 0, "end": 2, "label": "X"}]},
    )
    scored, unscored = ask(Recorded(path, logprob_field="lp"), "\U0001f600 miso soup", "no scores")
    assert scored == ""
    assert scored.meta.spans == [(2, 6, "INGREDIENT", pytest.approx(0.5)), (2, 11, "DISH", 1.0)]
    assert unscored.meta.spans == [(0, 2, "X", None)]
    assert scored.meta.confidence is None


def test_each_span_may_have_its_own_confidence(tmp_path: Path) -> None:
    spans = [[0, 4, "DISH"], {"start": 5, "end": 9, "label": "DISH", "score": 0.25}]
    path = write(
        tmp_path / "spans.jsonl",
        {"text": "miso soup", "llm": spans, "sure": [0.91, None], "lp": [-0.6931471805599453, 0]},
        {"text": "soup", "llm": [{"start": 0, "end": 4, "label": "DISH", "score": 1}], "sure": 0.5},
        {"text": "none", "llm": [], "sure": []},
        {"text": "unread", "llm": None, "sure": [0.5]},
    )
    texts = ("miso soup", "soup", "none", "unread")

    def read(**settings: Any) -> list[tuple[Any, ...]]:
        replies = ask(Recorded(path, **settings), *texts)
        metas = [reply.meta for reply in replies]
        return [([span[3] for span in m.spans or ()], m.confidence, m.confidence_kind) for m in metas]

    nothing = ([], None, None)
    assert read(confidence_kind="votes") == [
        ([None, 0.25], None, "votes"),
        ([1.0], None, "votes"),
        nothing,
        nothing,
    ]
    assert read(confidence_field="sure", confidence_kind="votes") == [
        ([0.91, 0.25], None, "votes"),  # what the field does not know, the span itself may
        ([1.0], 0.5, "votes"),
        nothing,
        nothing,
    ]
    assert read(logprob_field="lp")[0] == ([pytest.approx(0.5), 1.0], None, "logprob")


def test_confidence_has_a_kind(tmp_path: Path) -> None:
    path = write(
        tmp_path / "labels.jsonl",
        {"text": "a", "llm": "x", "share": 0.75, "lp": -0.6931471805599453},
        {"text": "b", "llm": "x"},
    )
    votes, nothing = ask(Recorded(path, confidence_field="share", confidence_kind="votes"), "a", "b")
    assert (votes.meta.confidence, votes.meta.confidence_kind) == (0.75, "votes")
    assert (nothing.meta.confidence, nothing.meta.confidence_kind) == (None, None)
    logprob, _ = ask(Recorded(path, logprob_field="lp"), "a", "b")
    assert (logprob.meta.confidence, logprob.meta.confidence_kind) == (pytest.approx(0.5), "logprob")


def test_csv_works_too(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text('message,label,sure\n"a, b",ham,0.5\nc,,\n', encoding="utf8")
    model = Recorded(path, text_field="message", label_field="label", confidence_field="sure")
    first, second = ask(model, "a, b", "c")
    assert (first, first.meta.confidence) == ('{"label": "ham"}', 0.5)
    assert second == ""


def test_several_answers_are_given_in_turn_and_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    records = [{"text": "secret", "llm": label} for label in ("x", "y", "x", "z")]
    path = write(tmp_path / "labels.jsonl", *records)
    with caplog.at_level(logging.INFO, "spacy_distill"):
        model = Recorded(path)
        assert ask(model, "secret") == ['{"label": "x"}']
        answers = ask(model, *["secret"] * 5)
    assert [answer[-3] for answer in answers] == ["x", "y", "x", "z", "x"]
    assert "2 records repeat a text with another answer" in caplog.text
    assert re.search(r"\(\S*labels\.jsonl:2 contradicts \S*labels\.jsonl:1, …\)\. No model sees ids: ", caplog.text)
    assert "the next of its answers, in the file's order" in caplog.text
    assert "secret" not in caplog.text


def test_the_same_answer_with_another_confidence_is_no_other_answer(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    spans = [[0, 2, "X"]], [[0, 2, "X"]], [[0, 2, "Y"]]
    path = write(tmp_path / "labels.jsonl", *({"text": "abc", "llm": s, "lp": [-i]} for i, s in enumerate(spans)))
    ask(Recorded(path, logprob_field="lp"), "abc")
    assert "1 record repeats a text with another answer" in caplog.text
    assert re.search(r"labels\.jsonl:3 contradicts \S*labels\.jsonl:1\)", caplog.text)


def test_nothing_is_read_before_the_first_prompt(tmp_path: Path) -> None:
    model = Recorded(tmp_path / "nowhere.jsonl")
    assert list(model.stream([])) == []
    with pytest.raises(InputError, match=r"nowhere\.jsonl does not exist"):
        ask(model, "a")


@pytest.mark.parametrize(
    ("record", "settings", "message"),
    [
        ({"llm": "x"}, {}, r"labels\.jsonl:1 has no text in 'text'"),
        ({"text": "a", "label": "x"}, {}, r"no record has the field 'llm' \(they have: 'text', 'label'\)"),
        ({"text": "a", "llm": "x"}, {"reply_field": "raw"}, "no record has the field 'raw'"),
        ({"text": "a", "llm": "x"}, {"confidence_field": "sure"}, "no record has the field 'sure'"),
        ({"text": "a", "llm": 3}, {}, "expected a label, a list of labels, or a list of"),
        ({"text": "a", "llm": {"label": "x"}}, {}, "expected a label, a list"),
        ({"text": "a", "llm": ["x", 3]}, {}, r"expected \[start, end, label\]"),
        ({"text": "a", "llm": [[0, 1]]}, {}, r"expected \[start, end, label\] in 'llm', found \[0, 1\]"),
        ({"text": "a", "llm": [[0, 2, "X"]]}, {}, "0-2 lies outside its text of 1 characters"),
        ({"text": "a", "llm": [[0, 1, "X"]], "lp": [-1, -1]}, {"logprob_field": "lp"}, "as there are spans, 1"),
        ({"text": "a", "llm": [[0, 1, "X"]], "lp": [1]}, {"logprob_field": "lp"}, "which is 0 or less, found 1"),
        ({"text": "a", "llm": "x", "c": 95}, {"confidence_field": "c"}, "a confidence from 0 to 1, found 95"),
        ({"text": "a", "llm": "x", "c": "high"}, {"confidence_field": "c"}, "expected a number, found 'high'"),
        ({"text": "a", "llm": [[0, 1, "X"]], "c": [0.5, 0.5]}, {"confidence_field": "c"}, "as there are spans, 1; fou"),
        (
            {"text": "a", "llm": [[0, 1, "X"]], "c": [1.5]},
            {"confidence_field": "c"},
            "a confidence from 0 to 1, found 1.5",
        ),
        (
            {"text": "a", "llm": [[0, 1, "X"]], "c": [-0.5]},
            {"confidence_field": "c"},
            r"found -0.5\. Log-prob.*`logprob_",
        ),
        ({"text": "a", "llm": "x", "c": [0.5]}, {"confidence_field": "c"}, r"expected a number in 'c', found \[0.5\]"),
        ({"text": "a", "llm": ["x"], "c": [0.5]}, {"confidence_field": "c"}, "only spans have one each"),
        ({"text": "a", "llm": [{"start": 0, "end": 1, "label": "X", "score": 95}]}, {}, "from 0 to 1, found 95"),
        ({"text": "a", "llm": [{"start": 0, "end": 1, "label": "X", "score": True}]}, {}, "a number, found True"),
        ({"text": "a", "raw": ["x"]}, {"reply_field": "raw"}, "expected a raw reply in 'raw'"),
    ],
)
def test_what_is_wrong_is_named_with_file_and_line(
    tmp_path: Path, record: dict[str, Any], settings: dict[str, Any], message: str
) -> None:
    path = write(tmp_path / "labels.jsonl", record)
    with pytest.raises(InputError, match=message) as caught:
        ask(Recorded(path, **settings), "a")
    assert "labels.jsonl" in str(caught.value)
