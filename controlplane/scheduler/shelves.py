"""The available Pods of one queue, sorted by how full they are.

Pods of equal capacity and equal use differ by nothing but their name: they stand on one shelf. Least-loaded placement keeps
Pods alike, so that a queue of 1,000 Pods has a handful of shelves, and finding the best Pod is a look at two or three of them,
whatever the Run asks for.
"""

from __future__ import annotations

import heapq
import math
from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TypeAlias

from controlplane.scheduler.model import Fill, RuntimePod, Shape
from controlplane.scheduler.policy import Load, load_of, load_with

Entry: TypeAlias = tuple[str, str, RuntimePod]
"""(name, UID, Pod): Pods of one load are taken by name."""


@dataclass(slots=True, eq=False)
class Shelf:
    """Pods of one fill, by name."""

    fill: Fill
    entries: list[Entry] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.entries)


@dataclass(slots=True, eq=False)
class Level:
    """Shelves whose Pods would be equally loaded."""

    load: Load
    shelves: list[Shelf]

    def by_name(self) -> Iterable[Entry]:
        if len(self.shelves) == 1:
            return self.shelves[0].entries
        return heapq.merge(*(shelf.entries for shelf in self.shelves))


class Shelves:
    """Told of each Pod that changes; unavailable ones stand on no shelf."""

    def __init__(self) -> None:
        self.unit = 1
        """Of the loads here: a multiple of all capacities."""
        self._shelves: dict[Fill, Shelf] = {}
        self._by_load: list[tuple[Load, Fill]] = []
        self._filed: dict[str, tuple[Fill, Entry]] = {}

    def __len__(self) -> int:
        """How many Pods stand here."""
        return len(self._filed)

    def __iter__(self) -> Iterator[Shelf]:
        return iter(self._shelves.values())

    def file(self, pod: RuntimePod) -> None:
        """Puts it where it belongs now."""
        filed = self._filed.get(pod.uid)
        fill = pod.fill
        if filed is not None and filed[0] == fill and pod.is_available:
            return
        self.remove(pod.uid)
        if pod.is_available:
            entry = (pod.name, pod.uid, pod)
            self._filed[pod.uid] = (fill, entry)
            insort(self._shelf(fill).entries, entry)

    def remove(self, uid: str) -> None:
        filed = self._filed.pop(uid, None)
        if filed is None:
            return
        fill, entry = filed
        shelf = self._shelves[fill]
        del shelf.entries[bisect_left(shelf.entries, entry)]
        if not shelf.entries:
            del self._shelves[fill]
            del self._by_load[bisect_left(self._by_load, (load_of(fill, unit=self.unit), fill))]

    def levels(self, shape: Shape) -> Iterator[Level]:
        """Those with room for a Run of that shape, the least loaded with it first. Lazy: most callers want the first alone."""
        unit = self.unit
        found: list[tuple[Load, int, Shelf]] = []
        for index, (load_now, fill) in enumerate(self._by_load):
            # No Pod gets emptier by a Run: whatever comes now or later will be at least so full.
            while found and found[0][0] < load_now:
                yield _next_level(found)
            load = load_with(fill, shape=shape, unit=unit)
            if load is not None:
                heapq.heappush(found, (load, index, self._shelves[fill]))
        while found:
            yield _next_level(found)

    def _shelf(self, fill: Fill) -> Shelf:
        shelf = self._shelves.get(fill)
        if shelf is None:
            shelf = self._shelves[fill] = Shelf(fill)
            self._sort_in(fill)
        return shelf

    def _sort_in(self, fill: Fill) -> None:
        unit = math.lcm(self.unit, *(capacity for _, capacity, _ in fill))
        if unit == self.unit:
            insort(self._by_load, (load_of(fill, unit=unit), fill))
        else:
            # A capacity that is new here: once for each, and Pods of one Runtime have one, or two while it rolls out.
            self.unit = unit
            self._by_load = sorted((load_of(each, unit=unit), each) for each in self._shelves)


def _next_level(found: list[tuple[Load, int, Shelf]]) -> Level:
    load, _, shelf = heapq.heappop(found)
    shelves = [shelf]
    while found and found[0][0] == load:
        shelves.append(heapq.heappop(found)[2])
    return Level(load, shelves)
