"""What every test stands on."""

from __future__ import annotations

import asyncio
import signal


def pytest_configure() -> None:
    """The same start for every run, whoever starts it.

    No event loop by default: looptime's plugin asks for one in the first synchronous test, and nobody would close it. Ctrl-C is
    heard: a shell starts its background jobs with SIGINT ignored, our programs would inherit that, and tests interrupt them.
    """
    asyncio.set_event_loop(None)
    signal.signal(signal.SIGINT, signal.default_int_handler)
