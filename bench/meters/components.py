"""Which process belongs to which component. From the pids that are known to every process below them; the one look at /proc.

Below the node, a container is named by its program. Below a Runtime Server there is its supervisor, and below that are
keepers, warm children and user code: `child`. A real node's containers are found below the shims of its containerd.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import psutil

NODE = "node"
CONTAINERD = "containerd"
SHIMS = "shims"
ELSEWHERE = "elsewhere"
"""All else that the machine did. On a node that is runc, and shims and containers that had ended before anybody looked."""
CLIENT = "client"
"""The benchmark itself: shown, and not counted among the costs of the system."""


_PROGRAMS = {"krt-scheduler": "scheduler", "krt-controller": "controllers", "runtimed": "runtimed", "/pause": "other Pods"}
"""By a part of a container's command line, the first that is in it. Any other is a Runtime Server."""


class Member(NamedTuple):
    """A living process, and who pays for it and for what it has reaped."""

    process: psutil.Process
    component: str
    reaped_component: str


def members(processes: Mapping[str, int]) -> Iterator[Member]:
    """All that live. One that ends meanwhile is left out."""
    for name, pid in processes.items():
        try:
            root = psutil.Process(pid)
            yield Member(root, name, name)
            # The client is the parent of everything that it has started: those are named for themselves.
            for child in root.children() if name != CLIENT else ():
                yield from _below_node(child) if name == NODE else _all_of(child, component=name)
            if name == CONTAINERD:
                yield from _of_shims(root)
        except psutil.NoSuchProcess:
            continue


def _of_shims(containerd: psutil.Process) -> Iterator[Member]:
    """They are no children of containerd's: they outlive it. But they are in its network namespace."""
    network = os.readlink(f"/proc/{containerd.pid}/ns/net")
    for process in psutil.process_iter():
        try:
            if process.name().startswith("containerd-shim") and os.readlink(f"/proc/{process.pid}/ns/net") == network:
                yield Member(process, SHIMS, SHIMS)
                for container in process.children():
                    yield from _below_node(container)
        except (psutil.NoSuchProcess, FileNotFoundError):
            continue


def _below_node(container: psutil.Process) -> Iterator[Member]:
    program = " ".join(container.cmdline())
    component = next((component for part, component in _PROGRAMS.items() if part in program), None)
    if component is not None:
        yield from _all_of(container, component=component)
        return
    yield Member(container, "server", "child")
    for supervisor in container.children():
        yield Member(supervisor, "supervisor", "child")
        for process in supervisor.children(recursive=True):
            yield Member(process, "child", "child")


def _all_of(root: psutil.Process, *, component: str) -> Iterator[Member]:
    for process in [root, *root.children(recursive=True)]:
        yield Member(process, component, component)
