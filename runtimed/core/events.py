"""Everything that can happen to a Run in this Pod, as the core is told it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from k8s.api.run import ArtifactRef, Run
from runtimed.core.facts import Exit, Held, Marker, Timer, Workspace


@dataclass(frozen=True, slots=True)
class ViewSynced:
    """The first consistent list is in. `run` is None if it does not name this Run."""

    run: Run | None


@dataclass(frozen=True, slots=True)
class ViewChanged:
    """The cache knows something newer. None: deleted, finished or moved to another Pod."""

    run: Run | None


@dataclass(frozen=True, slots=True)
class SessionWelcomed:
    """A session stands. `held` are the executions of this Run that the Runtime Server holds, by attempt."""

    boot_id: str
    held: Mapping[int, Held] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SessionLost:
    """No session stands: frames may be lost, executions may go on."""


@dataclass(frozen=True, slots=True)
class SlotGranted:
    """This Run may start: fewer than --workers others are at it."""


@dataclass(frozen=True, slots=True)
class IntakeStopped:
    """This Pod is being deleted: start nothing new."""


@dataclass(frozen=True, slots=True)
class GraceOver:
    """This Pod is about to be killed: end what runs."""


@dataclass(frozen=True, slots=True)
class WorkspacePrepared:
    workspace: Workspace


@dataclass(frozen=True, slots=True)
class WorkspaceFailed:
    """`message` names what could not be prepared; the attempt fails with PrepareSource."""

    attempt: int
    message: str


@dataclass(frozen=True, slots=True)
class WorkspaceCleaned:
    pass


@dataclass(frozen=True, slots=True)
class MarkerMade:
    """On disk; or, where one of that attempt was there already, the one that was."""

    marker: Marker


@dataclass(frozen=True, slots=True)
class MarkerFailed:
    """Nothing is on disk, so nothing may be started."""

    attempt: int
    message: str


@dataclass(frozen=True, slots=True)
class RecordWritten:
    attempt: int


@dataclass(frozen=True, slots=True)
class RecordFailed:
    """Kept in memory only: what the Runtime Server holds, and the marker, still keep a restart from starting it again."""

    attempt: int


@dataclass(frozen=True, slots=True)
class ExecutionAccepted:
    attempt: int
    is_duplicate: bool = False


@dataclass(frozen=True, slots=True)
class ExecutionStarted:
    attempt: int
    held: Held


@dataclass(frozen=True, slots=True)
class OutputSeen:
    """The first output of an attempt arrived; later output concerns nobody but the logs."""

    attempt: int


@dataclass(frozen=True, slots=True)
class ExecutionExited:
    attempt: int
    exit: Exit


@dataclass(frozen=True, slots=True)
class ExecutionForgotten:
    """The Runtime Server holds no such attempt any more."""

    attempt: int


@dataclass(frozen=True, slots=True)
class OutputsRead:
    attempt: int
    outputs: Mapping[str, str]
    artifact_store: Mapping[str, Any] | None = None
    """Where its artifacts go, as `status.artifactStore` says it; None where there are none."""
    log_store: Mapping[str, Any] | None = None
    """The same for its log alone, where the Run asks for that: of an attempt that failed it is all that is kept."""


@dataclass(frozen=True, slots=True)
class OutputsRefused:
    attempt: int
    reason: str
    message: str
    log_store: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class ArtifactsUploaded:
    """All of them are in the store, under their final names."""

    attempt: int
    refs: Sequence[ArtifactRef]


@dataclass(frozen=True, slots=True)
class ArtifactsRefused:
    """None of them is kept."""

    attempt: int
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class WriteAnswered:
    """The write happened. `run` is the newest version known, at least as new as the answer."""

    run: Run | None


@dataclass(frozen=True, slots=True)
class WriteRefused:
    """The write did not happen. `is_invalid` for a 422, which a failed test and a broken schema rule have in common."""

    is_invalid: bool = False
    field: str = ""
    detail: str = ""
    retry_after_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class WriteUnanswered:
    """The write may have happened, or may still happen."""

    retry_after_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class RunRead:
    """A GET's answer, or the newer version known meanwhile; None if it does not exist any more."""

    run: Run | None


@dataclass(frozen=True, slots=True)
class RunReadFailed:
    retry_after_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class TimerFired:
    timer: Timer
    attempt: int | None


Event = (
    ViewSynced
    | ViewChanged
    | SessionWelcomed
    | SessionLost
    | SlotGranted
    | IntakeStopped
    | GraceOver
    | WorkspacePrepared
    | WorkspaceFailed
    | WorkspaceCleaned
    | MarkerMade
    | MarkerFailed
    | RecordWritten
    | RecordFailed
    | ExecutionAccepted
    | ExecutionStarted
    | OutputSeen
    | ExecutionExited
    | ExecutionForgotten
    | OutputsRead
    | OutputsRefused
    | ArtifactsUploaded
    | ArtifactsRefused
    | WriteAnswered
    | WriteRefused
    | WriteUnanswered
    | RunRead
    | RunReadFailed
    | TimerFired
)
