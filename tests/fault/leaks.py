"""Leak gates: what every process of ours may hold when nothing runs, and what may lie on disk. Budgets are absolute, by role.

A connection pool of 64 to the API server is kept open after a burst; that is most of each budget. What is leaked a Run shows
here after 200 of them, what is leaked a fault shows in the slope of the soak.
"""

from __future__ import annotations

from pathlib import Path

from tests.fault.platform import Platform
from tests.fault.processes import KEEPER, named_below, usage_of

FDS = {"apiserver": 800, "scheduler": 110, "controllers": 110, "node": 160, "runtimed": 120, "server": 60, "supervisor": 16}
THREADS = {"apiserver": 8, "scheduler": 6, "controllers": 6, "node": 12, "runtimed": 40, "server": 30, "supervisor": 1}
RSS_MIB = {"apiserver": 600, "scheduler": 512, "controllers": 512, "node": 512, "runtimed": 256, "server": 256, "supervisor": 64}
"""P7: memory limits of the manifests, where there are any."""


def held_processes(platform: Platform) -> list[str]:
    """User code and keepers that are still there."""
    keepers = named_below(platform.system.processes["node"], name=KEEPER)
    user = platform.user_processes()
    return [f"keeper {pid}" for pid in keepers] + [f"user process {pid} of {uid}" for pid, uid in user.items()]


def held_files(platform: Platform) -> list[str]:
    """Workspaces, markers, records, half-written files of Runs; folders of Pods that are gone."""
    root = platform.node_root
    workspaces = [str(path.relative_to(root)) for path in root.glob("pods/*/volumes/workspace/*")]
    states = [str(path.relative_to(root)) for path in root.glob("pods/*/state/*") if path.name != "node-boot-id"]
    return workspaces + states + _left_in(root / "trash")


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


def _left_in(folder: Path) -> list[str]:
    return [f"trash/{path.name}" for path in folder.iterdir()] if folder.exists() else []
