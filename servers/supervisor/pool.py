"""Which children are held ready, and whether there should be more. Decides; whoever owns it launches, listens and closes.

A keeper that holds stays with the pool while an attempt is under it, and holds the next child after that: so there are as many
of them as slots, and the replacement of a child costs one process, not two.
"""

from __future__ import annotations

import time
from collections import deque

from servers.supervisor import held_bash, held_python
from servers.supervisor.kept import Held, Kept
from servers.supervisor.spec import HoldSpec, StartSpec

_PAUSE_SECONDS = 1.0
"""After a child that could not be held, or that ended while it was: what fails at once must not become a busy loop."""

_ORDER_LIMIT_BYTES = 60 * 1024
"""What a pipe takes in one write, 64 KiB, with some room."""


class Pool:
    def __init__(self, hold: HoldSpec) -> None:
        self.hold = hold
        self._slots = 0
        self._members: set[Kept] = set()
        self._ready: deque[Kept] = deque()
        self._paused_until = float("-inf")

    def resize(self, slots: int) -> list[Kept]:
        """How many keepers there shall be. Returns those that are to be let go now; busy ones follow when they are free."""
        self._slots = slots
        count = min(len(self._ready), max(0, len(self._members) - slots))
        return [self._ready.pop() for _ in range(count)]

    @property
    def is_full(self) -> bool:
        return len(self._members) >= self._slots

    @property
    def is_overfull(self) -> bool:
        return len(self._members) > self._slots

    def seconds_until_growth(self) -> float | None:
        """0 to launch a keeper now; None if there are enough."""
        return None if self.is_full else max(0.0, self._paused_until - time.monotonic())

    def join(self, kept: Kept) -> None:
        """It was launched to hold, or will hold from now on."""
        self._members.add(kept)

    def offer(self, kept: Kept) -> None:
        """It holds a child."""
        self._ready.append(kept)

    def leave(self, kept: Kept) -> None:
        self._members.discard(kept)
        if kept in self._ready:
            self._ready.remove(kept)

    def pause(self) -> None:
        """Something went wrong with holding."""
        self._paused_until = time.monotonic() + _PAUSE_SECONDS

    def take(self, spec: StartSpec) -> tuple[Kept, Held] | None:
        """A child that runs `spec` from now on; None if it needs a fresh process, or no child is ready."""
        order = self._order_for(spec) if self._ready else None
        if order is None or len(order) > _ORDER_LIMIT_BYTES:
            return None
        while self._ready:
            # The oldest: the youngest may still be starting.
            kept = self._ready.popleft()
            if held := kept.let_go(order):
                return kept, held
        return None

    def _order_for(self, spec: StartSpec) -> bytes | None:
        if spec.executable != self.hold.executable:
            return None
        if self.hold.kind == "bash":
            return held_bash.order_for(spec, base=self.hold.env)
        return held_python.order_for(spec, base=self.hold.env, has_preload=bool(self.hold.preload))
