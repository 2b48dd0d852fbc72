"""One helper program, run beside the event loop: started, read, awaited, and killed with its group when it takes too long.

Neither asyncio's nor uvloop's subprocesses: uvloop forks with the at-fork hooks of this process, gRPC's among them, and asyncio's
watcher takes a thread a child. `subprocess` alone starts by vfork, and a pidfd tells the loop of the end. Never for user code.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_LAUNCHER: Final = str(Path(__file__).with_name("launcher.py"))
_READ_BYTES: Final = 64 << 10
TRUNCATED: Final = "\n[git output truncated]\n"


@dataclass(frozen=True, slots=True)
class Ended:
    """`exit_code` is negative for a signal. `output` is both streams, cut at the limit."""

    exit_code: int
    output: str


async def run_child(
    command: list[str], *, environment: Mapping[str, str], directory: str, seconds: float, max_output_bytes: int, max_file_bytes: int
) -> Ended:
    """Raises TimeoutError. Whenever this returns or raises, nothing of its group runs any more."""
    read_fd, write_fd = os.pipe()
    os.set_blocking(read_fd, False)
    try:
        process = subprocess.Popen(  # noqa: ASYNC220 - see above; it takes about a millisecond
            [sys.executable, "-I", "-S", _LAUNCHER, str(os.getpid()), str(max_file_bytes), *command],
            stdin=subprocess.DEVNULL,
            stdout=write_fd,
            stderr=write_fd,
            cwd=directory,
            env=dict(environment),
            start_new_session=True,
            umask=0o022,
        )
    except BaseException:
        os.close(read_fd)
        raise
    finally:
        os.close(write_fd)
    output = _Output(read_fd, max_bytes=max_output_bytes)
    try:
        async with asyncio.timeout(seconds):
            await until_ended(process.pid)
    finally:
        # The group may outlive its leader; and the leader is not reaped yet, so its number cannot be another's.
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        output.close()
    return Ended(process.returncode, output.text)


async def until_ended(pid: int) -> None:
    """Of a process that is ours to reap: it is not reaped here."""
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    fd = os.pidfd_open(pid)
    loop.add_reader(fd, ended.set)
    try:
        await ended.wait()
    finally:
        loop.remove_reader(fd)
        os.close(fd)


class _Output:
    """Reads always, keeps the beginning: a program that talks must not wait for us."""

    def __init__(self, fd: int, *, max_bytes: int) -> None:
        self._fd, self._max_bytes = fd, max_bytes
        self._kept = bytearray()
        self._is_truncated = False
        asyncio.get_running_loop().add_reader(fd, self._read)

    @property
    def text(self) -> str:
        return self._kept.decode("utf-8", "replace") + (TRUNCATED if self._is_truncated else "")

    def close(self) -> None:
        while self._fd >= 0 and self._read():
            pass
        self._end()

    def _read(self) -> bool:
        try:
            data = os.read(self._fd, _READ_BYTES)
        except BlockingIOError:
            return False
        if not data:
            self._end()
            return False
        room = self._max_bytes - len(self._kept)
        self._kept += data[:room]
        self._is_truncated = self._is_truncated or len(data) > room
        return True

    def _end(self) -> None:
        if self._fd >= 0:
            asyncio.get_running_loop().remove_reader(self._fd)
            os.close(self._fd)
            self._fd = -1
