"""Which process belongs to which component. From the pids that are known to every process below them; the one look at /proc.

Below the node, a container is named by its program. Below a Runtime Server there is its supervisor, and below that are
keepers, warm children and user code: `child`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import psutil

NODE = "node"
CLIENT = "client"
"""The benchmark itself: shown, and not counted among the costs of the system."""


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
        except psutil.NoSuchProcess:
            continue


def _below_node(container: psutil.Process) -> Iterator[Member]:
    if any("runtimed" in argument for argument in container.cmdline()):
        yield from _all_of(container, component="runtimed")
        return
    yield Member(container, "server", "child")
    for supervisor in container.children():
        yield Member(supervisor, "supervisor", "child")
        for process in supervisor.children(recursive=True):
            yield Member(process, "child", "child")


def _all_of(root: psutil.Process, *, component: str) -> Iterator[Member]:
    for process in [root, *root.children(recursive=True)]:
        yield Member(process, component, component)
