"""`spacy_distill.Chat.v1` with a real llama.cpp server and the demo's model: JSON schemas, log-probabilities, requests
side by side, a context that overflows, a key."""

from __future__ import annotations

import json
import logging
import math
import os
import re
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import spacy

from spacy_distill.cli import main
from spacy_distill.docs import annotations_of, facts_of, read_docs
from spacy_distill.errors import TeacherError
from spacy_distill.tasks.base import Task
from spacy_distill.tasks.ner import NERTask
from spacy_distill.tasks.textcat import TextCatTask
from spacy_distill.teacher.chat import Chat
from spacy_distill.teacher.ledger import Ledger
from spacy_distill.teacher.types import Reply

pytest.importorskip("xllamacpp")

from llamacpp_server import SLOT_TOKENS

pytestmark = pytest.mark.slow

HERE = Path(__file__).parent
KEY = "sk-canary-51c8"
LABELS = ["praise", "complaint"]
TEXTS = [
    "The strap broke on day one.",
    "I love the colour and the fit.",
    "Nobody answers the phone.",
    "Quick delivery, and well packed.",
    "Zoë's kettle leaks 😡",
    "Très joli, merci!",
]
CONFIG = """
[nlp]
lang = "en"
pipeline = ["llm"]
[components]
[components.llm]
factory = "llm"
[components.llm.model]
@llm_models = "spacy_distill.Chat.v1"
name = "smollm2"
endpoint = "{endpoint}"
key_env = "TEACHER_KEY"
max_tokens = 32
[components.llm.task]
@llm_tasks = "spacy_distill.TextCat.v1"
labels = {labels}
"""


@dataclass(frozen=True)
class Server:
    """A running server."""

    address: str

    @property
    def endpoint(self) -> str:
        return f"{self.address}/v1"

    def metric(self, name: str) -> float:
        """RETURNS (float): What the server has counted so far, by its own name for it."""
        request = urllib.request.Request(f"{self.address}/metrics", headers={"Authorization": f"Bearer {KEY}"})
        with urllib.request.urlopen(request, timeout=60) as response:
            said = response.read().decode()
        found = re.search(rf"^llamacpp:{name} (\S+)$", said, re.MULTILINE)
        assert found, said
        return float(found.group(1))

    def work(self) -> tuple[float, ...]:
        """RETURNS (Tuple[float, ...]): Tokens read and written so far."""
        names = ("prompt_tokens_total", "prompt_tokens_cached_total", "tokens_predicted_total")
        return tuple(self.metric(name) for name in names)


@pytest.fixture(scope="module")
def server(demo_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    log = (tmp_path_factory.mktemp("llamacpp") / "log.txt").open("w+")
    command = [sys.executable, str(HERE / "llamacpp_server.py"), str(demo_model)]
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=log,
        text=True,
        env={**os.environ, "TEACHER_KEY": KEY},
    )
    assert process.stdin is not None
    assert process.stdout is not None
    address = process.stdout.readline().strip()
    if not address.startswith("http://127.0.0.1:"):
        process.kill()
        log.seek(0)
        pytest.fail(f"no server: {address!r} {log.read()}")
    yield Server(address)
    process.stdin.close()
    try:
        process.wait(20)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
        log.close()


@pytest.fixture
def ask(server: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., list[Reply]]]:
    """Asks a task's prompts for some texts. Gives the replies in the texts' order."""
    monkeypatch.setenv("TEACHER_KEY", KEY)
    made: list[Chat] = []

    def asked(task: Task, texts: list[str], **settings: Any) -> list[Reply]:
        made.append(Chat("smollm2", server.endpoint, **{"key_env": "TEACHER_KEY", "max_tokens": 32, **settings}))
        replies = dict(made[-1].stream([task.prompt(text) for text in texts]))
        return [replies[index] for index in range(len(texts))]

    yield asked
    for chat in made:
        chat.close()


def test_a_run_from_the_command_line_and_another_that_asks_for_nothing(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Everything a user would do and see, with a key that may be nowhere afterwards."""
    config, texts, output = tmp_path / "teacher.cfg", tmp_path / "texts.jsonl", tmp_path / "out" / "pool.spacy"
    config.write_text(CONFIG.format(endpoint=server.endpoint, labels=json.dumps(LABELS)), encoding="utf8")
    texts.write_text("".join(json.dumps({"text": text}) + "\n" for text in TEXTS), encoding="utf8")
    monkeypatch.setenv("TEACHER_KEY", KEY)
    monkeypatch.setattr(sys, "argv", ["spacy-distill", "annotate", str(config), str(texts), str(output)])
    monkeypatch.setattr(logging.getLogger("spacy_distill"), "level", logging.DEBUG)

    def run() -> tuple[str, dict[str, Any]]:
        with pytest.raises(SystemExit) as end:
            main()
        printed = "".join(capfd.readouterr())
        assert not end.value.code, printed
        return printed, json.loads(output.with_suffix(".json").read_text(encoding="utf8"))

    printed, books = run()
    assert books["statuses"] == {"textcat": {"ok": len(TEXTS)}}, printed
    assert (books["asked"], books["from_ledger"]) == (len(TEXTS), 0)
    assert books["reply_tokens"] > len(TEXTS)
    assert server.metric("n_busy_slots_per_decode") > 1.5  # Requests run side by side.
    vocab = spacy.blank("en").vocab
    docs = list(read_docs(output, vocab))
    assert [doc.text for doc in docs] == TEXTS
    for doc in docs:
        (annotation,) = annotations_of(doc)
        facts = facts_of(doc, "textcat")
        assert annotation.label in LABELS
        assert annotation.confidence_kind == "logprob"
        assert 0.0 < annotation.confidence <= 1.0
        assert sum(doc.cats.values()) == pytest.approx(1.0)
        assert facts["provenance"]["model"] == "smollm2"
        assert facts["provenance"]["prompt_tokens"] > 20
    assert len({annotations_of(doc)[0].confidence for doc in docs}) == len(TEXTS)
    ledger = Ledger(output.parent / "ledger.sqlite")
    for row in ledger.rows():
        assert list(json.loads(row["reply"])) == ["label"]
        assert row["reply"] in "".join(token for token, _ in row["meta"]["tokens"])
    assert ledger.counts() == {"ok": len(TEXTS)}
    ledger.close()

    work = server.work()
    again, books = run()
    assert (books["asked"], books["from_ledger"]) == (0, len(TEXTS))
    assert server.work() == work
    assert [doc.cats for doc in read_docs(output, vocab)] == [doc.cats for doc in docs]

    assert KEY not in printed + again
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) >= 5
    assert not [path.name for path in files if KEY.encode() in path.read_bytes()]


def test_another_key_is_refused_and_not_repeated(
    ask: Callable[..., list[Reply]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEACHER_KEY", "sk-canary-of-another")
    with pytest.raises(TeacherError, match=r"HTTP 401.*TEACHER_KEY") as caught:
        ask(TextCatTask(LABELS), TEXTS[:2])
    assert "canary" not in str(caught.value)


def test_a_schema_is_kept_to_and_without_it_the_model_is_lost(ask: Callable[..., list[Reply]]) -> None:
    task = TextCatTask(LABELS)
    held = ask(task, TEXTS[:2])
    free = ask(task, TEXTS[:2], structured="none", max_tokens=16)
    offered = [{"label": label} for label in LABELS]
    assert all(json.loads(reply) in offered for reply in held)
    assert not all(str(reply).startswith("{") for reply in free)


def test_each_label_has_a_probability_among_the_labels(ask: Callable[..., list[Reply]]) -> None:
    """llama.cpp's probabilities are from before the schema: the stated label's own says little."""
    praise = [f"I love {thing}, it is wonderful." for thing in ("this bag", "the tea", "my new lamp", "her song")]
    blame = [f"I hate {thing}, it is terrible." for thing in ("this bag", "the tea", "my new lamp", "her song")]
    task = TextCatTask(["positive", "negative"])
    replies = ask(task, praise + blame)
    found = [task.read(reply) for reply in replies]
    cats = [reading.cats for reading in found]
    assert all(sum(each.values()) == pytest.approx(1.0) for each in cats)
    assert {reading.kind for reading in found} == {"logprob"}
    assert [reading.confidence for reading in found] == pytest.approx([max(each.values()) for each in cats])
    stated = [json.loads(reply)["label"] for reply in replies]
    assert sum(max(each, key=each.__getitem__) == label for each, label in zip(cats, stated, strict=True)) >= 7
    own = [math.exp(dict(reply.meta.tokens or ())[label]) for reply, label in zip(replies, stated, strict=True)]
    assert sum(max(each.values()) for each in cats) / 8 > 0.6 > sum(own) / 8
    positive = [each["positive"] for each in cats]
    assert min(sum(a > b for b in positive[4:]) for a in positive[:4]) >= 3  # The two kinds are told apart.


@pytest.mark.parametrize(
    ("labels", "settings"),
    [
        (["苦情", 'so "nice" 😀', "a\\b / c"], {}),
        ([f"topic {number}" for number in range(1, 31)], {"allow_none": True}),
        (["strap", "phone", "colour"], {"exclusive": False}),
        (["strap", "phone", "colour"], {"exclusive": False, "allow_none": True}),
    ],
    ids=["odd characters", "many labels, or none", "several labels", "several labels or none"],
)
def test_every_schema_of_the_task_is_understood(
    ask: Callable[..., list[Reply]], caplog: pytest.LogCaptureFixture, labels: list[str], settings: dict[str, Any]
) -> None:
    task = TextCatTask(labels, **settings)
    (reply,) = ask(task, TEXTS[:1], max_tokens=32)
    read = task.read(reply)
    truncated = reply.meta.status == "truncated"  # So small a model may go on and on with its list.
    assert ["cut off" in record.getMessage() for record in caplog.records] == [True] * truncated  # none given up
    if truncated:
        assert read.status in ("ok", "unparsed")
        return
    assert read.status in (("ok", "abstain") if settings.get("allow_none") else ("ok",))
    said = json.loads(reply).get("label" if task.exclusive else "labels")
    assert set([said] if task.exclusive else said) <= {*labels, "none"}
    if task.exclusive:
        assert read.confidence is not None
        assert 0.0 < read.confidence <= 1.0
        assert read.kind == "logprob"


def test_entities_are_quoted_with_a_score_each(ask: Callable[..., list[Reply]]) -> None:
    texts = ["Maria Lopez flew from Lisbon to Oslo.", "Zoë Müller lives in Zürich.", "It rained."]
    labels = ["PERSON", "CITY"]
    task = NERTask(labels)
    nlp = spacy.blank("en")
    scores = []
    for text, reply in zip(texts, ask(task, texts, max_tokens=96), strict=True):
        doc = nlp(text)
        facts = task.parse(doc, [reply])
        if reply.meta.status != "truncated":
            said = json.loads(reply)
            assert list(said) == ["entities"]
            assert all(set(entity) == {"text", "label"} for entity in said["entities"])
            assert all(entity["label"] in labels for entity in said["entities"])
            assert facts["status"] == "ok"
        if facts["status"] == "ok":
            assert all(span.text in text for span in doc.spans["teacher"])
            scores += doc.spans["teacher"].attrs["scores"]
    assert scores
    assert all(0.0 < score <= 1.0 for score in scores)


def test_a_text_too_long_for_the_context_stands_in_nobodys_way(ask: Callable[..., list[Reply]]) -> None:
    long = "tea " * 2 * SLOT_TOKENS
    replies = ask(TextCatTask(LABELS), [long, TEXTS[0], long + "!", TEXTS[1]], max_in_flight=2)
    assert [reply.meta.status for reply in replies] == ["error", "ok", "error", "ok"]
    assert replies[0].meta.error == "HTTP 400 (exceed_context_size_error): longer than the model's context"


def test_a_setting_the_server_does_not_take_is_named_as_such(ask: Callable[..., list[Reply]]) -> None:
    with pytest.raises(TeacherError, match=r"HTTP 400 \(invalid_request_error\).*`extra`"):
        ask(TextCatTask(LABELS), [f"{number}" for number in range(10)], extra={"messages": "none"}, max_in_flight=1)
