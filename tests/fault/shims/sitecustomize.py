"""Loaded by the interpreter of a component that has this folder first on PYTHONPATH: a disk that syncs slowly,
a loop that stands still.

Each fsync takes `KRT_SHIM_FSYNC` seconds, and is counted by a byte in the file `KRT_SHIM_FSYNC_LOG`.
At SIGUSR2 the main thread, and the event loop in it, sleeps for `KRT_SHIM_BLOCK` seconds; other threads go on.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any


def slow_down_fsync(seconds: float, *, log: Path) -> None:
    real_fsync = os.fsync

    def slow(fd: Any) -> None:
        with log.open("a") as file:
            file.write(".")
        time.sleep(seconds)
        real_fsync(fd)

    os.fsync = slow


def stand_still(*_: Any) -> None:
    """In a turn of the loop, not in the handler: that may interrupt a line of the log, whose lock those who tell of it need."""
    import asyncio

    asyncio.get_running_loop().call_soon_threadsafe(_sleep)


def _sleep() -> None:
    time.sleep(float(os.environ["KRT_SHIM_BLOCK"]))


if "KRT_SHIM_FSYNC" in os.environ:
    slow_down_fsync(float(os.environ["KRT_SHIM_FSYNC"]), log=Path(os.environ["KRT_SHIM_FSYNC_LOG"]))
if "KRT_SHIM_BLOCK" in os.environ:
    signal.signal(signal.SIGUSR2, stand_still)
