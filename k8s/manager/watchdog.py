"""Notices that the event loop stands still: from inside by a heartbeat, from outside by a thread that can say where."""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import time
import traceback
from collections.abc import Callable

logger = logging.getLogger(__name__)

BLOCKED_SECONDS = 5.0
BEAT_SECONDS = 0.5
REMEMBERED_SECONDS = 30.0
"""A loop that stood still cannot answer a probe meanwhile. It keeps failing for three probe periods afterwards, so that the
kubelet sees it: whatever blocked it was a bug, and leases or heartbeats may have been missed."""


class LoopWatchdog:
    """Knows whether the loop it was started on was blocked of late. `start` and `stop` on that loop."""

    def __init__(
        self,
        *,
        blocked_seconds: float = BLOCKED_SECONDS,
        beat_seconds: float = BEAT_SECONDS,
        remembered_seconds: float = REMEMBERED_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._blocked_seconds = blocked_seconds
        self._beat_seconds = beat_seconds
        self._remembered_seconds = remembered_seconds
        self._clock = clock
        self._beaten_at = clock()
        self._blocked_until: float | None = None
        self._longest = 0.0
        self._handle: asyncio.TimerHandle | None = None
        self._is_stopped = threading.Event()
        self._thread: threading.Thread | None = None
        self._loop_thread_id = 0

    def start(self) -> None:
        self._loop_thread_id = threading.get_ident()
        self._beaten_at = self._clock()
        self._handle = asyncio.get_running_loop().call_later(self._beat_seconds, self._beat_forever)
        self._thread = threading.Thread(target=self._look, name="loop-watchdog", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._is_stopped.set()
        if self._handle is not None:
            self._handle.cancel()
        if self._thread is not None:
            self._thread.join()

    def problem(self) -> str | None:
        """None, or why the process should be restarted."""
        self._judge(self._clock())
        if self._blocked_until is not None and self._clock() - self._blocked_until < self._remembered_seconds:
            return f"the event loop was blocked for {self._longest:.1f} s"
        return None

    def beat(self, now: float) -> None:
        """The loop is alive at `now`."""
        self._judge(now)
        self._beaten_at = now

    def _judge(self, now: float) -> None:
        lag = now - self._beaten_at - self._beat_seconds
        if lag > self._blocked_seconds:
            self._blocked_until, self._longest = now, lag
            self._beaten_at = now

    def _beat_forever(self) -> None:
        self.beat(self._clock())
        self._handle = asyncio.get_running_loop().call_later(self._beat_seconds, self._beat_forever)

    def _look(self) -> None:
        """Runs in the thread: one log line with the stack for each time that the loop stands still."""
        reported_beat = -1.0
        while not self._is_stopped.wait(self._beat_seconds):
            beaten_at = self._beaten_at
            if self._clock() - beaten_at > self._blocked_seconds and beaten_at != reported_beat:
                reported_beat = beaten_at
                frame = sys._current_frames().get(self._loop_thread_id)
                stack = "".join(traceback.format_stack(frame)) if frame else ""
                logger.error("event loop is blocked", extra={"seconds": self._blocked_seconds, "stack": stack})
