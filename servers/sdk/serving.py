"""A Runtime Server from start to end: bind, serve, and on SIGTERM stay until nothing runs.

A Pod that is being deleted signals runtimed and the server at once: runtimed lets its Runs finish, so the server must outlive them.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import signal
import sys
import uuid
from dataclasses import dataclass

import grpc
from krtpb.executor.v1 import runtime_pb2_grpc, stream_pb2_grpc

from servers.sdk.command import Commands
from servers.sdk.limits import GRPC_OPTIONS
from servers.sdk.lines import Lines
from servers.sdk.loopback import LoopbackOnly
from servers.sdk.registry import Registry
from servers.sdk.session import SessionService
from servers.sdk.unary import UnaryService
from servers.sdk.warmth import Warmth

_log = logging.getLogger(__name__)

_HANDOVER_SECONDS = 5.0
"""At most, after a signal that runtimed got too. Before it takes in no more it asks the API server why, for 3 s at most; until then it
may send an Execute, and to a server that has gone that would be one of which nobody knows whether it began."""
_LINGER_SECONDS = 2.0
"""After the last Run ended, for its result to be fetched and forgotten."""


class CannotServe(Exception):
    """The server cannot start; the text names what is in the way."""


@dataclass(frozen=True, slots=True)
class Settings:
    host: str
    port: int
    """0: any free one; which is in the ready line."""
    work_dir: str
    """Executions without a working directory of their own get <work_dir>/<id>."""
    shutdown_grace_seconds: float
    """How long at most to stay after SIGTERM for what runs."""
    warm: int
    """For how many Runs at a time children are held ready while runtimed does not say; 0: for none, whatever it says."""


async def serve(commands: Commands, *, settings: Settings) -> None:
    """Until a signal says to stop. Raises CannotServe."""
    stopping = _watch_signals()
    lines = Lines()
    await lines.open()
    sessions = SessionService(boot_id=uuid.uuid4().hex, lines=lines)
    warmth = Warmth(commands.warm_children, slots=settings.warm) if settings.warm else None
    registry = Registry(choose_command=commands, work_dir=settings.work_dir, observer=sessions, warmth=warmth)
    sessions.serve(registry)
    server = grpc.aio.server(interceptors=[LoopbackOnly()], options=GRPC_OPTIONS)
    stream_pb2_grpc.add_RuntimeStreamServicer_to_server(sessions, server)
    runtime_pb2_grpc.add_RuntimeServicer_to_server(UnaryService(registry), server)
    port = _bind(server, host=settings.host, port=settings.port)
    registry.supervisor.open()
    try:
        if warmth and not await _warm_up(warmth, stopping):
            return
        await server.start()
        _announce(port)
        await stopping.acquire()
        _log.info("stopping", extra={"running": len(registry.running)})
        await _drain(registry, sessions, stopping, grace_seconds=settings.shutdown_grace_seconds)
    finally:
        await registry.supervisor.close()
        await sessions.end()
        await server.stop(grace=0.2)
        lines.close()


async def _warm_up(warmth: Warmth, stopping: asyncio.Semaphore) -> bool:
    """Until children can be held; False when a signal came first. Raises CannotServe for modules that cannot be imported."""
    tasks = [asyncio.create_task(warmth.until_answered(), name="warm-up"), asyncio.create_task(_acquire(stopping), name="first signal")]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        await _cancel(tasks)
    if warmth.failure and warmth.has_preload:
        raise CannotServe(warmth.failure)
    return tasks[0].done() and not tasks[0].cancelled()


def _watch_signals() -> asyncio.Semaphore:
    """Counts SIGTERM and SIGINT: the first asks to finish, the second to stop at once."""
    stopping = asyncio.Semaphore(0)
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.release)
    return stopping


def _bind(server: grpc.aio.Server, *, host: str, port: int) -> int:
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    try:
        bound = server.add_insecure_port(address)
    except RuntimeError as error:
        raise CannotServe(f"--port {port}: cannot listen on {address}; is another server using the port?") from error
    if not bound:
        raise CannotServe(f"--port {port}: cannot listen on {address}; is another server using the port?")
    return int(bound)


def _announce(port: int) -> None:
    """One line on standard output for whoever started us with --port 0; the log line is for people."""
    sys.stdout.write(json.dumps({"ready": True, "port": port}) + "\n")
    sys.stdout.flush()
    _log.info("serving", extra={"port": port})


async def _drain(registry: Registry, sessions: SessionService, stopping: asyncio.Semaphore, *, grace_seconds: float) -> None:
    """Until runtimed has gone and nothing is held, or nothing runs any more and nobody comes for it for a while, or the grace or a second
    signal ends it."""
    second_signal = asyncio.create_task(_acquire(stopping), name="second signal")
    finished = asyncio.create_task(_finish(registry, sessions), name="drain")
    await asyncio.wait([second_signal, finished], timeout=grace_seconds, return_when=asyncio.FIRST_COMPLETED)
    await _cancel([second_signal, finished])


async def _cancel(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)


async def _acquire(semaphore: asyncio.Semaphore) -> None:
    await semaphore.acquire()


async def _finish(registry: Registry, sessions: SessionService) -> None:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(sessions.until_left(), _HANDOVER_SECONDS)
    while running := registry.running:
        await running[0].ended.wait()
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(registry.wait_until_empty(), _LINGER_SECONDS)
