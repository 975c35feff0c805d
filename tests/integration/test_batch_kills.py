"""`annotate --batch` killed at every stage: the same command goes on, nothing is paid twice, no text is lost."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import spacy
from batch_server import BatchServer, Misbehaviour, Seen

from spacy_distill.docs import annotations_of, read_docs
from spacy_distill.teacher.ledger import Ledger

pytestmark = pytest.mark.skipif(os.name != "posix", reason="kills")

KEY = "sk-canary-51c9"
TEXTS = 31
_RUN = """
from spacy_distill.teacher import batch, batch_files
batch._SETTLING_S, batch._MOST_REQUESTS, batch_files._FIRST_PAUSE_S = 0.3, 10, 0.02
from spacy_distill.cli import main
main()
"""
_TEACHER = """
[nlp]
lang = "en"
pipeline = ["llm"]
[components]
[components.llm]
factory = "llm"
[components.llm.model]
@llm_models = "spacy_distill.Chat.v1"
name = "loopback-1"
endpoint = "{url}"
key_env = "TEACHER_KEY"
[components.llm.task]
@llm_tasks = "spacy_distill.TextCat.v1"
labels = ["bug", "question"]
"""


@pytest.fixture
def server() -> Iterator[BatchServer]:
    running = BatchServer()
    yield running
    running.close()


@pytest.fixture
def project(server: BatchServer, tmp_path: Path) -> Path:
    (tmp_path / "teacher.cfg").write_text(_TEACHER.format(url=server.url), encoding="utf8")
    texts = [json.dumps({"text": f"Ticket {number}: is this a bug"}) for number in range(TEXTS)]
    (tmp_path / "texts.jsonl").write_text("\n".join(texts), encoding="utf8")
    return tmp_path


def environment() -> dict[str, str]:
    return {**os.environ, "TEACHER_KEY": KEY, "PYTHONPATH": os.pathsep.join(sys.path)}


def start(project: Path, *options: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", _RUN, "annotate", "teacher.cfg", "texts.jsonl", "out.spacy", "--batch", *options],
        cwd=project,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def kill(run: subprocess.Popen[str]) -> str:
    run.send_signal(signal.SIGKILL)
    return run.communicate(timeout=30)[0]


def check(project: Path, server: BatchServer, *said: str) -> None:
    """Every prompt is answered and was in one batch at most, nothing is left open, and the key is nowhere."""
    assert len(server.billed) == TEXTS
    assert set((server.billed - server.direct).values()) == {1}
    ledger = Ledger(project / "ledger.sqlite")
    assert ledger.counts() == {"ok": TEXTS}
    assert ledger.connection.execute("SELECT COUNT(*) FROM batches").fetchone() == (0,)
    assert ledger.connection.execute("SELECT COUNT(*) FROM claims").fetchone() == (0,)
    ledger.close()
    assert not [path for path in project.iterdir() if KEY.encode() in path.read_bytes()]
    assert not any(KEY in text for text in said)


STAGES = [
    ("POST files", "before", 1),
    ("POST files", "after", 1),
    ("POST batches", "before", 1),
    ("POST batches", "after", 1),
    ("POST batches", "after", 1),
    ("GET look", "after", 4),
    ("GET content", "before", 1),
    ("GET content", "after", 2),
]
"""Where each run is killed: what it asked for, before or after the server did it, for the how many-th time."""


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_kill_at_any_stage_is_gone_on_from(project: Path, server: BatchServer) -> None:
    server.say = lambda prompt: "bug"
    said = []
    for kind, when, nth in STAGES:
        known = server.count(kind)

        def behave(seen: Seen, kind: str = kind, nth: int = known + nth) -> Misbehaviour | None:
            return "hold" if str(seen) == kind and seen.nth == nth else None

        server.before = server.after = lambda seen: None
        server.holding.clear()
        setattr(server, when, behave)
        run = start(project, "--no-wait") if kind == "POST files" else start(project)
        assert server.holding.wait(300), kill(run)
        said.append(kill(run))
    # Every run that submits asks a prompt directly first.
    assert sum(len(made.requests) for made in server.batches) + len(server.direct) == TEXTS
    assert len(server.batches) == 3
    last = start(project)
    said.append(last.communicate(timeout=300)[0])
    assert last.returncode == 0, said[-1]
    docs = list(read_docs(project / "out.spacy", spacy.blank("en").vocab))
    assert [found.label for doc in docs for found in annotations_of(doc)] == ["bug"] * TEXTS
    check(project, server, *said)
    assert set(server.billed.values()) == {1}


_STREAM = """
import sys
from spacy_distill.teacher import batch, batch_files
from spacy_distill.teacher.chat import Chat
from spacy_distill.teacher.types import Prompt
batch._SETTLING_S, batch._MOST_REQUESTS, batch_files._FIRST_PAUSE_S = 0.3, 10, 0.02
chat = Chat("loopback-1", sys.argv[1], key_env="TEACHER_KEY", ledger="ledger.sqlite")
chat.use_batches()
replies = dict(chat.stream(Prompt(f"text w{n}") for n in range(31)))
assert {replies[n] for n in replies} == {f"w{n}" for n in range(31)}
"""


def test_kills_at_random_moments(project: Path, server: BatchServer) -> None:
    seed = random.randrange(1 << 30)
    draw = random.Random(seed)
    print(f"seed {seed}")
    ended = False
    while not ended:
        run = subprocess.Popen([sys.executable, "-c", _STREAM, server.url], cwd=project, env=environment())
        after = len(server.seen) + draw.randint(1, 5)
        while len(server.seen) < after and run.poll() is None:
            time.sleep(0.001)
        time.sleep(draw.uniform(0.0, 0.02))
        ended = run.poll() == 0
        run.send_signal(signal.SIGKILL)
        run.wait(30)
        assert run.returncode in (0, -signal.SIGKILL)
    check(project, server)
    # A prompt that was asked directly, and in flight when the run was killed, was asked again.
    assert {prompt for prompt, times in server.billed.items() if times > 1} <= set(server.direct)
