"""Several processes on one ledger: every text is asked once, whoever asks, and whoever dies."""

import logging
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from chat_server import Answer, ChatServer
from test_chat import MakeChat, ask, prompts

from spacy_distill.errors import TeacherError
from spacy_distill.teacher import handover
from spacy_distill.teacher.base import Request
from spacy_distill.teacher.claims import Claims
from spacy_distill.teacher.ledger import Ledger
from spacy_distill.teacher.types import Prompt

posix = pytest.mark.skipif(os.name != "posix", reason="signals")

_RUN = """
import sys
from spacy_distill.teacher.chat import Chat
from spacy_distill.teacher.types import Prompt
url, ledger, count = sys.argv[1:]
prompts = [Prompt(f"text w{n}", prefix="Say the last word: ") for n in range(int(count))]
chat = Chat("loopback-1", url, max_in_flight=8, ledger=ledger)
print("ready", flush=True)
sys.stdin.readline()
replies = dict(chat.stream(prompts))
assert replies == {n: f"w{n}" for n in range(int(count))}, replies
assert {reply.meta.status for reply in replies.values()} == {"ok"}
"""

_FORK = """
import os, signal, sys, time, warnings
from spacy_distill.teacher.chat import Chat
from spacy_distill.teacher.types import Prompt
warnings.simplefilter("ignore", DeprecationWarning)
url, ledger, count = sys.argv[1:]
prompts = [Prompt(f"text w{n}", prefix="Say the last word: ") for n in range(int(count))]
chat = Chat("loopback-1", url, max_in_flight=8, ledger=ledger)
print("ready", flush=True)
sys.stdin.readline()
stream = chat.stream(prompts)
next(stream)
time.sleep(0.5)
parent = os.getpid()
if os.fork():
    time.sleep(1.0)
    os.kill(parent, signal.SIGKILL)
replies = dict(chat.stream(prompts))
assert replies == {n: f"w{n}" for n in range(int(count))}, replies
print("the child is done", flush=True)
os._exit(0)
"""


def start(server: ChatServer, ledger: Path, count: int, script: str = _RUN) -> subprocess.Popen[str]:
    """RETURNS (subprocess.Popen): A process that waits for a line before it asks."""
    arguments = [sys.executable, "-c", script, server.url, str(ledger), str(count)]
    run = subprocess.Popen(
        arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, bufsize=1
    )
    assert run.stdout is not None
    assert run.stdout.readline() == "ready\n"
    return run


def go(run: subprocess.Popen[str]) -> None:
    assert run.stdin is not None
    run.stdin.write("go\n")


def end(run: subprocess.Popen[str]) -> None:
    _, errors = run.communicate(timeout=60)
    assert run.returncode == 0, errors


def wait_for(server: ChatServer, requests: int) -> None:
    deadline_s = time.monotonic() + 60
    while len(server.seen) < requests and time.monotonic() < deadline_s:
        time.sleep(0.001)


def files(ledger: Path) -> list[str]:
    return sorted(path.name for path in ledger.parent.iterdir() if "-asking-" in path.name)


def test_two_processes_with_the_same_texts_ask_each_once(server: ChatServer, tmp_path: Path) -> None:
    server.latency_s = 0.1
    ledger = tmp_path / "ledger.sqlite"
    runs = [start(server, ledger, 160) for _ in range(2)]
    for run in runs:
        go(run)
    for run in runs:
        end(run)
    assert sorted(server.prompts()) == sorted(map(str, prompts(160)))
    assert server.most_in_flight > 8  # They shared the work; neither waited for the other's end.
    assert Ledger(ledger).counts() == {"ok": 160}
    assert Claims(Ledger(ledger)).keys() == set()
    assert files(ledger) == []


@posix
def test_what_a_killed_process_was_asking_is_taken_over(server: ChatServer, tmp_path: Path) -> None:
    server.latency_s = 0.3
    ledger = tmp_path / "ledger.sqlite"
    dying, living = start(server, ledger, 60), start(server, ledger, 60)
    go(dying)
    wait_for(server, 12)
    go(living)
    wait_for(server, 24)
    dying.send_signal(signal.SIGKILL)
    dying.communicate()
    killed_s = time.monotonic()
    end(living)
    assert time.monotonic() - killed_s < 20
    asked = Counter(server.prompts())
    assert len(asked) == 60
    assert sum(asked.values()) <= 60 + 8  # Again only what was in flight.
    assert Ledger(ledger).counts() == {"ok": 60}
    assert files(ledger) == []


@posix
def test_the_next_run_does_not_wait_for_a_dead_one(make_chat: MakeChat, server: ChatServer, tmp_path: Path) -> None:
    server.behave = lambda seen: Answer(hang=True)
    ledger = tmp_path / "ledger.sqlite"
    dying = start(server, ledger, 30)
    go(dying)
    wait_for(server, 8)
    dying.send_signal(signal.SIGKILL)
    dying.communicate()
    assert len(files(ledger)) == 1
    server.behave = None
    start_s = time.monotonic()
    assert ask(make_chat(ledger=ledger), prompts(30)) == [f"w{number}" for number in range(30)]
    assert time.monotonic() - start_s < handover._WORTH_SAYING_S
    assert len(files(ledger)) == 1  # This process's own.


@posix
def test_a_process_that_stands_still_is_waited_for(server: ChatServer, tmp_path: Path) -> None:
    server.latency_s = 0.2
    ledger = tmp_path / "ledger.sqlite"
    still, other = start(server, ledger, 40), start(server, ledger, 40)
    go(still)
    wait_for(server, 8)
    still.send_signal(signal.SIGSTOP)
    go(other)
    wait_for(server, 8 + 16)
    time.sleep(1.0)
    assert other.poll() is None
    assert len(server.seen) == 8 + 24  # 16 are held by the one that stands still: 8 in flight, 8 at hand.
    still.send_signal(signal.SIGCONT)
    end(still)
    end(other)
    assert sorted(server.prompts()) == sorted(map(str, prompts(40)))


@pytest.mark.skipif(sys.platform != "linux", reason="forks")
def test_a_forked_process_waits_for_its_parent_and_takes_over_when_it_dies(server: ChatServer, tmp_path: Path) -> None:
    server.behave = lambda seen: Answer(hang=True) if 8 < len(server.seen) <= 16 else None
    ledger = tmp_path / "ledger.sqlite"
    run = start(server, ledger, 60, _FORK)
    go(run)
    out, errors = run.communicate(timeout=60)
    assert "the child is done" in out, errors
    asked = Counter(server.prompts())
    assert len(asked) == 60
    assert {prompt for prompt, times in asked.items() if times > 1} == set(server.prompts()[8:16])
    assert sum(asked.values()) == 60 + 8
    again_s = min(seen.time_s for seen in server.seen if seen.nth == 2)
    assert again_s - server.seen[15].time_s > 1.0  # Not before the parent's death.


def test_models_in_one_process_do_not_ask_twice_either(make_chat: MakeChat, server: ChatServer, tmp_path: Path) -> None:
    server.latency_s = 0.05
    ledger = tmp_path / "ledger.sqlite"
    one, other = make_chat(ledger=ledger), make_chat(ledger=ledger)
    streams = [one.stream(prompts(100)), other.stream(prompts(100)), one.stream(prompts(100))]
    taken = [next(stream)[1] for _ in range(100) for stream in streams]
    assert sorted(taken) == sorted([f"w{number}" for number in range(100)] * 3)
    assert len(server.seen) == 100


def test_a_text_that_failed_elsewhere_is_asked_here(make_chat: MakeChat, server: ChatServer, tmp_path: Path) -> None:
    server.latency_s = 0.1
    server.behave = lambda seen: Answer(400, {"error": {"message": "no"}}) if seen.nth == 1 else None
    ledger = tmp_path / "ledger.sqlite"
    settings = {"ledger": ledger, "structured": "none", "logprobs": False}
    streams = [make_chat(**settings).stream(prompts(3)) for _ in range(2)]
    taken = [next(stream)[1].meta.status for _ in range(3) for stream in streams]
    assert Counter(taken) == {"error": 3, "ok": 3}
    assert len(server.seen) == 6


def test_closing_while_another_one_is_asking_is_an_error_not_a_wait(
    make_chat: MakeChat, server: ChatServer, tmp_path: Path
) -> None:
    chat, other = make_chat(ledger=tmp_path / "ledger.sqlite"), Claims(Ledger(tmp_path / "ledger.sqlite"))
    requests = [request for prompt in prompts(3) if (request := chat._admit(chat.key(prompt), prompt))]
    assert other.claim(requests).mine == requests
    stream = chat.stream([*prompts(3), Prompt("a free one")])
    assert next(stream)[1] == "one"
    chat.close()
    with pytest.raises(TeacherError, match="closed before every prompt was answered"):
        list(stream)
    other.close()
    assert ask(chat, prompts(3)) == ["w0", "w1", "w2"]  # Whoever closes gives up its claims.


def test_a_long_wait_is_explained(
    make_chat: MakeChat, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(handover, "_LOOK_AGAIN_S", 0.02)
    monkeypatch.setattr(handover, "_WORTH_SAYING_S", 0.1)
    caplog.set_level(logging.INFO)
    chat, other = make_chat(ledger=tmp_path / "ledger.sqlite"), Claims(Ledger(tmp_path / "ledger.sqlite"))
    requests = [request for prompt in prompts(2) if (request := chat._admit(chat.key(prompt), prompt))]
    other.claim(requests)
    stream = chat.stream([*prompts(2), Prompt("a free one")])
    assert next(stream)[1] == "one"
    time.sleep(0.5)
    assert "Another process is asking 2 of these prompts" in caplog.text
    other.release(request.key for request in requests)
    assert sorted(reply for _, reply in stream) == ["w0", "w1"]


def test_claims_hold_in_any_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link").symlink_to(tmp_path, target_is_directory=True)
    claims = [Claims(Ledger(path)) for path in ("ledger.sqlite", tmp_path / "link" / "ledger.sqlite")]
    requests = [Request(f"key {number}", prompt) for number, prompt in enumerate(prompts(3))]
    assert claims[0].claim(requests[:1]).mine == requests[:1]
    assert claims[1].claim(requests[1:2]).mine == requests[1:2]
    monkeypatch.chdir("/")
    assert [claim.claim(requests[:2]).elsewhere for claim in claims] == [requests[:2]] * 2
    claims[0].close()
    claimed = claims[1].claim(requests)
    assert (claimed.mine, claimed.elsewhere) == ([requests[0], requests[2]], [requests[1]])
    claims[1].close()


def test_a_ledger_made_before_there_were_claims_opens(make_chat: MakeChat, server: ChatServer, tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    chat = make_chat(ledger=path)
    ask(chat, prompts(3))
    chat.close()
    connection = sqlite3.connect(path)
    connection.executescript("DROP TABLE claims; DROP TABLE batches;")
    connection.close()
    assert ask(make_chat(ledger=path), prompts(5)) == [f"w{number}" for number in range(5)]
    assert len(server.seen) == 5
