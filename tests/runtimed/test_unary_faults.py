"""What kills, silence and lost answers do to a Run on a Runtime Server without the stream (ownership.md, rule 27)."""

from __future__ import annotations

import asyncio
import os
import signal

import grpc
import pytest
from krtpb.executor.v1 import runtime_pb2, runtime_pb2_grpc

from k8s.api.phases import Reason
from k8s.api.run import Run
from tests.runtimed.rig import Cluster, Rig, is_alive
from tests.runtimed.test_faults import Workload, fetch, running

pytestmark = [
    pytest.mark.slow,
    pytest.mark.parametrize("api", ["embedded"], indirect=True, scope="module"),
]

ONE_KIND = pytest.mark.parametrize("server_name", ["moody"], scope="module")
BOTH_KINDS = pytest.mark.parametrize("server_name", ["moody", "unary-bash"], scope="module")


@pytest.fixture
def workload(rig: Rig) -> Workload:
    return Workload(rig)


def reason(run: Run) -> str:
    return next(condition.reason for condition in run.status.conditions if condition.type == "Completed")


@BOTH_KINDS
async def test_kill_9_of_runtimed_re_attaches_and_repeats_no_output(cluster: Cluster, rig: Rig, workload: Workload) -> None:
    run = await running(cluster, workload)
    rig.kill_runtimed()
    assert is_alive(workload.pids[0])
    rig.start_runtimed()
    await cluster.wait_until(lambda: "re-attached" in rig.log_text())
    workload.gate.touch()
    run = await cluster.wait(run)
    assert (run.phase, run.status.outputs, run.status.attempt, len(workload.pids)) == ("Succeeded", {"ok": "1"}, 1, 1)
    assert rig.output_of(run) == [("stdout", "started"), ("stdout", "ended")]
    await cluster.wait_until(lambda: not rig.left_of(run))


@ONE_KIND
async def test_a_run_that_ended_while_runtimed_was_dead_is_reported_by_its_successor(
    cluster: Cluster, rig: Rig, workload: Workload
) -> None:
    run = await running(cluster, workload)
    rig.kill_runtimed()
    workload.gate.touch()
    await cluster.wait_until(lambda: not is_alive(workload.pids[0]))
    rig.start_runtimed()
    run = await cluster.wait(run)
    assert (run.phase, run.status.outputs, len(workload.pids)) == ("Succeeded", {"ok": "1"}, 1)


@ONE_KIND
async def test_a_run_cancelled_while_runtimed_was_dead_is_killed_by_its_successor(cluster: Cluster, rig: Rig, workload: Workload) -> None:
    run = await running(cluster, workload)
    rig.kill_runtimed()
    await cluster.cancel(run)
    rig.start_runtimed()
    run = await cluster.wait(run)
    assert (run.phase, is_alive(workload.pids[0])) == ("Cancelled", False)


@BOTH_KINDS
async def test_kill_9_of_the_server_loses_the_attempt_and_uses_it_up(cluster: Cluster, rig: Rig, workload: Workload) -> None:
    run = await running(cluster, workload)
    rig.kill_server()
    rig.start_server()
    run = await cluster.wait(run)
    assert (run.phase, reason(run), len(workload.pids)) == ("Failed", Reason.EXECUTION_LOST, 1)


@ONE_KIND
async def test_a_lost_attempt_is_tried_again_where_the_policy_allows(cluster: Cluster, rig: Rig, workload: Workload) -> None:
    run = await running(cluster, workload, retryPolicy={"maxAttempts": 2, "backoff": "50ms"})
    rig.kill_server()
    rig.start_server()
    await cluster.wait_until(lambda: len(workload.pids) == 2)
    workload.gate.touch()
    run = await cluster.wait(run)
    assert (run.phase, run.status.attempt, len(workload.pids)) == ("Succeeded", 2, 2)


@ONE_KIND
async def test_both_killed_at_once_start_nothing_twice(cluster: Cluster, rig: Rig, workload: Workload) -> None:
    run = await running(cluster, workload)
    rig.kill_runtimed()
    rig.kill_server()
    rig.start_server()
    rig.start_runtimed()
    run = await cluster.wait(run)
    assert (run.phase, reason(run), len(workload.pids)) == ("Failed", Reason.EXECUTION_LOST, 1)


@ONE_KIND
async def test_an_execute_without_an_answer_is_found_and_not_repeated(cluster: Cluster, rig: Rig, workload: Workload) -> None:
    (rig.folder / "hang").touch()
    run = await cluster.script(workload.text)
    await cluster.wait_until(lambda: "Execute is not answered" in rig.log_text())
    workload.gate.touch()
    run = await cluster.wait(run)
    assert (run.phase, run.status.outputs, len(workload.pids)) == ("Succeeded", {"ok": "1"}, 1)


@ONE_KIND
async def test_runtimed_killed_before_the_answer_to_execute_finds_what_came_of_it(cluster: Cluster, rig: Rig, workload: Workload) -> None:
    (rig.folder / "hang").touch()
    run = await cluster.script(workload.text)
    await cluster.wait_until(lambda: len(workload.pids) == 1)
    rig.kill_runtimed()
    rig.start_runtimed()
    await cluster.wait_until(lambda: "re-attached" in rig.log_text())
    workload.gate.touch()
    run = await cluster.wait(run)
    assert (run.phase, run.status.outputs, len(workload.pids)) == ("Succeeded", {"ok": "1"}, 1)


@ONE_KIND
async def test_a_refused_execute_fails_with_the_servers_words_and_is_tried_again(cluster: Cluster, rig: Rig) -> None:
    (rig.folder / "refuse").touch()
    run = await cluster.wait(await cluster.script("true"))
    assert (run.phase, reason(run)) == ("Failed", Reason.RUNTIME_EXECUTE)
    assert run.status.message == "runtime Execute: RESOURCE_EXHAUSTED: no room"
    run = await cluster.script("true", retryPolicy={"maxAttempts": 2, "backoff": "200ms"})
    await cluster.wait(run, lambda run: run.status.attempt == 2)
    (rig.folder / "refuse").unlink()
    assert (await cluster.wait(run)).phase == "Succeeded"


@ONE_KIND
async def test_a_server_that_is_silent_for_a_while_changes_nothing(cluster: Cluster, rig: Rig, workload: Workload) -> None:
    run = await running(cluster, workload)
    assert rig.server is not None
    os.kill(rig.server.pid, signal.SIGSTOP)
    workload.gate.touch()
    await cluster.wait_until(lambda: not is_alive(workload.pids[0]) or "Status is not answered" in rig.log_text())
    os.kill(rig.server.pid, signal.SIGCONT)
    run = await cluster.wait(run)
    assert (run.phase, run.status.outputs, len(workload.pids)) == ("Succeeded", {"ok": "1"}, 1)


@BOTH_KINDS
async def test_what_the_server_holds_of_an_unknown_run_is_killed_at_start(cluster: Cluster, rig: Rig, workload: Workload) -> None:
    """Rule 12: nobody's execution. Its output is not ours to print."""
    rig.kill_runtimed()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{rig.port}") as channel:
        stub = runtime_pb2_grpc.RuntimeStub(channel)
        await stub.Execute(runtime_pb2.ExecuteRequest(id="nobody", args=[workload.text], working_dir=str(rig.folder)))
        await cluster.wait_until(lambda: len(workload.pids) == 1)
        rig.start_runtimed()
        await cluster.wait_until(lambda: not is_alive(workload.pids[0]))
        async with asyncio.timeout(10):
            while (await stub.List(runtime_pb2.ListRequest())).entries:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
    assert "nobody" not in {line.get("run_uid") for line in rig.log_lines()}


@ONE_KIND
async def test_an_unhealthy_server_fails_readiness_with_its_words(cluster: Cluster, rig: Rig) -> None:
    await cluster.wait_until(lambda: "session stands, unary" in rig.log_text())
    assert await fetch(rig.health_port, "/readyz") == 200
    (rig.folder / "ill").touch()
    assert await fetch(rig.health_port, "/readyz") == 500
    assert await fetch(rig.health_port, "/healthz") == 200
    (rig.folder / "ill").unlink()
    assert await fetch(rig.health_port, "/readyz") == 200
