"""What every test stands on."""

from __future__ import annotations

import asyncio


def pytest_configure() -> None:
    """No event loop by default: looptime's plugin asks for one in the first synchronous test, and nobody would close it."""
    asyncio.set_event_loop(None)
