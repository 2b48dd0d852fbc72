"""Keeps as many children ready as are wanted: launches keepers that hold them, from this process or from a zygote."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Protocol

from servers.supervisor import held_bash, held_python
from servers.supervisor.kept import Kept
from servers.supervisor.launching import launch
from servers.supervisor.pool import Pool
from servers.supervisor.resting import Resting
from servers.supervisor.spec import HoldSpec
from servers.supervisor.wire import Message
from servers.supervisor.zygote_link import ZygoteLink

_ZYGOTE_PAUSE_SECONDS = (1.0, 60.0)
"""Between two starts: doubled from the first to the last while it does not come up."""


class Readable(Protocol):
    def fileno(self) -> int: ...


class Loop(Protocol):
    """The supervisor's, as this module needs it."""

    def listen(self, readable: Readable, *, call: Callable[[], None]) -> None: ...
    def unlisten(self, readable: Readable) -> None: ...
    def say(self, message: Message) -> None: ...


class Keepers(Protocol):
    """All of them, as this module needs them."""

    def adopt(self, kept: Kept) -> None: ...
    def recall(self, kept: Kept) -> None: ...
    def dismiss(self, kept: Kept) -> None: ...


class Warm:
    """Says `ready` to the server once children can be held, `failed` (message) when they cannot."""

    def __init__(self, hold: HoldSpec, *, loop: Loop, keepers: Keepers) -> None:
        self._hold = hold
        self._loop = loop
        self._keepers = keepers
        self._pool = Pool(held_python.FORMS if hold.kind == "python" else list(held_bash.FORMS))
        self._resting = Resting()
        self._zygote = ZygoteLink(hold) if hold.kind == "python" else None
        self._zygote_due = 0.0
        self._zygote_pause = _ZYGOTE_PAUSE_SECONDS[0]
        if self._zygote is None:
            loop.say({"op": "ready"})

    @property
    def zygote_pid(self) -> int:
        return self._zygote.pid if self._zygote else 0

    def resize(self, slots: int) -> None:
        self._pool.resize(slots)
        self._shrink()

    def note_returned(self, kept: Kept) -> None:
        """The server gave it back."""
        self._pool.note_returned(kept)

    def note_missed(self, form: str) -> None:
        """The server had none of that form, and has a fresh process started."""
        self._pool.note_missed(form)
        self._resting.wake_all()
        if kept := self._pool.recall_misfit(form):
            self._keepers.recall(kept)

    def _hurry_if_short(self) -> None:
        if self._pool.is_short:
            self._resting.cut_short(now=time.monotonic())

    # What is heard of keepers that hold

    def note_held(self, kept: Kept) -> None:
        """What it holds was lent to the server."""
        self._pool.offer(kept)

    def note_taken(self, kept: Kept) -> None:
        """The server let it go."""
        self._pool.note_taken(kept)
        self._hurry_if_short()

    def note_failed(self, kept: Kept, *, message: str, for_good: bool) -> None:
        """What it held ended by itself, or could not be had."""
        if for_good:
            self._pool.give_up(kept.form)
            self._shrink()
            self._loop.say({"op": "failed", "message": message})
        else:
            self._pool.pause()

    def note_gone(self, kept: Kept) -> None:
        self._pool.leave(kept)
        self._resting.discard(kept)

    def keeps(self, kept: Kept) -> bool:
        """Whether a keeper under which an attempt has ended is to hold the next child. It will, a moment later."""
        if not self._pool.keeps(kept):
            return False
        self._resting.add(kept, now=time.monotonic())
        self._hurry_if_short()
        return True

    # Shrinking and growing

    def _shrink(self) -> None:
        while kept := self._pool.recall_superfluous():
            self._keepers.recall(kept)

    def grow(self) -> None:
        """One step towards what is wanted."""
        while kept := self._resting.pop_rested(now=time.monotonic()):
            if not self._pool.keeps(kept) or not kept.hold_again(self._pool.next_form()):
                self._keepers.dismiss(kept)
        if self._zygote and not self._zygote.is_started:
            self._start_zygote()
        elif self._can_launch and self._pool.seconds_until_growth() == 0:
            self._launch()

    def patience_seconds(self) -> float | None:
        """Until there is a next step to take; None if only an event can bring it."""
        steps = (self._seconds_until_launch(), self._resting.seconds_until_next(now=time.monotonic()))
        return min((seconds for seconds in steps if seconds is not None), default=None)

    def _seconds_until_launch(self) -> float | None:
        if self._zygote and not self._zygote.is_started:
            return max(0.0, self._zygote_due - time.monotonic())
        return self._pool.seconds_until_growth() if self._can_launch else None

    def close(self) -> None:
        if self._zygote:
            self._zygote.close()

    @property
    def _can_launch(self) -> bool:
        return self._zygote is None or self._zygote.is_ready

    def _launch(self) -> None:
        form = self._pool.next_form()
        try:
            pid, control = (0, self._zygote.launch()) if self._zygote else launch(hold=self._hold, form=form)
        except OSError:
            self._pool.pause()
            return
        kept = Kept(control, pid=pid, form=form)
        self._pool.join(kept)
        self._keepers.adopt(kept)

    # The zygote

    def _start_zygote(self) -> None:
        assert self._zygote is not None
        if time.monotonic() < self._zygote_due:
            return
        self._zygote_due = time.monotonic() + self._zygote_pause
        self._zygote_pause = min(2 * self._zygote_pause, _ZYGOTE_PAUSE_SECONDS[1])
        try:
            channel = self._zygote.start()
        except OSError as error:
            self._loop.say({"op": "failed", "message": f"cannot start a Python to fork from: {os.strerror(error.errno or 0)}"})
            return
        self._loop.listen(channel, call=self._hear_zygote)

    def _hear_zygote(self) -> None:
        assert self._zygote is not None
        channel = self._zygote.channel
        assert channel is not None
        if self._zygote.receive():
            if self._zygote.is_ready:
                self._zygote_pause = _ZYGOTE_PAUSE_SECONDS[0]
                self._loop.say({"op": "ready"})
            elif self._zygote.failure:
                self._loop.say({"op": "failed", "message": self._zygote.failure})
            return
        if not self._zygote.is_ready and not self._zygote.failure:
            what = f"--preload {','.join(self._hold.preload)}: " if self._hold.preload else ""
            self._loop.say({"op": "failed", "message": f"{what}the Python to fork from ended before it was ready"})
        self._loop.unlisten(channel)
        self._zygote.close()
