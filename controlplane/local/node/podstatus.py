"""The status of a Pod as a pure function of its containers' states, in the shape of a strategic merge patch.

Only the conditions below are sent: `kruntimes.io/RuntimedReady` belongs to runtimed, and a merge leaves it alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from k8s.api.timestamps import format_timestamp

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Termination:
    """How a container's process ended."""

    exit_code: int
    signal: int | None
    started_at: datetime
    finished_at: datetime

    @property
    def reason(self) -> str:
        return "Completed" if self.exit_code == 0 else "Error"


@dataclass(slots=True)
class ContainerState:
    """What is known of one container. Running when `started_at` is set, ended for good when `is_finished`, else waiting."""

    name: str
    image: str
    container_id: str = ""
    started_at: datetime | None = None
    waiting_reason: str = "ContainerCreating"
    waiting_message: str = ""
    is_finished: bool = False
    is_ready: bool = False
    restart_count: int = 0
    last_termination: Termination | None = None

    @property
    def is_running(self) -> bool:
        return self.started_at is not None

    @property
    def has_succeeded(self) -> bool:
        return self.is_finished and self.last_termination is not None and self.last_termination.exit_code == 0

    @property
    def has_failed(self) -> bool:
        return self.is_finished and not self.has_succeeded


def pod_status(
    states: Sequence[ContainerState],
    *,
    old: Mapping[str, Any],
    start_time: datetime,
    now: datetime,
    init_states: Sequence[ContainerState] = (),
) -> Json:
    """The keys of the status that the node owns. `old` is the status sent last: its transition times are kept."""
    is_initialized = all(state.has_succeeded for state in init_states)
    is_ready = bool(states) and all(state.is_ready for state in states)
    unready = " ".join(state.name for state in states if not state.is_ready)
    why = {} if is_ready else {"reason": "ContainersNotReady", "message": f"containers with unready status: [{unready}]"}
    conditions = [
        ("PodScheduled", True, {}),
        ("Initialized", is_initialized, {}),
        ("ContainersReady", is_ready, why),
        ("Ready", is_ready, why),
    ]
    return {
        "phase": "Failed" if any(state.has_failed for state in init_states) else _phase(states),
        "podIP": "127.0.0.1",
        "podIPs": [{"ip": "127.0.0.1"}],
        "hostIP": "127.0.0.1",
        "startTime": format_timestamp(start_time),
        "conditions": [_condition(type_, is_true, extra, old=old, now=now) for type_, is_true, extra in conditions],
        "containerStatuses": [_container_status(state) for state in states],
        **({"initContainerStatuses": [_container_status(state) for state in init_states]} if init_states else {}),
    }


def _phase(states: Sequence[ContainerState]) -> str:
    if all(state.is_finished for state in states):
        return "Succeeded" if all(state.has_succeeded for state in states) else "Failed"
    # Pending until every container has been started once; a crash later does not bring it back.
    started = all(state.is_running or state.is_finished or state.last_termination for state in states)
    return "Running" if started else "Pending"


def _condition(type_: str, is_true: bool, extra: Json, *, old: Mapping[str, Any], now: datetime) -> Json:
    status = str(is_true)
    since = next(
        (entry["lastTransitionTime"] for entry in old.get("conditions", []) if (entry["type"], entry["status"]) == (type_, status)),
        format_timestamp(now),
    )
    # Empty texts replace those of an earlier patch: a merge keeps keys that are not sent.
    return {"type": type_, "status": status, "lastTransitionTime": since, "reason": "", "message": "", **extra}


def _container_status(state: ContainerState) -> Json:
    last = {"terminated": _terminated(state, state.last_termination)} if state.last_termination and not state.is_finished else {}
    return {
        "name": state.name,
        "image": state.image,
        "imageID": "",
        "containerID": f"process://{state.container_id}" if state.container_id else "",
        "ready": state.is_ready,
        "started": state.is_running,
        "restartCount": state.restart_count,
        "state": _state(state),
        "lastState": last,
    }


def _state(state: ContainerState) -> Json:
    if state.is_finished and state.last_termination:
        return {"terminated": _terminated(state, state.last_termination)}
    if state.started_at is not None:
        return {"running": {"startedAt": format_timestamp(state.started_at)}}
    message = {"message": state.waiting_message} if state.waiting_message else {}
    return {"waiting": {"reason": state.waiting_reason, **message}}


def _terminated(state: ContainerState, end: Termination) -> Json:
    return {
        "exitCode": end.exit_code,
        **({"signal": end.signal} if end.signal else {}),
        "reason": end.reason,
        "startedAt": format_timestamp(end.started_at),
        "finishedAt": format_timestamp(end.finished_at),
        "containerID": f"process://{state.container_id}",
    }
