import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from spacy_distill.errors import InputError
from spacy_distill.teacher import write_back
from spacy_distill.teacher.ledger import Ledger
from spacy_distill.teacher.types import Prompt, Reply, ReplyMeta


def put(ledger: Ledger, key: str, reply: str, status: str = "ok") -> Reply:
    meta = ReplyMeta(status=status, tokens=[("a", -0.5)], confidence=0.0, prompt_tokens=0)  # type: ignore[arg-type]
    prompt = Prompt("the text", prefix="before ", suffix=" after", choices={"a": " a"}, schema={"type": "object"})
    return ledger.put(key, prompt, Reply(reply, meta), model="m", params={"temperature": 0.0})


def test_what_was_put_is_got_whole(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "new" / "folder" / "ledger.sqlite")
    assert ledger.get("k") is None
    fresh = put(ledger, "k", "na\u00efve \U0001f600\n\x00")
    assert fresh.meta.key == "k"
    assert not fresh.meta.from_ledger
    kept = ledger.get("k")
    assert kept == "na\u00efve \U0001f600\n\x00"
    assert kept is not None
    assert kept.meta.from_ledger
    assert kept.meta.key == "k"
    assert kept.meta.tokens == [["a", -0.5]]
    assert (kept.meta.confidence, kept.meta.prompt_tokens) == (0.0, 0)


def test_what_is_put_together_is_there_together_or_not_at_all(tmp_path: Path) -> None:
    ledger, other = Ledger(tmp_path / "ledger.sqlite"), Ledger(tmp_path / "ledger.sqlite")
    with ledger.transaction():
        put(ledger, "a", "1")
        put(ledger, "b", "2")
        assert other.get("a") is None
    assert (other.get("a"), other.get("b")) == ("1", "2")
    fresh = Ledger(tmp_path / "fresh.sqlite")

    def interrupted() -> None:
        with fresh.transaction():
            put(fresh, "c", "3")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert fresh.get("c") is None
    put(fresh, "c", "4")
    (row,) = fresh.rows()
    assert row["prompt"] == "before the text after"  # Its constant parts were taken back, and are there again.


def test_a_row_is_committed_at_once_and_holds_the_whole_prompt(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.sqlite")
    put(ledger, "k", "yes")
    (row,) = Ledger(tmp_path / "ledger.sqlite").rows()  # Another connection sees it.
    assert row["prompt"] == "before the text after"
    assert (row["model"], row["params"], row["status"], row["reply"]) == ("m", {"temperature": 0.0}, "ok", "yes")
    put(ledger, "k2", "no")
    frames = ledger.connection.execute("SELECT COUNT(*) FROM frames").fetchone()[0]
    assert frames == 1  # The constant part of a prompt is kept once.


def test_failures_are_counted_never_served_and_give_way_to_a_reply(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.sqlite")
    put(ledger, "k", "", "error")
    put(ledger, "cut", "half", "truncated")
    assert ledger.get("k") is None
    assert ledger.get("cut") == "half"
    assert ledger.counts() == {"error": 1, "truncated": 1}
    put(ledger, "k", "paid")
    put(ledger, "k", "", "error")
    put(ledger, "k", "paid twice")
    assert ledger.get("k") == "paid"
    assert ledger.counts() == {"ok": 1, "truncated": 1}


@pytest.mark.parametrize("content", [b"text, label\nhello, x\n" * 100, b"SQLite format 3\x00 but broken"])
def test_a_file_that_is_no_ledger_is_refused_and_left_alone(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "labels.csv"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"labels\.csv is not a ledger"):
        Ledger(path).get("k")
    assert path.read_bytes() == content


@pytest.mark.parametrize("table", ["replies", "notes"])
def test_another_programs_database_is_refused(tmp_path: Path, table: str) -> None:
    path = tmp_path / "other.sqlite"
    other = sqlite3.connect(path)
    other.execute(f"CREATE TABLE {table} (id INTEGER, mail TEXT)")
    other.commit()
    other.close()
    content = path.read_bytes()
    with pytest.raises(InputError, match="is not a ledger"):
        Ledger(path).get("k")
    assert table == "replies" or path.read_bytes() == content


def test_a_folder_or_a_path_through_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for path in (tmp_path, tmp_path / "file" / "ledger.sqlite"):
        with pytest.raises(InputError, match="is not a ledger"):
            Ledger(path).get("k")


def test_it_opens_again_after_closing(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.sqlite")
    put(ledger, "k", "yes")
    ledger.close()
    assert ledger.get("k") == "yes"


def test_threads_share_it(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.sqlite")
    failures: list[BaseException] = []

    def work(name: str) -> None:
        try:
            for number in range(100):
                put(ledger, f"{name}{number}", name)
                assert ledger.get(f"{name}{number}") == name
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert ledger.counts() == {"ok": 400}


_WRITER = """
import sys, time
from spacy_distill.teacher import write_back
from spacy_distill.teacher.ledger import Ledger
from spacy_distill.teacher.types import Prompt, Reply
path, name = sys.argv[1:]
print("ready", flush=True)
sys.stdin.readline()
ledger = Ledger(path)
for number in range(200):
    ledger.put(f"{name}{number}", Prompt("t"), Reply(name), model="m", params={})
    ledger.put(f"both{number}", Prompt("t"), Reply(name), model="m", params={})
"""


def test_two_processes_share_it(tmp_path: Path) -> None:
    for attempt in range(3):  # Both open it at the same time, when there is no file yet.
        path = tmp_path / f"ledger{attempt}.sqlite"
        writers = [
            subprocess.Popen(
                [sys.executable, "-c", _WRITER, str(path), name],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            for name in "ab"
        ]
        for writer in writers:
            assert writer.stdout is not None
            assert writer.stdout.readline() == "ready\n"
        for writer in writers:
            assert writer.stdin is not None
            writer.stdin.write("go\n")
            writer.stdin.flush()
        for writer in writers:
            _, errors = writer.communicate(timeout=60)
            assert writer.returncode == 0, errors
        assert Ledger(path).counts() == {"ok": 600}


def test_a_newer_versions_facts_are_ignored(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.sqlite")
    put(ledger, "k", "yes")
    meta = json.dumps({"status": "ok", "model": "m", "shoe_size": 43})
    ledger.connection.execute("UPDATE replies SET meta = ?", (meta,))
    reply = ledger.get("k")
    assert reply is not None
    assert reply.meta.model == "m"


def test_the_log_is_written_back_while_others_write_and_begins_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(write_back, "_ROWS_IN_LOG", 50)
    ledger, other = Ledger(tmp_path / "ledger.sqlite"), Ledger(tmp_path / "ledger.sqlite")
    threads = [
        threading.Thread(target=lambda one=one, name=name: [put(one, f"{name}{i}", "yes") for i in range(1000)])
        for one, name in ((ledger, "a"), (other, "b"))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ledger._write_back.finish()
    other._write_back.finish()
    monkeypatch.setattr(write_back, "_ROWS_IN_LOG", 1)
    put(ledger, "c", "yes")
    ledger._write_back.finish()
    monkeypatch.setattr(write_back, "_ROWS_IN_LOG", 50)
    put(ledger, "d", "yes")
    _, pages, _ = ledger.connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
    assert pages < 50  # thousands, if it never began anew
    assert ledger.counts() == {"ok": 2002}
    ledger.close()
    other.close()
    assert "spacy-distill-ledger" not in [thread.name for thread in threading.enumerate()]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ledger.sqlite"]
    assert Ledger(ledger.path).counts() == {"ok": 2002}


def test_a_ledger_that_was_moved_away_is_not_made_again_by_writing_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(write_back, "_ROWS_IN_LOG", 3)
    ledger = Ledger(tmp_path / "ledger.sqlite")
    put(ledger, "a", "yes")
    (tmp_path / "ledger.sqlite").rename(tmp_path / "moved.sqlite")
    for key in "bcd":
        put(ledger, key, "yes")
    ledger.close()
    assert not (tmp_path / "ledger.sqlite").exists()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_child_forked_while_the_log_is_written_back_can_use_the_ledger(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(write_back, "_ROWS_IN_LOG", 20)
    ledger = Ledger(tmp_path / "ledger.sqlite")
    for number in range(600):
        put(ledger, f"k{number}", "yes")
        if number % 20 == 19:
            child = os.fork()
            if not child:
                os._exit(0 if ledger.get("k0") == "yes" else 1)
            deadline = time.monotonic() + 30.0
            while (ended := os.waitpid(child, os.WNOHANG)) == (0, 0):
                if time.monotonic() > deadline:
                    os.kill(child, signal.SIGKILL)
                time.sleep(0.001)
            assert ended[1] == 0


def test_writing_back_gives_way_to_a_transaction_that_waits_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(write_back, "_ROWS_IN_LOG", 1)
    ledger = Ledger(tmp_path / "ledger.sqlite")
    put(ledger, "a", "yes")
    ledger._write_back.finish()
    with ledger.transaction():
        put(ledger, "b", "yes")
        ledger._write_back.finish()
    assert ledger.counts() == {"ok": 2}
