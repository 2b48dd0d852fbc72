"""Which children are held ready, whether there should be more, and of which form. Decides; whoever owns it launches and recalls.

A keeper that holds stays with the pool while an attempt is under it, and holds the next child after that: so there are about as
many of them as slots, the replacement of a child costs one process, not two, and is not made while its Run starts.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence

from servers.supervisor.kept import Kept

_PAUSE_SECONDS = 1.0
"""After a child that could not be held, or that ended while it was: what fails at once must not become a busy loop."""

_HISTORY = 16
"""Runs by whose forms the mix of what is held is chosen."""

_SPARE_LIMIT = 4
"""Beyond the slots where there are several forms, so that also with few slots each finds as many ready as slots."""


class Pool:
    def __init__(self, forms: Sequence[str]) -> None:
        self._forms = list(forms)
        self._slots = 0
        self._members: set[Kept] = set()
        self._ready: dict[str, deque[Kept]] = {form: deque() for form in forms}
        """As far as is known here: the server may have let one go already."""
        self._recalled: set[Kept] = set()
        self._history: deque[str] = deque(maxlen=_HISTORY)
        self._paused_until = float("-inf")

    # How many

    def resize(self, slots: int) -> None:
        """For how many Runs at a time."""
        self._slots = slots

    def recall_superfluous(self) -> Kept | None:
        """One that holds and is to be had back from the server. Those that are busy follow when they are free."""
        if self._count <= self._size or not any(self._ready.values()):
            return None
        return self._recall(max((form for form, ready in self._ready.items() if ready), key=self._abundance))

    def _recall(self, form: str) -> Kept:
        kept = self._ready[form].pop()
        self._recalled.add(kept)
        return kept

    @property
    def _count(self) -> int:
        return len(self._members) - len(self._recalled)

    @property
    def _size(self) -> int:
        spare = min(self._slots, _SPARE_LIMIT) if len(self._forms) > 1 else 0
        return self._slots + spare if self._forms else 0

    def seconds_until_growth(self) -> float | None:
        """0 to launch a keeper now; None if there are enough."""
        return None if len(self._members) >= self._size else max(0.0, self._paused_until - time.monotonic())

    @property
    def is_short(self) -> bool:
        """Whether a Run of a form that was wanted lately, and can be held, would find none ready."""
        return any(not self._ready[form] for form in self._forms if form in self._history)

    def pause(self) -> None:
        """Something went wrong with holding."""
        self._paused_until = time.monotonic() + _PAUSE_SECONDS

    # Who

    def join(self, kept: Kept) -> None:
        """It was launched to hold."""
        self._members.add(kept)

    def offer(self, kept: Kept) -> None:
        """It holds a child."""
        self._ready[kept.form].append(kept)

    def leave(self, kept: Kept) -> None:
        self._members.discard(kept)
        self._unoffer(kept)

    def _unoffer(self, kept: Kept) -> None:
        self._recalled.discard(kept)
        if kept in self._ready.get(kept.form, ()):
            self._ready[kept.form].remove(kept)

    def keeps(self, kept: Kept) -> bool:
        """Whether it is to hold another child, now that nothing is under it."""
        return kept in self._members and self._count <= self._size

    # Which form

    def next_form(self) -> str:
        """What is scarcest by what the last Runs were. Only while there is growth to be had."""
        return min(self._forms, key=self._abundance)

    def give_up(self, form: str) -> None:
        """It cannot be held here."""
        if form in self._forms:
            self._forms.remove(form)

    def _abundance(self, form: str) -> float:
        free = sum(1 for kept in self._members if kept.form == form and kept.ticket is None)
        return free / (1 + self._history.count(form))

    # Taking

    def note_taken(self, kept: Kept) -> None:
        """A Run is under it, also if it was recalled: the server was faster."""
        self._history.append(kept.form)
        self._unoffer(kept)

    def note_returned(self, kept: Kept) -> None:
        """The server has it no more. Nobody asked: it could not take it, and could not take another one now."""
        if kept not in self._recalled:
            self.pause()

    def note_missed(self, form: str) -> None:
        """A Run of that form found none ready."""
        self._history.append(form)

    def recall_misfit(self, missed: str) -> Kept | None:
        """After none of that form was ready: one that holds another, of which there are more than one, to be given up in its favour."""
        others = [form for form, ready in self._ready.items() if form != missed and len(ready) > 1]
        if missed not in self._forms or not others or len(self._members) < self._size:
            return None
        return self._recall(max(others, key=self._abundance))
