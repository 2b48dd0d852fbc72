"""CPU seconds by component, of live processes and of the children they have reaped: where the next millisecond is to be found."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

import psutil


class CpuMeter:
    """Reads the counters of the given processes and of everything below them. Names components as `processes` does.

    What runs below the node is named by its program: `runtimed`, or `server` for a Runtime Server with its supervisor and its Runs.
    """

    def __init__(self, processes: Mapping[str, int]) -> None:
        self._processes = dict(processes)

    def read(self) -> dict[str, float]:
        """CPU seconds so far, user and system."""
        seconds: dict[str, float] = defaultdict(float)
        for name, pid in self._processes.items():
            try:
                root = psutil.Process(pid)
                seconds[name] += _own_seconds(root)
                for child in root.children():
                    seconds[_component_of(child, parent=name)] += _tree_seconds(child)
            except psutil.NoSuchProcess:
                continue
        return seconds


def _component_of(process: psutil.Process, *, parent: str) -> str:
    if parent != "node":
        return parent
    return "runtimed" if any("runtimed" in argument for argument in process.cmdline()[:4]) else "server"


def _tree_seconds(process: psutil.Process) -> float:
    return sum(_own_seconds(one) for one in [process, *process.children(recursive=True)])


def _own_seconds(process: psutil.Process) -> float:
    """Its own and that of the children that it has waited for; 0 for one that has just ended."""
    try:
        times = process.cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return float(times.user + times.system + times.children_user + times.children_system)
