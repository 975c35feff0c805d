"""Votes, verbalised confidence and long texts: several replies made one annotation."""

import json

import pytest
import spacy

from spacy_distill.annotate import annotate
from spacy_distill.docs import annotations_of, facts_of
from spacy_distill.errors import ConfigError
from spacy_distill.tasks.ner import NERTask
from spacy_distill.tasks.parts import cut
from spacy_distill.tasks.textcat import TextCatTask
from spacy_distill.teacher.ledger import Ledger
from spacy_distill.teacher.scripted import Scripted
from spacy_distill.teacher.types import Prompt, Reply, ReplyMeta
from spacy_distill.types import Text

LABELS = ["praise", "complaint", "question"]
ERROR = Reply("", ReplyMeta(status="error"))
TEXT = "Ada met Bo in Oslo."


@pytest.fixture(scope="module")
def nlp():
    return spacy.blank("en")


def read(nlp, task, replies, text="The handle broke off."):
    doc = nlp.make_doc(text)
    list(task.parse_responses([[doc]], [replies]))
    return doc, facts_of(doc, task.task)


def label(name):
    return json.dumps({"label": name})


def entities(*pairs):
    return json.dumps({"entities": [{"text": text, "label": label} for text, label in pairs]})


# votes on classes


def test_votes_ask_the_same_words_several_times(nlp):
    task = TextCatTask(LABELS, confidence="votes", samples=3)
    ((prompts, shards),) = task.generate_prompts([nlp.make_doc("Hm.")])
    assert len(set(map(str, prompts))) == 1
    assert [prompt.sample for prompt in prompts] == [0, 1, 2]
    assert [doc.text for doc in shards] == ["Hm."]
    assert len({Scripted([]).key(prompt) for prompt in prompts}) == 3
    assert prompts[0].choices == {}  # probabilities would outvote what each sample says


def test_a_prompt_keeps_its_sample():
    prompt = Prompt("t", prefix="p", suffix="s", choices={"a": " a"}, schema={"type": "object"}, sample=2)
    assert (prompt.with_text("u").sample, prompt.with_sample(3).sample) == (2, 3)
    constructor, arguments = prompt.__reduce__()
    assert vars(constructor(*arguments)) == vars(prompt)
    assert vars(prompt.with_sample(0)) == {**vars(prompt), "sample": 0}


def test_the_shares_of_votes_are_the_soft_label(nlp):
    task = TextCatTask(LABELS, confidence="votes")
    doc, facts = read(nlp, task, [*[label("complaint")] * 3, label("question"), "Complaint."])
    assert doc.cats == {"praise": 0.0, "complaint": 0.8, "question": 0.2}
    assert (facts["confidence"], facts["confidence_kind"], facts["status"]) == (0.8, "votes", "ok")
    assert facts["replies"] == {"ok": 5}


@pytest.mark.parametrize(
    ("replies", "status", "confidence"),
    [
        ([label("praise"), "???", ERROR, label("praise")], "ok", 1.0),
        ([label("praise"), label("question"), "???", "???"], "ok", 0.5),
        (["???", ERROR, "???", label("refund")], "unparsed", None),
        ([ERROR, ERROR, "???", ERROR], "error", None),
        ([label("praise"), ERROR, ERROR, ERROR], "error", None),  # a budget ended: one vote is no certainty
        ([label("praise"), label("praise"), ERROR, ERROR], "ok", 1.0),
        ([label("none"), label("none"), label("none"), label("praise")], "abstain", 0.75),
        ([label("none"), label("none"), label("praise"), label("praise")], "ok", 0.5),
    ],
)
def test_replies_that_cannot_be_read_have_no_vote(nlp, replies, status, confidence):
    task = TextCatTask(LABELS, allow_none=True, confidence="votes", samples=4)
    doc, facts = read(nlp, task, replies)
    assert (facts["status"], facts["confidence"]) == (status, confidence)
    if status == "ok":
        assert sum(doc.cats.values()) == pytest.approx(1.0)
        assert doc.cats["praise"] >= 0.5
    else:
        assert doc.cats == {}
        assert "raw" in facts


def test_with_several_classes_each_has_its_share(nlp):
    task = TextCatTask(LABELS, exclusive=False, allow_none=True, confidence="votes", samples=4)
    replies = [json.dumps({"labels": names}) for names in (["praise"], ["praise", "question"], ["praise"], [])]
    doc, facts = read(nlp, task, replies)
    assert doc.cats == {"praise": 0.75, "complaint": 0.0, "question": 0.25}
    assert facts["confidence"] == 0.75  # of the closest decision
    assert annotations_of(doc)[0].positive() == ("praise",)


def test_votes_go_through_a_ledger_and_are_not_asked_again(nlp, tmp_path):
    answers = [label(name) for name in ("praise", "praise", "question", "complaint", "complaint", "complaint")]
    config = {
        "task": {"@llm_tasks": "spacy_distill.TextCat.v1", "labels": LABELS, "confidence": "votes", "samples": 3},
        "model": {"@llm_models": "spacy_distill.Scripted.v1", "replies": answers},
    }
    texts = [Text("1", "Hm."), Text("2", "It broke.")]

    def run():
        pipeline = spacy.blank("en")
        pipeline.add_pipe("llm_textcat", config=config)
        docs, books = annotate(pipeline, texts, ledger=tmp_path / "ledger.sqlite")
        return list(docs), books

    docs, first = run()
    assert [doc.cats["praise"] for doc in docs] == [pytest.approx(2 / 3), 0.0]
    again, second = run()
    assert (first.asked, second.asked, second.from_ledger) == (6, 0, 6)
    assert [doc.cats for doc in again] == [doc.cats for doc in docs]
    assert Ledger(tmp_path / "ledger.sqlite").counts() == {"ok": 6}
    pipeline = spacy.blank("en")
    pipeline.add_pipe("llm_textcat", config=config)
    assert [doc.cats for doc in pipeline.pipe([text.text for text in texts])] == [doc.cats for doc in docs]


# votes on entities


def test_a_spans_score_is_the_share_of_samples_that_named_it(nlp):
    task = NERTask(["PERSON", "PLACE"], confidence="votes", samples=4)
    replies = [
        entities(("Ada", "PERSON"), ("Oslo", "PLACE")),
        entities(("Ada", "PERSON"), ("Bo", "PERSON"), ("Oslo", "PERSON")),
        entities(("Ada", "PERSON"), ("Bo in Oslo", "PLACE"), ("Oslo", "PLACE")),
        "I cannot tell.",
    ]
    doc, facts = read(nlp, task, replies, TEXT)
    found = {
        (span.text, span.label_): score
        for span, score in zip(doc.spans["teacher"], doc.spans["teacher"].attrs["scores"], strict=True)
    }
    third = pytest.approx(1 / 3)
    assert found == {
        ("Ada", "PERSON"): 1.0,
        ("Bo", "PERSON"): third,
        ("Bo in Oslo", "PLACE"): third,
        ("Oslo", "PERSON"): third,
        ("Oslo", "PLACE"): pytest.approx(2 / 3),
    }
    assert [(ent.text, ent.label_) for ent in doc.ents] == [("Ada", "PERSON"), ("Oslo", "PLACE")]
    assert (facts["status"], facts["confidence_kind"]) == ("ok", "votes")
    assert facts["confidence"] == pytest.approx(2 / 3)
    (annotation,) = annotations_of(doc)
    assert [span.score for span in annotation.ents] == [1.0, pytest.approx(2 / 3)]


def test_entities_that_one_of_four_samples_told_are_not_certain(nlp):
    task = NERTask(["PERSON", "PLACE"], confidence="votes", samples=4)
    doc, facts = read(nlp, task, [entities(("Ada", "PERSON")), ERROR, ERROR, ERROR], TEXT)
    assert (facts["status"], facts["confidence"], doc.ents) == ("error", None, ())


def test_of_overlapping_spans_the_one_with_more_votes_wins(nlp):
    task = NERTask(["FOOD"], confidence="votes", samples=4)
    short, long = entities(("cashew", "FOOD")), entities(("cashew chicken", "FOOD"))
    both = entities(("cashew", "FOOD"), ("cashew chicken", "FOOD"))
    doc, _ = read(nlp, task, [short, short, both, long], "cashew chicken")
    assert [ent.text for ent in doc.ents] == ["cashew"]
    doc, _ = read(nlp, task, [short, both, both, long], "cashew chicken")
    assert [ent.text for ent in doc.ents] == ["cashew chicken"]  # as many votes: the longer one
    doc, facts = read(nlp, task, [entities()] * 4, "cashew chicken")
    assert (doc.ents, facts["confidence"]) == ((), 1.0)
    assert (
        read(
            nlp,
            task,
            [
                "?",
                "?",
                ERROR,
                ERROR,
            ][:4],
            "x",
        )[1]["status"]
        == "unparsed"
    )


# verbalised


def test_the_model_is_asked_how_sure_it_is(nlp):
    task = TextCatTask(LABELS, confidence="verbalised", examples=[{"text": "Fine.", "label": "praise"}])
    prompt = task.prompt("It broke.")
    assert '{"label": "...", "confidence": ...}' in prompt
    assert "from 0.0 to 1.0" in prompt
    assert prompt.schema["required"] == ["label", "confidence"]
    assert prompt.choices == {}  # an answer with a figure in it is not one of a few
    assert "confidence" not in TextCatTask(LABELS).prompt("It broke.")
    tokens = [('{"label": "', -1.0), ("complaint", -0.1), ('", "confidence": 0.7}', -1.0)]
    reply = Reply("".join(token for token, _ in tokens), ReplyMeta(tokens=tokens))
    doc, facts = read(nlp, task, [reply])
    assert (facts["confidence"], facts["confidence_kind"]) == (0.7, "verbalised")
    assert doc.cats == {"praise": 0.0, "complaint": 1.0, "question": 0.0}  # no probability
    doc, facts = read(nlp, task, ['{"label": "complaint"}'])
    assert (facts["status"], facts["confidence"], facts["confidence_kind"]) == ("ok", None, None)
    assert read(nlp, TextCatTask(LABELS), [reply])[1]["confidence_kind"] == "logprob"


def test_each_entity_has_its_own_figure(nlp):
    task = NERTask(["PERSON", "PLACE"], confidence="verbalised")
    prompt = task.prompt(TEXT)
    assert '"label": "...", "confidence": ...}' in prompt
    assert prompt.schema["properties"]["entities"]["items"]["required"] == ["text", "label", "confidence"]
    reply = json.dumps(
        {
            "entities": [
                {"text": "Ada", "label": "PERSON", "confidence": 0.9},
                {"text": "Oslo", "label": "PLACE", "confidence": "60 %"},
            ]
        }
    )
    doc, facts = read(nlp, task, [reply], TEXT)
    assert doc.spans["teacher"].attrs["scores"] == [0.9, 0.6]
    assert (facts["confidence"], facts["confidence_kind"]) == (0.6, "verbalised")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"samples": 5}, "samples are for votes alone"),
        ({"confidence": "votes", "samples": 1}, "one reply is no vote"),
        ({"confidence": "certain"}, "expected one of 'logprob', 'votes', 'verbalised'"),
        ({"confidence": "verbalised", "template": "complete"}, 'template = "instruct"'),
        ({"max_chars": 10}, "at least 100"),
    ],
)
def test_settings_that_contradict_each_other(settings, message):
    with pytest.raises(ConfigError) as caught:
        TextCatTask(LABELS, **settings)
    assert message in str(caught.value)


# long texts


@pytest.mark.parametrize("text", ["", "short", "word " * 300, "x" * 1000, "One. Two! Three?\n\n" * 60, "。" * 500])
def test_parts_side_by_side_are_the_text(text):
    parts = cut(text, 100)
    assert "".join(text[start:end] for start, end in parts) == text
    assert all(end - start <= 100 for start, end in parts)
    assert len(parts) <= max(1, 2 * len(text) // 100 + 1)
    assert cut(text, None) == [(0, len(text))]


def test_texts_are_cut_between_sentences_if_possible():
    text = "The first sentence is here. The second one goes on and on, for a good while, and then it stops. Third."
    assert [text[start:end] for start, end in cut(text, 100)] == [text[:-6], "Third."]
    text = text.replace(".", ",")
    assert [text[start:end] for start, end in cut(text, 100)][1] == "Third,"


def test_a_long_texts_classes_are_the_mean_by_length(nlp):
    task = TextCatTask(["a", "b"], max_chars=100)
    text = "x" * 79 + ". " + "y" * 40
    ((prompts, _),) = task.generate_prompts([nlp.make_doc(text)])
    assert [prompt.text for prompt in prompts] == [text[:81], text[81:]]
    scored = [Reply("", ReplyMeta(scores=scores)) for scores in ({"a": 0.9, "b": 0.1}, {"a": 0.2, "b": 0.8})]
    doc, facts = read(nlp, task, scored, text)
    expected = (81 * 0.9 + 40 * 0.2) / 121
    assert doc.cats == {"a": pytest.approx(expected), "b": pytest.approx(1 - expected)}
    assert facts["confidence"] == pytest.approx(expected)
    assert read(nlp, task, [scored[0], "???"], text)[0].cats["a"] == pytest.approx(0.9)
    assert read(nlp, task, [scored[0], ERROR], text)[1]["status"] == "error"  # so that it is asked again
    several = TextCatTask(["a", "b"], max_chars=100, exclusive=False)
    assert read(nlp, several, scored, text)[0].cats == {"a": 0.9, "b": 0.8}


def test_a_long_texts_entities_keep_their_places(nlp):
    first, second = "Ada is far away from Oslo, as " + "x" * 60 + ". ", "Ada is here, they say, and stays."
    task = NERTask(["PERSON"], max_chars=100)
    doc, facts = read(nlp, task, [entities(), entities(("Ada", "PERSON"))], first + second)
    assert [(ent.start_char, ent.text) for ent in doc.ents] == [(len(first), "Ada")]  # not the first part's Ada
    assert facts["status"] == "ok"
    doc, _ = read(nlp, task, [entities(("Ada", "PERSON")), "???"], first + second)
    assert [ent.start_char for ent in doc.ents] == [0]
    unread = [token.text for token in doc if token.ent_iob_ == ""]
    assert (unread[0], unread[-1]) == ("Ada", ".")  # missing, not "no entity"
    assert all(token.ent_iob_ for token in doc if token.idx < len(first))


def test_votes_and_parts_together(nlp):
    task = TextCatTask(["a", "b"], max_chars=100, confidence="votes", samples=2)
    text = "x" * 79 + ". " + "y" * 40
    ((prompts, _),) = task.generate_prompts([nlp.make_doc(text)])
    assert [(len(prompt.text), prompt.sample) for prompt in prompts] == [(81, 0), (81, 1), (40, 0), (40, 1)]
    doc, facts = read(nlp, task, [label("a"), label("a"), label("b"), label("a")], text)
    assert doc.cats["a"] == pytest.approx((81 + 40 * 0.5) / 121)
    assert facts["confidence"] == doc.cats["a"]
