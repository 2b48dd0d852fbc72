"""No Run is lost or started twice while the cluster changes under it."""

from __future__ import annotations

import json
import secrets

import pytest

from tests.e2e.cluster import SYSTEM, Cluster
from tests.e2e.load import THIRTY_A_SECOND, again_and_again, assert_each_runs_once_during, wide_runtime
from tests.e2e.recorder import Recorder

pytestmark = [pytest.mark.node, pytest.mark.slow, pytest.mark.timeout(400)]

RUNS_A_SECOND = 8.0


def roll(cluster: Cluster, runtime: str) -> None:
    """Every Pod of it is replaced by one of another template."""
    old = {pod["metadata"]["name"] for pod in cluster.pods(runtime)}
    template = {"metadata": {"annotations": {"e2e/rolled": secrets.token_hex(4)}}}
    cluster.kubectl("patch", "runtime", runtime, "--type=merge", f"--patch={json.dumps({'spec': {'template': template}})}")
    cluster.wait("delete", *(f"pod/{name}" for name in old), seconds=120)
    cluster.wait_until_rolled_out(runtime)


def test_a_rolling_update_of_the_runtime(cluster: Cluster, recorder: Recorder) -> None:
    assert_each_runs_once_during(lambda: roll(cluster, "bash"), recorder, namespace=cluster.namespace, runs_a_second=RUNS_A_SECOND)


@pytest.mark.long
def test_two_minutes_of_rolling_updates_at_thirty_runs_a_second(cluster: Cluster, recorder: Recorder) -> None:
    with wide_runtime(cluster) as runtime:
        rolls = again_and_again(lambda: roll(cluster, runtime), seconds=120)
        count = assert_each_runs_once_during(rolls, recorder, namespace=cluster.namespace, runtime=runtime, **THIRTY_A_SECOND)
    assert count >= 3600


def test_scaling_up_and_down(cluster: Cluster, recorder: Recorder) -> None:
    def scale() -> None:
        for replicas in (3, 1, 2):
            cluster.kubectl("patch", "runtime", "bash", "--type=merge", f'--patch={{"spec":{{"replicas":{replicas}}}}}')
            cluster.wait(f"jsonpath={{.status.readyReplicas}}={replicas}", "deployment/runtime-bash", seconds=120)

    assert_each_runs_once_during(scale, recorder, namespace=cluster.namespace)
    cluster.wait_until_rolled_out("bash")


def test_a_drained_node(cluster: Cluster, recorder: Recorder) -> None:
    """Cordoned and its Runtime Pods evicted, as `kubectl drain` does it; where it is the only one, Runs wait until it is back."""

    def drain() -> None:
        pods = cluster.pods("bash")
        nodes = {pod["spec"]["nodeName"] for pod in pods}
        try:
            for node in nodes:
                cluster.kubectl("cordon", node)
                cluster.kubectl("drain", node, "--pod-selector=runtime=bash", "--delete-emptydir-data", "--timeout=90s")
        finally:
            for node in nodes:
                cluster.kubectl("uncordon", node)
        cluster.wait_until_rolled_out("bash")

    assert_each_runs_once_during(drain, recorder, namespace=cluster.namespace)


def test_the_deletion_of_the_leading_scheduler(cluster: Cluster, recorder: Recorder) -> None:
    def holder() -> str:
        lease = cluster.get("lease", "kruntimes-scheduler.kruntimes.com", namespace=SYSTEM)
        return str(lease["spec"]["holderIdentity"])

    def leader_of(identity: str) -> str:
        names: list[str] = [
            pod["metadata"]["name"] for pod in cluster.get("pods", "--selector=app=kruntimes-scheduler", namespace=SYSTEM)["items"]
        ]
        return next(name for name in names if name in identity)

    def depose() -> None:
        before = holder()
        cluster.kubectl("delete", "pod", leader_of(before), namespace=SYSTEM)
        cluster.kubectl("rollout", "status", "deployment/kruntimes-scheduler", "--timeout=60s", namespace=SYSTEM)
        assert holder() != before

    assert_each_runs_once_during(depose, recorder, namespace=cluster.namespace)
