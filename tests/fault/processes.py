"""Finding our processes and those of user code among all others, by what they were started with. Never by a bare name."""

from __future__ import annotations

import os
import signal
import urllib.request
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path

import psutil

from controlplane.local.records import CONTAINER_ID

SUPERVISOR, KEEPER = "krt-supervisor", "krt-keeper"


@dataclass(frozen=True, slots=True)
class Usage:
    """What one process holds."""

    fds: int
    threads: int
    rss_bytes: int


def is_alive(pid: int) -> bool:
    """There, and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def kill(pid: int, *, number: int = signal.SIGKILL) -> None:
    """It may be gone already."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def usage_of(pid: int) -> Usage:
    process = psutil.Process(pid)
    with process.oneshot():
        return Usage(process.num_fds(), process.num_threads(), process.memory_info().rss)


def containers_below(node: int) -> dict[tuple[str, str], int]:
    """(Pod UID, container) -> pid, of the containers that a node runs now; told by the id that the node gives each."""
    found = {}
    for child in psutil.Process(node).children():
        try:
            container_id = child.environ().get(CONTAINER_ID, "")
        except psutil.Error:
            continue
        pod_and_name, _, _ = container_id.rpartition("-")
        uid, _, container = pod_and_name.rpartition("-")
        if uid and is_alive(child.pid):
            found[uid, container] = child.pid
    return found


def named_below(pid: int, *, name: str) -> list[int]:
    """All descendants of that process name."""
    found = []
    for child in psutil.Process(pid).children(recursive=True):
        try:
            if child.name() == name:
                found.append(child.pid)
        except psutil.Error:
            continue
    return found


def user_processes(root: Path) -> dict[int, str]:
    """Pid and Run UID of whatever runs user code of a node: told by the outputs file in its environment, daemons included."""
    found = {}
    entry = f"KRUNTIME_OUTPUTS={root}/".encode()
    for folder in Path("/proc").iterdir():
        if not folder.name.isdecimal() or not is_alive(int(folder.name)):
            continue
        try:
            environment = (folder / "environ").read_bytes()
        except OSError:
            continue
        at = environment.find(entry)
        if at >= 0:
            path = environment[at:].partition(b"\0")[0].decode()
            found[int(folder.name)] = path.split("/")[-2]
    return found


def metrics_of(pid: int) -> str:
    """What the process serves at /metrics, wherever that is."""
    for connection in psutil.Process(pid).net_connections(kind="tcp"):
        if connection.status != psutil.CONN_LISTEN:
            continue
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{connection.laddr.port}/metrics", timeout=2) as answer:
                return str(answer.read().decode())
        except (OSError, ValueError, HTTPException):
            continue  # gRPC is served there, or health
    return ""


def metric(pid: int, name: str) -> float:
    """The sum of a metric over its labels."""
    return sum(float(line.rpartition(" ")[2]) for line in metrics_of(pid).splitlines() if line.startswith(name))
