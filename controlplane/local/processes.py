"""Processes of local mode: each in a session of its own, watched by pidfd, ended as a whole, and never mistaken for another.

A pid alone is no identity, because the kernel reuses it: with its start time and the machine's boot id it is. A number stays
taken while any process has it as pid, process group or session, so what is in the session of a leader that is not yet reaped
is ours for certain.

Not for workloads of Runs: those belong to the supervisors of the Runtime Servers.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None, use_errno=True)
_DEAD_STATES = frozenset({"Z", "X", "x"})
Output = int | IO[bytes]


@dataclass(frozen=True, slots=True)
class Identity:
    """One process, for ever: `started` is in clock ticks since the boot that `boot_id` names."""

    pid: int
    started: int
    boot_id: str


@dataclass(frozen=True, slots=True)
class ProcessStat:
    """The fields of /proc/<pid>/stat that we decide on."""

    pid: int
    state: str
    session: int
    started: int


def boot_id() -> str:
    """The machine's current boot."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def read_stat(pid: int) -> ProcessStat | None:
    """What the kernel says of `pid`, or None when there is no such process."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = text[text.rindex(")") + 2 :].split()  # the name before it may hold spaces and parentheses
    return ProcessStat(pid=pid, state=fields[0], session=int(fields[3]), started=int(fields[19]))


def identify(pid: int) -> Identity | None:
    """The identity of a live process; None when it is gone or a zombie."""
    stat = read_stat(pid)
    return Identity(pid, stat.started, boot_id()) if stat and stat.state not in _DEAD_STATES else None


def is_alive(identity: Identity) -> bool:
    """Whether this very process still runs."""
    return identify(identity.pid) == identity


def send_signal(identity: Identity, number: int) -> bool:
    """Signal this very process. False when it is gone already."""
    try:
        fd = os.pidfd_open(identity.pid)
    except ProcessLookupError:
        return False
    try:
        if not is_alive(identity):  # checked STRICTLY AFTER the pidfd pins the process, so a reused pid is never hit
            return False
        signal.pidfd_send_signal(fd, number)
    except ProcessLookupError:
        return False
    finally:
        os.close(fd)
    return True


def live_processes() -> Iterator[ProcessStat]:
    """Every process of the machine that runs."""
    for entry in os.listdir("/proc"):
        if entry.isdigit() and (stat := read_stat(int(entry))) and stat.state not in _DEAD_STATES:
            yield stat


def has_environment(pid: int, *, entry: str) -> bool:
    """Whether the process was started with `entry` (`NAME=value`). False for processes of other users."""
    try:
        return os.fsencode(entry) in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return False


def kill_session(session: int, *, is_ours: Callable[[int], bool] = lambda _: True) -> int:
    """SIGKILL everything in a session, however many process groups it has; gives how many were hit.

    Scans again until nothing new appears: a process can fork between the scan and its death. `is_ours` is asked where the
    session's leader is gone, so that the number may belong to somebody else by now.
    """
    killed: set[Identity] = set()
    while True:
        current = boot_id()
        members = {Identity(stat.pid, stat.started, current) for stat in live_processes() if stat.session == session and is_ours(stat.pid)}
        if not members - killed:
            return len(killed)
        for member in members - killed:
            send_signal(member, signal.SIGKILL)
        killed |= members


class Child:
    """A process that we started, leading its own session. `wait` may be awaited by many."""

    def __init__(self, popen: subprocess.Popen[bytes], *, loop: asyncio.AbstractEventLoop) -> None:
        self._popen = popen
        self._loop = loop
        self._pidfd = os.pidfd_open(popen.pid)
        self._exit: asyncio.Future[int] = loop.create_future()
        identity = identify(popen.pid)
        stat = read_stat(popen.pid)
        self.identity = identity or Identity(popen.pid, stat.started if stat else 0, boot_id())
        loop.add_reader(self._pidfd, self._on_exit)

    @property
    def pid(self) -> int:
        return self._popen.pid

    @property
    def is_running(self) -> bool:
        return not self._exit.done()

    async def wait(self) -> int:
        """Its return code; negative is the signal that ended it. Nothing of its session lives any more then."""
        return await asyncio.shield(self._exit)

    async def stop(self, *, grace_seconds: float) -> int:
        """SIGTERM to the process, as container runtimes do; after the grace period SIGKILL to its whole session."""
        self.signal(signal.SIGTERM)
        try:
            return await asyncio.wait_for(self.wait(), max(0.0, grace_seconds))
        except TimeoutError:
            self.kill()
            return await self.wait()

    def signal(self, number: int) -> None:
        """Signal the main process, if it still runs."""
        if self.is_running:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, number)

    def kill(self) -> None:
        """SIGKILL everything in its session."""
        if self.is_running:
            kill_session(self.pid)

    def _on_exit(self) -> None:
        self._loop.remove_reader(self._pidfd)
        # STRICTLY BEFORE the leader is reaped: until then its number cannot name another session.
        kill_session(self.pid)
        code = self._popen.wait()
        os.close(self._pidfd)
        self._exit.set_result(code)


def start_child(command: Sequence[str], *, environment: Mapping[str, str], directory: Path | str, stdout: Output, stderr: Output) -> Child:
    """Start a program in a session of its own that the kernel kills when this process dies.

    Call it from the main thread: the kernel ties the parent-death signal to the thread that forked. Raises OSError when the
    program cannot be executed. `environment` is all it gets.
    """
    parent = os.getpid()

    def die_with_parent() -> None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:  # the parent died before the line above: the signal would never come
            os._exit(1)

    popen = subprocess.Popen(
        command,
        env=dict(environment),
        cwd=directory,
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=stderr,
        start_new_session=True,
        preexec_fn=die_with_parent,
    )
    return Child(popen, loop=asyncio.get_running_loop())
