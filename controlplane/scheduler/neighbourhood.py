"""Who sits where in one namespace, by label: the targets of each selector that somebody asks for, kept up to date.

A namespace in which no Run asks about its neighbours has no Neighbourhood and pays nothing. In one that has, a Run that takes
or leaves its seat costs a look at the selectors that its labels could match, not at all of them.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from controlplane.scheduler.model import RuntimePod
from controlplane.scheduler.selectors import Selector

if TYPE_CHECKING:
    from controlplane.scheduler.lanes import Lane

Label: TypeAlias = tuple[str, str]
ANY: Label = ("", "")
"""No label: where selectors are found that may match whatever a Run is called."""


class Sitting(NamedTuple):
    """A Run on a Pod."""

    run_uid: str
    seat: str
    labels: Mapping[str, str]


@dataclass(slots=True, eq=False)
class Targets:
    """The seats at which at least one Run matches a selector, and the lanes that want to know when they change."""

    selector: Selector
    counts: Counter[str] = field(default_factory=Counter)
    """Matching Runs by seat."""
    watchers: dict[Lane, None] = field(default_factory=dict)

    def __contains__(self, pod: RuntimePod) -> bool:
        return pod.uid in self.counts or pod.named_seat in self.counts

    def members(self, find_pod: Callable[[str], RuntimePod | None]) -> Container[str]:
        """UIDs of the Pods; a copy only where a Run knows its Pod by name alone."""
        if not any("/" in seat for seat in self.counts):
            return self.counts
        return {pod.uid for seat in self.counts if (pod := find_pod(seat)) is not None}


class Neighbourhood:
    """Told of every Run that takes a seat and that leaves it. Both return the targets that gained or lost a Pod."""

    def __init__(self) -> None:
        self._seats: dict[str, tuple[str, Mapping[str, str]]] = {}
        self._by_label: defaultdict[Label, set[str]] = defaultdict(set)
        self._targets: dict[Selector, Targets] = {}
        self._watched: defaultdict[Label, list[Targets]] = defaultdict(list)
        """By the label that a match must have, or ANY."""

    def __iter__(self) -> Iterator[Targets]:
        return iter(self._targets.values())

    @property
    def is_watched(self) -> bool:
        """Whether anybody asks."""
        return bool(self._targets)

    def labels_of(self, run_uid: str) -> Mapping[str, str] | None:
        """As they were when it took its seat; None when it has none."""
        return self._seats[run_uid][1] if run_uid in self._seats else None

    def take(self, run_uid: str, *, seat: str, labels: Mapping[str, str]) -> list[Targets]:
        self._seats[run_uid] = (seat, labels)
        for label in labels.items():
            self._by_label[label].add(run_uid)
        changed = []
        for targets in self._concerned(labels):
            targets.counts[seat] += 1
            if targets.counts[seat] == 1:
                changed.append(targets)
        return changed

    def leave(self, run_uid: str) -> list[Targets]:
        seat, labels = self._seats.pop(run_uid, ("", {}))
        for label in labels.items():
            self._by_label[label].discard(run_uid)
            if not self._by_label[label]:
                del self._by_label[label]
        changed = []
        for targets in self._concerned(labels) if seat else ():
            targets.counts[seat] -= 1
            if not targets.counts[seat]:
                del targets.counts[seat]
                changed.append(targets)
        return changed

    def watch(self, selector: Selector, *, lane: Lane) -> Targets:
        """The targets of `selector`, and word to `lane` whenever they change."""
        targets = self._targets.get(selector)
        if targets is None:
            targets = self._find(selector)
        targets.watchers[lane] = None
        return targets

    def forget(self, targets: Targets, *, lane: Lane) -> None:
        """The lane does not ask any more."""
        targets.watchers.pop(lane, None)
        if not targets.watchers and self._targets.pop(targets.selector, None) is not None:
            for label in _anchors(targets.selector):
                self._watched[label].remove(targets)
                if not self._watched[label]:
                    del self._watched[label]

    def _find(self, selector: Selector) -> Targets:
        targets = self._targets[selector] = Targets(selector)
        anchors = _anchors(selector)
        for label in anchors:
            self._watched[label].append(targets)
        candidates = self._seats if ANY in anchors else set().union(*(self._by_label.get(label, ()) for label in anchors))
        for run_uid in candidates:
            seat, labels = self._seats[run_uid]
            if selector.matches(labels):
                targets.counts[seat] += 1
        return targets

    def _concerned(self, labels: Mapping[str, str]) -> list[Targets]:
        """Those whose selector matches, each once: a Run has one value of an anchor's key."""
        found = [targets for label in (ANY, *labels.items()) for targets in self._watched.get(label, ())]
        return [targets for targets in found if targets.selector.matches(labels)]


class Neighbourhoods:
    """By namespace, and only where somebody asks. The first who does pays for a look at all Runs that sit there."""

    def __init__(self, *, sittings: Callable[[str], Iterable[Sitting]]) -> None:
        self._by_namespace: dict[str, Neighbourhood] = {}
        self._sittings = sittings

    def items(self) -> Iterable[tuple[str, Neighbourhood]]:
        return self._by_namespace.items()

    def take(self, namespace: str, *, sitting: Sitting) -> list[Targets]:
        neighbourhood = self._by_namespace.get(namespace)
        return neighbourhood.take(sitting.run_uid, seat=sitting.seat, labels=sitting.labels) if neighbourhood is not None else []

    def leave(self, namespace: str, *, run_uid: str) -> list[Targets]:
        neighbourhood = self._by_namespace.get(namespace)
        return neighbourhood.leave(run_uid) if neighbourhood is not None else []

    def has_moved(self, namespace: str, *, sitting: Sitting) -> bool:
        """Whether the Run is known otherwise."""
        neighbourhood = self._by_namespace.get(namespace)
        return neighbourhood is not None and neighbourhood.labels_of(sitting.run_uid) != sitting.labels

    def watch(self, namespace: str, *, selectors: Iterable[Selector], lane: Lane) -> dict[Selector, Targets]:
        neighbourhood = self._by_namespace.get(namespace)
        if neighbourhood is None:
            neighbourhood = self._by_namespace[namespace] = Neighbourhood()
            for sitting in self._sittings(namespace):
                neighbourhood.take(sitting.run_uid, seat=sitting.seat, labels=sitting.labels)
        return {selector: neighbourhood.watch(selector, lane=lane) for selector in selectors}

    def forget(self, namespace: str, *, watched: Iterable[Targets], lane: Lane) -> None:
        neighbourhood = self._by_namespace[namespace]
        for targets in watched:
            neighbourhood.forget(targets, lane=lane)
        if not neighbourhood.is_watched:
            del self._by_namespace[namespace]


def _anchors(selector: Selector) -> list[Label]:
    """Labels of which a Run that matches has one."""
    anchor = next((requirement for requirement in selector.requirements if requirement.operator == "In"), None)
    return [ANY] if anchor is None else [(anchor.key, value) for value in anchor.values]
