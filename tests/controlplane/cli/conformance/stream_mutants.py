"""Our Bash server in this process, its stream changed on the way in or out, and which check has to find it."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
from krtpb.executor.v1 import runtime_pb2_grpc, stream_pb2, stream_pb2_grpc

from servers.bash.commands import BashCommands
from servers.sdk.registry import Registry
from servers.sdk.session import SessionService
from servers.sdk.unary import UnaryService
from tests.controlplane.cli.conformance.mutants import SERVERS

Request = stream_pb2.SessionRequest
Response = stream_pb2.SessionResponse
RequestChange = Callable[[Request], Iterable[Request]]
ResponseChange = Callable[[Response], Iterable[Response]]


@dataclass(frozen=True, slots=True)
class StreamMutant:
    check: str
    what: str
    on_request: Callable[[], RequestChange] = lambda: lambda request: [request]
    on_response: Callable[[], ResponseChange] = lambda: lambda response: [response]
    """Made anew for each session, for some remember."""
    has_no_fence: bool = False
    has_no_unary: bool = False


UNCHANGED = StreamMutant("unchanged", "nothing")


def _with_new_boot_id(response: Response) -> list[Response]:
    if response.WhichOneof("event") == "welcome":
        response.welcome.boot_id = f"boot-{next(_boots)}"
    return [response]


_boots = itertools.count()


def _without_held(response: Response) -> list[Response]:
    response.welcome.ClearField("held") if response.WhichOneof("event") == "welcome" else None
    return [response]


def _from_the_start(request: Request) -> list[Request]:
    if request.WhichOneof("event") == "attach":
        request.attach.stdout_offset = 0
    return [request]


def _without(kind: str) -> Callable[[Any], list[Any]]:
    return lambda message: [] if message.WhichOneof("event") == kind else [message]


def _exits_first() -> Callable[[Response], list[Response]]:
    """Output is held back until the end has been told."""
    late: list[Response] = []

    def change(response: Response) -> list[Response]:
        kind = response.WhichOneof("event")
        if kind == "output":
            late.append(response)
            return []
        return [response, *late] if kind == "exited" else [response]

    return change


def _without_signal(response: Response) -> list[Response]:
    response.exited.signal = 0 if response.WhichOneof("event") == "exited" else response.exited.signal
    return [response]


def _as_text(response: Response) -> list[Response]:
    if response.WhichOneof("event") == "output":
        response.output.data = response.output.data.decode("utf-8", "replace").encode()
    return [response]


def _never_duplicate(response: Response) -> list[Response]:
    if response.WhichOneof("event") == "accepted":
        response.accepted.duplicate = False
    return [response]


def _one_attempt(request: Request) -> list[Request]:
    if request.WhichOneof("event") == "execute":
        request.execute.key.attempt = 0
    return [request]


def _hello_when_it_likes() -> Callable[[Request], list[Request]]:
    """What comes before it is ignored."""
    has_greeted = False

    def change(request: Request) -> list[Request]:
        nonlocal has_greeted
        has_greeted = has_greeted or request.WhichOneof("event") == "hello"
        return [request] if has_greeted else []

    return change


STREAM_MUTANTS = [
    StreamMutant("stream-welcome", "a boot id each session", on_response=lambda: _with_new_boot_id),
    StreamMutant("stream-fence", "older sessions still have a say", has_no_fence=True),
    StreamMutant("stream-held", "what is held is not named", on_response=lambda: _without_held),
    StreamMutant("stream-attach", "the offset is ignored", on_request=lambda: _from_the_start),
    StreamMutant("stream-hello-first", "any frame may come first", on_request=_hello_when_it_likes),
    StreamMutant("stream-order", "the end comes before the output", on_response=_exits_first),
    StreamMutant("stream-exit", "signals are not told", on_response=lambda: _without_signal),
    StreamMutant("stream-bytes", "bytes that are no text are replaced", on_response=lambda: _as_text),
    StreamMutant("stream-duplicate", "a known key is accepted like a new one", on_response=lambda: _never_duplicate),
    StreamMutant("stream-attempts", "the attempt is ignored", on_request=lambda: _one_attempt),
    StreamMutant("stream-cancel", "Cancel is ignored", on_request=lambda: _without("cancel")),
    StreamMutant("stream-forget", "Forgotten is not told", on_response=lambda: _without("forgotten")),
    StreamMutant("stream-and-status", "Status knows nothing of it", has_no_unary=True),
]


class MutantSessions(SessionService):
    def __init__(self, mutant: StreamMutant) -> None:
        super().__init__(boot_id="boot")
        self._mutant = mutant

    async def Session(self, requests: AsyncIterator[Request], context: Any) -> None:  # noqa: N802
        await super().Session(self._changed(requests), _ChangedContext(context, self._mutant.on_response()))

    async def _changed(self, requests: AsyncIterator[Request]) -> AsyncIterator[Request]:
        change = self._mutant.on_request()
        async for request in requests:
            for changed in change(request):
                yield changed

    def _take_over(self, hello: stream_pb2.Hello) -> Any:
        if self._mutant.has_no_fence:
            self._holder = None
        return super()._take_over(hello)

    async def _take_frames(self, session: Any, requests: AsyncIterator[Request]) -> None:
        if not self._mutant.has_no_fence:
            await super()._take_frames(session, requests)
            return
        async for request in requests:
            self._act(request, session)


class _ChangedContext:
    def __init__(self, context: Any, change: Callable[[Response], Iterable[Response]]) -> None:
        self._context, self._change = context, change

    async def send_initial_metadata(self, metadata: Any) -> None:
        await self._context.send_initial_metadata(metadata)

    async def write(self, response: Response) -> None:
        copy = Response()
        copy.CopyFrom(response)
        for changed in self._change(copy):
            await self._context.write(changed)

    async def abort(self, code: grpc.StatusCode, text: str) -> None:
        await self._context.abort(code, text)


async def serve_stream(mutant: StreamMutant, work_dir: Path) -> int:
    """For as long as the process lives. Gives the port."""
    sessions = MutantSessions(mutant)
    registry = Registry(choose_command=BashCommands.find(), work_dir=str(work_dir), observer=sessions)
    sessions.serve(registry)
    server = grpc.aio.server()
    stream_pb2_grpc.add_RuntimeStreamServicer_to_server(sessions, server)
    unary = runtime_pb2_grpc.RuntimeServicer() if mutant.has_no_unary else UnaryService(registry)
    runtime_pb2_grpc.add_RuntimeServicer_to_server(unary, server)
    port = server.add_insecure_port("127.0.0.1:0")
    registry.supervisor.open()
    await server.start()
    SERVERS.append(server)
    return int(port)
