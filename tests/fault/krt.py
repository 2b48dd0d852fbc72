"""krt as a process that a row can read from, stop reading from, and cut off."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

REPO = Path(__file__).parents[2]
ENVIRONMENT = os.environ | {"PYTHONPATH": os.pathsep.join([str(REPO), str(REPO / "proto")])}


@asynccontextmanager
async def krt(*arguments: str, kubeconfig: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """Its stdout is a pipe; it is killed at the end, if it still runs."""
    command = [sys.executable, "-m", "controlplane.cli", f"--kubeconfig={kubeconfig}", *arguments]
    process = await asyncio.create_subprocess_exec(*command, env=ENVIRONMENT, stdout=asyncio.subprocess.PIPE)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def lines_of(process: asyncio.subprocess.Process, *, seconds: float = 60.0) -> list[str]:
    """All that is still to come, until it ends by itself."""
    assert process.stdout is not None
    async with asyncio.timeout(seconds):
        text = await process.stdout.read()
        await process.wait()
    return text.decode(errors="replace").splitlines()
