"""Every reply ever received, in one SQLite file, committed as it arrives. What is here is never paid again."""

from __future__ import annotations

import json
import os
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import InputError
from .types import Prompt, Reply, ReplyMeta
from .write_back import WriteBack

_SCHEMA = """
CREATE TABLE IF NOT EXISTS replies (
    key        TEXT PRIMARY KEY,
    model      TEXT NOT NULL,
    params     TEXT NOT NULL,
    frame      TEXT NOT NULL,
    text       TEXT NOT NULL,
    status     TEXT NOT NULL,
    reply      TEXT NOT NULL,
    meta       TEXT NOT NULL,
    created_s  REAL NOT NULL
);
CREATE TABLE IF NOT EXISTS frames (
    frame      TEXT PRIMARY KEY,
    prefix     TEXT NOT NULL,
    suffix     TEXT NOT NULL,
    choices    TEXT NOT NULL,
    schema     TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS claims (
    key        TEXT PRIMARY KEY,
    owner      TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS batches (
    id         TEXT PRIMARY KEY,
    endpoint   TEXT NOT NULL,
    model      TEXT NOT NULL,
    file       TEXT,
    batch      TEXT,
    tried_s    REAL
) WITHOUT ROWID;
"""
_COLUMNS = "key, model, params, frame, text, status, reply, meta, created_s"

_WAITING_S = 60.0
"""For another process that writes."""

_AT_ONCE = 500
"""Keys in one query; SQLite takes no more than 999 everywhere."""

_PAGES_IN_LOG = 40_000
"""Of 4 kB: from there on SQLite writes back by itself, with whoever commits waiting; see `write_back`."""

_ORPHANS: list[sqlite3.Connection | None] = []
"""Connections of a parent process: closing one here would disturb the parent's file locks."""


def _use_write_ahead_log(connection: sqlite3.Connection) -> None:
    """Where several processes make a new file at the same time, SQLite does not wait by itself for the one that is
    first, as it does for everything else."""
    deadline_s = time.monotonic() + _WAITING_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline_s:
                raise
            time.sleep(0.01)


class Usage(NamedTuple):
    """What one reply took.

    size (int): Bytes of the whole prompt.
    prompt_tokens (int): Tokens read.
    reply_tokens (int): Tokens written.
    latency_s (Optional[float]): Seconds from asking to answer.
    """

    size: int
    prompt_tokens: int
    reply_tokens: int
    latency_s: float | None


@dataclass
class Holding:
    """Replies of one model to one version of a prompt.

    model (str): Its name.
    params (Dict[str, Any]): Its parameters.
    prompt_hash (str): The prompt's version: `Prompt.frame`.
    replies (Counter[str]): Status to number of replies.
    prompt_tokens (int): Tokens read.
    reply_tokens (int): Tokens written.
    cost_usd (float): What they cost, where prices are known.
    newest_s (float): When the last one came, in seconds since 1970.
    """

    model: str
    params: dict[str, Any]
    prompt_hash: str
    replies: Counter[str] = field(default_factory=Counter)
    prompt_tokens: int = 0
    reply_tokens: int = 0
    cost_usd: float = 0.0
    newest_s: float = 0.0


class Ledger:
    """One SQLite file of replies, keyed by everything that could change an answer.

    A row is committed within a few milliseconds of its reply's arrival (write-ahead log: it survives the death of the
    process), so a killed run loses only what was in flight. Failed requests are kept for the books but never served:
    the next run asks again.

    Several threads and several processes may use one file at a time.

    path (Path): The file; made, with its folders, on first use.
    """

    def __init__(self, path: str | Path) -> None:
        self._connection: sqlite3.Connection | None = None
        self._frames: set[str] = set()
        self._params: tuple[dict[str, Any], str] = ({}, "{}")
        self._lock = threading.RLock()
        self._write_back = WriteBack(self._lock)
        self._pid = os.getpid()
        self.path = Path(path)

    @property
    def connection(self) -> sqlite3.Connection:
        """The open connection. RAISES InputError: The file is no ledger, or cannot be made."""
        with self._lock:
            if self._pid != os.getpid():  # A forked process must leave its parent's connection alone.
                _ORPHANS.append(self._connection)
                self._connection, self._pid = None, os.getpid()
            if self._connection is None:
                self._connection = self._open()
            return self._connection

    def _open(self) -> sqlite3.Connection:
        connection = None
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            connection = sqlite3.connect(self.path, timeout=_WAITING_S, isolation_level=None, check_same_thread=False)
            tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            if tables and "replies" not in tables:
                raise sqlite3.DatabaseError(f"it holds {', '.join(sorted(tables)[:3])}")
            _use_write_ahead_log(connection)
            connection.execute("PRAGMA synchronous=NORMAL")
            connection.execute(f"PRAGMA wal_autocheckpoint={_PAGES_IN_LOG}")
            connection.executescript(_SCHEMA)
            connection.execute(f"SELECT {_COLUMNS} FROM replies LIMIT 0")
        except (sqlite3.DatabaseError, OSError) as error:
            if connection is not None:
                connection.close()
            raise InputError(f"{self.path} is not a ledger ({error}). Give another path, or move it away.") from error
        return connection

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """YIELDS (sqlite3.Connection): What is written through it, and by `put` meanwhile, is written together or not
        at all. One within another is part of it."""
        with self._lock:
            connection = self.connection
            if connection.in_transaction:
                yield connection
                return
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                self._frames.clear()
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    def get(self, key: str) -> Reply | None:
        """RETURNS (Optional[Reply]): The reply paid for under this key; None if there is none, or only a failure."""
        with self._lock:
            row = self.connection.execute(
                "SELECT reply, meta, frame FROM replies WHERE key = ? AND status != 'error'", (key,)
            ).fetchone()
        if row is None:
            return None
        meta = ReplyMeta.from_dict(json.loads(row[1]))
        return Reply(row[0], replace(meta, key=key, prompt_hash=row[2], from_ledger=True))

    def answered(self, keys: Sequence[str]) -> set[str]:
        """RETURNS (Set[str]): Those of the keys that `get` has a reply for."""
        found: set[str] = set()
        for start in range(0, len(keys), _AT_ONCE):
            some = keys[start : start + _AT_ONCE]
            query = f"SELECT key FROM replies WHERE status != 'error' AND key IN ({', '.join('?' * len(some))})"
            with self._lock:
                found.update(key for (key,) in self.connection.execute(query, some))
        return found

    def put(self, key: str, prompt: Prompt, reply: Reply, *, model: str, params: dict[str, Any]) -> Reply:
        """Commit one reply. A failure never overwrites a reply.

        RETURNS (Reply): The same reply, knowing its key.
        """
        if reply.meta.key != key:
            reply = Reply(str(reply), replace(reply.meta, key=key))
        frame = prompt.frame
        row = (
            key,
            model,
            self._json_of(params),
            frame,
            prompt.text,
            reply.meta.status,
            str(reply),
            json.dumps(reply.meta.to_dict()),
            time.time(),
        )
        with self._lock:
            if frame not in self._frames:
                self.connection.execute(
                    "INSERT OR IGNORE INTO frames VALUES (?, ?, ?, ?, ?)",
                    (frame, prompt.prefix, prompt.suffix, json.dumps(prompt.choices), json.dumps(prompt.schema)),
                )
                self._frames.add(frame)
            self.connection.execute(
                f"INSERT INTO replies ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT(key) DO UPDATE SET"
                " status=excluded.status, reply=excluded.reply, meta=excluded.meta, created_s=excluded.created_s"
                " WHERE replies.status = 'error'",
                row,
            )
            self._write_back.count(self.connection)
        return reply

    def _json_of(self, params: dict[str, Any]) -> str:
        """The same object comes with every reply of a run."""
        if params is not self._params[0]:
            self._params = params, json.dumps(params, sort_keys=True)
        return self._params[1]

    def prompt(self, key: str) -> Prompt | None:
        """RETURNS (Optional[Prompt]): The prompt that was asked under this key, replied to or not."""
        with self._lock:
            row = self.connection.execute(
                "SELECT r.text, f.prefix, f.suffix, f.choices, f.schema FROM replies r JOIN frames f USING (frame)"
                " WHERE r.key = ?",
                (key,),
            ).fetchone()
        if row is None:
            return None
        text, prefix, suffix, choices, schema = row
        return Prompt(text, prefix=prefix, suffix=suffix, choices=json.loads(choices), schema=json.loads(schema))

    def has_reply(self, model: str, params: dict[str, Any]) -> bool:
        """RETURNS (bool): Whether a model with these parameters ever gave a reply."""
        asked = (model, json.dumps(params, sort_keys=True))
        with self._lock:
            row = self.connection.execute(
                "SELECT 1 FROM replies WHERE model = ? AND params = ? AND status != 'error' LIMIT 1", asked
            ).fetchone()
        return row is not None

    def usage(self, model: str, params: dict[str, Any], frame: str, most: int = 200) -> list[Usage]:
        """Look up what replies took, for estimates of what others will take.

        frame (str): A prompt's version. Its replies are taken alone, if there are any; else those of all versions.
        most (int): So many at most, the newest.
        RETURNS (List[Usage]): Of this model with these parameters; none of failures, none without token counts.
        """
        asked = (model, json.dumps(params, sort_keys=True), frame, most)
        with self._lock:
            rows = self.connection.execute(
                "SELECT r.frame, length(CAST(f.prefix || r.text || f.suffix AS BLOB)), r.meta"
                " FROM replies r JOIN frames f USING (frame) WHERE r.model = ? AND r.params = ? AND r.status != 'error'"
                " ORDER BY r.frame = ? DESC, r.created_s DESC LIMIT ?",
                asked,
            ).fetchall()
        same = [row for row in rows if row[0] == frame]
        found = []
        for _, size, stored in same or rows:
            meta = ReplyMeta.from_dict(json.loads(stored))
            if meta.prompt_tokens is not None:
                found.append(Usage(size, meta.prompt_tokens, meta.reply_tokens or 0, meta.latency_s))
        return found

    def holdings(self) -> list[Holding]:
        """RETURNS (List[Holding]): What is here, by model, parameters and version of the prompt, oldest first."""
        found: dict[tuple[str, str, str], Holding] = {}
        rows = "SELECT model, params, frame, status, meta, created_s FROM replies ORDER BY created_s"
        for model, params, frame, status, stored, created_s in self.connection.execute(rows):
            holding = found.get((model, params, frame))
            if holding is None:
                holding = found[(model, params, frame)] = Holding(model, json.loads(params), frame)
            meta = ReplyMeta.from_dict(json.loads(stored))
            holding.replies[status] += 1
            holding.prompt_tokens += meta.prompt_tokens or 0
            holding.reply_tokens += meta.reply_tokens or 0
            holding.cost_usd += meta.cost_usd or 0.0
            holding.newest_s = created_s
        return list(found.values())

    def counts(self) -> dict[str, int]:
        """RETURNS (Dict[str, int]): Rows per reply status."""
        return dict(self.connection.execute("SELECT status, COUNT(*) FROM replies GROUP BY status ORDER BY status"))

    def rows(self) -> Iterator[dict[str, Any]]:
        """YIELDS (Dict[str, Any]): Every row, oldest first, with its prompt put together again."""
        cursor = self.connection.execute(
            "SELECT r.key, r.model, r.params, f.prefix || r.text || f.suffix, r.status, r.reply, r.meta, r.created_s"
            " FROM replies r JOIN frames f USING (frame) ORDER BY r.created_s"
        )
        for key, model, params, prompt, status, reply, meta, created_s in cursor:
            yield {
                "key": key,
                "model": model,
                "params": json.loads(params),
                "prompt": prompt,
                "status": status,
                "reply": reply,
                "meta": json.loads(meta),
                "created_s": created_s,
            }

    def close(self) -> None:
        """Close the file. It opens again by itself."""
        self._write_back.finish()
        with self._lock:
            if self._connection is not None and self._pid == os.getpid():
                self._connection.close()
                self._connection = None

    def __del__(self) -> None:
        self.close()
