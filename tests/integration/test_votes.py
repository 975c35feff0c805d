"""Votes asked of a server: as many requests as samples, and none of a model without chance."""

import pytest
import spacy
from chat_server import Answer, ChatServer, Seen, completion

from spacy_distill.annotate import annotate
from spacy_distill.errors import ConfigError
from spacy_distill.estimate import estimate
from spacy_distill.types import Text

TEXTS = [Text(str(number), f"text {number}") for number in range(6)]


def pipeline(server: ChatServer, **model: object) -> spacy.language.Language:
    nlp = spacy.blank("en")
    task = {"@llm_tasks": "spacy_distill.TextCat.v1", "labels": ["tea", "milk"], "confidence": "votes", "samples": 4}
    settings = {"@llm_models": "spacy_distill.Chat.v1", "name": "loopback-1", "endpoint": server.url, **model}
    nlp.add_pipe("llm_textcat", config={"task": task, "model": settings})
    return nlp


def fickle(seen: Seen) -> Answer:
    """Says milk every fourth time."""
    return Answer(body=completion('{"label": "%s"}' % ("tea" if seen.nth % 4 else "milk")))


def test_every_sample_is_a_request(server: ChatServer, tmp_path) -> None:
    server.behave = fickle
    nlp = pipeline(server, temperature=0.7, ledger=str(tmp_path / "ledger.sqlite"))
    labelled, summary = annotate(nlp, TEXTS)
    docs = list(labelled)
    assert [doc.cats for doc in docs] == [{"tea": 0.75, "milk": 0.25}] * 6
    assert (summary.asked, len(server.seen)) == (24, 24)
    assert all(seen.body["temperature"] == 0.7 for seen in server.seen)
    assert [doc.cats for doc in nlp.pipe([text.text for text in TEXTS])] == [doc.cats for doc in docs]
    assert len(server.seen) == 24  # all of it from the ledger
    nlp.get_pipe("llm_textcat")._model.close()  # type: ignore[attr-defined]


@pytest.mark.parametrize("model", [{}, {"temperature": 0.7, "extra": {"temperature": 0}}])
def test_a_model_without_chance_cannot_vote(server: ChatServer, model: dict[str, object]) -> None:
    server.behave = fickle
    nlp = pipeline(server, **model)
    with pytest.raises(ConfigError, match="temperature = 0 every answer is the same"):
        list(annotate(nlp, TEXTS)[0])
    with pytest.raises(ConfigError, match="set the model's `temperature`"):
        estimate(nlp, TEXTS)
    with pytest.raises(ConfigError, match="set the model's `temperature`"):
        list(nlp.pipe(["text"]))
    assert len(server.seen) <= 2  # stopped before the second sample
    nlp.get_pipe("llm_textcat")._model.close()  # type: ignore[attr-defined]
