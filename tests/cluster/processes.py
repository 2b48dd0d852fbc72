"""Programs that a test or benchmark starts, and that end with it whatever happens to it.

A child is started through a small shim that asks the kernel to kill it when its parent dies: a test run that is itself killed
leaves no server behind. "Parent" means the thread that started it, so only the main thread starts children. Signals go to the
pid that was started, never to a name.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

from controlplane.local.ports import Ports
from runtimed.hooks.child import until_ended

STOP_SECONDS = 10.0
"""kube-apiserver drains for a moment; whoever needs longer is killed."""

# Runs in the child: die with the parent, unless it is already gone. Then become the program.
_SHIM = """
import ctypes, os, signal, sys
ctypes.CDLL(None, use_errno=True).prctl(1, signal.SIGKILL)
if os.getppid() != int(sys.argv[1]):
    sys.exit(1)
os.execvp(sys.argv[2], sys.argv[2:])
"""


class ServerFailed(RuntimeError):
    """A server did not start or ended early. Carries the end of its log."""


class Child:
    """One started program, its output in a log file."""

    def __init__(self, command: Sequence[str], *, log: Path, env: Mapping[str, str] | None = None, capture_stdout: bool = False) -> None:
        if threading.current_thread() is not threading.main_thread():
            raise RuntimeError(f"{command[0]} would be killed when this thread ends; start it from the main thread")
        self.name = Path(command[0]).name
        self._log = log
        with log.open("ab") as stream:
            self._process = subprocess.Popen(
                [sys.executable, "-S", "-c", _SHIM, str(os.getpid()), *command],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE if capture_stdout else stream,
                stderr=stream,
                env=None if env is None else dict(env),
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def is_running(self) -> bool:
        return self._process.poll() is None

    def first_line(self) -> str:
        """What it prints first on stdout, empty when it ends without. Only for a captured stdout."""
        assert self._process.stdout is not None
        line: bytes = self._process.stdout.readline()
        return line.decode()

    def check(self) -> None:
        """Raises ServerFailed when it has ended."""
        if not self.is_running:
            raise ServerFailed(f"{self.name} ended with {self._process.returncode}:\n{self.log_tail()}")

    async def fail_when_ended(self) -> None:
        """Waits for as long as it runs. Raises ServerFailed."""
        await until_ended(self.pid)
        self.check()

    def log_tail(self) -> str:
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-20:])

    def stop(self, *, kill: bool = False) -> None:
        """Ends it and waits for its end. Safe to repeat."""
        if self.is_running:
            self._process.send_signal(signal.SIGKILL if kill else signal.SIGTERM)
            try:
                self._process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
        self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()


_ports = Ports()


def free_ports(count: int) -> list[int]:
    """Loopback ports that nobody listens on, no two alike in one process. None that an outgoing connection might take meanwhile."""
    return [_ports.take() for _ in range(count)]
