"""Telling Linux to begin to write a file back, without waiting for it. Python has no name for the call."""

from __future__ import annotations

import ctypes
from typing import Any, Final

_WRITE: Final = 2
"""SYNC_FILE_RANGE_WRITE. posix_fadvise(DONTNEED) begins to write as well, but then waits for every processor to give back its pages."""


def _find() -> Any:
    function = getattr(ctypes.CDLL(None), "sync_file_range", None)
    if function is not None:
        function.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)
    return function


_sync_file_range = _find()


def begin_writeback(fd: int, begin: int, end: int) -> None:
    """A hint: where it cannot be taken all is written by the fsync at the end, which alone tells of errors."""
    if _sync_file_range is not None:
        _sync_file_range(fd, begin, end - begin, _WRITE)
