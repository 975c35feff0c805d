"""Who is asking for which reply: in the ledger before a prompt is sent, so that no two pay for the same one."""

from __future__ import annotations

import os
import sqlite3
import uuid
import weakref
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from glob import escape
from pathlib import Path

from .base import Request
from .ledger import Ledger
from .types import Reply

_LOCKS: dict[Path, tuple[int, sqlite3.Connection]] = {}
"""File to the process that locked it, this one or the one that it was forked from, and the connection that did."""


@dataclass(slots=True)
class Claimed:
    """What came of claiming requests.

    mine (List[Request]): To be asked, and then to be released.
    known (List[Tuple[Request, Reply]]): Answered meanwhile, with the reply as if it had just come.
    elsewhere (List[Request]): Another one is asking.
    in_batch (List[Request]): Waiting in a batch.
    """

    mine: list[Request] = field(default_factory=list)
    known: list[tuple[Request, Reply]] = field(default_factory=list)
    elsewhere: list[Request] = field(default_factory=list)
    in_batch: list[Request] = field(default_factory=list)


class Claims:
    """The keys that are being asked for, by anyone who uses the ledger. A key has one owner at a time.

    An owner is a batch, or a model in a process. A process holds a lock on an empty file beside the ledger for as long
    as it lives, whatever it dies of. So nobody has to guess from a clock whether it does: where the lock is free, its
    claims are void, and where it is not, it is waited for. The lock is SQLite's own, which is there on every system,
    and holds between containers that share a folder.

    ledger (Ledger): The ledger, whose file holds the claims.
    """

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self._owner: str | None = None
        self._pid = os.getpid()
        self._unlock: weakref.finalize[..., Claims] | None = None

    def claim(self, requests: Sequence[Request], owner: str | None = None) -> Claimed:
        """Claim what nobody else has claimed, together.

        owner (Optional[str]): A batch that is being made. None: this process.
        """
        claimed = Claimed()
        with self.ledger.transaction() as connection:
            owner = owner or self._alive()
            batches = {batch for (batch,) in connection.execute("SELECT id FROM batches")}
            living = {*batches, owner}
            answered = self.ledger.answered([request.key for request in requests])
            for request in requests:
                if request.key in answered and (known := self.ledger.get(request.key)) is not None:
                    # It gets its key when it is kept, and is settled with the budget.
                    claimed.known.append((request, Reply(known, replace(known.meta, key=None))))
                    continue
                while (holder := self._take(connection, request.key, owner)) is not None and holder not in living:
                    if not self._void(connection, holder):
                        living.add(holder)
                if holder is None:
                    claimed.mine.append(request)
                else:
                    (claimed.in_batch if holder in batches else claimed.elsewhere).append(request)
        return claimed

    def release(self, keys: Iterable[str]) -> None:
        """Give up claims of this process: there is a reply, or nobody will ask."""
        with self.ledger.transaction() as connection:
            owned = [(key, self._owner) for key in keys]
            connection.executemany("DELETE FROM claims WHERE key = ? AND owner = ?", owned)

    def keys(self) -> set[str]:
        """RETURNS (Set[str]): All that are claimed, in batches or by processes that live."""
        with self.ledger.transaction() as connection:
            others = "SELECT DISTINCT owner FROM claims WHERE owner NOT IN (SELECT id FROM batches)"
            for (holder,) in connection.execute(others).fetchall():
                self._void(connection, holder)
            return {key for (key,) in connection.execute("SELECT key FROM claims")}

    def close(self) -> None:
        """Give up every claim of this process. The next one opens it again."""
        if self._unlock is not None:
            self._unlock()
            self._unlock = self._owner = None

    @staticmethod
    def _take(connection: sqlite3.Connection, key: str, owner: str) -> str | None:
        """RETURNS (Optional[str]): Who holds the key; None if it was free, and is the owner's now."""
        if connection.execute("INSERT OR IGNORE INTO claims (key, owner) VALUES (?, ?)", (key, owner)).rowcount:
            return None
        return str(connection.execute("SELECT owner FROM claims WHERE key = ?", (key,)).fetchone()[0])

    # Files are made, looked at and removed within transactions, so that no process takes a file for abandoned that
    # another one has made and not locked yet.

    def _file(self, owner: str) -> Path:
        (_, _, name) = self.ledger.connection.execute("PRAGMA database_list").fetchone()
        path = Path(name).resolve()  # Where it is, and not where its name would lead from another working directory.
        return path.with_name(f"{path.name}-asking-{owner}")

    def _alive(self) -> str:
        """RETURNS (str): The owner that stands for this process, whose file is locked."""
        if self._owner is None or self._pid != os.getpid():
            unnamed = self._file("")
            for left in unnamed.parent.glob(f"{escape(unnamed.name)}*"):
                _remove_if_free(left)
            self._owner, self._pid = uuid.uuid4().hex, os.getpid()
            file = self._file(self._owner)
            file.touch(mode=0o600)
            lock = _lock(file)
            assert lock is not None, "nobody else knows the name"
            _LOCKS[file] = self._pid, lock
            self._unlock = weakref.finalize(self, _unlock, file, self._pid)
        return self._owner

    def _void(self, connection: sqlite3.Connection, owner: str) -> bool:
        """RETURNS (bool): The owner is dead, and so its claims are gone."""
        if not _remove_if_free(self._file(owner)):
            return False
        connection.execute("DELETE FROM claims WHERE owner = ?", (owner,))
        return True


def _lock(file: Path) -> sqlite3.Connection | None:
    """RETURNS (Optional[sqlite3.Connection]): Holds the lock until it is closed; None if another one does."""
    connection = sqlite3.connect(file, timeout=0.0, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("PRAGMA journal_mode=MEMORY")
        connection.execute("BEGIN EXCLUSIVE")
    except sqlite3.OperationalError as error:
        connection.close()
        if "locked" not in str(error):
            raise
        return None
    return connection


def _remove_if_free(file: Path) -> bool:
    """RETURNS (bool): Nobody held the file's lock, or there was no file."""
    pid, inherited = _LOCKS.get(file, (os.getpid(), None))
    if pid != os.getpid() and inherited is not None:
        # SQLite takes its parent's lock for its own. Locks are a process's: closing this one leaves the parent's alone.
        del _LOCKS[file]
        inherited.close()
    if file.exists():
        lock = _lock(file)
        if lock is None:
            return False
        lock.close()
        with suppress(OSError):
            file.unlink()
    return True


def _unlock(file: Path, pid: int) -> None:
    if pid == os.getpid() and file in _LOCKS:
        _, lock = _LOCKS.pop(file)
        lock.close()
        with suppress(OSError):
            file.unlink()
