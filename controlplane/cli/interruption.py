"""Ctrl-C while a command waits: the work is dropped in order, and the command may still say or do something."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, TypeVar

_Result = TypeVar("_Result")


async def until_signal(work: Coroutine[Any, Any, _Result]) -> _Result | signal.Signals:
    """The result of `work`, or the SIGINT or SIGTERM that came first (the work is then cancelled)."""
    loop = asyncio.get_running_loop()
    interrupted: asyncio.Future[signal.Signals] = loop.create_future()

    def interrupt(number: signal.Signals) -> None:
        if not interrupted.done():
            interrupted.set_result(number)

    task = asyncio.create_task(work, name="attend-run")
    either: set[asyncio.Future[Any]] = {task, interrupted}
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, interrupt, number)
    try:
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        return interrupted.result()
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)
        interrupted.cancel()
        task.cancel()
        with suppress(asyncio.CancelledError, Exception):
            await task
