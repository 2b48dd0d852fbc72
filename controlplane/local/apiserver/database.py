"""The SQLite file that makes a restart lose nothing: current objects, and the history that watches resume from.

One transaction per write covers both, so a kill at any moment leaves a state that some client saw. WAL with
synchronous=NORMAL: a commit survives the death of the process at once, and that of the machine after the next checkpoint.
What is in memory, and what it means, is `store`'s business.
"""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_TABLES = """
CREATE TABLE IF NOT EXISTS objects (
    resource TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL, body BLOB NOT NULL,
    UNIQUE (resource, namespace, name)
);
CREATE TABLE IF NOT EXISTS history (
    rv INTEGER PRIMARY KEY, type TEXT NOT NULL, resource TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL,
    previous BLOB
);
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value INTEGER NOT NULL);
"""

_REPLACE = (
    "INSERT INTO objects (resource, namespace, name, body) VALUES (?, ?, ?, ?) "
    "ON CONFLICT (resource, namespace, name) DO UPDATE SET body = excluded.body"
)
_DELETE = "DELETE FROM objects WHERE resource = ? AND namespace = ? AND name = ?"
_REMEMBER = "INSERT INTO history (rv, type, resource, namespace, name, previous) VALUES (?, ?, ?, ?, ?, ?)"


class DiskFull(OSError):
    """The store's disk takes no more: the write has not happened, everything before it stands, and the next one may succeed."""


@dataclass(frozen=True, slots=True)
class HistoryRow:
    """One write. The object after it is the `previous` of its next write, or the current one: stored once, not twice."""

    rv: int
    type: str
    resource: str
    namespace: str
    name: str
    previous: bytes | None


class Database:
    """Used by one thread but for `checkpoint`, which has a connection of its own."""

    def __init__(self, path: Path) -> None:
        """Raises DiskFull."""
        self._path = path
        self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        with _explained(path):
            for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "wal_autocheckpoint=0", "cache_size=-16000"):
                self._connection.execute(f"PRAGMA {pragma}")
            self._connection.executescript(_TABLES)

    def close(self) -> None:
        self._connection.close()

    def write(self, row: HistoryRow, *, body: bytes | None) -> None:
        """One write and its history row, both or neither. `body` is the object after it, None for a deletion. Raises DiskFull."""
        execute = self._connection.execute
        key = (row.resource, row.namespace, row.name)
        with self._transaction():
            execute(_DELETE, key) if body is None else execute(_REPLACE, (*key, body))
            execute(_REMEMBER, (row.rv, row.type, *key, row.previous))

    def forget_history(self, *, up_to: int) -> None:
        """Drops history rows up to and including that resourceVersion, for good. Raises DiskFull: it writes before it frees."""
        execute = self._connection.execute
        with self._transaction():
            execute("DELETE FROM history WHERE rv <= ?", (up_to,))
            execute("INSERT INTO meta VALUES ('compacted', ?) ON CONFLICT (key) DO UPDATE SET value = max(value, excluded.value)", (up_to,))

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with _explained(self._path):
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:  # SQLite itself rolls back for some errors, a full disk among them
                    self._connection.execute("ROLLBACK")
                raise

    def checkpoint(self) -> None:
        """Moves the log into the file, from any thread. PASSIVE: never waits for a writer, never makes one wait. Raises DiskFull."""
        connection = sqlite3.connect(self._path, isolation_level=None)
        try:
            with _explained(self._path):
                connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
        finally:
            connection.close()

    def compacted(self) -> int:
        row = self._connection.execute("SELECT value FROM meta WHERE key = 'compacted'").fetchone()
        return int(row[0]) if row else 0

    def objects(self, *, resource: str) -> Iterator[tuple[str, str, bytes]]:
        """(namespace, name, body) of every object of the kind."""
        yield from self._connection.execute("SELECT namespace, name, body FROM objects WHERE resource = ?", (resource,))

    def resources(self) -> list[str]:
        return [row[0] for row in self._connection.execute("SELECT DISTINCT resource FROM objects")]

    def history(self) -> list[HistoryRow]:
        """Newest first."""
        rows = self._connection.execute("SELECT rv, type, resource, namespace, name, previous FROM history ORDER BY rv DESC")
        return [HistoryRow(*row) for row in rows]


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """SQLite says it in two ways: SQLITE_FULL, and an I/O error where only a byte of its shared memory had no room."""
    try:
        yield
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode != sqlite3.SQLITE_FULL and not _is_full(path):
            raise
        raise DiskFull(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path)) from error


def _is_full(path: Path) -> bool:
    return os.statvfs(path.parent).f_bavail == 0
