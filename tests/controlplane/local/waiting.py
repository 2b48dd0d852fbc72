"""Waiting for the end of processes that are not children of the test."""

from __future__ import annotations

import asyncio
import os
import select


def is_gone_within(pid: int, *, seconds: float) -> bool:
    """Whether it ends in time. It is not reaped."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([fd], [], [], seconds)[0])
    finally:
        os.close(fd)


async def gone(pid: int, *, seconds: float = 20.0) -> None:
    """Returns when it has ended; fails the test when it has not in time."""
    assert await asyncio.to_thread(is_gone_within, pid, seconds=seconds), f"process {pid} still lives"
