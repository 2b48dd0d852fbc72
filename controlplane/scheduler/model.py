"""What the scheduler knows and says: Pods with their slots, Runs with their place, events and decisions. No behaviour of its own.

Nothing here talks to an API server or reads a clock: `now` is the observer's monotonic clock in seconds, `wall` its wall clock.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeAlias

from k8s.api.pod import Pod
from k8s.api.run import Run

if TYPE_CHECKING:
    from controlplane.scheduler.lanes import Lane

Shape: TypeAlias = tuple[tuple[str, int], ...]
"""What a Run asks for, sorted: (("runs", 1),). Runs of one shape are interchangeable to the capacity check."""
Fill: TypeAlias = tuple[tuple[str, int, int], ...]
"""How full a Pod is: (resource, capacity, used), sorted. Pods of one fill are interchangeable to the capacity check and to load."""
QueueKey: TypeAlias = tuple[str, str]
"""(namespace, runtime): Runs of one queue compete for the same Pods, and only they do."""
Order: TypeAlias = tuple[float, int]
"""(creation, arrival): the age of a Run in its queue. A Run taken away from its Pod keeps its age, and so comes first."""


class Holder(NamedTuple):
    """A Run on a Pod."""

    shape: Shape
    seat: str
    """By which it is there: the Pod's UID, or its name where an older writer set no UID."""


@dataclass(slots=True, eq=False)
class RuntimePod:
    """A Runtime Pod and what is taken of it."""

    uid: str
    name: str
    queue: QueueKey
    capacity: tuple[tuple[str, int], ...]
    """Sorted by resource."""
    is_ready: bool
    """PodReady and runtimed's condition, as the Pod says."""
    probe: str | None
    """runtimed's last probe time as text: compared for change, never with a clock."""
    is_fresh: bool = True
    """The probe was seen to change not long ago."""
    used: dict[str, int] = field(default_factory=dict)
    holders: dict[str, Holder] = field(default_factory=dict)
    """By Run UID: Runs assigned here, and those that are being bound to it."""

    @property
    def is_available(self) -> bool:
        return self.is_ready and self.is_fresh

    @property
    def fill(self) -> Fill:
        used = self.used
        return tuple([(name, capacity, used.get(name, 0)) for name, capacity in self.capacity])

    @property
    def named_seat(self) -> str:
        """The seat of a Run that knows the Pod by name only. A UID has no slash, so the two kinds never meet."""
        return f"{self.queue[0]}/{self.name}"

    def take(self, run_uid: str, *, holder: Holder) -> None:
        self.holders[run_uid] = holder
        for name, count in holder.shape:
            self.used[name] = self.used.get(name, 0) + count

    def give_back(self, run_uid: str) -> None:
        for name, count in self.holders.pop(run_uid).shape:
            self.used[name] -= count


class Place(Enum):
    """Where a Run is, to the scheduler. Exactly one at a time."""

    NOWHERE = "nowhere"
    """Nothing to do for it: it is being deleted, or names no Runtime."""
    WAITING = "waiting"
    """In a lane of its queue."""
    HELD = "held"
    """Not before a time: back-off of a retry, or of a write that failed."""
    WRITING = "writing"
    """A status write other than a bind is out: it is neither bound nor decided upon until the answer."""
    BINDING = "binding"
    """Its bind is out; it holds an assumed reservation."""
    SEATED = "seated"
    """Assigned: it takes of its Pod."""


@dataclass(slots=True, eq=False)
class TrackedRun:
    """A Run that is not over."""

    run: Run
    order: Order
    observed: datetime
    """When the scheduler first saw it as Pending in this attempt: goes into the latency ledger."""
    attempt: int
    place: Place = Place.NOWHERE
    shape: Shape = ()
    seat: str = ""
    """Key of what it takes capacity of, in SEATED and BINDING."""
    held_until: float = 0.0
    back_off_until: float | None = None
    """When the back-off of this attempt is over; None until it was looked at."""
    failures: int = 0
    """Writes in a row that did not land."""
    has_waited: bool = False
    """Counted as one that found no Pod."""
    told: tuple[str, ...] = ()
    """The messages that it was told: none of them is written a second time."""
    lane: Lane | None = None
    """Where it waits, in WAITING; where it came from, in BINDING."""


# ---- events


@dataclass(frozen=True, slots=True)
class PodSeen:
    """A Pod as it is now."""

    pod: Pod


@dataclass(frozen=True, slots=True)
class PodGone:
    uid: str


@dataclass(frozen=True, slots=True)
class RunSeen:
    """A Run as it is now."""

    run: Run


@dataclass(frozen=True, slots=True)
class RunGone:
    """Deleted, or over: it left the watch's selector."""

    uid: str


@dataclass(frozen=True, slots=True)
class Listed:
    """The first complete lists of Runs and Pods have been told: what is taken is known, so binding may start."""


@dataclass(frozen=True, slots=True)
class Settled:
    """A decided write is over. `run` is what a read after it showed (None: gone); `has_landed` whether it was answered with success."""

    uid: str
    run: Run | None
    has_landed: bool


@dataclass(frozen=True, slots=True)
class Ticked:
    """Time has passed."""


Event: TypeAlias = PodSeen | PodGone | RunSeen | RunGone | Listed | Settled | Ticked


# ---- decisions


@dataclass(frozen=True, slots=True)
class Bind:
    """Assign the Run to the Pod."""

    run: Run
    pod_name: str
    pod_uid: str
    observed: datetime


@dataclass(frozen=True, slots=True)
class Announce:
    """Tell the Run's owner what it waits for."""

    run: Run
    message: str


@dataclass(frozen=True, slots=True)
class Cancel:
    """End it as Cancelled: it was never bound."""

    run: Run


@dataclass(frozen=True, slots=True)
class Refuse:
    """End it as Failed: what it asks for can never be given, or not be read."""

    run: Run
    reason: str
    message: str


Decision: TypeAlias = Bind | Announce | Cancel | Refuse
"""Each is one conditional write, answered by exactly one `Settled`."""


@dataclass(frozen=True, slots=True)
class CoreSettings:
    """What may be tuned in the core."""

    heartbeat_freshness_seconds: float = 15.0
    """A Pod whose heartbeat was not seen to change for so long gets no Runs: three missed beats."""
    retry_seconds: float = 30.0
    """Blocked queues are tried again after so long whatever happened: a net under the wake-ups, not the mechanism."""
    announce_after_seconds: float = 1.0
    """A Run that waits for less is never told so: the write would cost as much as its bind, and delay it."""
    max_binds_in_flight: int = 32
    """Decisions beyond would only queue up in front of the API server, and a new queue's first Run behind them. Also of one queue."""
    slow_bind_seconds: float = 1.0
    """A bind that is out for longer counts against its own queue only: a namespace whose writes hang holds up nobody else."""
    max_announcements_in_flight: int = 4
    """Few, so that telling 10,000 Runs that they wait does not delay a bind."""
    write_backoff_seconds: float = 0.05
    """After a write that did not land; doubles each time."""
    write_backoff_cap_seconds: float = 5.0


class Recorder(Protocol):
    """Who counts. Metrics in the process, nobody in most tests."""

    def no_pods(self, runtime: str) -> None: ...
    def selection_failed(self, runtime: str) -> None: ...
    def woken(self, source: str) -> None: ...
    def rejected(self, pods: int, *, plugin: str, reason: str) -> None: ...


class NobodyCounts:
    """A Recorder that drops everything."""

    def no_pods(self, runtime: str) -> None:
        del runtime

    def selection_failed(self, runtime: str) -> None:
        del runtime

    def woken(self, source: str) -> None:
        del source

    def rejected(self, pods: int, *, plugin: str, reason: str) -> None:
        del pods, plugin, reason
