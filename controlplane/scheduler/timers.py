"""Deadlines by key: the earliest is at hand, and one that is moved or stopped costs nothing until it comes up."""

from __future__ import annotations

import heapq


class Timers:
    """One deadline a key, in monotonic seconds."""

    def __init__(self) -> None:
        self._deadlines: dict[str, float] = {}
        self._heap: list[tuple[float, str]] = []

    def __contains__(self, key: str) -> bool:
        return key in self._deadlines

    def __len__(self) -> int:
        return len(self._deadlines)

    def start(self, key: str, *, at: float) -> None:
        """Fires at `at`; a deadline that the key already had is replaced."""
        self._deadlines[key] = at
        heapq.heappush(self._heap, (at, key))

    def stop(self, key: str) -> None:
        self._deadlines.pop(key, None)

    def next_deadline(self) -> float | None:
        while self._heap:
            at, key = self._heap[0]
            if self._deadlines.get(key) == at:
                return at
            heapq.heappop(self._heap)
        return None

    def fire_next(self, *, now: float) -> str | None:
        """A key whose time has come, which then has no deadline any more; None when there is none."""
        deadline = self.next_deadline()
        if deadline is None or deadline > now:
            return None
        _, key = heapq.heappop(self._heap)
        del self._deadlines[key]
        return key
