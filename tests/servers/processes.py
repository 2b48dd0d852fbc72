"""Real server processes for tests, and the truth about which processes live, from /proc."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import select
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from servers.supervisor import process_tree

REPO = Path(__file__).resolve().parents[2]
OUR_NAMES = {"krt-supervisor", "krt-keeper", "krt-zygote"}
_PR_SET_CHILD_SUBREAPER = 36


@dataclass(slots=True)
class ServerProcess:
    process: subprocess.Popen[str]
    port: int
    work_dir: Path
    log: Path

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def supervisor_pid(self) -> int:
        (pid,) = process_tree.children_of(self.pid)
        return pid

    def was_warm(self, run_uid: str) -> bool:
        """Whether a child that was held ready became this Run, in the supervisor's own words. For servers with -v, once it has started."""
        with self.log.open() as log:
            starts = [line for line in map(json.loads, filter(_is_record, log)) if line["message"] == "started"]
        *_, last = [line for line in starts if line["run_uid"] == run_uid]
        return bool(last["warm"])

    def kill_supervisor(self) -> None:
        os.kill(self.supervisor_pid, signal.SIGKILL)

    def run_pids(self) -> list[int]:
        """All that runs under keepers, or was left behind by one; keepers, what they hold ready, and zombies not counted."""
        below = process_tree.descendants_of([self.supervisor_pid])
        return [pid for pid in below if is_alive(pid) and not is_ours(pid)]

    def held_pids(self) -> list[int]:
        """The children that wait for a Run."""
        below = process_tree.descendants_of([self.supervisor_pid])
        return [pid for pid in below if is_alive(pid) and is_ours(pid) and name_of(pid) not in OUR_NAMES]

    def until_held(self, count: int) -> list[int]:
        """Once there are exactly that many, and the server can let each of them go."""

        def are_held() -> bool:
            held = self.held_pids()
            pipes = _pipes(self.pid, mode=stat.S_IWUSR)
            return len(held) == count and all(pipes & _pipes(pid, mode=stat.S_IRUSR) for pid in held)

        assert wait_until(are_held, seconds=20), self.held_pids()
        return self.held_pids()

    def all_pids(self) -> list[int]:
        """The server itself and everything below it."""
        return [self.pid, *process_tree.descendants_of([self.pid])]

    def pid_of(self, name: str) -> int:
        """The one process of that name below the supervisor."""
        (pid,) = [pid for pid in process_tree.descendants_of([self.supervisor_pid]) if name_of(pid) == name]
        return pid


def server_command(kind: str, *, work_dir: Path, flags: tuple[str, ...] = (), interpreter: str = sys.executable) -> list[str]:
    return [interpreter, "-m", f"servers.{kind}", "--port", "0", "--work-dir", str(work_dir), *flags]


def server_environment(env: dict[str, str] | None = None) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "PYTHONPATH": f"{REPO}:{REPO / 'proto'}", **(env or {})}


@contextlib.contextmanager
def running_server(
    kind: str, *, work_dir: Path, env: dict[str, str] | None = None, flags: tuple[str, ...] = (), interpreter: str = sys.executable
) -> Iterator[ServerProcess]:
    """`kind` is bash or python. Ended by force, whatever the test did to it."""
    log = work_dir / "server.log"
    command = server_command(kind, work_dir=work_dir, flags=flags, interpreter=interpreter)
    with log.open("w") as stderr:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr, text=True, env=server_environment(env))
    try:
        yield ServerProcess(process, port=_read_port(process, log=log), work_dir=work_dir, log=log)
    finally:
        _end(process)


def _read_port(process: subprocess.Popen[str], *, log: Path) -> int:
    assert process.stdout is not None
    ready, _, _ = select.select([process.stdout], [], [], 20)
    line = process.stdout.readline() if ready else ""
    assert line, log.read_text()
    return int(json.loads(line)["port"])


def _end(process: subprocess.Popen[str]) -> None:
    tree = process_tree.descendants_of([process.pid])
    with contextlib.suppress(ProcessLookupError):
        os.kill(process.pid, signal.SIGCONT)
    process.kill()
    process.wait()
    if process.stdout:
        process.stdout.close()
    wait_until(lambda: not any(map(is_alive, tree)), seconds=3)


def _pipes(pid: int, *, mode: int) -> set[str]:
    """Those that the process has open to write, or to read."""
    pipes = set()
    with contextlib.suppress(OSError):
        for fd in os.scandir(f"/proc/{pid}/fd"):
            with contextlib.suppress(OSError):
                if (pipe := os.readlink(fd.path)).startswith("pipe:") and os.lstat(fd.path).st_mode & mode:
                    pipes.add(pipe)
    return pipes


def _is_record(line: str) -> bool:
    return line.startswith("{")


def is_ours(pid: int) -> bool:
    """Whether it belongs to the server, not to a Run: by its name, or, for a child that is held ready, by where it waits."""
    try:
        return name_of(pid) in OUR_NAMES or os.readlink(f"/proc/{pid}/cwd") == "/proc"
    except OSError:
        # About to be gone: it has no working directory any more.
        return True


def describe(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/cmdline") as cmdline, open(f"/proc/{pid}/stat") as stat:
            return f"{stat.read().partition(')')[0]}) {cmdline.read()[:200]!r} in {os.readlink(f'/proc/{pid}/cwd')}"
    except OSError as error:
        return f"{pid}: {error.strerror}"


def name_of(pid: int) -> str:
    with contextlib.suppress(OSError), open(f"/proc/{pid}/comm") as file:
        return file.read().strip()
    return ""


def is_alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            stat = file.read()
    except OSError:
        return False
    return stat[stat.rindex(b")") + 2 :].split()[0] not in {b"Z", b"X"}


def wait_until(is_true: Callable[[], bool], *, seconds: float) -> bool:
    """For facts about processes that are nobody's children here: the kernel offers no event for them."""
    deadline = time.monotonic() + seconds
    while not is_true():
        if time.monotonic() >= deadline:
            return False
        time.sleep(0.005)
    return True


def wait_until_gone(pids: list[int], *, seconds: float) -> list[int]:
    """Who of them still lives after that time."""
    wait_until(lambda: not any(map(is_alive, pids)), seconds=seconds)
    return [pid for pid in pids if is_alive(pid)]


def adopt_orphans(*, enabled: bool) -> None:
    """Makes this process the parent of whatever its descendants leave behind, so that nothing can hide below init."""
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.prctl(_PR_SET_CHILD_SUBREAPER, int(enabled), 0, 0, 0) == 0


def reap_adopted(known: set[int]) -> None:
    for pid in process_tree.children_of(os.getpid()):
        if pid not in known:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)


def rss_bytes(pid: int) -> int:
    with open(f"/proc/{pid}/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
