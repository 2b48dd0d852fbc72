"""The server under test, as a check sees it: calls with runtimed's deadlines, scripts put where runtimed would put them.

Every execution that a check began is ended after it, so that checks do not see each other.
"""

from __future__ import annotations

import asyncio
import itertools
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import grpc
from krtpb.executor.v1 import runtime_pb2, runtime_pb2_grpc

from controlplane.cli.conformance.judgement import Broken, NotApplicable
from controlplane.cli.conformance.stream import Stream
from runtimed.shell.unary.calls import CANCEL_SECONDS, EXECUTE_SECONDS, FORGET_SECONDS, HEALTH_SECONDS, LIST_SECONDS, STATUS_SECONDS

LIFE_SIGN_SECONDS: Final = 0.5
"""Programs that live give a sign every 20 ms; a machine may be busy."""
PAUSE_SECONDS: Final = 0.01

RUNNING = runtime_pb2.EXECUTION_STATE_RUNNING
ENDED = (runtime_pb2.EXECUTION_STATE_SUCCEEDED, runtime_pb2.EXECUTION_STATE_FAILED)
_SECONDS: Final[Mapping[str, float]] = {
    "Execute": EXECUTE_SECONDS,
    "Status": STATUS_SECONDS,
    "List": LIST_SECONDS,
    "Cancel": CANCEL_SECONDS,
    "Forget": FORGET_SECONDS,
    "Health": HEALTH_SECONDS,
}


@dataclass(frozen=True, slots=True)
class Workspace:
    """A folder of ours that the server sees as well, maybe under another path."""

    here: Path
    there: str

    def folder(self, name: str) -> tuple[Path, str]:
        path = self.here / name
        for made in (path, path / "notes"):
            made.mkdir(exist_ok=True)
            made.chmod(0o777)  # the server may be another user
        return path, f"{self.there}/{name}"


@dataclass(slots=True)
class Subject:
    channel: grpc.aio.Channel
    workspace: Workspace
    texts: Mapping[str, str]
    """Of the programs, by name."""
    parallel: int = 8
    patience_seconds: float = 15.0
    """For what a good server does within a fraction of it."""
    gives_args: bool = False
    """Scripts are given as arguments, with nothing in the working directory; Python's after `-c`."""
    args_before_text: tuple[str, ...] = ()
    _ids: list[str] = field(default_factory=list)
    _streams: list[Stream] = field(default_factory=list)

    # -- calls --------------------------------------------------------------------------------------------------------

    async def call(self, method: str, **fields: Any) -> Any:
        """The answer. Raises Broken where there is none."""
        try:
            return await self._send(method, fields)
        except grpc.aio.AioRpcError as error:
            what = f"{method} {fields.get('id', '')}".strip()
            raise Broken(what, expected="an answer", seen=f"{error.code().name}: {error.details()}") from error

    async def code_of(self, method: str, **fields: Any) -> str:
        """`OK`, or the name of gRPC's code."""
        try:
            await self._send(method, fields)
        except grpc.aio.AioRpcError as error:
            return str(error.code().name)
        return "OK"

    async def _send(self, method: str, fields: Mapping[str, Any]) -> Any:
        request = getattr(runtime_pb2, f"{method}Request")(**fields)
        rpc = getattr(runtime_pb2_grpc.RuntimeStub(self.channel), method)
        return await rpc(request, timeout=_SECONDS[method])

    async def status(self, id_: str) -> runtime_pb2.StatusResponse:
        answer: runtime_pb2.StatusResponse = await self.call("Status", id=id_)
        return answer

    async def listed(self) -> dict[str, runtime_pb2.StatusResponse]:
        return {entry.id: entry for entry in (await self.call("List")).entries}

    # -- executions ---------------------------------------------------------------------------------------------------

    def new_id(self) -> str:
        """Forgotten again when the check is over."""
        self._ids.append(f"conformance-{uuid.uuid4()}")
        return self._ids[-1]

    def request(self, program: str, *, id_: str = "", env: Mapping[str, str] | None = None, **fields: Any) -> dict[str, Any]:
        """What runtimed would ask for; the script is written where it is looked for. Raises NotApplicable."""
        id_ = id_ or self.new_id()
        here, there = self.workspace.folder(id_)
        text = self.text_of(program)
        if self.gives_args:
            fields["args"] = [*self.args_before_text, text, *fields.get("args", [])]
        else:
            entrypoint = here / fields.setdefault("entrypoint", "script")
            entrypoint.parent.mkdir(exist_ok=True)
            entrypoint.write_text(text)
        return {"id": id_, "working_dir": there, "env": {"NOTES": f"{there}/notes", **(env or {})}, **fields}

    def text_of(self, program: str) -> str:
        if program not in self.texts:
            raise NotApplicable(f"no script for the program {program!r} was given")
        return self.texts[program]

    async def execute(self, program: str, **fields: Any) -> str:
        """The id of what runs now."""
        request = self.request(program, **fields)
        await self.call("Execute", **request)
        return str(request["id"])

    async def run(self, program: str, **fields: Any) -> runtime_pb2.StatusResponse:
        """How it ended."""
        return await self.end_of(await self.execute(program, **fields))

    async def end_of(self, id_: str) -> runtime_pb2.StatusResponse:
        return await self._until(id_, lambda status: status.state in ENDED, expected="SUCCEEDED or FAILED")

    async def started(self, program: str, **fields: Any) -> str:
        """The id of a waiting program that says that it has started."""
        id_ = await self.execute(program, **fields)
        await self.until_printed(id_, "started")
        return id_

    async def until_printed(self, id_: str, text: str) -> runtime_pb2.StatusResponse:
        """While it runs: an end ends the waiting."""
        expected = f"{text!r} in stdout while it runs"
        status = await self._until(id_, lambda status: text in status.stdout or status.state in ENDED, expected=expected)
        if text not in status.stdout:
            raise Broken("Status", expected=expected, seen=_summary(status))
        return status

    async def _until(self, id_: str, is_true: Callable[[runtime_pb2.StatusResponse], bool], *, expected: str) -> runtime_pb2.StatusResponse:
        give_up_at = time.monotonic() + self.patience_seconds
        while not is_true(status := await self.status(id_)):
            if time.monotonic() > give_up_at:
                raise Broken("Status", expected=f"{expected}, within {self.patience_seconds:g} s", seen=_summary(status))
            await asyncio.sleep(PAUSE_SECONDS)
        return status

    def open_gate(self, id_: str) -> None:
        """What waits goes on to its end."""
        (self.workspace.here / id_ / "notes" / "gate").touch()

    def starts_of(self, id_: str) -> int:
        """How many processes have given a sign of life."""
        return len(self._signs(id_))

    async def alive_of(self, id_: str, *, expected: int = 0) -> int:
        """How many of them go on doing so. Waits longer for those that are expected: the machine may be busy."""
        before = self._signs(id_)
        alive, give_up_at = 0, time.monotonic() + self.patience_seconds
        while True:
            await asyncio.sleep(LIFE_SIGN_SECONDS)
            alive = sum(size > before.get(name, 0) for name, size in self._signs(id_).items())
            if alive >= expected or time.monotonic() > give_up_at:
                return alive

    def _signs(self, id_: str) -> dict[str, int]:
        return {path.name: path.stat().st_size for path in (self.workspace.here / id_ / "notes").glob("alive.*")}

    # -- the stream ---------------------------------------------------------------------------------------------------

    async def open_stream(self) -> Stream:
        """A session of its own. Raises NotApplicable."""
        stream = self.bare_stream()
        await stream.open()
        return stream

    def bare_stream(self) -> Stream:
        """One that has said nothing yet."""
        self._streams.append(Stream(self.channel, patience_seconds=self.patience_seconds))
        return self._streams[-1]

    @asynccontextmanager
    async def for_one_check(self) -> AsyncIterator[Subject]:
        """Ends what the check began, whatever became of it."""
        try:
            yield self
        finally:
            for stream in self._streams:
                await stream.close()
            await self._clean_up(self._ids)
            self._ids.clear()
            self._streams.clear()

    async def _clean_up(self, ids: Iterable[str]) -> None:
        for id_ in ids:
            if (self.workspace.here / id_).exists():
                self.open_gate(id_)
        calls = itertools.chain.from_iterable([("Cancel", id_), ("Forget", id_)] for id_ in ids)
        for method, id_ in calls:
            with suppress(grpc.aio.AioRpcError):
                await self._send(method, {"id": id_})


def _summary(status: runtime_pb2.StatusResponse) -> str:
    state = runtime_pb2.ExecutionState.Name(status.state).removeprefix("EXECUTION_STATE_")
    return f"{state}, stdout {status.stdout[:80]!r}, error_message {status.error_message[:80]!r}"
