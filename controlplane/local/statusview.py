"""What `krt local status` shows: the components as the daemon says, the Pods as the API server says."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import msgspec

from controlplane.local.state import Snapshot, StateFolder
from k8s.api.errors import KrtError
from k8s.client import PODS, ApiClient, load_credentials

ASK_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class PodLine:
    namespace: str
    name: str
    phase: str
    is_ready: bool


@dataclass(frozen=True, slots=True)
class LocalStatus:
    """`snapshot` is None when no daemon lives. `problem` says why the Pods are not known."""

    state: StateFolder
    snapshot: Snapshot | None
    pods: list[PodLine] = field(default_factory=list)
    problem: str = ""

    @property
    def is_up(self) -> bool:
        return self.snapshot is not None and self.snapshot.phase == "Up"


def read_status(state: StateFolder) -> LocalStatus:
    """Asks the API server for Pods when there is one, but not for long."""
    snapshot = state.read_snapshot()
    if snapshot is None or not snapshot.url:
        return LocalStatus(state, snapshot)
    try:
        return LocalStatus(state, snapshot, pods=asyncio.run(_list_pods(state)))
    except KrtError as error:
        return LocalStatus(state, snapshot, problem=str(error))


def describe(status: LocalStatus, *, pods: bool) -> str:
    """For humans. Ends with a line feed."""
    snapshot = status.snapshot
    if snapshot is None:
        return f"Local mode is not up (state folder {status.state.root}).\n"
    now = datetime.now(UTC)
    rows = [("COMPONENT", "STATE", "PID", "RESTARTS", "AGE")]
    rows += [
        (one.name, one.state, str(one.pid or "-"), str(one.restarts), _age(one.since, now=now) if one.pid else "-")
        for one in snapshot.components
    ]
    text = f"API server   {snapshot.url or '-'}\nKubeconfig   {status.state.kubeconfig}\n\n{_table(rows)}"
    if not pods:
        return text
    if status.problem:
        return f"{text}\nPods are not known: {status.problem}\n"
    lines = [("NAMESPACE", "POD", "PHASE", "READY"), *((pod.namespace, pod.name, pod.phase, _yes_no(pod.is_ready)) for pod in status.pods)]
    return text + ("\n" + _table(lines) if status.pods else "\nNo Pods.\n")


def to_json(status: LocalStatus) -> str:
    """For programs. Ends with a line feed."""
    snapshot = status.snapshot
    document: dict[str, Any] = {
        "up": status.is_up,
        "phase": snapshot.phase if snapshot else "Down",
        "url": snapshot.url if snapshot else "",
        "kubeconfig": str(status.state.kubeconfig),
        "stateFolder": str(status.state.root),
        "pid": snapshot.pid if snapshot else None,
        "since": snapshot.since if snapshot else None,
        "components": snapshot.components if snapshot else [],
        "pods": [{"namespace": pod.namespace, "name": pod.name, "phase": pod.phase, "ready": pod.is_ready} for pod in status.pods],
        "problem": status.problem,
    }
    return json.dumps(msgspec.to_builtins(document), indent=2) + "\n"


async def _list_pods(state: StateFolder) -> list[PodLine]:
    credentials = await load_credentials(kubeconfig=str(state.kubeconfig))
    async with await ApiClient.connect(credentials, user_agent="krt-local", request_timeout_seconds=ASK_SECONDS) as client:
        listing = await client.list(PODS)
    pods = sorted(listing.items, key=lambda pod: pod.key)
    return [PodLine(pod.metadata.namespace, pod.metadata.name, pod.status.phase, pod.is_ready) for pod in pods]


def _table(rows: Sequence[tuple[str, ...]]) -> str:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "".join("   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() + "\n" for row in rows)


def _age(since: datetime | None, *, now: datetime) -> str:
    if since is None:
        return "-"
    seconds = max(0, int((now - since).total_seconds()))
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= 2 * size:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


def _yes_no(value: bool) -> str:
    return "yes" if value else "no"
