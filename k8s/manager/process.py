"""From `main` to exit code: event loop, logs, signals, and an orderly end. What a process does is not its business."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import uvloop

from k8s.api.errors import KrtError, UsageError
from k8s.manager.logs import configure_logging
from k8s.manager.tasks import TaskCrashed, Tasks

logger = logging.getLogger(__name__)

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


@dataclass(slots=True)
class Lifecycle:
    """What `main` gets: wait for `stopping`, start background work in `tasks`.

    The order of the end: `stopping` is set; `main` finishes its work and returns; `tasks` are cancelled, the last started first.
    """

    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    tasks: Tasks = field(default_factory=Tasks)


def run_process(name: str, main: Callable[[Lifecycle], Awaitable[None]], *, log_level: str = "info") -> int:
    """Runs `main` on uvloop until it returns, and returns the exit code: 0, 1 after a failure, 2 for a wrong setting.

    SIGTERM and SIGINT set `lifecycle.stopping`; the second one exits at once, with 128 + its number.
    """
    configure_logging(log_level)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_live(name, main))
    except TaskCrashed:
        return 1  # logged where it happened
    except UsageError as error:
        logger.error("process cannot start", extra={"program": name, "reason": error.reason, "error": str(error)})
        return 2
    except KrtError as error:
        logger.error("process failed", extra={"program": name, "reason": error.reason, "error": str(error)})
        return 1
    except Exception:  # the task boundary of the whole process
        logger.exception("process crashed", extra={"program": name})
        return 1
    return 0


async def _live(name: str, main: Callable[[Lifecycle], Awaitable[None]]) -> None:
    lifecycle = Lifecycle()
    loop = asyncio.get_running_loop()
    for number in STOP_SIGNALS:
        loop.add_signal_handler(number, _stop, number, lifecycle, name)
    logger.info("process starts", extra={"program": name, "pid": os.getpid()})
    async with lifecycle.tasks:
        await main(lifecycle)
    logger.info("process ends", extra={"program": name, "pid": os.getpid()})


def _stop(number: signal.Signals, lifecycle: Lifecycle, name: str) -> None:
    if lifecycle.stopping.is_set():
        logger.warning("process exits at once", extra={"program": name, "signal": number.name})
        sys.stdout.flush()
        sys.stderr.flush()
        # Not sys.exit: whoever asks twice does not want to wait for any cleaning up.
        os._exit(128 + number)
    logger.info("process is asked to stop", extra={"program": name, "signal": number.name})
    lifecycle.stopping.set()
