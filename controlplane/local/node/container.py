"""One container of a Pod: its process from start to start.

The decisions are in `plan`, `probes` and `restarts`; this performs them and keeps `state`, from which the Pod's status is made.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Protocol

from controlplane.local.node.health import Health
from controlplane.local.node.host import Host
from controlplane.local.node.logfile import LogFile, PipeReader
from controlplane.local.node.plan import ContainerPlan, PodPorts, Surroundings, UnrunnableError, plan_container, referenced_objects
from controlplane.local.node.podstatus import ContainerState, Termination
from controlplane.local.node.probes import Probe, read_probe
from controlplane.local.node.restarts import plan_restart
from controlplane.local.processes import Child, start_child
from controlplane.local.records import CONTAINER_ID
from k8s.client import ApiError

Json = dict[str, Any]
DEFAULT_GRACE_SECONDS = 30
"""Kubernetes' default of terminationGracePeriodSeconds."""
_PROBE_KINDS = ("startupProbe", "readinessProbe", "livenessProbe")
_log = logging.getLogger(__name__)


class PodPortsKeeper(Protocol):
    """Knows where the servers of the Pod listen, and moves those of a container that find their port taken."""

    @property
    def ports(self) -> PodPorts: ...
    def renew_ports_of(self, container: str) -> None: ...


class Container:
    """`run` until it returns: after `stop`, or when the restart policy says that it has ended."""

    def __init__(
        self, pod: Json, manifest: Json, *, host: Host, keeper: PodPortsKeeper, on_change: Callable[[], None], restart_policy: str
    ) -> None:
        self.state = ContainerState(name=manifest["name"], image=manifest.get("image", ""))
        self.log: LogFile | None = None
        self.previous_log: LogFile | None = None
        self._pod = pod
        self._manifest = manifest
        self._host = host
        self._keeper = keeper
        self._on_change = on_change
        self._restart_policy = restart_policy
        self._child: Child | None = None
        self._pipes: list[PipeReader] = []
        self._stopping = asyncio.Event()
        self._kill_timers: list[asyncio.TimerHandle] = []
        self._starts = 0
        self._fields = {"pod": f"{pod['metadata']['namespace']}/{pod['metadata']['name']}", "container": manifest["name"]}

    async def run(self) -> None:
        failures = 0
        while not self._stopping.is_set():
            try:
                plan, probes = await self._plan()
                if self._stopping.is_set():
                    break
                child = self._start(plan)
            except UnrunnableError as error:
                self._wait_for(error.reason, error.message)
                restart = plan_restart(failures=max(1, failures), ran_seconds=0, exit_code=1, policy="Always")
            else:
                ran_seconds, exit_code = await self._live(child, probes=probes)
                restart = plan_restart(failures=failures, ran_seconds=ran_seconds, exit_code=exit_code, policy=self._restart_policy)
                self._ended(is_final=restart is None or self._stopping.is_set())
            if restart is None:
                break
            failures = restart.failures
            await self._pause(restart.delay_seconds)

    def stop(self, *, grace_seconds: float) -> None:
        """End it for good: SIGTERM now, SIGKILL after the grace period. Called again, the shorter one counts."""
        self._stopping.set()
        self.restart(grace_seconds=grace_seconds)

    def restart(self, *, grace_seconds: float) -> None:
        """End the process; unless it is stopping, another one follows."""
        if self._child:
            if not self._kill_timers:  # once: many programs take a second SIGTERM for an order to drop everything
                self._child.signal(signal.SIGTERM)
            self._kill_timers.append(asyncio.get_running_loop().call_later(grace_seconds, self._child.kill))

    async def _plan(self) -> tuple[ContainerPlan, dict[str, Probe]]:
        """Raises UnrunnableError."""
        self._keeper.renew_ports_of(self.state.name)
        try:
            references = await self._host.read_references(referenced_objects(self._pod), namespace=self._pod["metadata"]["namespace"])
            surroundings = self._surroundings(references)
            probes = {kind: read_probe(self._manifest, kind, ports=surroundings.ports) for kind in _PROBE_KINDS}
            plan = plan_container(self._pod, self._manifest, surroundings=surroundings)
        except ApiError as error:
            raise UnrunnableError("CreateContainerConfigError", str(error)) from error
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            # The API server checks built-in kinds loosely; a manifest that makes no sense must not end the node.
            raise UnrunnableError("CreateContainerConfigError", f"the manifest makes no sense here: {error!r:.200}") from error
        return plan, {kind: probe for kind, probe in probes.items() if probe}

    def _surroundings(self, references: dict[tuple[str, str], Any]) -> Surroundings:
        host = self._host
        return Surroundings(
            ports=self._keeper.ports,
            folders=host.folders(self._pod["metadata"]["uid"], namespace=self._pod["metadata"]["namespace"]),
            kubeconfig=host.kubeconfig,
            base_environment=host.base_environment(),
            own_environment=host.own_environment(),
            find_program=host.find_program,
            references=references,
        )

    def _start(self, plan: ContainerPlan) -> Child:
        """Raises UnrunnableError."""
        container_id = f"{self._pod['metadata']['uid']}-{self.state.name}-{self._starts}"
        log = self._open_log()
        loop = asyncio.get_running_loop()
        stdout, stderr = PipeReader(log, "stdout", loop=loop), PipeReader(log, "stderr", loop=loop)
        try:
            child = start_child(
                plan.command,
                environment=plan.environment | {CONTAINER_ID: container_id},
                directory=plan.directory,
                stdout=stdout.write_end,
                stderr=stderr.write_end,
            )
        except (OSError, ValueError) as error:
            _finish_output(log, [stdout, stderr])
            raise UnrunnableError("RunContainerError", f"cannot execute {plan.command[0][:128]!r}: {error}") from error
        finally:
            stdout.close_write_end()
            stderr.close_write_end()
        self._record(child, container_id=container_id)
        self._child, self._pipes = child, [stdout, stderr]
        self._keep_log(log)
        self.state = replace(self.state, container_id=container_id, started_at=self._host.now(), is_ready=False)
        self._on_change()
        _log.info("container started", extra={**self._fields, "pid": child.pid})
        return child

    async def _live(self, child: Child, *, probes: dict[str, Probe]) -> tuple[float, int]:
        """While it runs. Gives for how many seconds that was, and its exit code."""
        since = time.monotonic()
        health = Health(probes, ask=self._host.ask, on_ready=self._set_ready, on_unhealthy=self._on_unhealthy)
        watching = asyncio.create_task(health.watch(), name=f"health of {self.state.name}")
        try:
            code = await child.wait()
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
        return time.monotonic() - since, self._finish(child, code=code)

    def _finish(self, child: Child, *, code: int) -> int:
        for timer in self._kill_timers:
            timer.cancel()
        self._kill_timers.clear()
        self._child = None
        assert self.log is not None
        assert self.state.started_at is not None
        _finish_output(self.log, self._pipes)
        self._host.records.remove(child.identity)
        exit_code = code if code >= 0 else 128 - code
        end = Termination(exit_code, -code if code < 0 else None, started_at=self.state.started_at, finished_at=self._host.now())
        self.state = replace(self.state, last_termination=end)
        _log.info("container ended", extra={**self._fields, "exit_code": exit_code, "signal": end.signal})
        if exit_code and not self._stopping.is_set():
            message = f"container {self.state.name} ended with exit code {exit_code}"
            self._host.events.record(self._pod, type="Warning", reason="ContainerEnded", message=message)
        return exit_code

    def _ended(self, *, is_final: bool) -> None:
        self.state = replace(
            self.state,
            started_at=None,
            is_ready=False,
            is_finished=is_final,
            restart_count=self.state.restart_count + (0 if is_final else 1),
            waiting_reason="CrashLoopBackOff",
            waiting_message="the container ended and is started again",
        )
        self._on_change()

    def _wait_for(self, reason: str, message: str) -> None:
        if (self.state.waiting_reason, self.state.waiting_message) != (reason, message):
            _log.warning("container cannot be started", extra={**self._fields, "reason": reason, "error": message})
            self._host.events.record(self._pod, type="Warning", reason=reason, message=f"container {self.state.name}: {message}")
        self.state = replace(self.state, waiting_reason=reason, waiting_message=message, started_at=None, is_ready=False)
        self._on_change()

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        except TimeoutError:
            pass

    def _on_unhealthy(self, probe_kind: str) -> None:
        _log.warning("container failed its probe and is restarted", extra={**self._fields, "probe": probe_kind})
        message = f"container {self.state.name} failed its {probe_kind} and is restarted"
        self._host.events.record(self._pod, type="Warning", reason="Unhealthy", message=message)
        grace_seconds = self._pod["spec"].get("terminationGracePeriodSeconds")
        self.restart(grace_seconds=DEFAULT_GRACE_SECONDS if grace_seconds is None else grace_seconds)

    def _set_ready(self, is_ready: bool) -> None:
        if self.state.is_ready != is_ready:
            self.state = replace(self.state, is_ready=is_ready)
            self._on_change()

    def _open_log(self) -> LogFile:
        """Raises UnrunnableError."""
        folder = self._host.folders(self._pod["metadata"]["uid"], namespace=self._pod["metadata"]["namespace"]).logs(self.state.name)
        try:
            return LogFile(folder / f"{self._starts}.log", now=self._host.now)
        except OSError as error:
            raise UnrunnableError("CreateContainerError", f"its log cannot be written: {error}") from error

    def _record(self, child: Child, *, container_id: str) -> None:
        try:
            self._host.records.add(child.identity, container_id=container_id)
        except OSError as error:  # a full disk: it runs, but a killed node's successor would not know of what it leaves
            _log.warning("container cannot be recorded", extra={**self._fields, "error": str(error)})

    def _keep_log(self, log: LogFile) -> None:
        """The current start's log and the one before are kept, for `kubectl logs --previous`."""
        for path in self.previous_log.paths if self.previous_log else []:
            path.unlink(missing_ok=True)
        self.previous_log, self.log = self.log, log
        self._starts += 1


def _finish_output(log: LogFile, readers: list[PipeReader]) -> None:
    for reader in readers:
        reader.finish()
    log.close()
