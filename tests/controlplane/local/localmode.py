"""A local mode of a test's own: its own state folder, driven as a user does, by krt and a client."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from controlplane.local import processes, programs
from controlplane.local.lifecycle import clean_up
from controlplane.local.state import StateFolder
from tests.controlplane.local.hands import Hands

Json = dict[str, Any]
Result = subprocess.CompletedProcess[str]
REPO = Path(__file__).parents[3]
COMMAND_SECONDS = 90.0


class LocalMode:
    """The folder is short, because a unix socket lies in it."""

    def __init__(self) -> None:
        self.state = StateFolder(Path(tempfile.mkdtemp(prefix="krt-local-")))
        self.first_up: Result | None = None
        """What `krt local up` said, where a fixture has called it."""
        self.environment = {
            **os.environ,
            "KRUNTIMES_HOME": str(self.state.root),
            "KUBECONFIG": str(self.state.kubeconfig),
            "PYTHONPATH": os.pathsep.join([str(REPO), str(REPO / "proto")]),
        }

    def start_krt(self, *arguments: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "controlplane.cli", *arguments]
        return subprocess.Popen(command, env=self.environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd="/")

    def krt(self, *arguments: str, code: int | None = 0) -> Result:
        """Runs krt to its end; fails the test when it exits otherwise than with `code`."""
        process = self.start_krt(*arguments)
        try:
            stdout, stderr = process.communicate(timeout=COMMAND_SECONDS)
        finally:
            process.kill()
            process.wait()
        result = Result(arguments, process.returncode, stdout, stderr)
        assert code is None or result.returncode == code, f"krt {arguments}: {result}\n{self.logs()}"
        return result

    @property
    def hands(self) -> Hands:
        """A user of its API server."""
        return Hands(self.state.kubeconfig)

    def status(self) -> Json:
        document: Json = json.loads(self.krt("local", "status", "-o", "json", code=None).stdout)
        return document

    def pid_of(self, component: str) -> int:
        return next(int(one["pid"]) for one in self.status()["components"] if one["name"] == component)

    def survivors(self) -> list[str]:
        """Processes that carry this local mode's mark, or that name its state folder in their arguments or work in it: user code too."""
        entry = f"{programs.STATE_MARK}={self.state.root}"
        found = []
        for stat in processes.live_processes():
            command = _read(stat.pid, "cmdline").replace("\0", " ")
            names_it = str(self.state.root) in command or _folder(stat.pid).startswith(str(self.state.root))
            if stat.pid != os.getpid() and (names_it or processes.has_environment(stat.pid, entry=entry)):
                found.append(f"{stat.pid} {command[:200]}")
        return found

    def logs(self) -> str:
        """The ends of all component logs, for a failed test."""
        tails = []
        for path in sorted(self.state.logs.glob("*.log")):
            lines = path.read_text(errors="replace").splitlines()[-8:]
            tails.append(f"== {path.name}\n" + "\n".join(line[:600] for line in lines))
        return "\n".join(tails)


@contextmanager
def local_mode() -> Iterator[LocalMode]:
    """Whatever happens inside, nothing of it runs afterwards."""
    local = LocalMode()
    try:
        yield local
    finally:
        local.krt("local", "down", code=None)
        clean_up(local.state)
        left = local.survivors()
        shutil.rmtree(local.state.root, ignore_errors=True)
        assert not left, left


def _folder(pid: int) -> str:
    try:
        return os.readlink(f"/proc/{pid}/cwd")
    except OSError:
        return ""


def _read(pid: int, name: str) -> str:
    try:
        return Path(f"/proc/{pid}/{name}").read_text(errors="replace")
    except OSError:
        return ""
