"""Bringing local mode up and down from outside: starting the daemon and waiting for its reports, stopping it and what it left."""

from __future__ import annotations

import importlib.util
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

from controlplane.local import processes, programs
from controlplane.local.daemon import NODE_STOP_SECONDS, kill_marked
from controlplane.local.records import Records
from controlplane.local.state import LocalModeError, Snapshot, StateFolder
from controlplane.local.supervisor import bound_log
from k8s.api.errors import UsageError

UP_SECONDS = 60.0
"""It takes about two; a machine that is busy with other things takes longer."""
DOWN_SECONDS = NODE_STOP_SECONDS + 20.0
"""The node with its Pods, then three components of 5 s each."""
_EXTRA = ("cel", "jsonpatch", "jsonschema_rs")
Tell = Callable[[str], None]


def check_extra() -> None:
    """Raises UsageError naming the remedy when the packages of local mode are not installed."""
    missing = [name for name in _EXTRA if importlib.util.find_spec(name) is None]
    if missing:
        raise UsageError(f"krt local needs packages that are not installed ({', '.join(missing)}); run: pip install 'kruntimes[local]'")


def bring_up(state: StateFolder, *, port: int | None, tell: Tell) -> bool:
    """Returns when everything is ready: True when it was before. Raises LocalModeError."""
    with state.locked("up", wait=True):  # of two at once the second finds it up
        if (snapshot := state.read_snapshot()) and snapshot.phase == "Up":
            _check_port(snapshot, port=port)
            return True
        if snapshot:
            _stop_daemon(snapshot)  # half up or half down: nobody waits for it any more
        clean_up(state)
        _start_daemon(state, port=port, tell=tell)
        return False


def run_in_foreground(state: StateFolder, *, port: int | None) -> NoReturn:
    """Becomes the daemon."""
    if state.read_snapshot():
        raise UsageError("local mode is up already; run: krt local down")
    clean_up(state)
    os.execve(sys.executable, _daemon_command(state, port=port), _daemon_environment())  # noqa: S606 - no shell is wanted


def bring_down(state: StateFolder, *, tell: Tell) -> bool:
    """Returns when nothing runs any more: True when something did. Raises LocalModeError."""
    if not state.root.exists():
        return False
    snapshot = state.read_snapshot()
    if snapshot:
        tell("Stopping Pods, controllers, scheduler and API server ...")
        _stop_daemon(snapshot)
    return clean_up(state) > 0 or snapshot is not None


def clean_up(state: StateFolder) -> int:
    """End what a killed daemon or node left behind; gives how many processes that were."""
    killed = Records(state.processes).kill_leftovers()
    killed += Records(state.node / "processes").kill_leftovers()
    killed += kill_marked(state)
    state.snapshot_path.unlink(missing_ok=True)
    return killed


def purge(state: StateFolder) -> None:
    """Delete the state folder, if it looks like one."""
    if state.root.exists():
        if not state.logs.exists():
            raise UsageError(f"{state.root}: this is no state folder of local mode; delete it yourself if you mean it")
        shutil.rmtree(state.root)


def _check_port(snapshot: Snapshot, *, port: int | None) -> None:
    if port and not snapshot.url.rstrip("/").endswith(f":{port}"):
        raise UsageError(f"--port: local mode is up already, at {snapshot.url}; to change the port run: krt local down")


def _daemon_command(state: StateFolder, *, port: int | None, report_fd: int | None = None) -> list[str]:
    options = [f"--state={state.root}", *([f"--port={port}"] if port else []), *([f"--report-fd={report_fd}"] if report_fd else [])]
    return [*programs.module("controlplane.local.daemon"), *options]


def _daemon_environment() -> dict[str, str]:
    return programs.own_environment(os.environ)


def _start_daemon(state: StateFolder, *, port: int | None, tell: Tell) -> None:
    receive, send = os.pipe()
    try:
        try:
            daemon = _spawn_daemon(state, port=port, report_fd=send)
        finally:
            os.close(send)
        try:
            _await_up(receive, state=state, tell=tell)
        except BaseException:
            daemon.terminate()  # failed, too late, or interrupted by the user: do not leave half a system behind
            daemon.wait()
            raise
    finally:
        os.close(receive)
    daemon.returncode = 0  # it lives on and is nobody's child soon: keep Popen from warning about it


def _spawn_daemon(state: StateFolder, *, port: int | None, report_fd: int) -> subprocess.Popen[bytes]:
    log_path = state.logs / "daemon.log"
    bound_log(log_path)
    with log_path.open("ab") as log:
        # A session of its own: Ctrl-C here and the end of this terminal are nothing to it.
        return subprocess.Popen(
            _daemon_command(state, port=port, report_fd=report_fd),
            env=_daemon_environment(),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=state.root,
            start_new_session=True,
            pass_fds=[report_fd],
        )


def _await_up(fd: int, *, state: StateFolder, tell: Tell) -> None:
    for report in _reports(fd, deadline=time.monotonic() + UP_SECONDS):
        match report["event"]:
            case "ready":
                tell(f"  {report['component']}: ready")
            case "failed":
                raise LocalModeError(report["message"])
            case "up":
                return
    raise LocalModeError(f"the daemon of local mode did not come up within {UP_SECONDS:g} s, or ended; see {state.logs / 'daemon.log'}")


def _reports(fd: int, *, deadline: float) -> Iterator[dict[str, Any]]:
    """Until the daemon closes its end, or the deadline has passed."""
    buffer = b""
    while (left := deadline - time.monotonic()) > 0:
        if not select.select([fd], [], [], left)[0]:
            return
        data = os.read(fd, 4096)
        if not data:
            return
        *lines, buffer = (buffer + data).split(b"\n")
        for line in lines:
            yield json.loads(line)


def _stop_daemon(snapshot: Snapshot) -> None:
    """SIGTERM and wait for its end. Raises LocalModeError when it does not end in time."""
    identity = snapshot.identity
    try:
        fd = os.pidfd_open(identity.pid)
    except ProcessLookupError:
        return
    try:
        if not processes.send_signal(identity, signal.SIGTERM):
            return
        if not select.select([fd], [], [], DOWN_SECONDS)[0]:
            processes.send_signal(identity, signal.SIGKILL)  # the kernel ends its components, `clean_up` the rest
            select.select([fd], [], [], 5.0)
    finally:
        os.close(fd)
