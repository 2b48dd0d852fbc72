"""How many Runs may be at it at a time in this Pod. First come, first served; what runs already is never refused."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable


class Slots:
    """By Run UID. `ask` calls `grant` now or later, once; never again after `give_back`."""

    def __init__(self, count: int, *, on_change: Callable[[int], None] = lambda _: None) -> None:
        self._count = max(1, count)
        self._taken: set[str] = set()
        self._waiting: OrderedDict[str, Callable[[], None]] = OrderedDict()
        self._on_change = on_change

    @property
    def taken(self) -> int:
        return len(self._taken)

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    def ask(self, run_uid: str, grant: Callable[[], None], *, is_running_already: bool) -> None:
        if is_running_already or (len(self._taken) < self._count and not self._waiting):
            self._take(run_uid, grant)
        else:
            self._waiting[run_uid] = grant

    def give_back(self, run_uid: str) -> None:
        """Also withdraws a request."""
        self._waiting.pop(run_uid, None)
        self._taken.discard(run_uid)
        self._on_change(len(self._taken))
        while self._waiting and len(self._taken) < self._count:
            self._take(*self._waiting.popitem(last=False))

    def _take(self, run_uid: str, grant: Callable[[], None]) -> None:
        self._taken.add(run_uid)
        self._on_change(len(self._taken))
        grant()
