"""The command of a held `bash -c`: put over a placeholder among its arguments, where the shell looks only when it begins with it.

The keeper, whose child the shell is, may open its memory where the kernel lets a parent trace its child; where it does not,
commands are not held. The place is the one that the kernel names, and nothing is written unless the placeholder is found there.
"""

from __future__ import annotations

import os

from servers.supervisor.held import CannotHold

_BYTES = 4096
"""What a longer command needs is a fresh shell. The rest of the room shows as blanks in `ps`."""

# If ever a shell got this far without an order, it must do nothing.
PLACEHOLDER = "exit 127 #".ljust(_BYTES - 1, ".")

_BEFORE = b"bash\0-c\0"

_ARG_START_FIELD = 48 - 3
"""In /proc/PID/stat (proc(5)), counted from the field behind the name."""


def fits(command: str) -> bool:
    return len(command.encode()) < _BYTES


def over_placeholder(command: str) -> bytes:
    """What is to be written there, nothing of the placeholder left."""
    return command.encode().ljust(_BYTES, b"\0")


def open_memory(pid: int) -> tuple[int, int]:
    """A descriptor and the placeholder's offset in it. Raises CannotHold."""
    try:
        offset = _argument_start(pid) + len(_BEFORE)
        fd = os.open(f"/proc/{pid}/mem", os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        raise CannotHold(f"/proc/PID/mem: {error.strerror}") from error
    try:
        if os.pread(fd, _BYTES - 1, offset) == PLACEHOLDER.encode():
            return fd, offset
        text = "/proc/PID/mem: the arguments are not where /proc/PID/stat says"
    except OSError as error:
        text = f"/proc/PID/mem: {error.strerror}"
    os.close(fd)
    raise CannotHold(text)


def _argument_start(pid: int) -> int:
    with open(f"/proc/{pid}/stat", "rb") as file:
        return int(file.read().rpartition(b") ")[2].split()[_ARG_START_FIELD])
