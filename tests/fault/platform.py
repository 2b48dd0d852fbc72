"""The whole system as processes that can be killed: embedded API server with failpoints and audit, two schedulers, controllers, a node.

It lasts for many rows, since a start costs seconds. What one row needs of it is `row.Row`.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from controlplane.local.node.host import folders_of
from k8s.api.names import API_VERSION
from tests.cluster.access import Access, write_kubeconfig
from tests.cluster.embedded import EmbeddedApiServer
from tests.cluster.real import RealApiServer
from tests.cluster.system import Shape, System
from tests.fault import kube_audit, processes
from tests.fault.canaries import Search
from tests.fault.history import History, Made, Recorder, read_embedded

NAMESPACE = "default"
LEASE_SECONDS = 3.0
STALE_SECONDS = 8.0
"""A Pod beats every 5 s; a silent one loses its Runs after this."""
GRACE_SECONDS = 8
"""Of a Pod that is deleted. runtimed keeps 5 s of it for killing and telling."""
LEADING = (
    "--leader-elect",
    f"--leader-elect-lease-duration={LEASE_SECONDS:g}s",
    "--leader-elect-renew-deadline=2s",
    "--leader-elect-retry-period=500ms",
)


@dataclass(frozen=True, slots=True)
class Size:
    """How many Pods, with how many slots each."""

    bash_pods: int = 2
    bash_slots: int = 128
    python_pods: int = 1
    python_slots: int = 16

    @property
    def pods(self) -> int:
        return self.bash_pods + self.python_pods


class Platform:
    """Start it from the main thread and stop it there; everything between is signals and HTTP."""

    def __init__(
        self,
        *,
        size: Size | None = None,
        shape: Shape | None = None,
        is_real: bool = False,
        stale_seconds: float = STALE_SECONDS,
        runtimed_port: int | None = None,
        artifact_claim: str = "",
    ) -> None:
        """`is_real`: a kube-apiserver with etcd, which has no failpoints.

        `runtimed_port`: where runtimed finds the API server, if not at its own port. `artifact_claim`: the volume that keeps artifacts.
        """
        self.size = size or Size()
        self.artifact_claim = artifact_claim
        self.folder = Path(tempfile.mkdtemp(prefix="krt-fault-"))
        socket = self.folder / "node.sock"
        self.is_real = is_real
        self.api: EmbeddedApiServer | RealApiServer
        if is_real:
            self.api = RealApiServer(folder=self.folder / "api", is_audited=True)
        else:
            self.api = EmbeddedApiServer(folder=self.folder / "api", arguments=("--audit", "--node-socket", str(socket)))
        self._runtimed_port = runtimed_port
        self._given_kubeconfig = self.folder / "runtimed.kubeconfig" if runtimed_port else self.api.kubeconfig_of("kruntimes-runtimed")
        default = Shape(
            schedulers=2,
            scheduler_flags=LEADING,
            controller_flags=(*LEADING, f"--stale-threshold={stale_seconds:g}s"),
            node_flags=(f"--runtimed-kubeconfig={self._given_kubeconfig}",) if is_real or runtimed_port else (),
        )
        self.system = System(self.api, node_socket=socket, shape=shape or default)
        self.workload_log = self.folder / "workload.log"
        self.made: list[Made] = []
        self.is_broken = False
        self.canaries = Search(self)
        self.has_canaries = is_real
        """Whether its secrets are there. A real kube-apiserver would have to grant them first."""
        # The workload reads the wall clock; nothing on this machine moves it while we run.
        offset = time.time() - time.monotonic()
        read_write = kube_audit.reader(wall_minus_monotonic=offset) if is_real else read_embedded
        self._recorder = Recorder(
            audit=self.api.folder / "audit.jsonl", workload=self.workload_log, wall_minus_monotonic=offset, read_write=read_write
        )

    def start(self) -> None:
        self.api.start()
        if self._runtimed_port is not None:
            access = Access(f"http://127.0.0.1:{self._runtimed_port}", self.api.admin.token)
            write_kubeconfig(self._given_kubeconfig, access=access, user="runtimed")
        self.system.start()

    def stop(self) -> None:
        self.system.stop()
        self.api.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def heal(self) -> None:
        """Starts what a fault has ended."""
        if not self.api.processes or not all(map(processes.is_alive, self.api.processes.values())):
            self.api.stop()
            self.api.start()
        for name in self.system.names:
            self.system.start_one(name)

    # -- who is there -------------------------------------------------------------------------------------------------

    @property
    def node_root(self) -> Path:
        return self.system.folder / "node"

    def markers_of(self, pod_uid: str) -> Path:
        """Where its runtimed has markers and records."""
        return folders_of(pod_uid, root=self.node_root).markers

    def containers(self, name: str) -> dict[str, int]:
        """Pod UID -> pid of that container (`runtimed`, `runtime`) now."""
        found = processes.containers_below(self.system.processes["node"])
        return {uid: pid for (uid, container), pid in found.items() if container == name}

    def supervisors(self) -> dict[str, int]:
        """Pod UID -> pid."""
        servers = self.containers("runtime")
        return {uid: pid for uid, server in servers.items() for pid in processes.supervisors_below(server)}

    def user_processes(self) -> dict[int, str]:
        return processes.user_processes(self.node_root)

    def roles(self) -> dict[str, list[int]]:
        """Every process of ours by what it is."""
        single = {**self.api.processes, **self.system.processes}
        found = {name: [pid] for name, pid in single.items()}
        found["runtimed"] = list(self.containers("runtimed").values())
        found["server"] = list(self.containers("runtime").values())
        found["supervisor"] = list(self.supervisors().values())
        return found

    # -- what happened ------------------------------------------------------------------------------------------------

    def history(self) -> History:
        """Everything so far."""
        return self._recorder.read()

    def keep(self, name: str, *, under: Path) -> Path:
        """Copies history and logs to where they outlive us; says where."""
        kept = under / f"{name}-{time.strftime('%H%M%S')}"
        kept.mkdir(parents=True)
        files = [self.api.folder / "audit.jsonl", self.api.folder / "apiserver.log", self.workload_log, *self.system.folder.glob("*.log")]
        for file in files:
            if file.exists():
                shutil.copy(file, kept / file.name)
        for log in self.node_root.glob("pods/*/logs/*/*.log"):
            shutil.copy(log, kept / f"{log.parents[2].name}-{log.parent.name}-{log.name}")
        return kept


def filesystem_store(claim: str) -> dict[str, Any]:
    return {"driver": "filesystem", "filesystem": {"volumeClaimName": claim}}


def runtime_manifest(
    name: str, *, pods: int, slots: int, store: dict[str, Any] | None = None, annotations: dict[str, str] | None = None
) -> dict[str, Any]:
    """`store`: its `spec.artifactStore`."""
    container = {"name": "runtime", "image": f"kruntimes-{name}-runtime"}
    return {
        "apiVersion": API_VERSION,
        "kind": "Runtime",
        "metadata": {"name": name, "annotations": annotations or {}},
        "spec": {
            **({"artifactStore": store} if store else {}),
            "replicas": pods,
            "capacity": {"resources": {"runs": slots}},
            "template": {"spec": {"containers": [container], "terminationGracePeriodSeconds": GRACE_SECONDS}},
        },
    }
