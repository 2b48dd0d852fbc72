"""A queue of keys that want a look: each at most once in line, never one twice at a time. Pure: it neither waits nor works."""

from __future__ import annotations


class KeyQueue:
    """`add` what has changed, `take` what to look at, `done` when looked at. A key added meanwhile comes again afterwards."""

    def __init__(self) -> None:
        self._waiting: dict[str, None] = {}
        self._in_work: set[str] = set()
        self._again: set[str] = set()

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, key: str) -> None:
        if key in self._in_work:
            self._again.add(key)
        else:
            self._waiting[key] = None

    def take(self) -> str | None:
        """The key that waits longest, or None."""
        if not self._waiting:
            return None
        key = next(iter(self._waiting))
        del self._waiting[key]
        self._in_work.add(key)
        return key

    def done(self, key: str) -> None:
        self._in_work.remove(key)
        if key in self._again:
            self._again.remove(key)
            self._waiting[key] = None
