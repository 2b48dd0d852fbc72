"""Everything that the core may ask the shell to do for one Run. The shell performs them in order, and does nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from k8s.api.run import Run, Timings
from runtimed.core.facts import Marker, Outcome, Timer, Workspace, WriteKind


@dataclass(frozen=True, slots=True)
class AskSlot:
    """Answered by SlotGranted, now or later. `is_running_already`: it is granted whatever the limit."""

    is_running_already: bool = False


@dataclass(frozen=True, slots=True)
class ReturnSlot:
    """Also withdraws a request that was not granted yet."""


@dataclass(frozen=True, slots=True)
class PrepareWorkspace:
    """Answered by WorkspacePrepared or WorkspaceFailed. `is_reused`: only the outputs file is cleared."""

    attempt: int
    run: Run
    is_reused: bool


@dataclass(frozen=True, slots=True)
class StopPreparing:
    """It is in vain. Answered as the preparation itself is, soon."""


@dataclass(frozen=True, slots=True)
class CleanWorkspace:
    """Answered by WorkspaceCleaned, also when it could not be removed."""


@dataclass(frozen=True, slots=True)
class MakeMarker:
    """Exclusively. Answered by MarkerMade or MarkerFailed."""

    marker: Marker


@dataclass(frozen=True, slots=True)
class DropMarker:
    attempt: int


@dataclass(frozen=True, slots=True)
class WriteRecord:
    """Answered by RecordWritten or RecordFailed. Replaces an older record of the attempt."""

    outcome: Outcome


@dataclass(frozen=True, slots=True)
class DropRecord:
    attempt: int


@dataclass(frozen=True, slots=True)
class SendExecute:
    attempt: int
    run: Run
    workspace: Workspace


@dataclass(frozen=True, slots=True)
class SendAttach:
    attempt: int


@dataclass(frozen=True, slots=True)
class SendCancel:
    attempt: int


@dataclass(frozen=True, slots=True)
class SendForget:
    attempt: int


@dataclass(frozen=True, slots=True)
class ReadOutputs:
    """Of an attempt that has ended, well or badly. Answered by OutputsRead or OutputsRefused."""

    attempt: int


@dataclass(frozen=True, slots=True)
class UploadArtifacts:
    """Answered by ArtifactsUploaded or ArtifactsRefused, unless it is stopped before.

    `may_have_leftovers`: the store may hold something of this Run from an earlier attempt or process. `is_log_only`: of an attempt
    that failed.
    """

    attempt: int
    run: Run
    may_have_leftovers: bool
    is_log_only: bool = False


@dataclass(frozen=True, slots=True)
class StopUpload:
    """Nobody wants it any more. `removes_all`: everything of the Run, not only what is incomplete, for no attempt follows."""

    attempt: int
    removes_all: bool


@dataclass(frozen=True, slots=True)
class EndOutput:
    """No more output of this attempt will come: flush its last line and say so in the log."""

    attempt: int


@dataclass(frozen=True, slots=True)
class SendStatus:
    """One fenced write, of the status but for FINALIZER; answered by WriteAnswered, WriteRefused or WriteUnanswered.

    It is fenced on uid, Pod UID, attempt and phase of `run`, the version that it was decided upon.
    """

    kind: WriteKind
    run: Run
    timings: Timings
    """What this Pod knows of the attempt's ledger."""
    outcome: Outcome | None = None
    artifact_store: Mapping[str, Any] | None = None
    """Of a STORE write."""


@dataclass(frozen=True, slots=True)
class ReadRun:
    """GET it. Answered by RunRead or RunReadFailed."""


@dataclass(frozen=True, slots=True)
class StartTimer:
    """Answered by TimerFired; replaces a running timer of that kind."""

    timer: Timer
    attempt: int | None
    seconds: float


@dataclass(frozen=True, slots=True)
class StopTimer:
    timer: Timer


@dataclass(frozen=True, slots=True)
class CountFencedWrite:
    """A write was refused, and a read confirmed that the attempt is not ours any more."""

    kind: WriteKind


@dataclass(frozen=True, slots=True)
class Note:
    """A log line: a constant message. The shell adds which Run."""

    message: str
    attempt: int | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Retire:
    """Nothing of this Run is left here."""


Decision = (
    AskSlot
    | ReturnSlot
    | PrepareWorkspace
    | StopPreparing
    | CleanWorkspace
    | MakeMarker
    | DropMarker
    | WriteRecord
    | DropRecord
    | SendExecute
    | SendAttach
    | SendCancel
    | SendForget
    | ReadOutputs
    | UploadArtifacts
    | StopUpload
    | EndOutput
    | SendStatus
    | ReadRun
    | StartTimer
    | StopTimer
    | CountFencedWrite
    | Note
    | Retire
)
