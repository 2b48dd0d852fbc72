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
LINGER_SECONDS = 2.0
PENDING, RUNNING = messages.EXECUTION_STATE_PENDING, messages.EXECUTION_STATE_RUNNING
SUCCEEDED, FAILED = messages.EXECUTION_STATE_SUCCEEDED, messages.EXECUTION_STATE_FAILED
Context = grpc.aio.ServicerContext


class Output(asyncio.Protocol):
    """The first MiB of a stream; the rest is read and dropped, so that a flood neither blocks its writer nor fills our memory.

    The pipe is ours and not asyncio's, which would take the process for running as long as somebody holds it open.
    """

    def __init__(self) -> None:
        self.kept = bytearray()
        self.is_truncated = False
        self.closed = asyncio.Event()

    async def open(self) -> tuple[int, asyncio.BaseTransport]:
        """The end to write to, and what reads the other."""
        read_fd, write_fd = os.pipe()
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(lambda: self, os.fdopen(read_fd, "rb", buffering=0))
        return write_fd, transport

    def data_received(self, data: bytes) -> None:
        room = OUTPUT_LIMIT_BYTES - len(self.kept)
        self.kept += data[:room]
        self.is_truncated |= len(data) > room

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed.set()

    def text(self) -> str:
        """Valid UTF-8 whatever was written: a protobuf string must be, or the whole answer fails. Replacing makes it longer."""
        data = self.kept.decode("utf-8", "replace").encode()
        text = data[:OUTPUT_LIMIT_BYTES].decode("utf-8", "ignore")
        return text + TRUNCATION_MARKER if self.is_truncated or len(data) > OUTPUT_LIMIT_BYTES else text


class Execution:
    """One process group, and what is retained of it until Forget or Cancel."""

    def __init__(self, id_: str) -> None:
        self.id, self.state, self.exit_code, self.error_message = id_, PENDING, 0, ""
        self.stdout, self.stderr = Output(), Output()
        self.why_stopped = ""
        self.process: asyncio.subprocess.Process | None = None
        self.task: asyncio.Task[None] | None = None
        self.cancelling: asyncio.Task[None] | None = None

    @property
    def has_ended(self) -> bool:
        return self.state in (SUCCEEDED, FAILED)

    async def run(self, command: list[str], *, directory: str, env: dict[str, str], timeout_seconds: float | None) -> None:
        (out, out_reader), (err, err_reader) = await self.stdout.open(), await self.stderr.open()
        try:
            self.process = await asyncio.create_subprocess_exec(
                *command, cwd=directory, env=env, stdin=asyncio.subprocess.DEVNULL, stdout=out, stderr=err, start_new_session=True
            )
        except OSError as error:
            self.fail(f"cannot start {command[0]}: {error.strerror}")
        finally:
            os.close(out)
            os.close(err)
        if self.process is not None:
            await self._attend(self.process, timeout_seconds=timeout_seconds)
        out_reader.close()
        err_reader.close()

    def fail(self, error_message: str) -> None:
        """Nothing was started."""
        self._end(FAILED, 0, error_message)

    async def _attend(self, process: asyncio.subprocess.Process, *, timeout_seconds: float | None) -> None:
        self.state = RUNNING
        if self.why_stopped:  # a Cancel came before there was a process
            self._signal(signal.SIGKILL)
        try:
            await asyncio.wait_for(process.wait(), timeout_seconds)
        except TimeoutError:
            await self.stop("timeout")
        # The end of the main process is the end: what it left behind neither lives on nor holds the pipes open.
        self._signal(signal.SIGKILL)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.gather(self.stdout.closed.wait(), self.stderr.closed.wait()), 1)
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
        self._start(execution, request, directory)
        return messages.ExecuteResponse(id=request.id)

    def _start(self, execution: Execution, request: messages.ExecuteRequest, directory: Path) -> None:
        """A script in the working directory if there is one, else the first argument is the script."""
        try:
            directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            execution.fail(f"mkdir: {error.strerror}")
            return
        script = directory / (request.entrypoint or "script")
        if script.is_file():
            command = ["sh", str(script), *request.args]
        elif request.args:
            command = ["sh", "-c", request.args[0], "sh", *request.args[1:]]
        else:
            execution.fail("no args or script provided")
            return
        running = execution.run(
            command,
            directory=str(directory),
            env={"PATH": os.environ["PATH"], **request.env},  # nothing else of ours
            timeout_seconds=request.timeout_seconds if request.timeout_seconds > 0 else None,
        )
        execution.task = asyncio.create_task(running)

    async def Status(self, request: messages.StatusRequest, context: Context) -> messages.StatusResponse:  # noqa: N802
        return (await self._find(request.id, context)).status()

    async def List(self, request: messages.ListRequest, context: Context) -> messages.ListResponse:  # noqa: N802
        return messages.ListResponse(entries=[execution.status() for execution in self._executions.values()])

    async def Cancel(self, request: messages.CancelRequest, context: Context) -> messages.CancelResponse:  # noqa: N802
        """Answers when the processes are gone; the entry goes with them. Goes on when the caller hangs up."""
        execution = await self._find(request.id, context)
        if execution.cancelling is None:
            execution.cancelling = asyncio.create_task(self._cancel(execution))
        await asyncio.shield(execution.cancelling)
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

    async def finish(self) -> None:
        """Until nothing runs, and then a moment, for the results to be fetched."""
        while running := [execution.task for execution in self._executions.values() if execution.task and not execution.has_ended]:
            await asyncio.wait(running)
        if self._executions:
            await asyncio.sleep(LINGER_SECONDS)

    async def stop(self) -> None:
        await asyncio.gather(*map(self._cancel, list(self._executions.values())))


async def serve(arguments: argparse.Namespace) -> None:
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    runtime = ShellRuntime(arguments.work_dir)
    add_RuntimeServicer_to_server(runtime, server)
    port = server.add_insecure_port(f"{arguments.host}:{arguments.port}")
    await server.start()
    print(f'{{"message": "serving", "port": {port}}}', flush=True)
    # When a Pod is deleted, runtimed and we get SIGTERM at once. It lets its Runs finish, so we have to outlive them.
    finishing, interrupted = asyncio.Event(), asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, finishing.set)
    asyncio.get_running_loop().add_signal_handler(signal.SIGINT, interrupted.set)
    ends = [asyncio.create_task(_finish(runtime, finishing)), asyncio.create_task(_wait(interrupted))]
    await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
    await runtime.stop()
    await server.stop(grace=None)


async def _finish(runtime: ShellRuntime, finishing: asyncio.Event) -> None:
    await finishing.wait()
    await runtime.finish()


async def _wait(interrupted: asyncio.Event) -> None:
    await interrupted.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=9091)
    # On a cluster the kubelet's probes need 0.0.0.0; there is no authentication, so it is the network policy that keeps others out.
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--work-dir", type=Path, default=Path("/workspace"))
    asyncio.run(serve(parser.parse_args()))


if __name__ == "__main__":
    main()
