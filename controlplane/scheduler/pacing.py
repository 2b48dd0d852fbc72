"""How many binds of the start-up backlog may be out: as many as do not make each other wait.

A server with nothing else to do answers many as fast as one; where two take twice as long, the second only stands in the way of
new Runs. So the number grows while answers are quick, and falls when they are not; then the next try is longer in coming.
"""

from __future__ import annotations

import math

_QUICK = 1.8
"""Up to so many times the shortest time seen, a bind did not wait for others."""
_DRIFT = 1.001
"""By which the shortest time is forgotten with each bind: a server that was fast once may have other things to do now."""
_FIRST_STREAK, _LONGEST_STREAK = 8, 512


class BacklogPace:
    """Told how long each bind took."""

    def __init__(self, *, max_limit: int) -> None:
        self.limit = 1
        self._max_limit = max_limit
        self._shortest_seconds = math.inf
        self._quick_in_a_row = 0
        self._streak = _FIRST_STREAK

    def bind_took(self, seconds: float) -> None:
        self._shortest_seconds = min(self._shortest_seconds * _DRIFT, seconds)
        if seconds <= self._shortest_seconds * _QUICK:
            self._quick_in_a_row += 1
            if self._quick_in_a_row >= self._streak and self.limit < self._max_limit:
                self.limit, self._quick_in_a_row = self.limit + 1, 0
        else:
            if self.limit > 1:
                self._streak = min(2 * self._streak, _LONGEST_STREAK)
            self.limit, self._quick_in_a_row = max(1, self.limit // 2), 0
