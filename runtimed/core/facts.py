"""What the core knows about one attempt: instants, markers, exits, outcomes. Immutable values without behaviour of their own."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum, auto

from k8s.api.run import ArtifactRef, Timings


@dataclass(frozen=True, slots=True)
class Instant:
    """Now, twice: `monotonic` (seconds, the node's, the same for all its processes) for durations, `wall` for the ledger."""

    monotonic: float
    wall: datetime


@dataclass(frozen=True, slots=True)
class Marker:
    """Written before Execute is sent, so that an attempt starts at most once whatever crashes (rule 14)."""

    run_uid: str
    attempt: int
    pod_uid: str
    server_boot_id: str
    node_boot_id: str
    made: Instant
    """The timeout of the attempt counts from here."""
    received: datetime
    """When this Pod first saw the assignment."""


@dataclass(frozen=True, slots=True)
class Workspace:
    """Where an attempt executes. `attempt` is the one that it was prepared for; retries in place reuse it."""

    attempt: int
    working_dir: str
    entrypoint: str
    sends_args: bool
    outputs_file: str
    artifacts_dir: str = ""
    """The staging directory; empty where the Runtime has no store."""


class ExitReason(Enum):
    """How an execution ended, as the Runtime Server says."""

    EXITED = auto()
    CANCELLED = auto()
    NOT_STARTED = auto()
    LOST = auto()


@dataclass(frozen=True, slots=True)
class Exit:
    """The end of an execution and of its whole process tree."""

    reason: ExitReason
    exit_code: int = 0
    """0..255; 128+N for signal N."""
    signal: int = 0
    error_message: str = ""
    stderr_tail: str = ""
    at: datetime | None = None
    is_disk_full: bool = False
    """Whether the workspace's disk had no room left at that moment."""

    @property
    def is_success(self) -> bool:
        return self.reason is ExitReason.EXITED and self.exit_code == 0 and self.signal == 0

    @property
    def has_exit_code(self) -> bool:
        """Whether a process ended, and so has a code to report."""
        return self.reason in (ExitReason.EXITED, ExitReason.CANCELLED)


@dataclass(frozen=True, slots=True)
class Held:
    """One execution that the Runtime Server names in its Welcome."""

    started_at: datetime | None = None
    exit: Exit | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an attempt ended for us: the result record (rule 23). Decided once; delivered until answered or no longer ours."""

    attempt: int
    reason: str = ""
    """A condition reason; empty for success."""
    message: str = ""
    outputs: dict[str, str] = field(default_factory=dict)
    artifact_refs: list[ArtifactRef] = field(default_factory=list)
    exit_code: int | None = None
    received: datetime | None = None
    started: datetime | None = None
    first_output: datetime | None = None
    finished: datetime | None = None
    schema_refusals: int = 0
    """How often the API server found this outcome's status write itself invalid. Above 0 it is terminal, and sent barer each time."""

    @property
    def is_success(self) -> bool:
        return not self.reason

    @property
    def timings(self) -> Timings:
        """Its part of the ledger."""
        return Timings(received=self.received, started=self.started, first_output=self.first_output, finished=self.finished)


class WriteKind(Enum):
    """The status writes of runtimed."""

    RUNNING = auto()
    """Scheduled -> Running. Not awaited before Execute, dropped when overtaken."""
    RESUMED = auto()
    """The condition Running is True again after a back-off. Like RUNNING."""
    RETRY = auto()
    """The next attempt, in this Pod."""
    TERMINAL = auto()
    TAKEN_AWAY = auto()
    """This Pod ends: the next attempt elsewhere, or Failed."""
    STORE = auto()
    """Which store the artifacts go to, before any does. Like RUNNING for whoever looks: it shows the Run as claimed."""
    FINALIZER = auto()
    """The artifact finalizer, before any artifact: from here on the Run's deletion waits for its artifacts'. Not a status write."""
    HANDED_BACK = auto()
    """This Pod ends and the attempt has not started: Pending, attempt unchanged (rule 26)."""


class Timer(Enum):
    """What a Run may wait for."""

    BACKOFF = auto()
    TIMEOUT = auto()
    RUNNING = auto()
    """The moment for which a Running write is held back."""
    WRITE = auto()
    """Pause before a status write is tried again."""
    READ = auto()
    """Pause before a read is tried again."""
