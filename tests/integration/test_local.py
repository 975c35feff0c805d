"""`spacy_distill.Local.v1`: the ledger, calibration afterwards, and inside spaCy-llm, with a small random model; then
the demo's own model, where it is there."""

import numpy as np
import pytest
import spacy

pytest.importorskip("torch")
pytest.importorskip("transformers")

from tiny_model import save_model

from spacy_distill.errors import ConfigError, TeacherError
from spacy_distill.teacher.calibration import content_free_bias, probabilities
from spacy_distill.teacher.local import CONTENT_FREE, Local, make_local
from spacy_distill.teacher.types import Prompt

pytestmark = pytest.mark.local

CHOICES = {"pos": " good", "neg": " bad"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_model(tmp_path_factory.mktemp("models") / "tiny", window=256)


def prompts(*texts):
    return [Prompt(text, prefix="Tea: ", suffix="\nIt is", choices=CHOICES) for text in texts]


def ask(model, asked):
    return dict(model.stream(asked))


def local(folder, **settings):
    return Local(str(folder), device="cpu", threads=1, **settings)


def test_replies_carry_raw_and_calibrated_scores(folder):
    (reply,) = ask(local(folder), prompts("fresh leaf")).values()
    assert sum(reply.meta.scores.values()) == pytest.approx(1)
    best = max(reply.meta.scores, key=reply.meta.scores.get)
    assert reply == CHOICES[best].strip()
    assert reply.meta.confidence == reply.meta.scores[best] >= 0.5
    assert reply.meta.confidence_kind == "logprob"
    assert reply.meta.model == "tiny"
    assert reply.meta.prompt_tokens > 5
    assert reply.meta.latency_s > 0
    assert all(value < 0 for value in reply.meta.choices.values())


def test_content_free_calibration_is_what_it_says(folder):
    model = local(folder)
    plain = local(folder, calibration="none")
    (reply,) = ask(model, prompts("fresh leaf")).values()
    free = ask(plain, prompts(*CONTENT_FREE))
    raw = [[free[i].meta.choices[label] for label in CHOICES] for i in range(3)]
    expected = probabilities([list(reply.meta.choices.values())], content_free_bias(raw))[0]
    assert list(reply.meta.scores.values()) == pytest.approx(expected.tolist())
    (uncalibrated,) = ask(plain, prompts("fresh leaf")).values()
    assert uncalibrated.meta.choices == pytest.approx(reply.meta.choices, abs=1e-4)
    assert uncalibrated.meta.scores != pytest.approx(reply.meta.scores, abs=1e-3)


def test_a_rerun_loads_no_model_whatever_the_calibration(folder, tmp_path):
    ledger = tmp_path / "ledger.sqlite"
    asked = prompts("fresh leaf", "stale", "fresh leaf", "")
    first = ask(local(folder, ledger=ledger), asked)
    again = local(folder, ledger=ledger)
    second = ask(again, asked)
    assert again._model is None
    for index, reply in first.items():
        assert second[index] == reply
        assert second[index].meta.scores == pytest.approx(reply.meta.scores, abs=1e-5)
        assert second[index].meta.from_ledger
    for settings in (
        {"calibration": "none"},
        {"calibration": "fixed", "bias": {"pos": 50.0, "neg": 0.0}, "temperature": 3.0, "batch_size": 1},
    ):
        other = local(folder, ledger=ledger, **settings)
        replies = ask(other, asked)
        assert other._model is None
        assert len(replies) == 4
    assert set(replies.values()) == {"bad"}
    assert other.ledger.counts() == {"ok": 5}  # three texts, one of them content-free, and the two other content-free


def test_the_model_may_lie_elsewhere(folder, tmp_path):
    ledger = tmp_path / "ledger.sqlite"
    ask(local(folder, ledger=ledger), prompts("fresh leaf"))
    copy = tmp_path / "copy" / "tiny"
    copy.parent.mkdir()
    copy.symlink_to(folder)
    moved = local(copy, ledger=ledger)
    ask(moved, prompts("fresh leaf"))
    assert moved._model is None


def test_prompts_without_choices_are_answered_in_words(folder):
    replies = ask(local(folder, max_tokens=4), [*prompts("leaf"), Prompt("The tea is"), "a plain string"])
    assert len(replies) == 3
    for index in (1, 2):
        meta = replies[index].meta
        assert meta.status in ("ok", "truncated")
        assert meta.reply_tokens == len(meta.tokens) <= 4
        assert meta.scores is None
        assert meta.choices is None


def test_what_was_left_unread_is_noted(folder):
    replies = ask(local(folder), prompts("leaf " * 300, "leaf"))
    assert replies[0].meta.unread_chars > 100
    assert replies[1].meta.unread_chars is None


def test_temperature_changes_confidence_alone(folder):
    (sharp,) = ask(local(folder, temperature=0.5), prompts("fresh leaf")).values()
    (soft,) = ask(local(folder, temperature=5.0), prompts("fresh leaf")).values()
    assert sharp == soft
    assert sharp.meta.confidence > soft.meta.confidence > 0.5


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"bias": {"pos": 1.0}}, "fixed"),
        ({"calibration": "fixed"}, "needs a bias"),
        ({"temperature": 0.0}, "temperature"),
        ({"batch_size": 0}, "batch_size"),
        ({"max_tokens": 0}, "max_tokens"),
    ],
)
def test_settings_that_cannot_work(settings, message):
    with pytest.raises(ConfigError, match=message):
        Local("anything", **settings)


def test_a_bias_must_know_every_label(folder):
    with pytest.raises(ConfigError, match="no value for 'neg'"):
        ask(local(folder, calibration="fixed", bias={"pos": 1.0}), prompts("leaf"))


def test_making_one_reads_nothing():
    model = make_local("/no/such/model.gguf")
    with pytest.raises(TeacherError, match=r"/no/such/model.gguf does not exist"):
        list(model.stream(prompts("leaf")))


def test_inside_spacy_llm(folder, tmp_path):
    nlp = spacy.blank("en")
    nlp.add_pipe(
        "llm",
        name="llm_textcat",
        config={
            "task": {"@llm_tasks": "spacy_distill.TextCat.v1", "labels": ["good", "bad"], "template": "complete"},
            "model": {
                "@llm_models": "spacy_distill.Local.v1",
                "name": str(folder),
                "device": "cpu",
                "threads": 1,
                "calibration": "fixed",
                "bias": {"good": 0.5, "bad": -0.5},
                "ledger": str(tmp_path / "ledger.sqlite"),
            },
        },
    )
    for doc in nlp.pipe(["fresh leaf", "stale", ""]):
        assert sum(doc.cats.values()) == pytest.approx(1)
        assert set(doc.cats) == {"good", "bad"}
        assert doc._.distill["textcat"]["confidence_kind"] == "logprob"


@pytest.mark.slow
def test_the_demo_model_tells_good_from_bad(demo_model):
    good = [
        "Absolutely wonderful, the best headphones I have ever had.",
        "I love this phone, great screen and a battery that lasts for days.",
        "Works perfectly and looks beautiful, five stars.",
        "Fantastic sound, I am very happy with it.",
    ]
    bad = [
        "Terrible quality, it broke after one day and I want my money back.",
        "The worst phone I have ever owned, a complete waste of money.",
        "Awful sound, cheap plastic, very disappointed.",
        "It never worked and support was useless.",
    ]
    asked = [
        Prompt(
            text,
            prefix="Classify the sentiment of each product review as positive or negative.\n\nReview: ",
            suffix="\nSentiment:",
            choices={"positive": " positive", "negative": " negative"},
        )
        for text in good + bad
    ]
    model = Local(str(demo_model), device="cpu", threads=1, calibration="none")
    replies = ask(model, asked)
    scores = np.array([replies[i].meta.scores["positive"] for i in range(8)])
    assert scores[:4].min() > scores[4:].max()
    assert [replies[i] for i in range(8)] == ["positive"] * 4 + ["negative"] * 4
    assert model.name == demo_model.name
