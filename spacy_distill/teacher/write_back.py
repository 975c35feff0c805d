"""SQLite's write-ahead log, moved into its database by a thread, so that no request waits for the disk."""

from __future__ import annotations

import os
import sqlite3
import threading
import weakref
from contextlib import closing, suppress
from pathlib import Path

_ROWS_IN_LOG = 3000
"""Some 40 MB of log, where texts are short. Keys are scattered over the index's pages: written back seldom, most of
them are written once."""

_WAITING_S = 0.1
"""So long may the log's end wait for those who write."""

_ALL: weakref.WeakSet[WriteBack] = weakref.WeakSet()


class WriteBack:
    """Writes one file's log back when many rows have come, one thread at a time.

    Where it fails nothing is lost: the log is as good a place, and the next time will do.

    lock (RLock): Held by whoever writes through this process's connection.
    """

    def __init__(self, lock: threading.RLock) -> None:
        self._lock = lock
        self._rows = 0
        self._thread: threading.Thread | None = None
        _ALL.add(self)

    def count(self, connection: sqlite3.Connection) -> None:
        """There is a row more. To be called with the lock held."""
        self._rows += 1
        if self._rows < _ROWS_IN_LOG or (self._thread is not None and self._thread.is_alive()):
            return
        self._rows = 0
        (_, _, name) = connection.execute("PRAGMA database_list").fetchone()
        uri = f"{Path(name).resolve().as_uri()}?mode=rw"
        thread = threading.Thread(target=self._run, args=(uri,), name="spacy-distill-ledger")
        with suppress(RuntimeError):  # No more threads can be had: not a reason to lose a reply.
            thread.start()
            self._thread = thread

    def _run(self, uri: str) -> None:
        """Write back while others go on writing; then, with all of them waiting, what came meanwhile: only when nothing
        is left can the log begin anew.

        A log that is wholly written back is left alone: versions of SQLite before 3.51.3 may lose what another one
        commits between two checkpoints of such a log (sqlite.org/wal.html, "The WAL-Reset Bug").
        """
        with (
            suppress(sqlite3.Error),
            closing(sqlite3.connect(uri, uri=True, timeout=_WAITING_S, isolation_level=None)) as connection,
        ):
            _, written, done = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
            if done < written and self._lock.acquire(timeout=_WAITING_S):
                try:
                    connection.execute("PRAGMA wal_checkpoint(RESTART)")
                finally:
                    self._lock.release()

    def finish(self) -> None:
        """Wait until nothing is being written back."""
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()


def _finish_all() -> None:
    for one in list(_ALL):
        one.finish()


if hasattr(os, "register_at_fork"):
    # A thread is not there in the child, but the locks are that it held, SQLite's own among them.
    os.register_at_fork(before=_finish_all)
