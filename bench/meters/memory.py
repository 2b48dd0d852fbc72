"""Resident memory by component, of its largest process: what grows over a soak, and what an idle system takes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

import psutil

from bench.meters.components import members


def read_rss_mib(processes: Mapping[str, int]) -> dict[str, float]:
    """MiB. Pages that several processes share count for each of them."""
    largest: dict[str, float] = defaultdict(float)
    for member in members(processes):
        try:
            rss = member.process.memory_info().rss / (1 << 20)
        except psutil.NoSuchProcess:
            continue
        largest[member.component] = max(largest[member.component], round(rss, 1))
    return dict(largest)
