"""Which Pod a Run gets: filters and scores of the contract over shelves of alike Pods, so that few Pods are looked at one by one.

Pods that no term of the Run is about are *strangers*: they pass or fail together, and their score depends on their shelf alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from itertools import groupby
from typing import NamedTuple

from controlplane.scheduler.affinity import Neighbours
from controlplane.scheduler.model import RuntimePod, Shape
from controlplane.scheduler.neighbourhood import Targets
from controlplane.scheduler.policy import UNSATISFIED, Load, load_with
from controlplane.scheduler.shelves import Entry, Shelves

_BEST = 100
_FEW = 5
"""Up to the fifth part of all Pods, looking at each target costs less than looking for one among all Pods."""


class Search(NamedTuple):
    """A Pod is wanted for a Run of this shape."""

    shelves: Shelves
    shape: Shape
    neighbours: Neighbours
    spared: str | None
    """UID of the Pod that is kept for another."""
    find_pod: Callable[[str], RuntimePod | None]
    """The Pod of a seat, if it is one of this queue's."""


class Choice(NamedTuple):
    """A Pod, or why there is none: how many Pods with room would not do, by reason."""

    pod: RuntimePod | None
    rejections: Counter[str]


def least_loaded(shelves: Shelves, *, shape: Shape, spared: str | None) -> RuntimePod | None:
    """For a Run that does not care about its neighbours: the least loaded, by name among equals."""
    return next((pod for _, uid, pod in _by_load(shelves, shape=shape) if uid != spared), None)


def choose(search: Search) -> Choice:
    """For a Run that does."""
    if search.neighbours.preferred:
        return _best_scored(search)
    binding = min(search.neighbours.binding, key=lambda targets: len(targets.counts), default=None)
    if binding is not None and len(binding.counts) * _FEW < len(search.shelves):
        return _least_loaded_target(search, binding=binding)
    return _first_that_will_do(search)


def _by_load(shelves: Shelves, *, shape: Shape) -> Iterator[Entry]:
    for level in shelves.levels(shape):
        yield from level.by_name()


def _first_that_will_do(search: Search) -> Choice:
    """Without preferences the least loaded wins."""
    rejections: Counter[str] = Counter()
    for _, uid, pod in _by_load(search.shelves, shape=search.shape):
        rejection = search.neighbours.rejection(pod)
        if rejection is not None:
            rejections[rejection] += 1
        elif uid != search.spared:
            return Choice(pod, rejections)
    return Choice(None, rejections)


def _least_loaded_target(search: Search, *, binding: Targets) -> Choice:
    """The same where few Pods can do: those are looked at, not all."""
    best: tuple[Load, str, str, RuntimePod] | None = None
    rejections: Counter[str] = Counter()
    with_room = 0
    for pod, load in _with_room(binding.counts, search=search):
        with_room += 1
        rejection = search.neighbours.rejection(pod)
        if rejection is not None:
            rejections[rejection] += 1
        elif pod.uid != search.spared and (best is None or (load, pod.name, pod.uid) < best[:3]):
            best = (load, pod.name, pod.uid, pod)
    if best is not None:
        return Choice(best[3], rejections)
    rejections[UNSATISFIED] += sum(len(shelf) for level in search.shelves.levels(search.shape) for shelf in level.shelves) - with_room
    return Choice(None, +rejections)


def _with_room(seats: Iterable[str], *, search: Search) -> Iterator[tuple[RuntimePod, Load]]:
    unit = search.shelves.unit
    pods = {pod.uid: pod for seat in seats if (pod := search.find_pod(seat)) is not None and pod.is_available}
    return ((pod, load) for pod in pods.values() if (load := load_with(pod.fill, shape=search.shape, unit=unit)) is not None)


# ---- preferences


class _Group(NamedTuple):
    """Candidates that score alike: as loaded, and as liked."""

    load: Load
    liking: int
    size: int
    first: Entry


def _best_scored(search: Search) -> Choice:
    """The highest sum of both scores, each 0 to 100; by name among equals."""
    rejections: Counter[str] = Counter()
    groups = sorted(_groups(search, rejections=rejections), key=lambda group: group.load)
    candidates, highest = sum(group.size for group in groups), max((group.liking for group in groups), default=0)
    best: tuple[int, str, str, RuntimePod] | None = None
    fuller = candidates
    for _, alike in groupby(groups, key=lambda group: group.load):
        level = list(alike)
        loaded = (fuller - 1) * _BEST // (candidates - 1) if candidates > 1 else _BEST
        for group in level:
            liked = group.liking * _BEST // highest if highest else 0
            scored = (-(loaded + liked), *group.first)
            best = scored if best is None else min(best, scored)
        fuller -= sum(group.size for group in level)
    return Choice(best[3] if best is not None else None, +rejections)


def _groups(search: Search, *, rejections: Counter[str]) -> Iterator[_Group]:
    seats = set().union(*(targets.counts for targets in search.neighbours.targets))
    if len(seats) * _FEW < len(search.shelves):
        return _groups_of_few_targets(search, seats=seats, rejections=rejections)
    return _groups_of_many_targets(search, rejections=rejections)


def _groups_of_few_targets(search: Search, *, seats: set[str], rejections: Counter[str]) -> Iterator[_Group]:
    """Each Pod that a term is about for itself, and the strangers of each shelf together."""
    neighbours = search.neighbours
    special = {pod.uid: (pod, load) for pod, load in _with_room(seats | {search.spared or ""}, search=search)}
    for pod, load in special.values():
        rejection = neighbours.rejection(pod)
        if rejection is not None:
            rejections[rejection] += 1
        elif pod.uid != search.spared:
            yield _Group(load, neighbours.liking(pod), 1, (pod.name, pod.uid, pod))
    specials_by_fill = Counter(pod.fill for pod, _ in special.values())
    are_strangers_rejected = bool(neighbours.binding)
    for level in search.shelves.levels(search.shape):
        for shelf in level.shelves:
            size = len(shelf) - specials_by_fill[shelf.fill]
            if are_strangers_rejected:
                rejections[UNSATISFIED] += size
            elif size:
                first = next(entry for entry in shelf.entries if entry[1] not in special)
                yield _Group(level.load, neighbours.liking(None), size, first)


def _groups_of_many_targets(search: Search, *, rejections: Counter[str]) -> Iterator[_Group]:
    """The Pods of each shelf that are targets of the same terms: they are judged together, by the first of them."""
    neighbours = search.neighbours
    memberships = [targets.members(search.find_pod) for targets in neighbours.targets]
    for level in search.shelves.levels(search.shape):
        for shelf in level.shelves:
            candidates = [entry for entry in shelf.entries if entry[1] != search.spared]
            for alike in _split(candidates, memberships=memberships):
                first = alike[0][2]
                rejection = neighbours.rejection(first)
                if rejection is not None:
                    rejections[rejection] += len(alike)
                else:
                    yield _Group(level.load, neighbours.liking(first), len(alike), alike[0])


def _split(entries: list[Entry], *, memberships: Sequence[Container[str]]) -> list[list[Entry]]:
    groups = [entries] if entries else []
    for members in memberships:
        halves = [half for group in groups for half in _halves(group, members)]
        groups = [half for half in halves if half]
    return groups


def _halves(entries: list[Entry], members: Container[str]) -> tuple[list[Entry], list[Entry]]:
    inside = [entry for entry in entries if entry[1] in members]
    if not inside or len(inside) == len(entries):
        return entries, []
    return inside, [entry for entry in entries if entry[1] not in members]
