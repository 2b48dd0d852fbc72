"""The background process of local mode: starts the API server, scheduler, controllers and node, and keeps them running.

`python -m controlplane.local.daemon --state DIR`; `krt local up` runs it and reads its reports, one JSON line each, from the
descriptor it was given. When it dies, the kernel ends its components; the next daemon ends what those left behind.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import click

from controlplane.local import processes, programs
from controlplane.local.address import remembered_port
from controlplane.local.ports import Ports
from controlplane.local.records import Records
from controlplane.local.state import LocalModeError, Snapshot, StateFolder
from controlplane.local.supervisor import Program, Supervised, bound_log
from k8s.manager import Lifecycle, run_process

MAX_EARLY_ENDS = 3
"""A component that ends so often before it was ever ready cannot start: say so instead of trying for ever."""
MAINTAINER_FLAG = "--runtime-maintainer-image=kruntimes-controller"
"""The node knows its command, and takes it from this machine."""
NODE_STOP_SECONDS = 20.0
"""Its Pods get 10 s, and it needs a moment to tell the API server."""
STOP_SECONDS = 5.0
LOG_CHECK_SECONDS = 60.0
Report = Callable[..., None]
_log = logging.getLogger(__name__)


class Daemon:
    """`run` until told to stop; nothing of local mode but the caller runs when it returns."""

    def __init__(self, state: StateFolder, *, port: int | None, report: Report) -> None:
        self._state = state
        self._port = port
        self._report = report
        self._records = Records(state.processes)
        self._since = datetime.now(UTC)
        self._phase = "Starting"
        self._environment = programs.own_environment(os.environ) | {programs.STATE_MARK: str(state.root)}
        health = Ports()
        self._apiserver = self._supervise("apiserver", self._apiserver_command, announces=True)
        self._others = [
            self._supervise_manager("scheduler", "krt-scheduler", health_port=health.take()),
            self._supervise_manager("controllers", "krt-controller", MAINTAINER_FLAG, health_port=health.take()),
            self._supervise("node", self._node_command, announces=True, stop_seconds=NODE_STOP_SECONDS),
        ]

    async def run(self, lifecycle: Lifecycle) -> None:
        identity = processes.identify(os.getpid())
        assert identity is not None
        self._identity = identity
        self._records.kill_leftovers()
        self._write_snapshot()
        starting = asyncio.create_task(self._start_all(lifecycle), name="start")
        stopping = asyncio.create_task(lifecycle.stopping.wait(), name="stopping")
        try:
            await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if starting.done():
                await starting  # raises LocalModeError
                lifecycle.tasks.start(self._bound_logs(), name="bound logs")
            await stopping
        finally:
            for task in (starting, stopping):
                task.cancel()
            await asyncio.gather(starting, stopping, return_exceptions=True)
            await self._stop_all()

    async def _start_all(self, lifecycle: Lifecycle) -> None:
        await self._start(lifecycle, [self._apiserver])
        await self._start(lifecycle, self._others)
        self._phase = "Up"
        self._write_snapshot()
        self._report(event="up", url=self._url)
        _log.info("local mode is up", extra={"url": self._url, "kubeconfig": str(self._state.kubeconfig)})

    async def _start(self, lifecycle: Lifecycle, components: list[Supervised]) -> None:
        for component in components:
            lifecycle.tasks.start(component.run(), name=component.program.name)
        await asyncio.gather(*(self._until_ready(component) for component in components))

    async def _until_ready(self, component: Supervised) -> None:
        """Raises LocalModeError when it ends again and again instead."""
        while not component.ready.is_set():
            await component.changed.wait()
            component.changed.clear()
            if component.early_ends >= MAX_EARLY_ENDS:
                raise LocalModeError(f"{component.program.name} does not start; the end of {component.log_path}:\n{component.log_tail()}")
        self._report(event="ready", component=component.program.name)

    async def _stop_all(self) -> None:
        """The node first: its Pods end while there is still an API server to tell."""
        self._phase = "Stopping"
        for component in (*reversed(self._others), self._apiserver):
            self._write_snapshot()
            self._report(event="stopping", component=component.program.name)
            await component.stop()
        self._records.kill_leftovers()
        if killed := kill_marked(self._state):
            _log.warning("ended processes that were left over", extra={"processes": killed})
        self._state.snapshot_path.unlink(missing_ok=True)

    @property
    def _url(self) -> str:
        return str(self._apiserver.announcement.get("url", ""))

    def _supervise_manager(self, name: str, program: str, *more: str, health_port: int) -> Supervised:
        flags = [
            *more,
            f"--kubeconfig={self._state.kubeconfig}",
            "--metrics-bind-address=127.0.0.1:0",
            f"--health-probe-bind-address=127.0.0.1:{health_port}",
        ]
        command = [*programs.program(program), *flags]
        return self._supervise(name, lambda: command, health_port=health_port)

    def _supervise(
        self,
        name: str,
        command: Callable[[], list[str]],
        *,
        announces: bool = False,
        health_port: int | None = None,
        stop_seconds: float = STOP_SECONDS,
    ) -> Supervised:
        program = Program(
            name=name,
            command=command,
            environment=self._environment,
            stop_seconds=stop_seconds,
            announces=announces,
            is_ready=None if health_port is None else lambda: is_ready(health_port),
        )
        return Supervised(
            program,
            records=self._records,
            log_path=self._state.logs / f"{name}.log",
            directory=self._state.root,
            on_change=self._write_snapshot,
        )

    def _apiserver_command(self) -> list[str]:
        # A restart keeps the address: it is in kubeconfigs and in open clients.
        port = self._url.rstrip("/").rpartition(":")[2] or remembered_port(self._state.kubeconfig, wanted=self._port)
        return [
            *programs.module("controlplane.local.apiserver"),
            f"--data-dir={self._state.root}",
            f"--listen=127.0.0.1:{port}",
            f"--node-socket={self._state.node_socket}",
        ]

    def _node_command(self) -> list[str]:
        return [
            *programs.module("controlplane.local.node"),
            f"--kubeconfig={self._state.kubeconfig}",
            f"--socket={self._state.node_socket}",
            f"--root={self._state.node}",
        ]

    def _write_snapshot(self) -> None:
        identity = self._identity
        self._state.write_snapshot(
            Snapshot(
                pid=identity.pid,
                started=identity.started,
                boot_id=identity.boot_id,
                phase=self._phase,
                since=self._since,
                url=self._url,
                components=[component.status for component in (self._apiserver, *self._others)],
            )
        )

    async def _bound_logs(self) -> None:
        while True:
            await asyncio.sleep(LOG_CHECK_SECONDS)
            for path in self._state.logs.glob("*.log"):
                await asyncio.to_thread(bound_log, path)


async def is_ready(port: int) -> bool:
    """Whether a manager's /readyz says so."""
    with suppress(aiohttp.ClientError, OSError, TimeoutError):
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5), trust_env=False) as session,
            session.get(f"http://127.0.0.1:{port}/readyz") as answer,
        ):
            return answer.status == 200
    return False


def kill_marked(state: StateFolder) -> int:
    """SIGKILL what carries this local mode's mark; gives how many that were. The daemon and its callers carry none."""
    entry = f"{programs.STATE_MARK}={state.root}"
    killed = 0
    current = processes.boot_id()
    for stat in processes.live_processes():
        if stat.pid != os.getpid() and processes.has_environment(stat.pid, entry=entry):
            killed += processes.send_signal(processes.Identity(stat.pid, stat.started, current), signal.SIGKILL)
    return killed


def reporter(fd: int | None) -> Report:
    """Reports as JSON lines to a descriptor. Whoever listened may have left: then nobody is told."""

    def report(**fields: Any) -> None:
        if fd is not None:
            with suppress(OSError):
                os.write(fd, json.dumps(fields).encode() + b"\n")

    return report


@click.command()
@click.option("--state", "root", required=True, type=click.Path(path_type=Path), help="The state folder.")
@click.option("--port", type=int, help="Port of the API server; default: as last time, else any free one.")
@click.option("--report-fd", type=int, help="Where to report progress, as JSON lines.")
def main(root: Path, port: int | None, report_fd: int | None) -> None:
    """Run local mode until it is told to stop."""
    state = StateFolder(root)
    state.create()
    os.chdir(root)  # the folder in which `krt local up` was typed may be deleted or unmounted
    os.umask(0o077)
    report = reporter(report_fd)

    async def run(lifecycle: Lifecycle) -> None:
        with state.locked("daemon", wait=False) as is_ours:
            if not is_ours:
                raise LocalModeError("another daemon of local mode runs on this state folder")
            try:
                await Daemon(state, port=port, report=report).run(lifecycle)
            except LocalModeError as error:
                report(event="failed", message=str(error))
                raise

    sys.exit(run_process("krt-local", run))


if __name__ == "__main__":
    main()
