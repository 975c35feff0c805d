"""Few-shot examples: typical, unlike each other, the same every time."""

from __future__ import annotations

import numpy as np
import pytest
import spacy

from spacy_distill.docs import make_doc
from spacy_distill.errors import ConfigError
from spacy_distill.tasks.ner import NERTask
from spacy_distill.tasks.textcat import TextCatTask
from spacy_distill.teacher.choose import _split
from spacy_distill.teacher.examples import Similarity, pick_examples
from spacy_distill.types import Annotation, Text

TOPICS = {
    "bill": ["my bill is too high", "the bill was too high again", "why is this bill so high"],
    "parcel": ["the parcel never arrived", "my parcel has not arrived", "no parcel arrived here"],
    "login": ["I forgot my password", "the password is not accepted", "new password please"],
}


def test_texts_are_most_like_themselves() -> None:
    texts = [text for topic in TOPICS.values() for text in topic] + ["", "猫が好きです"]
    similarity = Similarity(texts)
    table = np.array([similarity(text) for text in texts])
    assert np.diag(table)[:9] == pytest.approx(1.0)
    assert np.diag(table)[10] == pytest.approx(1.0)
    assert (table.argmax(axis=1)[:9] == np.arange(9)).all()
    assert table == pytest.approx(table.T)
    assert similarity("THE  PARCEL never\narrived")[3] == pytest.approx(1.0)  # case and space aside
    assert similarity("zzz").max() == 0.0


def test_picks_stand_for_all_the_texts() -> None:
    texts = [text for topic in TOPICS.values() for text in topic] + ["qwxz"]
    picked = pick_examples(texts, ["x"] * len(texts), 3)
    assert sorted(index // 3 for index in picked) == [0, 1, 2]  # one a topic, and not the odd one


def test_the_labels_take_turns() -> None:
    texts = [f"plum number {i}" for i in range(30)] + ["saw", "saws", "sawing"]
    labels = ["fruit"] * 30 + ["tool"] * 3
    found = [labels[index] for index in pick_examples(texts, labels, 10)]
    assert found == ["fruit", "tool"] * 3 + ["fruit"] * 4
    assert len(pick_examples(texts, labels, 100)) == 33


def test_fewer_examples_are_the_beginning_of_more() -> None:
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.choice(["oak", "elm", "ash", "fir", "yew", "box"], 4)) + f" {i}" for i in range(60)]
    labels = ["a", "b", "c"] * 20
    most = pick_examples(texts, labels, 16)
    assert len(set(most)) == 16
    for count in range(16):
        assert pick_examples(texts, labels, count) == most[:count]


def test_copies_and_empty_texts_are_not_picked() -> None:
    assert pick_examples(["a b", "A  B", " ", "c"], ["x", "y", "x", "x"], 9) == [0, 3]
    assert pick_examples([], [], 3) == []


def test_nothing_is_measured_on_an_examples_text_or_group() -> None:
    def record(number: int, text: str, group: str | None = None) -> Annotation:
        return Annotation(f"{number}", text, "textcat", ("x",), "ok", cats={"x": 1.0}, group=group)

    gold = [
        record(i, f"{text} {topic}", topic) for i, (topic, text) in enumerate((k, t) for k in TOPICS for t in TOPICS[k])
    ]
    gold += [record(20 + i, text) for i, text in enumerate(("on its own", "costs $5", "Costs $5 "))]
    shown, scored = _split(gold, 2)
    assert len(shown) == 2
    assert not {each.group for each in shown if each.group} & {each.group for each in scored}
    assert {each.id for each in scored} >= {"21", "22"}  # a text without a group is alone
    assert all("$" not in each.text for each in shown)
    copy = record(30, f" {shown[0].text.upper()}")
    assert copy not in _split([*gold, copy], 2)[1]


# what a text's prompt shows


GOLD = [
    {"text": text, "gold": topic, "group": f"{topic} {i % 2}"}
    for topic in TOPICS
    for i, text in enumerate(TOPICS[topic])
]


def prompts(task: TextCatTask | NERTask, *texts: str, group: str | None = None) -> list[str]:
    docs = [make_doc(spacy.blank("en"), Text("1", text, group)) for text in texts]
    return [str(asked[0]) for asked, _ in task.generate_prompts(docs)]


def shown(prompt: str) -> list[str]:
    lines = [line.removeprefix("Text: ") for line in prompt.splitlines() if line.startswith("Text: ")]
    return lines[:-1]


def test_no_text_sees_itself_or_its_group_among_the_examples() -> None:
    task = TextCatTask(list(TOPICS), examples=GOLD)
    everything = [row["text"] for row in GOLD]
    (usual,) = prompts(task, "something else")
    assert shown(usual) == everything
    (own,) = prompts(task, "My bill is TOO high")
    assert shown(own) == everything[1:]
    (grouped,) = prompts(task, "something else", group="bill 0")
    assert shown(grouped) == [row["text"] for row in GOLD if row["group"] != "bill 0"]


def test_shots_are_the_same_for_all_texts_and_take_turns() -> None:
    task = TextCatTask(list(TOPICS), examples=GOLD, shots=3)
    first, second = prompts(task, "one", "two")
    assert shown(first) == shown(second)
    assert [next(row["gold"] for row in GOLD if row["text"] == text) for text in shown(first)] == sorted(TOPICS)
    assert task.prompt("one") == first


def test_the_nearest_example_stands_beside_the_text_and_the_instruction_stays_first() -> None:
    task = TextCatTask(list(TOPICS), examples=GOLD, shots=2, pick="nearest")
    asked = prompts(task, "has my parcel arrived?", "forgot the password", "my parcel has not arrived")
    assert shown(asked[0])[-1] == "my parcel has not arrived"
    assert shown(asked[1])[-1] == "I forgot my password"
    assert "my parcel has not arrived" not in shown(asked[2])  # itself
    assert all(len(shown(prompt)) == 2 for prompt in asked)
    assert len({prompt.split("\n\nText: ")[0] for prompt in asked}) == 1


def test_gold_spans_become_quotes() -> None:
    rows = [{"text": "Ada met Bo.", "gold": [[0, 3, "PERSON"], [8, 10, "PERSON"]]}, {"text": "Nobody.", "gold": []}]
    (prompt,) = prompts(NERTask(["PERSON"], examples=rows), "Hi.")
    assert '{"entities": [{"text": "Ada", "label": "PERSON"}, {"text": "Bo", "label": "PERSON"}]}' in prompt
    assert '{"entities": []}' in prompt


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"shots": 3}, "shots = 3 of 0 examples"),
        ({"shots": 0, "examples": GOLD}, "show at least one"),
        ({"pick": "nearest", "examples": GOLD}, "needs `shots`"),
        ({"pick": "farthest", "examples": GOLD}, 'expected "diverse" or "nearest"'),
    ],
)
def test_settings_that_cannot_work(settings: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        TextCatTask(list(TOPICS), **settings)
