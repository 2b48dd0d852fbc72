"""What each component may do on the cluster, and what it is refused."""

from __future__ import annotations

import pytest

from tests.e2e.cluster import SYSTEM, Cluster

pytestmark = [pytest.mark.node, pytest.mark.slow, pytest.mark.timeout(120)]

SCHEDULER, CONTROLLER = f"{SYSTEM}:kruntimes-scheduler", f"{SYSTEM}:kruntimes-controller"
RUNTIMED = ":kruntimes-runtimed"
ALLOWED = [
    (SCHEDULER, "watch", "runs"), (SCHEDULER, "patch", "runs/status"), (SCHEDULER, "watch", "pods"),
    (CONTROLLER, "watch", "runtimes"), (CONTROLLER, "patch", "deployments"), (CONTROLLER, "delete", "runs"),
    (RUNTIMED, "watch", "runs"), (RUNTIMED, "patch", "runs/status"), (RUNTIMED, "patch", "pods/status"),
]  # fmt: skip
REFUSED = [
    (SCHEDULER, "patch", "runs"), (SCHEDULER, "delete", "runs"), (SCHEDULER, "get", "secrets"), (SCHEDULER, "create", "pods"),
    (SCHEDULER, "patch", "pods/status"), (SCHEDULER, "get", "runtimes"), (SCHEDULER, "update", "leases"),
    (CONTROLLER, "get", "secrets"), (CONTROLLER, "create", "pods"), (CONTROLLER, "create", "pods/exec"), (CONTROLLER, "get", "nodes"),
    (CONTROLLER, "create", "clusterroles"), (CONTROLLER, "patch", "runtimes"), (CONTROLLER, "update", "leases"),
    (RUNTIMED, "get", "runtimes"), (RUNTIMED, "create", "runs"), (RUNTIMED, "delete", "runs"), (RUNTIMED, "list", "pods"),
    (RUNTIMED, "get", "secrets"), (RUNTIMED, "get", "configmaps"), (RUNTIMED, "get", "leases"),
]  # fmt: skip


def may(cluster: Cluster, account: str, verb: str, resource: str, *, name: str = "", namespace: str = "") -> bool:
    """`resource` may be one with a subresource; without a `name` all of them are meant."""
    home, _, account_name = account.partition(":")
    plural, _, subresource = resource.partition("/")
    user = f"system:serviceaccount:{home or cluster.namespace}:{account_name}"
    answer = cluster.try_kubectl(
        "auth", "can-i", verb, f"{plural}/{name}" if name else plural, f"--subresource={subresource}", f"--as={user}", namespace=namespace
    )
    assert answer.stdout.strip() in ("yes", "no"), answer.stderr
    return answer.stdout.strip() == "yes"


@pytest.mark.parametrize(("account", "verb", "resource"), ALLOWED)
def test_a_component_may(cluster: Cluster, account: str, verb: str, resource: str) -> None:
    assert may(cluster, account, verb, resource)


@pytest.mark.parametrize(("account", "verb", "resource"), REFUSED)
def test_a_component_may_not(cluster: Cluster, account: str, verb: str, resource: str) -> None:
    assert not may(cluster, account, verb, resource)


def test_runtimed_has_no_rights_in_another_namespace(cluster: Cluster) -> None:
    assert not may(cluster, RUNTIMED, "get", "runs", namespace="default")


def test_each_leads_by_its_own_lease_alone(cluster: Cluster) -> None:
    leases = ["kruntimes-scheduler.kruntimes.com", "kruntimes-controller.kruntimes.com"]
    rights = [
        [may(cluster, account, "update", "leases", name=lease, namespace=SYSTEM) for lease in leases] for account in (SCHEDULER, CONTROLLER)
    ]
    assert rights == [[True, False], [False, True]]


def test_user_code_has_no_token(cluster: Cluster) -> None:
    run = cluster.create_run("ls /var/run/secrets/kubernetes.io/serviceaccount")
    cluster.wait_for_phase(run, "Failed")
    pod = cluster.status(run)["assignedPod"]
    assert cluster.execute(pod, "runtimed", "ls", "/var/run/secrets/kubernetes.io/serviceaccount/token").returncode == 0


def test_user_code_cannot_see_the_state_of_runtimed(cluster: Cluster) -> None:
    run = cluster.create_run("ls /var/run/kruntimes")
    cluster.wait_for_phase(run, "Failed")


def test_the_namespace_refuses_what_is_not_restricted(cluster: Cluster) -> None:
    """Or it would prove nothing that the Pods of Runtimes are admitted to it."""
    refused = cluster.try_kubectl("run", "plain", f"--image={cluster.image('bash-runtime')}")
    assert "violates PodSecurity" in refused.stderr
