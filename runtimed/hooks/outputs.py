"""The outputs file of an attempt that has ended: `key=value` lines that become status.outputs (interface.md 6.6)."""

from __future__ import annotations

import os
import stat
from typing import Final

from k8s.api.errors import KrtError
from k8s.api.phases import Reason

MAX_KEYS: Final = 64
MAX_KEY_BYTES: Final = 128
MAX_VALUE_BYTES: Final = 8192
MAX_TOTAL_BYTES: Final = 65536
MAX_FILE_BYTES: Final = 1 << 20
"""Comments and blanks count for nothing in the other limits; this bounds what we read at all, also of a sparse terabyte."""


class OutputsError(KrtError):
    """`condition_reason` is OutputsInvalid or OutputsTooLarge; both end the Run as Failed without a retry."""

    def __init__(self, message: str, *, condition_reason: str) -> None:
        super().__init__(message)
        self.condition_reason = condition_reason


def read_outputs(path: str) -> dict[str, str]:
    """Of a missing file: none. Never follows a link, never waits on a FIFO. Raises OutputsError."""
    try:
        data = _read_regular_file(path)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise _invalid(f"outputs file: {error.strerror or type(error).__name__}; it must be a regular file") from error
    return parse_outputs(data)


def _read_regular_file(path: str) -> bytes:
    folder, name = os.path.split(path)
    # By the folder's descriptor: user code may have put a link in the folder's place as well.
    folder_fd = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        # O_NONBLOCK: opening a FIFO for reading would wait for a writer for ever.
        fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder_fd)
    finally:
        os.close(folder_fd)
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            raise _invalid("outputs file: not a regular file")
        if status.st_size > MAX_FILE_BYTES:
            raise _too_large(f"outputs file: {status.st_size} bytes, over the limit of {MAX_FILE_BYTES}")
        # As large as it is: a buffer of the limit's size is mapped and unmapped for nothing.
        return os.read(fd, status.st_size)
    finally:
        os.close(fd)


def parse_outputs(data: bytes) -> dict[str, str]:
    """Raises OutputsError naming the line."""
    outputs: dict[str, str] = {}
    for number, raw in enumerate(data.split(b"\n"), start=1):
        pair = _parse_line(raw, number=number)
        if pair is not None:
            outputs[pair[0]] = pair[1]
    _check_totals(outputs)
    return outputs


def _parse_line(raw: bytes, *, number: int) -> tuple[str, str] | None:
    try:
        line = raw.removesuffix(b"\r").decode("utf-8").strip()
    except UnicodeDecodeError as error:
        raise _invalid(f"outputs file, line {number}: not valid UTF-8") from error
    if not line or line.startswith("#"):
        return None
    key, separator, value = (part.strip() for part in line.partition("="))
    if not separator:
        raise _invalid(f"outputs file, line {number}: no '='; write key=value")
    if not key:
        raise _invalid(f"outputs file, line {number}: empty key; write key=value")
    if len(key.encode()) > MAX_KEY_BYTES:
        raise _too_large(f"outputs file, line {number}: key of {len(key.encode())} bytes, over the limit of {MAX_KEY_BYTES}")
    if len(value.encode()) > MAX_VALUE_BYTES:
        raise _too_large(f"outputs file, line {number}: value of {len(value.encode())} bytes, over the limit of {MAX_VALUE_BYTES}")
    return key, value


def _check_totals(outputs: dict[str, str]) -> None:
    if len(outputs) > MAX_KEYS:
        raise _too_large(f"outputs file: {len(outputs)} keys, over the limit of {MAX_KEYS}")
    total = sum(len(key.encode()) + len(value.encode()) for key, value in outputs.items())
    if total > MAX_TOTAL_BYTES:
        raise _too_large(f"outputs file: {total} bytes of keys and values, over the limit of {MAX_TOTAL_BYTES}")


def _invalid(message: str) -> OutputsError:
    return OutputsError(message, condition_reason=Reason.OUTPUTS_INVALID)


def _too_large(message: str) -> OutputsError:
    return OutputsError(message, condition_reason=Reason.OUTPUTS_TOO_LARGE)
