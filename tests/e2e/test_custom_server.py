"""A Runtime Server of somebody else, which knows the unary protocol alone: examples/custom-server on a cluster."""

from __future__ import annotations

import pytest

from tests.e2e.cluster import REPO, Cluster

pytestmark = [pytest.mark.node, pytest.mark.slow, pytest.mark.timeout(180)]


def test_a_run_is_executed_by_a_server_of_the_unary_protocol(cluster: Cluster) -> None:
    server = (REPO / "examples/custom-server/server.py").read_text()
    cluster.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "server"}, "data": {"server.py": server}})
    container = {
        "name": "runtime",
        "image": cluster.image("python-runtime"),  # Python and the protocol's stubs are in it
        "command": ["python", "/app/server.py", "--port=9191", "--host=0.0.0.0", "--work-dir=/workspace"],
        "volumeMounts": [{"name": "app", "mountPath": "/app"}],
        "resources": {"requests": {"cpu": "10m", "memory": "64Mi"}},
    }
    template = {"spec": {"containers": [container], "volumes": [{"name": "app", "configMap": {"name": "server"}}]}}
    spec = {"port": 9191, "capacity": {"resources": {"runs": "4"}}, "template": template}
    cluster.apply({"apiVersion": "kruntimes.io/v1alpha1", "kind": "Runtime", "metadata": {"name": "sh"}, "spec": spec})
    cluster.wait_until_rolled_out("sh")

    succeeding = cluster.create_run('echo answer=42 >> "$KRUNTIME_OUTPUTS"', runtime="sh")
    failing = cluster.create_run("exit 7", runtime="sh")
    assert cluster.wait_for_phase(succeeding, "Succeeded")["outputs"] == {"answer": "42"}
    assert cluster.wait_for_phase(failing, "Failed")["exitCode"] == 7
