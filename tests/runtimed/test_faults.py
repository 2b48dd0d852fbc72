"""What kills, restarts and outages do to a Run, through real processes. Each workload notes its start in a file of its own."""

from __future__ import annotations

import asyncio
import urllib.error
import urllib.request
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc
import pytest
from krtpb.executor.v1 import runtime_pb2, runtime_pb2_grpc, stream_pb2, stream_pb2_grpc

from k8s.api import transitions
from k8s.api.phases import Reason
from k8s.api.run import Run
from k8s.client import PODS
from runtimed.shell import frames
from tests.cluster.server import ApiServer
from tests.runtimed.rig import NAMESPACE, Cluster, Rig, is_alive

pytestmark = pytest.mark.slow

EMBEDDED_ONLY = pytest.mark.parametrize("api", ["embedded"], indirect=True, scope="module")
"""Failpoints, and an end for as long as one likes, are the embedded API server's alone."""


class Workload:
    """A script that notes each start of itself, says so, and ends when told."""

    def __init__(self, rig: Rig, *, exit_code: int = 0) -> None:
        self.starts = rig.folder / "starts"
        self.gate = rig.folder / "gate"
        self.text = (
            f"echo $$ >> {self.starts}; echo started; until [ -e {self.gate} ]; do sleep 0.02; done; echo ended; "
            f'echo "ok=1" >> "$KRUNTIME_OUTPUTS"; exit {exit_code}'
        )

    @property
    def pids(self) -> list[int]:
        return [int(line) for line in self.starts.read_text().split()] if self.starts.exists() else []


@pytest.fixture
def workload(rig: Rig) -> Workload:
    return Workload(rig)


async def running(cluster: Cluster, workload: Workload, **spec: Any) -> Run:
    """Bound, started and shown as Running."""
    run = await cluster.script(workload.text, **spec)
    run = await cluster.wait(run, lambda run: run.phase == "Running")
    await cluster.wait_until(lambda: len(workload.pids) == 1)
    return run


async def test_kill_9_of_runtimed_re_attaches_to_the_live_attempt(cluster: Cluster, rig: Rig, workload: Workload) -> None:
    """Fault 3."""
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


async def test_a_folder_that_was_half_made_or_half_removed_at_the_crash_is_removed_by_the_successor(cluster: Cluster, rig: Rig) -> None:
    """No note of it is in the state folder; a restart inside the kernel's calls cannot be timed, so its remains are put there."""
    run = await cluster.wait(await cluster.script("true"))
    await cluster.wait_until(lambda: not rig.left_of(run))
    rig.kill_runtimed()
    left = [rig.workspace / str(uuid.uuid4()) for _ in range(2)]
    (left[0] / "tree" / "below").mkdir(parents=True)
    left[1].mkdir()
    (rig.workspace / "lost+found").mkdir()
    rig.start_runtimed()
    await cluster.wait_until(lambda: not any(folder.exists() for folder in left))
    assert (rig.workspace / "lost+found").exists(), "that is not ours"


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


async def test_kill_9_of_the_server_loses_the_attempt_and_uses_it_up(cluster: Cluster, rig: Rig, workload: Workload) -> None:
    """Fault 4."""
    run = await running(cluster, workload)
    rig.kill_server()
    rig.start_server()
    run = await cluster.wait(run)
    assert run.phase == "Failed"
    assert [c.reason for c in run.status.conditions if c.type == "Completed"] == [Reason.EXECUTION_LOST]
    assert len(workload.pids) == 1
    await cluster.wait_until(lambda: not is_alive(workload.pids[0]))


async def test_a_lost_attempt_is_tried_again_where_the_policy_allows(cluster: Cluster, rig: Rig, workload: Workload) -> None:
    run = await running(cluster, workload, retryPolicy={"maxAttempts": 2, "backoff": "50ms"})
    rig.kill_server()
    rig.start_server()
    await cluster.wait_until(lambda: len(workload.pids) == 2)
    workload.gate.touch()
    run = await cluster.wait(run)
    assert (run.phase, run.status.attempt, len(workload.pids)) == ("Succeeded", 2, 2)


async def test_both_killed_at_once_start_nothing_twice(cluster: Cluster, rig: Rig, workload: Workload) -> None:
    run = await running(cluster, workload)
    rig.kill_runtimed()
    rig.kill_server()
    rig.start_server()
    rig.start_runtimed()
    run = await cluster.wait(run)
    assert (run.phase, len(workload.pids)) == ("Failed", 1)


@EMBEDDED_ONLY
async def test_an_api_server_that_is_away_changes_nothing_for_what_runs(cluster: Cluster, rig: Rig, workload: Workload) -> None:
    """Fault 8."""
    run = await running(cluster, workload)
    rig.api.stop()
    workload.gate.touch()
    await cluster.wait_until(lambda: "status write failed, reading" in rig.log_text())
    rig.api.start()
    run = await cluster.wait(run)
    assert (run.phase, run.status.outputs, len(workload.pids)) == ("Succeeded", {"ok": "1"}, 1)


async def test_a_run_that_was_taken_away_is_killed_and_its_result_refused(cluster: Cluster, rig: Rig, workload: Workload) -> None:
    run = await running(cluster, workload)
    change = transitions.taken_away(run, reason=Reason.POD_UNHEALTHY, message="assigned pod is not ready", now=datetime.now(UTC))
    run = await cluster.write(run, change)
    assert run.phase == "Failed"
    await cluster.wait_until(lambda: not is_alive(workload.pids[0]))
    await cluster.wait_until(lambda: not rig.left_of(run))
    assert (await cluster.get(run)).metadata.resource_version == run.metadata.resource_version


@EMBEDDED_ONLY
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("write", [0, 1, 2], ids=["retry", "resumed or end", "end"])
async def test_a_write_without_an_answer_is_read_and_decided_again(cluster: Cluster, workload: Workload, write: int, when: str) -> None:
    """Fault 7, seen from the API server: each write of a Run that fails once and then succeeds, lost or answered by nobody."""
    again = Path(f"{workload.starts}.again")
    text = f"echo $$ >> {workload.starts}; [ -e {again} ] && sleep 0.1 && exit 0; touch {again}; exit 1"
    run = await cluster.create("lost", source={"inline": text}, retryPolicy={"maxAttempts": 3, "backoff": "50ms"})
    await cluster.fail_writes(run, skip=write, kind="drop", when=when)
    run = await cluster.wait(await cluster.bind(run))
    assert (run.phase, run.status.attempt, len(workload.pids)) == ("Succeeded", 2, 2)


@EMBEDDED_ONLY
async def test_a_result_that_the_schema_refuses_fails_with_the_field_in_its_message(cluster: Cluster, rig: Rig) -> None:
    """A server with a stricter schema than ours; a barer write is taken."""
    run = await cluster.create("refused", source={"inline": "true"})
    # Twice: on a slow machine the first write is Running, which is then left out.
    await cluster.fail_writes(run, count=2, kind="answer", code=422, reason="Invalid", message="status.outputs: Too many: 65")
    run = await cluster.wait(await cluster.bind(run))
    assert run.phase == "Failed"
    assert "status.outputs" in run.status.message


@EMBEDDED_ONLY
@pytest.mark.parametrize("code", [409, 429, 500, 503])
async def test_errors_of_the_api_server_only_delay_a_result(cluster: Cluster, code: int) -> None:
    """Faults 16 and 17."""
    run = await cluster.create("delayed", source={"inline": "true"})
    await cluster.fail_writes(run, count=3, kind="answer", code=code, reason="Whatever")
    run = await cluster.wait(await cluster.bind(run))
    assert run.phase == "Succeeded"


async def test_sigterm_of_the_container_alone_exits_at_once_and_leaves_the_run_running(
    cluster: Cluster, rig: Rig, workload: Workload
) -> None:
    run = await running(cluster, workload)
    rig.terminate_runtimed()
    await cluster.wait_until(lambda: rig.runtimed is not None and not rig.runtimed.is_running)
    assert is_alive(workload.pids[0])
    pod = await cluster.client.get(PODS, rig.pod_name, namespace=NAMESPACE)
    assert pod.heartbeat is not None
    assert (pod.heartbeat.status, pod.heartbeat.message) == ("False", "runtimed is stopping")
    rig.start_runtimed()
    workload.gate.touch()
    assert (await cluster.wait(run)).phase == "Succeeded"
    assert len(workload.pids) == 1


async def test_a_pod_that_is_deleted_finishes_what_runs_and_hands_the_rest_back(api: ApiServer) -> None:
    """Fault 22."""
    with Rig(api, workers=1) as rig:
        rig.start_server()
        cluster = await Cluster.open(rig)
        async with cluster.client:
            await cluster.create_pod()
            rig.start_runtimed()
            workload = Workload(rig)
            run = await running(cluster, workload)
            waiting = await cluster.script("true")
            await cluster.delete_pod()
            rig.terminate_runtimed()
            handed_back = await cluster.wait(waiting, lambda run: run.phase == "Pending")
            assert (handed_back.status.assigned_pod, handed_back.status.attempt) == ("", 0)
            workload.gate.touch()
            assert (await cluster.wait(run)).phase == "Succeeded"
            await cluster.wait_until(lambda: rig.runtimed is not None and not rig.runtimed.is_running)


async def test_a_bind_that_lands_when_a_deleted_pod_holds_nothing_any_more_is_handed_back(api: ApiServer) -> None:
    """Fault 22: it was decided before the scheduler saw the Pod go."""
    with Rig(api) as rig:
        rig.start_server()
        cluster = await Cluster.open(rig)
        async with cluster.client:
            await cluster.create_pod()
            rig.start_runtimed()
            assert (await cluster.wait(await cluster.script("true"))).phase == "Succeeded"
            await cluster.delete_pod()
            rig.terminate_runtimed()
            await cluster.wait_for_pod(lambda pod: pod.heartbeat is not None and pod.heartbeat.status == "False")
            late = await cluster.script("true")
            handed_back = await cluster.wait(late, lambda run: run.phase == "Pending")
            assert (handed_back.status.assigned_pod, handed_back.status.attempt) == ("", 0)
            await cluster.wait_until(lambda: rig.runtimed is not None and not rig.runtimed.is_running)


async def test_a_pod_says_that_it_has_drained_only_when_nothing_of_it_is_held(api: ApiServer) -> None:
    """Ownership rule 26: what is bound to it from then on, others hand back."""
    with Rig(api) as rig:
        rig.start_server()
        cluster = await Cluster.open(rig)
        async with cluster.client:
            await cluster.create_pod()
            rig.start_runtimed()
            workload = Workload(rig)
            run = await running(cluster, workload)
            await cluster.delete_pod()
            rig.terminate_runtimed()
            stopping = await cluster.wait_for_pod(lambda pod: pod.heartbeat is not None and pod.heartbeat.status == "False")
            assert not stopping.has_drained
            # Whatever it does as it begins to drain, it has done when it has handed this one back.
            late = await cluster.script("true")
            await cluster.wait(late, lambda run: run.phase == "Pending")
            assert not (await cluster.client.get(PODS, rig.pod_name, namespace=NAMESPACE)).has_drained
            workload.gate.touch()
            assert (await cluster.wait(run)).phase == "Succeeded"
            await cluster.wait_for_pod(lambda pod: pod.has_drained)
            await cluster.wait_until(lambda: rig.runtimed is not None and not rig.runtimed.is_running)


async def test_a_runtimed_that_starts_in_a_deleted_pod_starts_nothing_and_still_delivers(api: ApiServer) -> None:
    """Ownership rule 26: a hand-back of its predecessor may still be on its way, so what is bound to this Pod is over."""
    with Rig(api, workers=1) as rig:
        rig.start_server()
        cluster = await Cluster.open(rig)
        async with cluster.client:
            await cluster.create_pod()
            rig.start_runtimed()
            workload = Workload(rig)
            run = await running(cluster, workload)
            rig.kill_runtimed()
            await cluster.delete_pod()
            waiting = await cluster.script("true")
            rig.start_runtimed()
            handed_back = await cluster.wait(waiting, lambda run: run.phase == "Pending")
            assert (handed_back.status.assigned_pod, handed_back.status.attempt) == ("", 0)
            workload.gate.touch()
            assert (await cluster.wait(run)).phase == "Succeeded"
            assert len(workload.pids) == 1
            await cluster.wait_until(lambda: rig.runtimed is not None and not rig.runtimed.is_running)


async def test_a_reboot_of_the_node_counts_what_was_assigned_as_lost(cluster: Cluster, rig: Rig, workload: Workload) -> None:
    run = await running(cluster, workload)
    rig.kill_runtimed()
    (rig.state_dir / "node-boot-id").write_text("another boot")
    for path in rig.state_dir.glob("*.marker"):
        path.unlink()  # no fsync: the marker may be gone as well
    rig.kill_server()
    rig.start_server()
    rig.start_runtimed()
    run = await cluster.wait(run)
    assert (run.phase, len(workload.pids)) == ("Failed", 1)
    assert [c.reason for c in run.status.conditions if c.type == "Completed"] == [Reason.EXECUTION_LOST]


async def test_the_heartbeat_is_one_condition_beside_those_of_others(cluster: Cluster, rig: Rig) -> None:
    pod = await cluster.wait_for_pod(lambda pod: pod.heartbeat is not None)
    beat = pod.heartbeat
    assert beat is not None
    assert (beat.status, beat.reason, beat.message) == ("True", "Heartbeat", "runtimed heartbeat is fresh")
    assert beat.last_probe_time is not None
    rig.kill_server()
    pod = await cluster.wait_for_pod(lambda pod: pod.heartbeat is not None and pod.heartbeat.status == "False")
    rig.start_server()
    await cluster.wait_for_pod(lambda pod: pod.heartbeat is not None and pod.heartbeat.status == "True")


async def test_health_metrics_and_status_are_served(cluster: Cluster, rig: Rig, workload: Workload) -> None:
    run = await running(cluster, workload)
    assert await fetch(rig.health_port, "/healthz") == 200
    assert await fetch(rig.health_port, "/readyz") == 200
    async with grpc.aio.insecure_channel(f"127.0.0.1:{rig.status_port}") as channel:
        stub = runtime_pb2_grpc.RuntimeStub(channel)
        status = await stub.Status(runtime_pb2.StatusRequest(id=run.uid))
        assert status.stdout == "started\n"
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stub.Cancel(runtime_pb2.CancelRequest(id=run.uid))
        assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED
        with pytest.raises(grpc.aio.AioRpcError) as unknown:
            await stub.Status(runtime_pb2.StatusRequest(id="nobody"))
        assert unknown.value.code() is grpc.StatusCode.NOT_FOUND
    workload.gate.touch()
    await cluster.wait(run)
    text = await asyncio.to_thread(read_metrics, rig.metrics_port)
    assert 'kruntimes_runtimed_runs_total{result="Succeeded",runtime="bash"} 1.0' in text
    assert "kruntimes_runtimed_fenced_writes_total" in text
    rig.kill_server()
    await cluster.wait_until(lambda: "session with the Runtime Server is interrupted" in rig.log_text())
    assert await fetch(rig.health_port, "/readyz") == 500


async def fetch(port: int, path: str) -> int:
    def ask() -> int:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            with error:
                return error.code

    return await asyncio.to_thread(ask)


def read_metrics(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        return str(answer.read().decode())


async def test_what_the_server_holds_of_an_unknown_run_is_killed_at_start(cluster: Cluster, rig: Rig, workload: Workload) -> None:
    """Rule 12: nobody's execution, left by whoever had the session before."""
    rig.kill_runtimed()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{rig.port}") as channel:
        call = stream_pb2_grpc.RuntimeStreamStub(channel).Session()
        await call.write(frames.hello("before"))
        execute = stream_pb2.Execute(
            key=stream_pb2.AttemptKey(run_uid="nobody", attempt=0), args=[workload.text], working_dir=str(rig.folder), entrypoint="script"
        )
        await call.write(stream_pb2.SessionRequest(execute=execute))
        await cluster.wait_until(lambda: len(workload.pids) == 1)
        rig.start_runtimed()
        await cluster.wait_until(lambda: not is_alive(workload.pids[0]))
        call.cancel()
