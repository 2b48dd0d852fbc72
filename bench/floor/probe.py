"""Starts the floor probe's two processes on an API server, and ends them."""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from collections.abc import AsyncIterator, Iterable
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path

from bench.floor import schema
from bench.floor.answers import ROLES
from k8s.client import ApiClient
from tests.cluster.processes import Child

_REPO = Path(__file__).parents[2]


class FloorFailed(RuntimeError):
    """One of its processes did not start, or ended. Carries the end of its log."""


@asynccontextmanager
async def floor_running(
    client: ApiClient, *, kubeconfig: Path, namespace: str, is_server_kept: bool = True
) -> AsyncIterator[dict[str, int]]:
    """The pids by role, `floor-scheduler` and `floor-runtimed`; both watches stand. Everything of it is gone afterwards.

    But for its kind and Runs where the server itself is thrown away: deleting thousands of them takes a minute.
    """
    await schema.install(client, namespace=namespace)
    try:
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="kruntimes-floor-")))
            children = {f"floor-{role}": _start(role, kubeconfig=kubeconfig, namespace=namespace, folder=folder) for role in ROLES}
            for child in children.values():
                stack.callback(child.stop)
            for child in children.values():
                _await_ready(child)
            async with _guarded(children.values()):
                yield {name: child.pid for name, child in children.items()}
    finally:
        if is_server_kept:
            await schema.remove(client)


@asynccontextmanager
async def _guarded(children: Iterable[Child]) -> AsyncIterator[None]:
    """The end of one ends the block at once, with ServerFailed: else each of its Runs would be waited for until it is given up."""
    task = asyncio.current_task()
    assert task is not None
    guards = [asyncio.create_task(child.fail_when_ended(), name=f"guard of {child.name}") for child in children]
    for guard in guards:
        guard.add_done_callback(lambda guard: guard.cancelled() or task.cancel())
    try:
        yield
    except asyncio.CancelledError:
        for guard in guards:
            if guard.done():
                task.uncancel()
                guard.result()
        raise
    finally:
        for guard in guards:
            guard.cancel()


def _start(role: str, *, kubeconfig: Path, namespace: str, folder: Path) -> Child:
    command = [sys.executable, "-m", "bench.floor", role, f"--kubeconfig={kubeconfig}", f"--namespace={namespace}"]
    env = os.environ | {"PYTHONPATH": os.pathsep.join([str(_REPO), str(_REPO / "proto")])}
    return Child(command, log=folder / f"{role}.log", env=env, capture_stdout=True)


def _await_ready(child: Child) -> None:
    if child.first_line().strip() != "ready":
        child.stop()
        raise FloorFailed(f"the floor probe did not start:\n{child.log_tail()}")
