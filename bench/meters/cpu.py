"""CPU seconds by component: where the next millisecond is to be found.

Each second is counted once: what a living process used itself goes to its own component; what its dead children used (the kernel
adds it to whoever reaps them, once, with all that they had reaped) goes to the component of those children.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

import psutil

from bench.meters.components import members


def read_cpu_seconds(processes: Mapping[str, int]) -> dict[str, float]:
    """CPU seconds so far, user and system."""
    seconds: dict[str, float] = defaultdict(float)
    for member in members(processes):
        try:
            times = member.process.cpu_times()
        except psutil.NoSuchProcess:
            continue
        seconds[member.component] += times.user + times.system
        seconds[member.reaped_component] += times.children_user + times.children_system
    return dict(seconds)


def read_machine_seconds() -> float:
    """CPU seconds so far of everything on this machine, stolen ones included."""
    times = psutil.cpu_times()
    return float(sum(times) - times.idle - times.iowait - times.guest - times.guest_nice)


def difference(before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, float]:
    """What was used in between."""
    return {name: round(after[name] - before.get(name, 0.0), 4) for name in after}
