"""Every reply ever received, in one SQLite file, committed as it arrives. What is here is never paid again."""

from __future__ import annotations

import json
import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..errors import InputError
from .types import Prompt, Reply, ReplyMeta, sha256

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
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS frames (
    frame      TEXT PRIMARY KEY,
    prefix     TEXT NOT NULL,
    suffix     TEXT NOT NULL,
    choices    TEXT NOT NULL,
    schema     TEXT NOT NULL
) WITHOUT ROWID;
"""
_COLUMNS = "key, model, params, frame, text, status, reply, meta, created_s"

_ORPHANS: list[sqlite3.Connection | None] = []
"""Connections of a parent process: closing one here would disturb the parent's file locks."""


class Ledger:
    """One SQLite file of replies, keyed by everything that could change an answer.

    A row is committed the moment its reply arrives (write-ahead log: it survives the death of the process), so a
    killed run loses only what was in flight. Failed requests are kept for the books but never served: the next run
    asks again.

    Several threads and several processes may use one file at a time.

    path (Path): The file; made, with its folders, on first use.
    """

    def __init__(self, path: str | Path) -> None:
        self._connection: sqlite3.Connection | None = None
        self._frames: set[str] = set()
        self._lock = threading.RLock()
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
            connection = sqlite3.connect(self.path, timeout=60.0, isolation_level=None, check_same_thread=False)
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=NORMAL")
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
        at all."""
        with self._lock:
            connection = self.connection
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
                "SELECT reply, meta FROM replies WHERE key = ? AND status != 'error'", (key,)
            ).fetchone()
        if row is None:
            return None
        return Reply(row[0], replace(ReplyMeta.from_dict(json.loads(row[1])), key=key, from_ledger=True))

    def put(self, key: str, prompt: Prompt, reply: Reply, *, model: str, params: dict[str, Any]) -> Reply:
        """Commit one reply. A failure never overwrites a reply.

        RETURNS (Reply): The same reply, knowing its key.
        """
        reply = Reply(str(reply), replace(reply.meta, key=key))
        frame = sha256(prompt.prefix, prompt.suffix, prompt.choices, prompt.schema)
        row = (
            key,
            model,
            json.dumps(params, sort_keys=True),
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
        return reply

    def has_reply(self, model: str, params: dict[str, Any]) -> bool:
        """RETURNS (bool): Whether a model with these parameters ever gave a reply."""
        asked = (model, json.dumps(params, sort_keys=True))
        with self._lock:
            row = self.connection.execute(
                "SELECT 1 FROM replies WHERE model = ? AND params = ? AND status != 'error' LIMIT 1", asked
            ).fetchone()
        return row is not None

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
        with self._lock:
            if self._connection is not None and self._pid == os.getpid():
                self._connection.close()
                self._connection = None

    def __del__(self) -> None:
        self.close()
