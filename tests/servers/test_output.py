"""Output: complete, in bytes, bounded, and never a reason for the workload to wait."""

from __future__ import annotations

import asyncio

import pytest
from krtpb.executor.v1 import runtime_pb2, runtime_pb2_grpc, stream_pb2

from servers.sdk.limits import RETAINED_BYTES, TRUNCATION_MARKER
from tests.servers.conftest import channel_to
from tests.servers.processes import ServerProcess, rss_bytes
from tests.servers.sessions import Session, open_session

FLOOD_BYTES = 200_000_000


async def test_binary_output_arrives_byte_for_byte(session: Session) -> None:
    heard = await session.run(r"printf '\x00\xff\xfe\x80abc\xc3\x28\n'; printf '\xf0\x28\x8c\xbc' >&2")
    assert heard.stdout == b"\x00\xff\xfe\x80abc\xc3\x28\n"
    assert heard.stderr == b"\xf0\x28\x8c\xbc"
    assert heard.outcome.stderr_tail == b"\xf0\x28\x8c\xbc"


async def test_what_is_in_the_pipe_at_the_exit_is_not_lost(session: Session) -> None:
    heard = await session.run("head -c 900000 /dev/zero; exit 3")
    assert len(heard.stdout) == 900_000
    assert heard.outcome.stdout_bytes == 900_000
    assert heard.events[-2:] == ["exited", "forgotten"]


async def test_exactly_the_limit_is_not_truncated_and_one_byte_more_is(session: Session) -> None:
    exact = await session.run(f"head -c {RETAINED_BYTES} /dev/zero")
    assert (len(exact.stdout), exact.truncated) == (RETAINED_BYTES, set())
    more = await session.run(f"head -c {RETAINED_BYTES + 1} /dev/zero")
    assert (len(more.stdout), more.truncated) == (RETAINED_BYTES, {stream_pb2.OUTPUT_STREAM_STDOUT})
    assert more.outcome.stdout_bytes == RETAINED_BYTES + 1


async def test_the_tail_of_standard_error_is_kept_beyond_the_limit(session: Session) -> None:
    heard = await session.run(f"head -c {RETAINED_BYTES * 2} /dev/zero >&2; echo the end >&2")
    assert heard.outcome.stderr_tail.endswith(b"\0the end\n")
    assert len(heard.outcome.stderr_tail) == 1024
    assert heard.outcome.stderr_bytes == RETAINED_BYTES * 2 + 8


async def test_a_run_that_closes_its_stdio_goes_on_and_ends(session: Session) -> None:
    run_uid = await session.execute("echo before; exec >&- 2>&-; sleep 0.05; exit 4")
    heard = await session.until_exited(run_uid)
    assert (heard.stdout, heard.outcome.exit_code) == (b"before\n", 4)
    await session.forget(run_uid)


async def test_a_grandchild_that_holds_the_pipe_delays_nothing(session: Session, bash_server: ServerProcess) -> None:
    async with asyncio.timeout(2):
        heard = await session.run("sleep 1000 & setsid sleep 1000 & echo done")
    assert heard.stdout == b"done\n"
    assert bash_server.run_pids() == []


@pytest.mark.slow
async def test_a_flood_is_drained_counted_and_costs_no_memory(own_session: Session, own_server: ServerProcess) -> None:
    await own_session.run("echo warm")
    before = rss_bytes(own_server.pid)
    run_uid = await own_session.execute(f"head -c {FLOOD_BYTES} /dev/zero")
    heard = await own_session.until_exited(run_uid)
    assert heard.outcome.stdout_bytes == FLOOD_BYTES
    assert len(heard.stdout) == RETAINED_BYTES
    assert rss_bytes(own_server.pid) - before < 16 * 1024 * 1024


@pytest.mark.slow
async def test_a_reader_that_is_stuck_holds_up_neither_the_workload_nor_memory(own_server: ServerProcess) -> None:
    async with open_session(own_server.port) as warm:
        await warm.run("echo warm")
        before = rss_bytes(own_server.pid)
        # Never read from here on: 40 MB wait to be sent.
        run_uids = [await warm.execute(f"head -c {RETAINED_BYTES} /dev/zero; head -c {RETAINED_BYTES} /dev/zero >&2") for _ in range(20)]
        async with channel_to(own_server) as channel:
            stub = runtime_pb2_grpc.RuntimeStub(channel)
            for run_uid in run_uids:
                await _until_ended(stub, run_uid)
            grown = rss_bytes(own_server.pid) - before
        # What is retained, and little else.
        assert grown < 20 * 2 * RETAINED_BYTES + 32 * 1024 * 1024


async def _is_running(stub: runtime_pb2_grpc.RuntimeStub, run_uid: str) -> bool:
    status: runtime_pb2.StatusResponse = await stub.Status(runtime_pb2.StatusRequest(id=run_uid))
    return status.state == runtime_pb2.EXECUTION_STATE_RUNNING


async def _until_ended(stub: runtime_pb2_grpc.RuntimeStub, run_uid: str) -> None:
    """The unary protocol knows no push; its clients poll."""
    async with asyncio.timeout(20):
        while await _is_running(stub, run_uid):  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def test_status_replaces_what_is_no_utf8_and_cuts_between_characters(session: Session, bash_server: ServerProcess) -> None:
    # One byte and then two-byte characters: the limit falls inside a character.
    run_uid = await session.execute(r"printf x; yes é | tr -d '\n' | head -c 1100000; printf 'a\xffb' >&2")
    await session.until_exited(run_uid)
    async with channel_to(bash_server) as channel:
        status = await runtime_pb2_grpc.RuntimeStub(channel).Status(runtime_pb2.StatusRequest(id=run_uid))
    assert status.stdout == "x" + "é" * ((RETAINED_BYTES - 1) // 2) + TRUNCATION_MARKER
    assert status.stderr == "a�b"
    await session.forget(run_uid)


@pytest.mark.slow
async def test_status_of_output_that_is_all_invalid_fits_a_message(session: Session, bash_server: ServerProcess) -> None:
    flood = r"head -c 2000000 /dev/zero | tr '\0' '\377'"
    run_uid = await session.execute(f"{flood}; {flood} >&2")
    await session.until_exited(run_uid)
    async with channel_to(bash_server) as channel:
        status = await runtime_pb2_grpc.RuntimeStub(channel).Status(runtime_pb2.StatusRequest(id=run_uid))
    assert status.stdout.endswith(TRUNCATION_MARKER)
    assert set(status.stdout.removesuffix(TRUNCATION_MARKER)) == {"�"}
    assert status.ByteSize() < 3 * RETAINED_BYTES
    await session.forget(run_uid)


@pytest.mark.slow
async def test_a_list_of_many_large_outputs_fits_a_message_and_cuts_the_longest(own_session: Session, own_server: ServerProcess) -> None:
    large = [await own_session.execute("head -c 1000000 /dev/zero; head -c 1000000 /dev/zero >&2") for _ in range(10)]
    small = await own_session.execute("echo small")
    for run_uid in (*large, small):
        await own_session.until_exited(run_uid)
    async with channel_to(own_server) as channel:
        listed = await runtime_pb2_grpc.RuntimeStub(channel).List(runtime_pb2.ListRequest())
    by_id = {entry.id: entry for entry in listed.entries}
    assert set(by_id) == {*large, small}
    assert by_id[small].stdout == "small\n"
    assert all(by_id[run_uid].stdout.endswith(TRUNCATION_MARKER) for run_uid in large)
    assert listed.ByteSize() < 4 * 1024 * 1024
