"""What is known and under way of one Run in this Pod: data, questions about it, and the invariants that hold after each step."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from k8s.api import phases
from k8s.api.names import ARTIFACT_CLEANUP_FINALIZER
from k8s.api.run import ArtifactRef, Run
from runtimed.core.facts import Exit, Marker, Outcome, Timer, Workspace, WriteKind

STORY_LENGTH = 200
"""Events and decisions remembered of each Run, for the log of a bug. A retried Run makes about 40 an attempt."""


class InvariantViolated(AssertionError):
    """Our bug: carries the story of the Run."""


@dataclass(slots=True)
class Execution:
    """An attempt that the Runtime Server holds, or was asked to."""

    is_acknowledged: bool = False
    """The server has named it in this or an older session."""
    is_older: bool = False
    """Held since an older session: its output must be asked for."""
    asked_at: float | None = None
    """Monotonic: when this process sent Execute."""
    start_seconds: float = 0.0
    """From there until the server said that it has started; 0 for what an older session started."""
    started_at: datetime | None = None
    exit: Exit | None = None
    cancel_sent: bool = False
    forget_sent: bool = False
    attach_sent: bool = False

    @property
    def is_alive(self) -> bool:
        """Its process tree may still exist."""
        return self.exit is None


@dataclass(slots=True)
class Progress:
    """The wanted attempt, as far as it has come. Made anew for each attempt, and lost with this process."""

    number: int
    received: datetime
    backoff_seconds: float = 0.0
    is_marking: bool = False
    is_prepared: bool = False
    is_accepted: bool = False
    is_timed_out: bool = False
    is_reading_outputs: bool = False
    outputs: dict[str, str] | None = None
    artifact_store: Mapping[str, Any] | None = None
    """Where its artifacts go; None where it has none."""
    log_store: Mapping[str, Any] | None = None
    """Where its log goes, however it ends; None where it is not kept."""
    artifact_refs: list[ArtifactRef] | None = None
    """Once all of them are in the store."""
    has_made_finalizer: bool = False
    """This process asked for it, for this attempt: nothing of the Run can have been in the store before."""
    is_uploading: bool = False
    failure: tuple[str, str] | None = None
    """Reason and message of what ended it outside of the Runtime Server."""
    first_output: datetime | None = None
    is_hold_over: bool = False
    is_running_given_up: bool = False
    is_output_ended: bool = False
    timers: set[Timer] = field(default_factory=set)
    """Those started for it, fired or not: each is started once an attempt."""


@dataclass(frozen=True, slots=True)
class InFlight:
    """A status write that is out, or was refused and not yet looked into."""

    kind: WriteKind
    attempt: int
    phase: str


@dataclass(slots=True)
class Writing:
    """The one status write that may be in flight, and what follows a bad answer (rules 7 and 8)."""

    in_flight: InFlight | None = None
    refused: InFlight | None = None
    refused_field: str = ""
    refused_detail: str = ""
    is_invalid: bool = False
    is_reading: bool = False
    must_read: bool = False
    is_paused: bool = False
    failures: int = 0
    retry_after_seconds: float = 0.0

    @property
    def is_idle(self) -> bool:
        return not (self.in_flight or self.is_reading or self.must_read or self.is_paused)


@dataclass(slots=True)
class RunState:
    """One Run, by UID. Attempts are plain numbers here: the Pod's UID completes their identity."""

    uid: str
    pod_uid: str
    node_boot_id: str
    is_synced: bool = False
    view: Run | None = None
    boot_id: str | None = None
    """Of the Runtime Server, while a session stands."""
    executions: dict[int, Execution] = field(default_factory=dict)
    markers: dict[int, Marker] = field(default_factory=dict)
    outcomes: dict[int, Outcome] = field(default_factory=dict)
    unrecorded: set[int] = field(default_factory=set)
    """Outcomes whose record is still being written: nothing is killed and nothing told before."""
    progress: Progress | None = None
    workspace: Workspace | None = None
    preparing: int | None = None
    """The attempt whose workspace is being made ready, which may take long."""
    is_preparing_stopped: bool = False
    is_cleaning: bool = False
    has_workspace: bool = False
    has_slot: bool = False
    is_slot_asked: bool = False
    is_intake_open: bool = True
    is_grace_over: bool = False
    writing: Writing = field(default_factory=Writing)
    is_retired: bool = False
    story: deque[tuple[float, Any]] = field(default_factory=lambda: deque(maxlen=STORY_LENGTH))

    @property
    def wanted(self) -> int | None:
        """The attempt that this Pod should be executing, by the newest view: the UID counts, never the name."""
        run = self.view
        if run is None or run.uid != self.uid or run.phase not in (phases.SCHEDULED, phases.RUNNING):
            return None
        return run.attempt_number if run.status.assigned_pod_uid == self.pod_uid else None

    @property
    def attempts_here(self) -> set[int]:
        """Every attempt of which something is here."""
        return {*self.executions, *self.markers, *self.outcomes}

    @property
    def is_cancel_requested(self) -> bool:
        """By the user; or the object is being deleted and only finalizers keep it."""
        run = self.view
        return run is not None and (run.spec.cancel_requested or run.metadata.deletion_timestamp is not None)

    @property
    def is_preparing(self) -> bool:
        return self.preparing is not None

    @property
    def is_anything_alive(self) -> bool:
        return any(execution.is_alive for execution in self.executions.values())

    def marker_stands(self, attempt: int) -> bool:
        """Whether the marker was made under the boot of server and node that are there now."""
        marker = self.markers[attempt]
        return marker.server_boot_id == self.boot_id and marker.node_boot_id == self.node_boot_id

    def is_over(self, attempt: int) -> bool | None:
        """Whether no process of the attempt can be alive; None while only a new session can tell."""
        execution = self.executions.get(attempt)
        if execution is not None and not execution.is_alive:
            return True
        if self.boot_id is None and (execution is not None or attempt in self.markers):
            return None
        return execution is None

    def validate(self) -> None:
        """Invariants after each step. Raises InvariantViolated with the story."""
        wanted = self.wanted
        rules = {
            "progress follows the wanted attempt": not self.is_synced
            or self.is_retired
            or (self.progress.number if self.progress else None) == wanted,
            "nothing is cancelled before its record": not any(
                execution.cancel_sent and (attempt in self.unrecorded or attempt not in self.outcomes) and attempt == wanted
                for attempt, execution in self.executions.items()
            ),
            "an unrecorded outcome is known": self.unrecorded <= set(self.outcomes),
            "one attempt at a time is alive, but for one being killed": sum(
                execution.is_alive and not execution.forget_sent for execution in self.executions.values() if self.boot_id
            )
            <= 1,
            "the wanted attempt executes on its marker": wanted not in self.executions
            or wanted in self.markers
            or not self.is_synced
            or self.boot_id is None,
            "a write in flight is neither read nor paused": not (self.writing.in_flight and self.writing.is_reading),
            "artifacts are uploaded under the finalizer": self.progress is None
            or not self.progress.is_uploading
            or self.view is None
            or ARTIFACT_CLEANUP_FINALIZER in self.view.metadata.finalizers,
            "nothing is left of a retired Run": not self.is_retired
            or not (self.attempts_here or self.has_workspace or self.has_slot or self.writing.in_flight),
        }
        broken = [rule for rule, holds in rules.items() if not holds]
        if broken:
            raise InvariantViolated(f"{broken} of {self}\n" + "\n".join(f"{at:.6f} {what}" for at, what in self.story))
