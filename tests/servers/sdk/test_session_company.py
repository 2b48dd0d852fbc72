"""What a short Run tells travels in one message: its reader is woken once, and not while the process wants to start."""

from __future__ import annotations

import asyncio
import os
from typing import Any

import pytest
from krtpb.executor.v1 import stream_pb2

from servers.sdk import session as module
from servers.sdk.command import Command, Request
from servers.sdk.registry import Registry
from servers.sdk.session import SessionService
from servers.supervisor.spec import StartSpec
from tests.servers.sdk.test_session_fence import Context, Frames

ENDED: dict[str, Any] = {"status": 0, "stopped": False, "lost": False, "micros": 2}


class Recording(Context):
    def __init__(self) -> None:
        super().__init__()
        self.messages: asyncio.Queue[list[str]] = asyncio.Queue()

    async def write(self, message: stream_pb2.SessionResponse) -> None:
        await super().write(message)
        responses = message.batch.responses if message.HasField("batch") else [message]
        self.messages.put_nowait([str(response.WhichOneof("event")) for response in responses])


class Link:
    """A supervisor whose processes start at once, and end when the test says so."""

    def __init__(self) -> None:
        self.registry: Registry | None = None
        self.ticket = 0
        self.is_asked = asyncio.Event()

    def start(self, spec: StartSpec) -> None:
        assert self.registry is not None
        self.ticket = spec.ticket
        self.is_asked.set()
        (stdout, stdout_end), (stderr, stderr_end) = os.pipe(), os.pipe()
        self.registry.on_started({"id": spec.ticket, "pid": 1, "micros": 1, "warm": True}, output=(stdout, stderr))
        os.close(stdout_end)
        os.close(stderr_end)

    def resize(self, slots: int) -> None: ...
    def end(self) -> None:
        assert self.registry is not None
        self.registry.on_ended({**ENDED, "id": self.ticket})


def true(request: Request, *, working_dir: str) -> Command:
    return Command("/bin/true", ["true"])


@pytest.fixture
def link() -> Link:
    return Link()


async def started(link: Link, tmp_path: object) -> tuple[Recording, asyncio.Task[None]]:
    """A session with one attempt that has started and not ended."""
    service = SessionService(boot_id="boot")
    link.registry = registry = Registry(choose_command=true, work_dir=str(tmp_path), observer=service)
    registry.supervisor = link  # type: ignore[assignment]
    service.serve(registry)
    frames, context = Frames(), Recording()
    call = asyncio.create_task(service.Session(frames, context))
    frames.send(stream_pb2.SessionRequest(hello=stream_pb2.Hello(session="s", takes_batches=True)))
    assert await context.messages.get() == ["welcome"]
    frames.send(stream_pb2.SessionRequest(execute=stream_pb2.Execute(key=stream_pb2.AttemptKey(run_uid="u"))))
    await link.is_asked.wait()
    for _ in range(10):
        # What is to be sent at once is sent by then.
        await asyncio.sleep(0)
    return context, call


async def leave(call: asyncio.Task[None]) -> None:
    call.cancel()
    await asyncio.wait([call])


async def test_all_that_a_short_run_tells_is_one_message(link: Link, tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "COMPANY_SECONDS", 60.0)
    context, call = await started(link, tmp_path)
    link.end()
    assert await context.messages.get() == ["accepted", "started", "exited"]
    await leave(call)


async def test_that_a_longer_one_has_started_is_told_before_its_end(link: Link, tmp_path: object) -> None:
    context, call = await started(link, tmp_path)
    assert await context.messages.get() == ["accepted", "started"]
    link.end()
    assert await context.messages.get() == ["exited"]
    await leave(call)
