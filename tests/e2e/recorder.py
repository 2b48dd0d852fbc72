"""Somebody outside who saw user code start: a Pod that each Run tells its name, as its first act, and that nothing of ours touches."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from tests.e2e.cluster import Cluster
from tests.e2e.recorder_server import PORT

NAME = "recorder"
NOTES = "/tmp/starts"
RESTRICTED = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "runAsNonRoot": True,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}


class Recorder:
    """Get one by `start_recorder`."""

    def __init__(self, cluster: Cluster, *, address: str) -> None:
        self._cluster = cluster
        self._address = address

    def script(self, *, run_seconds: float) -> str:
        """Bash: notes its first argument, and goes on when that is noted. One that was not noted fails."""
        note = f'exec 3<>/dev/tcp/{self._address}/{PORT} && echo "$1" >&3 && read -r noted <&3 && [ "$noted" = "$1" ]'
        return f"{note} || exit 99\nexec 3>&-\nsleep {run_seconds}"

    def starts(self) -> Counter[str]:
        """How often each was started so far."""
        done = self._cluster.execute(NAME, NAME, "sh", "-c", f"cat {NOTES} || true")
        assert done.returncode == 0, done.stderr
        return Counter(done.stdout.split())


def start_recorder(cluster: Cluster) -> Recorder:
    """In the cluster's namespace, from which it goes with everything else."""
    server = (Path(__file__).parent / "recorder_server.py").read_text()
    container = {
        "name": NAME,
        "image": cluster.image("python-runtime"),  # for its Python
        "command": ["python3", "/app/server.py", NOTES],
        "securityContext": RESTRICTED,
        "volumeMounts": [{"name": "app", "mountPath": "/app"}, {"name": "notes", "mountPath": "/tmp"}],
        "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}},
        "readinessProbe": {"tcpSocket": {"port": PORT}, "periodSeconds": 1},
    }
    spec = {
        "containers": [container],
        "automountServiceAccountToken": False,
        "volumes": [{"name": "app", "configMap": {"name": NAME}}, {"name": "notes", "emptyDir": {}}],
    }
    cluster.apply(
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": NAME}, "data": {"server.py": server}},
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": NAME}, "spec": spec},
    )
    cluster.wait("condition=Ready", f"pod/{NAME}")
    return Recorder(cluster, address=cluster.get("pod", NAME)["status"]["podIP"])
