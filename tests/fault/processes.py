"""Finding our processes and those of user code among all others, by what they were started with. Never by a bare name."""

from __future__ import annotations

import os
import re
import signal
import urllib.request
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path

import psutil

from controlplane.local.records import CONTAINER_ID
from servers.supervisor import process_tree

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


def user_processes(root: Path) -> dict[int, str]:
    """Pid and Run UID of whatever runs user code of a node, daemons included.

    Told by the folder that it is in, or by the outputs file in its environment: a process that was held ready shows the
    environment that it was held with, and a daemon may have gone anywhere.
    """
    found = {}
    workspaces = re.compile(re.escape(f"{root}/pods/") + r"[^/]+/volumes/workspace/([^/ ]+)")
    for pid in map(int, filter(str.isdecimal, os.listdir("/proc"))):
        match = workspaces.match(_folder_of(pid)) or workspaces.match(_outputs_file_of(pid))
        if match and is_alive(pid):
            found[pid] = match[1]
    return found


def supervisors_below(server: int) -> list[int]:
    return [pid for pid in process_tree.children_of(server) if _name_of(pid) == SUPERVISOR]


def keepers_below(supervisor: int) -> list[int]:
    return [pid for pid in process_tree.children_of(supervisor) if _name_of(pid) == KEEPER]


def is_idle(keeper: int) -> bool:
    """Nothing is below it, or one child that waits for a Run: it does so in /proc."""
    below = [pid for pid in process_tree.descendants_of([keeper]) if is_alive(pid)]
    return len(below) <= 1 and all(_folder_of(pid) == "/proc" for pid in below)


def _folder_of(pid: int) -> str:
    try:
        return os.readlink(f"/proc/{pid}/cwd")
    except OSError:
        return ""


def _outputs_file_of(pid: int) -> str:
    """Empty for what has none in its environment."""
    try:
        environment = Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return ""
    _, _, rest = (b"\0" + environment).partition(b"\0KRUNTIME_OUTPUTS=")
    return os.fsdecode(rest.partition(b"\0")[0])


def _name_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def metrics_of(pid: int) -> str:
    """What the process serves at /metrics, wherever that is; empty for one that does not."""
    port = metrics_port_of(pid)
    return metrics_at(port) if port else ""


def metrics_port_of(pid: int) -> int:
    """0 where it serves none."""
    for connection in psutil.Process(pid).net_connections(kind="tcp"):
        if connection.status == psutil.CONN_LISTEN and metrics_at(connection.laddr.port):
            return int(connection.laddr.port)
    return 0


def metrics_at(port: int) -> str:
    """Empty where something else is served: gRPC, or health."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=2) as answer:
            return str(answer.read().decode())
    except (OSError, ValueError, HTTPException):
        return ""


def metric(pid: int, name: str) -> float:
    """The sum of a metric over its labels."""
    return sum(float(line.rpartition(" ")[2]) for line in metrics_of(pid).splitlines() if line.startswith(name))
