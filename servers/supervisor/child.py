"""The main process of an attempt, between fork and exec: everything inherited is put back to what a fresh program expects."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from typing import NoReturn

from servers.supervisor import linux
from servers.supervisor.spec import StartSpec

UMASK = 0o022

Stdio = tuple[int, int, int]
"""What becomes standard input, output and error."""

# Ignored signals stay ignored across exec. These are what Python, the supervisor and the keeper change; the supervisor starts clean.
CHANGED_SIGNALS = (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD)


def exec_main(spec: StartSpec, *, keeper_pid: int, stdio: Stdio, report_fd: int) -> NoReturn:
    """Never returns. What fails is written to `report_fd` as text; exec itself closes it."""
    step = "start"
    try:
        linux.die_with_parent(signal.SIGKILL)
        if os.getppid() != keeper_pid:
            os._exit(1)  # The keeper died before the line above took effect.
        os.setsid()
        for number, fd in enumerate(stdio):
            os.dup2(fd, number)
        _reset_signals()
        os.umask(UMASK)
        step = "chdir"
        os.chdir(spec.cwd)
        step = "exec"
        os.execve(spec.executable, *encoded(spec.argv, env=spec.env))  # noqa: S606  a shell is what the Run asks for, or not
    except BaseException as error:
        with contextlib.suppress(OSError):
            os.write(report_fd, explain_failure(error, step=step, spec=spec).encode(errors="replace")[:1024])
    finally:
        sys.stderr = None
        os._exit(127)


def encoded(argv: Sequence[str], *, env: Mapping[str, str]) -> tuple[list[bytes], dict[bytes, bytes]]:
    """UTF-8, whatever this interpreter takes the locale for."""
    return [argument.encode() for argument in argv], {name.encode(): value.encode() for name, value in env.items()}


def explain_failure(error: BaseException, *, step: str, spec: StartSpec) -> str:
    """Names the thing that was wrong; never arguments or environment values."""
    if not isinstance(error, OSError):
        return f"cannot start the process: {type(error).__name__}"
    text = os.strerror(error.errno or 0)
    if step == "chdir":
        return f"working directory {spec.cwd}: {text}"
    if step == "exec" and error.errno == errno.E2BIG:
        return "args and env are larger than what a process can be given (E2BIG): pass large input in a file"
    if step == "exec" and error.errno == errno.ENOENT:
        return f"{spec.executable}: command not found"
    if step == "exec":
        return f"{spec.executable}: {text}"
    return f"cannot start the process: {text}"


def _reset_signals() -> None:
    for number in CHANGED_SIGNALS:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
