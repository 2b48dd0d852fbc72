"""Leak gates: what every process of ours may hold when nothing runs, and what may lie on disk. Budgets are absolute, by role.

The connections of a burst to the API server stay open for a while; that is most of each budget. What is leaked a Run shows here
after 200 of them, what is leaked a fault shows in the slope of the soak.
"""

from __future__ import annotations

from controlplane.local.node.host import folders_of, memory_root_of
from k8s.client.transport import MAX_CONNECTIONS
from servers.sdk.limits import WARM_SLOTS_LIMIT
from tests.fault.platform import Platform
from tests.fault.processes import is_idle, keepers_below, usage_of

KEEPERS_LIMIT = WARM_SLOTS_LIMIT + 4
"""Of a supervisor when nothing runs: as many children as it may hold ready (`servers/supervisor/pool.py`)."""

FDS = {
    "apiserver": 800,
    "scheduler": 110,
    "controllers": 110,
    "node": 160,
    "runtimed": 56 + MAX_CONNECTIONS,
    # Of a child that it was lent: the output, the order pipe, its memory, and its keeper's report.
    "server": 60 + 5 * KEEPERS_LIMIT,
    # A keeper's socket.
    "supervisor": 16 + KEEPERS_LIMIT,
}
THREADS = {"apiserver": 8, "scheduler": 6, "controllers": 6, "node": 12, "runtimed": 40, "server": 30, "supervisor": 1}
RSS_MIB = {"apiserver": 600, "scheduler": 512, "controllers": 512, "node": 512, "runtimed": 256, "server": 256, "supervisor": 64}
"""P7: memory limits of the manifests, where there are any."""


def held_processes(platform: Platform) -> list[str]:
    """User code that is still there, and keepers with anything below them but a child that is held ready, or too many of them."""
    problems = [f"user process {pid} of {uid}" for pid, uid in platform.user_processes().items()]
    for supervisor in platform.supervisors().values():
        keepers = keepers_below(supervisor)
        problems += [f"keeper {pid} is busy" for pid in keepers if not is_idle(pid)]
        if len(keepers) > KEEPERS_LIMIT:
            problems.append(f"supervisor {supervisor} has {len(keepers)} keepers")
    return problems


def held_files(platform: Platform) -> list[str]:
    """Workspaces, markers, records, half-written files of Runs; folders of Pods that are gone."""
    root, memory = platform.node_root, memory_root_of(platform.node_root)
    pods = {path.name: folders_of(path.name, root=root) for path in root.glob("pods/*")}
    found = [path for folders in pods.values() for path in folders.workspace.glob("*")]
    found += [path for folders in pods.values() for place in (folders.state, folders.markers) for path in place.glob("*")]
    found += [path for path in (memory.glob("*") if memory else ()) if path.name not in pods]
    found += root.glob("trash/*")
    return [str(path) for path in found if path.name != "node-boot-id"]


def held_by_processes(platform: Platform) -> list[str]:
    """Descriptors, threads and memory above the budget of a role."""
    problems = []
    for role, pids in platform.roles().items():
        kind = role.partition("-")[0]
        if kind not in FDS:
            continue  # kube-apiserver and etcd are not ours
        for pid in pids:
            usage = usage_of(pid)
            figures = {"fds": (usage.fds, FDS), "threads": (usage.threads, THREADS), "MiB": (usage.rss_bytes >> 20, RSS_MIB)}
            problems += [
                f"{role} {pid} holds {value} {unit}, may hold {budget[kind]}"
                for unit, (value, budget) in figures.items()
                if value > budget[kind]
            ]
    return problems
