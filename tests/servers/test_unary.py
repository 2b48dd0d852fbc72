"""The unary service, as old runtimeds and command lines use it (interface.md 2.1 and 2.2), and what it shares with the stream."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from krtpb.executor.v1 import runtime_pb2, runtime_pb2_grpc

from tests.servers.conftest import channel_to
from tests.servers.processes import ServerProcess, is_alive
from tests.servers.sessions import Session, new_uid

RUNNING = runtime_pb2.EXECUTION_STATE_RUNNING
SUCCEEDED = runtime_pb2.EXECUTION_STATE_SUCCEEDED
FAILED = runtime_pb2.EXECUTION_STATE_FAILED


class Client:
    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.stub = runtime_pb2_grpc.RuntimeStub(channel)

    async def execute(self, *args: str, uid: str = "", **fields: Any) -> str:
        uid = uid or new_uid()
        response = await self.stub.Execute(runtime_pb2.ExecuteRequest(id=uid, args=args, **fields))
        assert response.id == uid
        return uid

    async def status(self, uid: str) -> runtime_pb2.StatusResponse:
        response: runtime_pb2.StatusResponse = await self.stub.Status(runtime_pb2.StatusRequest(id=uid))
        return response

    async def until_ended(self, uid: str) -> runtime_pb2.StatusResponse:
        async with asyncio.timeout(20):
            while (status := await self.status(uid)).state == RUNNING:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        return status

    async def until_printed(self, uid: str, text: str) -> None:
        async with asyncio.timeout(20):
            while text not in (await self.status(uid)).stdout:  # noqa: ASYNC110
                await asyncio.sleep(0.01)

    async def run(self, *args: str, **fields: Any) -> runtime_pb2.StatusResponse:
        uid = await self.execute(*args, **fields)
        status = await self.until_ended(uid)
        await self.forget(uid)
        return status

    async def forget(self, uid: str) -> None:
        await self.stub.Forget(runtime_pb2.ForgetRequest(id=uid))

    async def cancel(self, uid: str) -> None:
        await self.stub.Cancel(runtime_pb2.CancelRequest(id=uid))

    async def listed(self) -> dict[str, runtime_pb2.StatusResponse]:
        return {entry.id: entry for entry in (await self.stub.List(runtime_pb2.ListRequest())).entries}


@pytest.fixture
async def client(bash_server: ServerProcess) -> AsyncIterator[Client]:
    async with channel_to(bash_server) as channel:
        yield Client(channel)


def code_of(error: pytest.ExceptionInfo[grpc.aio.AioRpcError]) -> grpc.StatusCode:
    code: grpc.StatusCode = error.value.code()
    return code


async def test_success_has_output_and_no_message(client: Client) -> None:
    status = await client.run("echo out; echo err >&2")
    assert (status.state, status.exit_code, status.error_message) == (SUCCEEDED, 0, "")
    assert (status.stdout, status.stderr) == ("out\n", "err\n")


@pytest.mark.parametrize(
    ("script", "code", "message"),
    [("exit 3", 3, "exit status 3"), ("kill -9 $$", 137, "signal: killed"), ("kill -TERM $$", 143, "signal: terminated")],
)
async def test_failure_has_code_and_message(client: Client, script: str, code: int, message: str) -> None:
    status = await client.run(script)
    assert (status.state, status.exit_code, status.error_message) == (FAILED, code, message)


async def test_an_empty_id_is_refused_and_named(client: Client) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await client.stub.Execute(runtime_pb2.ExecuteRequest(args=["exit 0"]))
    assert code_of(error) == grpc.StatusCode.INVALID_ARGUMENT
    assert "id" in str(error.value.details())


@pytest.mark.parametrize("method", ["Status", "Cancel", "Forget"])
async def test_an_unknown_id_is_not_found(client: Client, method: str) -> None:
    request = getattr(runtime_pb2, f"{method}Request")(id=new_uid())
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await getattr(client.stub, method)(request)
    assert code_of(error) == grpc.StatusCode.NOT_FOUND


async def test_forget_while_running_is_refused_and_cancel_drops_the_entry(client: Client) -> None:
    uid = await client.execute("echo ready; exec sleep 1000")
    await client.until_printed(uid, "ready")
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await client.forget(uid)
    assert code_of(error) == grpc.StatusCode.FAILED_PRECONDITION
    await client.cancel(uid)
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await client.status(uid)
    assert code_of(error) == grpc.StatusCode.NOT_FOUND


@pytest.mark.slow
async def test_the_server_enforces_the_timeout(client: Client) -> None:
    status = await client.run("echo before; exec sleep 1000", timeout_seconds=1)
    assert (status.state, status.exit_code, status.error_message) == (FAILED, -1, "timeout")
    assert status.stdout == "before\n"


async def test_an_end_in_time_is_no_timeout_and_a_huge_timeout_is_none(client: Client) -> None:
    assert (await client.run("exit 0", timeout_seconds=5)).state == SUCCEEDED
    assert (await client.run("exit 0", timeout_seconds=2**63 - 1)).state == SUCCEEDED
    assert (await client.run("exit 0", timeout_seconds=-5)).state == SUCCEEDED


async def test_the_same_id_again_replaces_a_finished_execution(client: Client) -> None:
    uid = await client.execute("echo first; exit 1")
    await client.until_ended(uid)
    await client.execute("echo second", uid=uid)
    status = await client.until_ended(uid)
    assert (status.state, status.stdout) == (SUCCEEDED, "second\n")
    await client.forget(uid)


async def test_the_same_id_again_cancels_a_running_execution_and_waits_for_it(client: Client, bash_server: ServerProcess) -> None:
    uid = await client.execute("echo $$; exec sleep 1000")
    await client.until_printed(uid, "\n")
    old_pid = int((await client.status(uid)).stdout)
    await client.execute("echo second", uid=uid)
    assert not is_alive(old_pid)
    assert (await client.until_ended(uid)).stdout == "second\n"
    await client.forget(uid)


@pytest.mark.slow
async def test_a_slow_cancel_holds_up_nobody_else(client: Client) -> None:
    uid = await client.execute("trap '' TERM; echo ready; while :; do sleep 100; done")
    await client.until_printed(uid, "ready")
    cancelling = asyncio.create_task(client.cancel(uid))
    started = time.monotonic()
    assert (await client.run("echo quick")).stdout == "quick\n"
    assert (await client.status(uid)).state == RUNNING
    assert time.monotonic() - started < 1
    assert not cancelling.done()
    await cancelling


@pytest.mark.slow
async def test_a_cancel_whose_caller_hung_up_is_carried_out(client: Client) -> None:
    uid = await client.execute("trap '' TERM; echo ready; while :; do sleep 100; done")
    await client.until_printed(uid, "ready")
    with pytest.raises(grpc.aio.AioRpcError):
        await client.stub.Cancel(runtime_pb2.CancelRequest(id=uid), timeout=0.1)
    # Waits for the same end.
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await client.until_ended(uid)
    assert code_of(error) == grpc.StatusCode.NOT_FOUND


async def test_many_executes_of_one_id_at_once_leave_one_execution(client: Client, bash_server: ServerProcess) -> None:
    uid = new_uid()
    await asyncio.gather(*(client.execute("echo ready; exec sleep 1000", uid=uid) for _ in range(8)))
    await client.until_printed(uid, "ready")
    assert len(bash_server.run_pids()) == 1
    await client.cancel(uid)
    assert bash_server.run_pids() == []


async def test_list_has_every_execution_with_its_output(client: Client) -> None:
    ended, running = await client.execute("echo ended"), await client.execute("echo running; exec sleep 1000")
    await client.until_ended(ended)
    await client.until_printed(running, "running")
    entries = await client.listed()
    assert (entries[ended].state, entries[ended].stdout) == (SUCCEEDED, "ended\n")
    assert (entries[running].state, entries[running].stdout) == (RUNNING, "running\n")
    await client.forget(ended)
    await client.cancel(running)


async def test_health_is_good(client: Client) -> None:
    health = await client.stub.Health(runtime_pb2.HealthRequest())
    assert (health.healthy, health.message) == (True, "")


async def test_what_the_stream_started_is_seen_by_run_uid_as_its_latest_attempt(session: Session, client: Client) -> None:
    run_uid = new_uid()
    await session.execute("echo first; exit 1", run_uid=run_uid)
    await session.execute("echo second", run_uid=run_uid, attempt=2)
    await session.until_exited(run_uid, attempt=2)
    status = await client.status(run_uid)
    assert (status.state, status.stdout) == (SUCCEEDED, "second\n")
    assert (await client.listed())[run_uid].stdout == "second\n"
    await session.until_exited(run_uid)
    await client.forget(run_uid)
    await session.until(lambda: session.heard(run_uid, attempt=2).is_forgotten and session.heard(run_uid).is_forgotten)


async def test_a_unary_cancel_ends_what_the_stream_started_and_the_stream_is_told(session: Session, client: Client) -> None:
    run_uid = await session.execute("echo ready; exec sleep 1000")
    await session.until_printed(run_uid, b"ready")
    await client.cancel(run_uid)
    heard = session.heard(run_uid)
    await session.until(lambda: heard.is_forgotten)


async def test_functions_are_not_implemented(bash_server: ServerProcess) -> None:
    async with channel_to(bash_server) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await runtime_pb2_grpc.FunctionRuntimeStub(channel).InvokeFunction(runtime_pb2.InvokeFunctionRequest())
    assert code_of(error) == grpc.StatusCode.UNIMPLEMENTED


async def test_an_execution_lost_with_the_supervisor_is_not_found(own_server: ServerProcess) -> None:
    async with channel_to(own_server) as channel:
        client = Client(channel)
        uid = await client.execute("echo ready; exec sleep 1000")
        await client.until_printed(uid, "ready")
        own_server.kill_supervisor()
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await client.until_ended(uid)
        assert code_of(error) == grpc.StatusCode.NOT_FOUND
        assert await client.listed() == {}
        # As an old runtimed does before and in a retry.
        assert (await client.run("echo retried", uid=uid)).stdout == "retried\n"
