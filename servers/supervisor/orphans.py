"""What keepers that were killed leave to the supervisor: it is a subreaper, so their trees become its children, and are killed.

Only after that is an attempt reported as lost: whoever hears it may start the next one at once.
"""

from __future__ import annotations

import os
import selectors
import signal
import time
from collections.abc import Collection, Iterator

from servers.supervisor import process_tree
from servers.supervisor.waking import ChildSignal
from servers.supervisor.wire import Message

RESCAN_SECONDS = 0.05
"""While orphans are being killed only; see tree."""

_LAST_PATIENCE_SECONDS = 1.0
"""For keepers to end their trees when the server is gone."""


def reap() -> Iterator[int]:
    """The children that have ended."""
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG | os.WUNTRACED)
        except ChildProcessError:
            return
        if pid == 0:
            return
        if os.WIFSTOPPED(status):
            # User code has our user id and can stop its keeper, which would keep it alive for ever.
            os.kill(pid, signal.SIGCONT)
        else:
            yield pid


class Orphans:
    def __init__(self) -> None:
        self._lost: list[Message] = []

    @property
    def are_awaited(self) -> bool:
        """Whether a report waits for their end."""
        return bool(self._lost)

    def report_after_them(self, lost: Message) -> None:
        """STRICTLY AFTER the keeper was reaped: only then is what was below it below us."""
        self._lost.append(lost)

    def finish(self, *, known: Collection[int]) -> list[Message]:
        """Kills the children that are not `known`. All of them must be gone before any is reported: whose is whose is unknown."""
        if not self._lost:
            return []
        adopted = [pid for pid in process_tree.children_of(os.getpid()) if pid not in known]
        if adopted:
            process_tree.kill(adopted + process_tree.descendants_of(adopted))
            return []
        lost, self._lost = self._lost, []
        return [{**message, "micros": time.time_ns() // 1000} for message in lost]


def wait_for_the_end(child_signal: ChildSignal) -> None:
    """Of all that is below this process and was told to end; whoever does not manage is killed."""
    give_up_at = time.monotonic() + _LAST_PATIENCE_SECONDS
    waiter = selectors.DefaultSelector()
    waiter.register(child_signal, selectors.EVENT_READ)
    while _has_children():
        if time.monotonic() >= give_up_at:
            process_tree.kill(process_tree.descendants_of([os.getpid()]))
        waiter.select(RESCAN_SECONDS)
        child_signal.clear()


def _has_children() -> bool:
    while True:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return False
        if pid == 0:
            return True
