"""What a Run lives through where nothing goes wrong, on Pods that a kubelet started."""

from __future__ import annotations

import pytest

from tests.e2e.cluster import Cluster

pytestmark = [pytest.mark.node, pytest.mark.slow, pytest.mark.timeout(180)]

BASH = 'echo "told $1"; echo "greeted=$1" >> "$KRUNTIME_OUTPUTS"'
PYTHON = "import os, sys\nprint('greeted=' + sys.argv[1], file=open(os.environ['KRUNTIME_OUTPUTS'], 'a'))"


@pytest.mark.parametrize(("runtime", "script"), [("bash", BASH), ("python", PYTHON)])
def test_a_run_succeeds_with_its_outputs(cluster: Cluster, runtime: str, script: str) -> None:
    run = cluster.create_run(script, runtime=runtime, args=("the world",))
    status = cluster.wait_for_phase(run, "Succeeded")
    assert (status["outputs"], status["exitCode"], status["message"]) == ({"greeted": "the world"}, 0, "execution completed")


@pytest.mark.parametrize(("runtime", "script"), [("bash", "exit 3"), ("python", "raise SystemExit(3)")])
def test_a_run_fails_with_its_exit_code(cluster: Cluster, runtime: str, script: str) -> None:
    run = cluster.create_run(script, runtime=runtime)
    status = cluster.wait_for_phase(run, "Failed")
    assert (status["exitCode"], cluster.reason(run)) == (3, "RuntimeError")


def test_what_a_run_prints_is_in_the_log_of_its_pod(cluster: Cluster) -> None:
    run = cluster.create_run("echo 'a line to be found again'")
    pod = cluster.wait_for_phase(run, "Succeeded")["assignedPod"]
    lines = [line for line in cluster.kubectl("logs", pod, "--container=runtimed").splitlines() if f'"run_name":"{run}"' in line]
    assert "a line to be found again" in "".join(lines)


def test_a_run_ends_when_its_time_is_over(cluster: Cluster) -> None:
    run = cluster.create_run("sleep 60", timeout="1s")
    cluster.wait_for_phase(run, "Timeout")
    assert cluster.reason(run) == "Timeout"


def test_a_run_is_cancelled(cluster: Cluster) -> None:
    run = cluster.create_run("sleep 60")
    cluster.wait_for_phase(run, "Running")
    cluster.kubectl("patch", "run", run, "--type=merge", '--patch={"spec":{"cancelRequested":true}}')
    cluster.wait_for_phase(run, "Cancelled")


def test_a_run_is_tried_again_as_often_as_its_policy_says(cluster: Cluster) -> None:
    run = cluster.create_run("exit 1", retryPolicy={"maxAttempts": 3, "backoff": "100ms"})
    assert cluster.wait_for_phase(run, "Failed")["attempt"] == 3


def test_a_run_goes_when_its_time_to_live_is_over(cluster: Cluster) -> None:
    run = cluster.create_run("exit 0", ttlSecondsAfterFinished=1)
    cluster.wait("delete", f"run/{run}")
    assert cluster.get("run", f"--field-selector=metadata.name={run}")["items"] == []


def test_a_run_above_the_capacity_waits_until_there_is_room(cluster: Cluster) -> None:
    cluster.apply_runtime("narrow", kind="bash", replicas=1, capacity={"resources": {"runs": "1"}})
    first = cluster.create_run("sleep 60", runtime="narrow")
    cluster.wait_for_phase(first, "Running")
    second = cluster.create_run("exit 0", runtime="narrow")
    # Its message says that the scheduler has looked at it and found no room.
    cluster.wait("jsonpath={.status.message}", f"run/{second}")
    assert cluster.status(second)["phase"] == "Pending"
    cluster.kubectl("patch", "run", first, "--type=merge", '--patch={"spec":{"cancelRequested":true}}')
    cluster.wait_for_phase(second, "Succeeded")


def test_a_run_may_be_there_before_its_runtime(cluster: Cluster) -> None:
    run = cluster.create_run("exit 0", runtime="late")
    cluster.wait("jsonpath={.status.message}", f"run/{run}")
    cluster.apply_runtime("late", kind="bash", replicas=1)
    cluster.wait_for_phase(run, "Succeeded")


@pytest.mark.parametrize(("runtime", "script"), [("bash", "echo one; echo two"), ("python", "print('one')\nprint('two')")])
def test_krt_prints_what_a_run_prints(cluster: Cluster, runtime: str, script: str) -> None:
    """Also of a Run that has ended before its log was opened."""
    done = cluster.krt("run", f"--runtime={runtime}", "--wait", "--file=-", stdin=script)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "one\ntwo\n"
