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


if "KRT_SHIM_FSYNC" in os.environ:
    slow_down_fsync(float(os.environ["KRT_SHIM_FSYNC"]), log=Path(os.environ["KRT_SHIM_FSYNC_LOG"]))
if "KRT_SHIM_BLOCK" in os.environ:
    signal.signal(signal.SIGUSR2, lambda *_: time.sleep(float(os.environ["KRT_SHIM_BLOCK"])))
