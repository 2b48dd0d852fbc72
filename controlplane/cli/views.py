"""What a Run and a Runtime look like on a screen: the columns of tables and the lines of `get`. Pure, over plain JSON objects."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from controlplane.cli.ages import NONE, age_of, human_duration, local_time, parse_instant
from controlplane.cli.printers import Column, Json

_SOURCE_LINES = 5
"""Of an inline source in `get`; `-o yaml` shows it whole."""


def at(item: Json, *path: str | int, default: Any = None) -> Any:
    """The value at `path`, or `default` where something on the way is absent or of another kind."""
    value: Any = item
    for key in path:
        try:
            value = value[key]
        except (KeyError, IndexError, TypeError):
            return default
    return default if value is None else value


def phase_of(item: Json) -> str:
    """A fresh Run has no status, older clients write an empty phase: both mean Pending."""
    return at(item, "status", "phase") or "Pending"


def now() -> datetime:
    return datetime.now(UTC)


def _age(item: Json) -> str:
    return age_of(at(item, "metadata", "creationTimestamp"), now=now())


def run_duration(item: Json) -> str:
    """From the start to the end, or to now while it runs."""
    started, ended = parse_instant(at(item, "status", "startTime")), parse_instant(at(item, "status", "completionTime"))
    return human_duration(max(0.0, ((ended or now()) - started).total_seconds())) if started else NONE


def run_attempt(item: Json) -> int | None:
    """1-based, None before the first start: the API writes 0 during the first."""
    attempt = int(at(item, "status", "attempt", default=0))
    return max(1, attempt) if attempt or at(item, "status", "startTime") else None


def run_reason(item: Json) -> str:
    """Why it did not succeed."""
    conditions = at(item, "status", "conditions", default=[])
    by_type = {condition.get("type"): condition for condition in conditions}
    for wanted in ("Completed", "Running"):
        condition = by_type.get(wanted, {})
        if condition.get("status") == "False" and condition.get("reason") != "Completed":
            return str(condition.get("reason", NONE))
    return NONE


RUN_COLUMNS = (
    Column("NAME", lambda item: at(item, "metadata", "name")),
    Column("NAMESPACE", lambda item: at(item, "metadata", "namespace")),
    Column("RUNTIME", lambda item: at(item, "spec", "runtime")),
    Column("PHASE", phase_of),
    Column("ASSIGNED POD", lambda item: at(item, "status", "assignedPod")),
    Column("AGE", _age),
    Column("REASON", run_reason, is_wide=True),
    Column("ATTEMPT", lambda item: run_attempt(item), is_wide=True),
    Column("EXIT CODE", lambda item: at(item, "status", "exitCode"), is_wide=True),
    Column("DURATION", run_duration, is_wide=True),
    Column("MESSAGE", lambda item: at(item, "status", "message"), is_wide=True),
)

RUNTIME_COLUMNS = (
    Column("NAME", lambda item: at(item, "metadata", "name")),
    Column("NAMESPACE", lambda item: at(item, "metadata", "namespace")),
    Column("IMAGE", lambda item: at(item, "spec", "template", "spec", "containers", 0, "image")),
    Column("REPLICAS", lambda item: at(item, "spec", "replicas", default=1)),
    Column("READY", lambda item: at(item, "status", "readyReplicas", default=0)),
    Column("PORT", lambda item: at(item, "spec", "port", default=9091)),
    Column("AGE", _age),
    Column("CAPACITY", lambda item: _pairs(at(item, "spec", "capacity", "resources", default={})), is_wide=True),
    Column("STATUS", lambda item: _conditions(item), is_wide=True),
)


def run_lines(item: Json, *, is_wide: bool) -> list[tuple[str, object]]:
    """The lines of `krt get`; those in brackets in the interface appear only when they say something."""
    task = at(item, "spec", "mode", "task", default={})
    lines: list[tuple[str, object]] = [
        ("Name", at(item, "metadata", "name")),
        ("Namespace", at(item, "metadata", "namespace")),
        ("Runtime", at(item, "spec", "runtime")),
        ("Phase", phase_of(item)),
        ("Assigned Pod", at(item, "status", "assignedPod")),
        ("Message", at(item, "status", "message")),
        ("Args", shlex.join(map(str, task.get("args") or ()))),
    ]
    lines += _present(
        ("Entrypoint", task.get("entrypoint")),
        ("Handler", at(item, "spec", "mode", "function", "handler")),
        ("Source Inline", _excerpt(at(item, "spec", "source", "inline"), is_whole=is_wide)),
        ("Source Repo", at(item, "spec", "source", "repoURL")),
        ("Source Commit", at(item, "spec", "source", "commitSHA")),
        ("Start Time", _time(at(item, "status", "startTime"))),
        ("Completion Time", _time(at(item, "status", "completionTime"))),
    )
    lines += _run_result(item)
    return lines + (_run_details(item) if is_wide else [])


def _run_result(item: Json) -> list[tuple[str, object]]:
    has_started = at(item, "status", "startTime") is not None
    return _present(
        ("Duration", run_duration(item) if has_started else None),
        ("Attempt", run_attempt(item)),
        ("Exit Code", at(item, "status", "exitCode")),
        ("Outputs", _pairs(at(item, "status", "outputs", default={}), separator="\n")),
    )


def _run_details(item: Json) -> list[tuple[str, object]]:
    return _present(
        ("Timeout", at(item, "spec", "timeout")),
        ("Env", ", ".join(str(variable.get("name")) for variable in at(item, "spec", "env", default=[]))),
        ("Labels", _pairs(at(item, "metadata", "labels", default={}))),
        ("Conditions", _conditions(item, separator="\n")),
        ("Timings", _pairs(at(item, "status", "timings", default={}), separator="\n")),
        ("UID", at(item, "metadata", "uid")),
    )


def runtime_lines(item: Json) -> list[tuple[str, object]]:
    """The lines of `krt runtime get`."""
    container = at(item, "spec", "template", "spec", "containers", 0, default={})
    lines: list[tuple[str, object]] = [
        ("Name", at(item, "metadata", "name")),
        ("Namespace", at(item, "metadata", "namespace")),
        ("Image", container.get("image")),
        ("Port", at(item, "spec", "port", default=9091)),
        ("Replicas", at(item, "spec", "replicas", default=1)),
        ("Ready", at(item, "status", "readyReplicas", default=0)),
    ]
    lines += _present(
        ("Daemon Image", at(item, "spec", "daemonImage")),
        ("ServiceAccount", at(item, "spec", "template", "spec", "serviceAccountName")),
        ("Command", shlex.join(map(str, container.get("command") or ()))),
        ("Args", shlex.join(map(str, container.get("args") or ()))),
        ("Capacity", _pairs(at(item, "spec", "capacity", "resources", default={}))),
        ("Conditions", _conditions(item, separator="\n")),
    )
    return [*lines, ("Age", _age(item))]


def _present(*pairs: tuple[str, object]) -> list[tuple[str, object]]:
    return [(key, value) for key, value in pairs if value not in (None, "")]


def _time(text: str | None) -> str | None:
    return local_time(text) if text else None


def _pairs(values: Mapping[str, Any], *, separator: str = ",") -> str:
    return separator.join(f"{key}={value}" for key, value in values.items())


def _conditions(item: Json, *, separator: str = ",") -> str:
    conditions = at(item, "status", "conditions", default=[])
    return separator.join(f"{condition.get('type')}={condition.get('status')} ({condition.get('reason')})" for condition in conditions)


def _excerpt(source: str | None, *, is_whole: bool) -> str | None:
    """The first lines of a script."""
    lines = (source or "").rstrip().splitlines()
    if is_whole or len(lines) <= _SOURCE_LINES:
        return "\n".join(lines)
    return "\n".join([*lines[:_SOURCE_LINES], f"... {len(lines) - _SOURCE_LINES} more lines"])
