"""What becomes of a Run when a container or a Pod is taken from under it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.e2e.cluster import Cluster

pytestmark = [pytest.mark.node, pytest.mark.slow, pytest.mark.timeout(240)]

RETRIED = {"maxAttempts": 3, "backoff": "100ms"}
LOSSES = {"PodGone", "PodTerminating", "PodUnhealthy"}


def running(cluster: Cluster, script: str, **spec: Any) -> tuple[str, str]:
    """The names of a Run that runs, and of its Pod."""
    run = cluster.create_run(script, **spec)
    return run, cluster.wait_for_phase(run, "Running")["assignedPod"]


def test_a_run_that_ends_in_time_survives_the_deletion_of_its_pod(cluster: Cluster) -> None:
    run, pod = running(cluster, "sleep 4")
    cluster.kubectl("delete", "pod", pod, "--wait=false")
    assert max(1, cluster.wait_for_phase(run, "Succeeded").get("attempt", 0)) == 1


def test_a_run_without_a_policy_fails_with_its_pod(cluster: Cluster) -> None:
    run, pod = running(cluster, "sleep 120")
    cluster.kubectl("delete", "pod", pod, "--grace-period=0", "--force")
    cluster.wait_for_phase(run, "Failed")
    assert cluster.reason(run) in LOSSES


def test_a_run_with_a_policy_goes_on_in_another_pod(cluster: Cluster) -> None:
    run, pod = running(cluster, "sleep 5", retryPolicy=RETRIED)
    cluster.kubectl("delete", "pod", pod, "--grace-period=0", "--force")
    status = cluster.wait_for_phase(run, "Succeeded")
    assert status["attempt"] == 2
    assert status["assignedPod"] != pod


def test_a_run_survives_the_end_of_runtimed(cluster: Cluster) -> None:
    run, pod = running(cluster, "sleep 6")
    assert cluster.execute(pod, "runtimed", "/bin/sh", "-c", "kill 1").returncode == 0
    assert max(1, cluster.wait_for_phase(run, "Succeeded").get("attempt", 0)) == 1
    cluster.wait("condition=Ready", f"pod/{pod}")


def test_a_run_is_tried_again_after_the_end_of_its_runtime_server(cluster: Cluster) -> None:
    run, pod = running(cluster, "sleep 8", retryPolicy=RETRIED)
    # The first signal asks to finish, the second to stop at once.
    cluster.execute(pod, "runtime", "/bin/sh", "-c", "kill 1; kill 1; sleep 0.2; kill 1")
    status = cluster.wait_for_phase(run, "Succeeded")
    assert status["attempt"] == 2
