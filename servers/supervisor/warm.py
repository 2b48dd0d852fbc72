"""Keeps as many children ready as are wanted: launches keepers that hold them, from this process or from a zygote."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

from servers.supervisor.kept import Held, Kept
from servers.supervisor.launching import launch
from servers.supervisor.pool import Pool
from servers.supervisor.spec import HoldSpec, StartSpec
from servers.supervisor.wire import Message
from servers.supervisor.zygote_link import ZygoteLink

_ZYGOTE_PAUSE_SECONDS = (1.0, 60.0)
"""Between two starts: doubled from the first to the last while it does not come up."""


class Owner(Protocol):
    """The supervisor, as this module needs it."""

    def listen(self, readable: object, *, call: Callable[[], None]) -> None: ...
    def unlisten(self, readable: object) -> None: ...
    def adopt(self, kept: Kept) -> None: ...
    def say(self, message: Message) -> None: ...


class Warm:
    """Says `ready` to the server once children can be held, `failed` (message) when they cannot."""

    def __init__(self, hold: HoldSpec, *, owner: Owner) -> None:
        self._hold = hold
        self._owner = owner
        self.pool = Pool(hold)
        self._zygote = ZygoteLink(hold) if hold.kind == "python" else None
        self._zygote_due = 0.0
        self._zygote_pause = _ZYGOTE_PAUSE_SECONDS[0]
        if self._zygote is None:
            owner.say({"op": "ready"})

    @property
    def zygote_pid(self) -> int:
        return self._zygote.pid if self._zygote else 0

    def take(self, spec: StartSpec) -> tuple[Kept, Held] | None:
        return self.pool.take(spec)

    def grow(self) -> None:
        """One step towards what is wanted."""
        if self._zygote and not self._zygote.is_started:
            self._start_zygote()
        elif self._can_launch and self.pool.seconds_until_growth() == 0:
            self._launch()

    def patience_seconds(self) -> float | None:
        """Until there is a next step to take; None if only an event can bring it."""
        if self._zygote and not self._zygote.is_started:
            return max(0.0, self._zygote_due - time.monotonic())
        return self.pool.seconds_until_growth() if self._can_launch else None

    def close(self) -> None:
        if self._zygote:
            self._zygote.close()

    @property
    def _can_launch(self) -> bool:
        return self._zygote is None or self._zygote.is_ready

    def _launch(self) -> None:
        try:
            pid, control = (0, self._zygote.launch()) if self._zygote else launch(hold=self._hold)
        except OSError:
            self.pool.pause()
            return
        kept = Kept(control, pid=pid, can_hold=True)
        self.pool.join(kept)
        self._owner.adopt(kept)

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
            self._owner.say({"op": "failed", "message": f"cannot start a Python to fork from: {error.strerror}"})
            return
        self._owner.listen(channel, call=self._hear_zygote)

    def _hear_zygote(self) -> None:
        assert self._zygote is not None
        channel = self._zygote.channel
        if self._zygote.receive():
            if self._zygote.is_ready:
                self._zygote_pause = _ZYGOTE_PAUSE_SECONDS[0]
                self._owner.say({"op": "ready"})
            elif self._zygote.failure:
                self._owner.say({"op": "failed", "message": self._zygote.failure})
            return
        self._owner.unlisten(channel)
        self._zygote.close()
