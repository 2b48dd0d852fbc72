"""A Runtime Server of one's own, in one file: it runs `sh`. Written against runtime.proto alone; read it as a recipe.

`krt conformance ADDRESS` says whether yours keeps the rules as well. The stubs come with kruntimes; or generate them from
proto/krtpb/executor/v1/runtime.proto in the language that you like.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import signal
from pathlib import Path

import grpc
from krtpb.executor.v1 import runtime_pb2 as messages
from krtpb.executor.v1.runtime_pb2_grpc import RuntimeServicer, add_RuntimeServicer_to_server

OUTPUT_LIMIT_BYTES = 1 << 20
TRUNCATION_MARKER = "\n[output truncated]\n"
GRACE_SECONDS = 2.0
PENDING, RUNNING = messages.EXECUTION_STATE_PENDING, messages.EXECUTION_STATE_RUNNING
SUCCEEDED, FAILED = messages.EXECUTION_STATE_SUCCEEDED, messages.EXECUTION_STATE_FAILED
Context = grpc.aio.ServicerContext


class Output:
    """The first MiB of a stream; the rest is read and dropped, so that a flood neither blocks its writer nor fills our memory."""

    def __init__(self) -> None:
        self.kept = bytearray()
        self.is_truncated = False

    async def collect(self, reader: asyncio.StreamReader) -> None:
        while data := await reader.read(1 << 16):
            room = OUTPUT_LIMIT_BYTES - len(self.kept)
            self.kept += data[:room]
            self.is_truncated |= len(data) > room

    def text(self) -> str:
        """Valid UTF-8 whatever was written: a protobuf string must be, or the whole answer fails."""
        text = self.kept.decode("utf-8", "replace").encode()[:OUTPUT_LIMIT_BYTES].decode("utf-8", "ignore")
        return text + TRUNCATION_MARKER if self.is_truncated else text


class Execution:
    """One process group, and what is retained of it until Forget or Cancel."""

    def __init__(self, id_: str) -> None:
        self.id, self.state, self.exit_code, self.error_message = id_, PENDING, 0, ""
        self.stdout, self.stderr = Output(), Output()
        self.why_stopped = ""
        self.process: asyncio.subprocess.Process | None = None
        self.task: asyncio.Task[None] | None = None

    @property
    def has_ended(self) -> bool:
        return self.state in (SUCCEEDED, FAILED)

    async def run(self, command: list[str], *, directory: str, env: dict[str, str], timeout_seconds: float | None) -> None:
        try:
            self.process = await asyncio.create_subprocess_exec(
                *command,
                cwd=directory,
                env=env,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                start_new_session=True,
            )
        except OSError as error:
            self._end(FAILED, 0, f"cannot start {command[0]}: {error.strerror}")
            return
        self.state = RUNNING
        await self._attend(self.process, timeout_seconds=timeout_seconds)

    async def _attend(self, process: asyncio.subprocess.Process, *, timeout_seconds: float | None) -> None:
        assert process.stdout is not None
        assert process.stderr is not None
        readers = [asyncio.create_task(self.stdout.collect(process.stdout)), asyncio.create_task(self.stderr.collect(process.stderr))]
        try:
            await asyncio.wait_for(process.wait(), timeout_seconds)
        except TimeoutError:
            await self.stop("timeout")
        # The end of the main process is the end: what it left behind neither lives on nor holds the pipes open.
        self._signal(signal.SIGKILL)
        _, late = await asyncio.wait(readers, timeout=1)
        for reader in late:
            reader.cancel()
        code = await process.wait()
        if self.why_stopped:
            self._end(FAILED, -1, self.why_stopped)
        elif code < 0:
            self._end(FAILED, 128 - code, f"signal: {(signal.strsignal(-code) or '').lower()}")
        else:
            self._end(FAILED if code else SUCCEEDED, code, f"exit status {code}" if code else "")

    async def stop(self, why: str) -> None:
        """SIGTERM to all of it, after the grace SIGKILL; returns when the main process is gone."""
        self.why_stopped = self.why_stopped or why
        if self.process is None or self.process.returncode is not None:
            return
        self._signal(signal.SIGTERM)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.process.wait(), GRACE_SECONDS)
        self._signal(signal.SIGKILL)
        await self.process.wait()

    def _signal(self, number: signal.Signals) -> None:
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, number)

    def _end(self, state: messages.ExecutionState, exit_code: int, error_message: str) -> None:
        self.state, self.exit_code, self.error_message = state, exit_code, error_message

    def status(self) -> messages.StatusResponse:
        return messages.StatusResponse(
            id=self.id,
            state=self.state,
            exit_code=self.exit_code,
            stdout=self.stdout.text(),
            stderr=self.stderr.text(),
            error_message=self.error_message,
        )


class ShellRuntime(RuntimeServicer):
    def __init__(self, work_dir: Path) -> None:
        self._work_dir = work_dir
        self._executions: dict[str, Execution] = {}

    async def Execute(self, request: messages.ExecuteRequest, context: Context) -> messages.ExecuteResponse:  # noqa: N802
        """Returns at once. A known id is refused, always: that is deterministic, and nothing is started twice."""
        if not request.id:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "id: must not be empty")
        if request.id in self._executions:
            await context.abort(grpc.StatusCode.ALREADY_EXISTS, f"execution {request.id} is known: forget it first")
        execution = self._executions[request.id] = Execution(request.id)
        directory = Path(request.working_dir or self._work_dir / request.id)
        directory.mkdir(parents=True, exist_ok=True)
        script = directory / (request.entrypoint or "script")
        if script.is_file():
            command = ["sh", str(script), *request.args]
        elif request.args:
            command = ["sh", "-c", request.args[0], "sh", *request.args[1:]]
        else:
            execution._end(FAILED, 0, "no args or script provided")
            return messages.ExecuteResponse(id=request.id)
        running = execution.run(
            command,
            directory=str(directory),
            env={"PATH": os.environ["PATH"], **request.env},
            timeout_seconds=request.timeout_seconds if request.timeout_seconds > 0 else None,
        )
        execution.task = asyncio.create_task(running)
        return messages.ExecuteResponse(id=request.id)

    async def Status(self, request: messages.StatusRequest, context: Context) -> messages.StatusResponse:  # noqa: N802
        return (await self._find(request.id, context)).status()

    async def List(self, request: messages.ListRequest, context: Context) -> messages.ListResponse:  # noqa: N802
        return messages.ListResponse(entries=[execution.status() for execution in self._executions.values()])

    async def Cancel(self, request: messages.CancelRequest, context: Context) -> messages.CancelResponse:  # noqa: N802
        """Answers when the processes are gone; the entry goes with them. Goes on when the caller hangs up."""
        execution = await self._find(request.id, context)
        await asyncio.shield(asyncio.create_task(self._cancel(execution)))
        return messages.CancelResponse()

    async def _cancel(self, execution: Execution) -> None:
        await execution.stop("cancelled")
        if execution.task is not None:
            await execution.task
        if self._executions.get(execution.id) is execution:
            del self._executions[execution.id]

    async def Forget(self, request: messages.ForgetRequest, context: Context) -> messages.ForgetResponse:  # noqa: N802
        if not (await self._find(request.id, context)).has_ended:
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, f"execution {request.id} is still running: cancel it first")
        del self._executions[request.id]
        return messages.ForgetResponse()

    async def Health(self, request: messages.HealthRequest, context: Context) -> messages.HealthResponse:  # noqa: N802
        return messages.HealthResponse(healthy=True)

    async def _find(self, id_: str, context: Context) -> Execution:
        execution = self._executions.get(id_)
        if execution is None:
            await context.abort(grpc.StatusCode.NOT_FOUND, f"execution {id_[:64]} is not known")
            raise AssertionError("abort raises")
        return execution

    async def stop(self) -> None:
        for execution in list(self._executions.values()):
            await self._cancel(execution)


async def serve(arguments: argparse.Namespace) -> None:
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    runtime = ShellRuntime(arguments.work_dir)
    add_RuntimeServicer_to_server(runtime, server)
    port = server.add_insecure_port(f"{arguments.host}:{arguments.port}")
    await server.start()
    print(f'{{"message": "serving", "port": {port}}}', flush=True)
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    await stopping.wait()
    await runtime.stop()
    await server.stop(grace=None)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=9091)
    # On a cluster the kubelet's probes need 0.0.0.0; there is no authentication, so it is the network policy that keeps others out.
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--work-dir", type=Path, default=Path("/workspace"))
    asyncio.run(serve(parser.parse_args()))


if __name__ == "__main__":
    main()
