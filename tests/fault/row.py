"""One row of the fault table as a test writes it: `async with Row.of(platform, "01") as row`.

On entry everything is up and nothing runs; the body does harm; on leaving the harm ends, everything comes to rest, and the
history is checked against P1 to P6 and the leak gates. When anything of that fails, history and logs are kept, and the error
says where.
"""

from __future__ import annotations

import asyncio
import itertools
import secrets
import shutil
import time
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import msgspec

from k8s.api.names import API_VERSION
from k8s.api.run import Run
from k8s.api.timestamps import parse_timestamp
from k8s.client import RUNS, RUNTIMES, SECRETS, ApiClient, apply_patch, load_credentials, merge_patch
from runtimed.hooks.heartbeat import INTERVAL_SECONDS
from tests.fault import canaries, figures, leaks, workload
from tests.fault.checkers import TERMINAL, TESTER, check, only_leaders_write
from tests.fault.history import History, Made, Start
from tests.fault.platform import LEASE_SECONDS, NAMESPACE, Platform, filesystem_store, runtime_manifest
from tests.fault.said import Said
from tests.fault.watching import Watching

READY_SECONDS = 60.0
REST_SECONDS = 60.0
OURS = ("krt-scheduler*", "krt-controller*", "runtimed*", "kruntimes-node*")
"""User agents of all components."""
AT_ONCE = 25
"""Creates in flight of a burst."""
RETRYING = {"maxAttempts": 5, "backoff": "100ms"}
"""For Runs under a fault that costs attempts."""
_numbers = itertools.count(1)


class Row:
    """What a row may do. Use `of`."""

    def __init__(self, platform: Platform, client: ApiClient, *, number: str) -> None:
        self.platform, self.client, self.number = platform, client, number
        self.watching = Watching(client, namespace=NAMESPACE)
        self.made: list[Made] = []
        self._gates: list[workload.Gate] = []
        self.folder = platform.folder / f"row-{number}-{next(_numbers)}"
        self.folder.mkdir()
        self.said = Said(platform)
        self._began_at = time.monotonic()

    @classmethod
    @asynccontextmanager
    async def of(cls, platform: Platform, number: str, *, rest_seconds: float = REST_SECONDS) -> AsyncIterator[Row]:
        credentials = await load_credentials(kubeconfig=str(platform.api.kubeconfig))
        async with await ApiClient.connect(credentials, user_agent=TESTER) as client:
            row = cls(platform, client, number=number)
            try:
                await row._begin()
                yield row
                await row._rest(rest_seconds)
            except BaseException as error:
                platform.is_broken = True
                kept = platform.keep(f"row-{number}", under=figures.OUTPUT / "kept")
                (kept / "error.txt").write_text("".join(traceback.format_exception(error)))
                error.add_note(f"history and logs: {kept}")
                raise
            finally:
                await row._end()

    # -- load ---------------------------------------------------------------------------------------------------------

    def gate(self) -> workload.Gate:
        """Opened at the end of the row at the latest."""
        self._gates.append(workload.Gate(self.folder, name=f"gate-{len(self._gates)}"))
        return self._gates[-1]

    def bash(self, body: str) -> str:
        """As a workload that writes history."""
        return workload.bash(body, log=self.platform.workload_log, markers_of=self.platform.markers_of)

    def python(self, body: str) -> str:
        return workload.python(body, log=self.platform.workload_log, markers_of=self.platform.markers_of)

    async def create(
        self, body: str = "true", *, runtime: str = "bash", name: str = "", labels: dict[str, str] | None = None, **spec: Any
    ) -> Made:
        """A Run whose script is `body`, with its history around it. It carries a canary in whatever `spec` does not say."""
        script = self.python(body) if runtime == "python" else self.bash(body)
        carried = {"mode": {"task": {"args": [canaries.CANARY]}}, "env": canaries.env()}
        spec = {"runtime": runtime, "source": {"inline": script}, **carried, **spec}
        return await self.create_raw(spec, name=name, metadata={"labels": labels} if labels else None)

    async def create_raw(self, spec: dict[str, Any], *, name: str = "", metadata: dict[str, Any] | None = None, **others: Any) -> Made:
        """A Run as it is written, `others` beside its spec. One whose script writes no history is not judged by the checkers of starts."""
        name = name or f"row-{self.number}-{secrets.token_hex(5)}"
        body = {"apiVersion": API_VERSION, "kind": "Run", "metadata": {"name": name, **(metadata or {})}, "spec": spec, **others}
        run = await self.client.create(RUNS, body, namespace=NAMESPACE)
        return self.take_over(Made(run.uid, name, int((spec.get("retryPolicy") or {}).get("maxAttempts", 1))))

    def take_over(self, made: Made) -> Made:
        """From now on it is this row's."""
        self.made.append(made)
        self.platform.made.append(made)
        return made

    async def burst(self, count: int, body: str = "true", **spec: Any) -> list[Made]:
        room = asyncio.Semaphore(AT_ONCE)

        async def one() -> Made:
            async with room:
                return await self.create(body, **spec)

        return list(await asyncio.gather(*(one() for _ in range(count))))

    async def in_flight(self, count: int, *, then: str = "true", **spec: Any) -> tuple[list[Made], workload.Gate]:
        """So many Runs that have started and wait at a gate."""
        gate = self.gate()
        made = await self.burst(count, f"{gate.wait}\n{then}", **spec)
        await self.until(
            lambda: self.started_count(made) == count and all(map(self._is_seen_bound, made)), seconds=60, what=f"{count} Runs have started"
        )
        return made, gate

    def _is_seen_bound(self, made: Made) -> bool:
        """Also by the watch here, which may be behind what user code has written down."""
        run = self.watching.runs.get(made.uid)
        return run is not None and bool(run.status.assigned_pod_uid)

    def started_count(self, made: Iterable[Made]) -> int:
        started = {start.run_uid for start in self.platform.history().starts}
        return len(started & {run.uid for run in made})

    async def cancel(self, made: Made) -> None:
        await self.client.patch(RUNS, made.name, merge_patch({"spec": {"cancelRequested": True}}), namespace=NAMESPACE)

    async def delete(self, made: Made) -> None:
        await self.client.delete(RUNS, made.name, namespace=NAMESPACE)

    # -- waiting ------------------------------------------------------------------------------------------------------

    async def until(self, condition: Callable[[], bool], *, seconds: float, what: str | Callable[[], str]) -> None:
        await self.watching.until(condition, seconds=seconds, what=what)

    def written_at(self, made: Made, *phases: str) -> float | None:
        """When the first status in one of these phases landed at the API server; None if none has."""
        writes = self.platform.history().writes
        return next((write.monotonic for write in writes if write.uid == made.uid and write.phase in phases), None)

    def ended_at(self, made: Made) -> float:
        """When its terminal status landed."""
        at = self.written_at(made, *TERMINAL)
        assert at is not None
        return at

    def run_of(self, made: Made) -> Run | None:
        return self.watching.runs.get(made.uid)

    def is_over(self, made: Made) -> bool:
        return made.uid in self.watching.ended

    async def over(self, *made: Made, seconds: float = 30.0) -> list[Run]:
        """Their last versions, once all of them are terminal."""
        await self.until(lambda: all(map(self.is_over, made)), seconds=seconds, what="these Runs are over")
        return [self.watching.runs[run.uid] for run in made]

    async def phase(self, made: Made, phase: str, *, seconds: float = 20.0) -> Run:
        await self.until(lambda: (run := self.run_of(made)) is not None and run.phase == phase, seconds=seconds, what=f"it is {phase}")
        return self.watching.runs[made.uid]

    def history(self) -> History:
        """Of this row's Runs."""
        return self.platform.history().of(self.made)

    async def bound(self, made: Made, *, seconds: float = 20.0) -> float:
        """When its bind landed, once it has."""
        await self.until(lambda: self.written_at(made, "Scheduled") is not None, seconds=seconds, what=f"{made.name} is bound")
        return self.written_at(made, "Scheduled") or 0.0

    def binds(self, made: Made) -> int:
        """How often it was bound, says the API server."""
        return sum(write.uid == made.uid and write.is_status_of_run and write.phase == "Scheduled" for write in self.history().writes)

    def starts(self, made: Made) -> list[Start]:
        return [start for start in self.history().starts if start.run_uid == made.uid]

    def pids(self, made: Made) -> list[int]:
        """Of its user code, now."""
        return [pid for pid, uid in self.platform.user_processes().items() if uid == made.uid]

    async def leader(self, lease: str) -> str:
        """The component that holds the Lease."""

        def holder() -> str | None:
            pids = {str(pid): name for name, pid in self.platform.system.processes.items()}
            return next((pids[part] for part in self.watching.holder(lease).split("_") if part in pids), None)

        await self.until(lambda: holder() is not None, seconds=20, what=f"one of ours holds {lease}")
        return str(holder())

    # -- harm ---------------------------------------------------------------------------------------------------------

    async def fail(self, match: dict[str, Any], action: dict[str, Any], **order: Any) -> str:
        """Arms a failpoint until the end of the row; gives its id."""
        body = msgspec.json.encode({"match": match, "action": action, **order})
        return str(msgspec.json.decode(await self.client.request("POST", "/failpoints", body=body))["id"])

    async def cut_watches(self, *user_agents: str) -> None:
        for user_agent in user_agents or OURS:
            body = msgspec.json.encode({"match": {"user_agent": user_agent}})
            await self.client.request("POST", "/failpoints/cut", body=body)

    async def storm_of_410(self) -> None:
        """From now on every watch is told that its history is gone, those that stand are cut."""
        for user_agent in OURS:
            gone = {"kind": "answer", "code": 410, "reason": "Expired", "message": "too old resource version"}
            await self.fail({"verbs": ["watch"], "user_agent": user_agent}, gone)
        await self.client.request("POST", "/failpoints/compact", body=b'{"keep": 0}')
        await self.cut_watches()

    async def make_all_list_anew(self) -> None:
        await self.storm_of_410()
        # More than once a second nobody lists, and a watch is asked for only after a list.
        await asyncio.sleep(3)
        await self.relent()

    @asynccontextmanager
    async def again_and_again(self, harm: Callable[[], Awaitable[None]], *, pause_seconds: float) -> AsyncIterator[None]:
        """Does harm every so often until the block ends; its failure is the row's."""

        async def repeat() -> None:
            while True:
                await harm()
                await asyncio.sleep(pause_seconds)

        async with asyncio.TaskGroup() as group:
            task = group.create_task(repeat())
            try:
                yield
            finally:
                task.cancel()

    async def hits(self, failpoint: str) -> int:
        return int(msgspec.json.decode(await self.client.request("GET", f"/failpoints/{failpoint}"))["hits"])

    async def last_hit_at(self, failpoint: str) -> float:
        """On the clock of the audit."""
        return float(msgspec.json.decode(await self.client.request("GET", f"/failpoints/{failpoint}"))["last_hit_at"])

    async def relent(self) -> None:
        """No failpoint is armed any more."""
        if self.platform.is_real:
            return
        await self.client.request("DELETE", "/failpoints")

    # -- figures ------------------------------------------------------------------------------------------------------

    def note(self, what: str, value: float, *, unit: str, at_most: float) -> None:
        """A figure with the bound that it must keep."""
        figures.note(self.number, what, value, unit=unit, bound=f"<= {at_most:g}")
        assert value <= at_most, f"{what}: {value:g} {unit}, at most {at_most:g}"

    # -- beginning and end --------------------------------------------------------------------------------------------

    async def make_runtimes(self) -> None:
        size = self.platform.size
        offered = {} if self.platform.is_real else canaries.offers()
        for name, pods, slots in (("bash", size.bash_pods, size.bash_slots), ("python", size.python_pods, size.python_slots)):
            if pods:
                store = self._store_of(name)
                patch = apply_patch(runtime_manifest(name, pods=pods, slots=slots, store=store, annotations=offered))
                await self.client.patch(RUNTIMES, name, patch, namespace=NAMESPACE, field_manager="fault", force=True)

    def _store_of(self, runtime: str) -> dict[str, Any] | None:
        if self.platform.artifact_claim:
            return filesystem_store(self.platform.artifact_claim)
        return canaries.s3_store() if runtime == "python" and not self.platform.is_real else None

    async def _begin(self) -> None:
        is_new = not self.platform.has_canaries
        if is_new:
            await self._make_secrets()
        await self.make_runtimes()
        self.watching.start()
        await self.until(self._is_ready, seconds=READY_SECONDS, what="all Pods are ready")
        if not self.platform.is_real:
            await self._carry_secrets(with_git=is_new)

    async def _make_secrets(self) -> None:
        for secret in canaries.secrets():
            await self.client.create(SECRETS, secret, namespace=NAMESPACE)
        self.platform.has_canaries = True

    async def _carry_secrets(self, *, with_git: bool) -> None:
        """Those that a Run does not have of itself, through all of their ways; a fetch that fails says what failed."""
        runtime = "bash" if self.platform.size.bash_pods else "python"
        made = [await self.create(runtime=runtime, env=canaries.env_of_secret())]
        if with_git:
            source = {"repoURL": f"https://{canaries.UNREACHABLE}/x"}
            made.append(await self.create_raw({"runtime": runtime, "mode": {"task": {}}, "source": source}))
        phases = [run.phase for run in await self.over(*made)]
        assert phases == ["Succeeded", "Failed"][: len(made)], phases
        self.made.clear()  # what a row counts are its own

    async def canaries_found(self) -> list[str]:
        """Where, in what was said since the last time. P8."""
        found = [*self.platform.canaries.in_files(), *self.platform.canaries.in_metrics()]
        events = await self.client.request("GET", "/api/v1/events")
        return [*found, *(["P8: a canary is in an event"] if canaries.is_in(events) else [])]

    def _is_ready(self) -> bool:
        pods = [pod for pod in self.watching.pods.values() if pod.metadata.deletion_timestamp is None]
        return len(pods) == self.platform.size.pods and all(_is_fit(pod) for pod in pods)

    async def _rest(self, seconds: float) -> None:
        rested = await self.come_to_rest(seconds)
        writes = [write for write in self.platform.history().writes if write.monotonic > self._began_at - LEASE_SECONDS]
        problems = [
            *check(self.history()),
            *only_leaders_write(writes, lease_seconds=LEASE_SECONDS),
            *leaks.held_by_processes(self.platform),
            *await self.canaries_found(),
        ]
        assert not problems, "\n".join(problems[:20])
        figures.note(self.number, "all at rest after the last fault", rested, unit="s", bound=f"<= {seconds:g}")

    async def come_to_rest(self, seconds: float) -> float:
        """The harm ends; then everything must come to rest by itself. Says how long that took."""
        self.platform.heal()
        await self.relent()
        for gate in self._gates:
            gate.open()
        began = time.monotonic()
        await self.until(lambda: all(self.is_done(run) for run in self.made), seconds=seconds, what="P1: every Run is over")
        rested = time.monotonic() - began
        await self.until(
            lambda: not leaks.held_processes(self.platform),
            seconds=10,
            what=lambda: f"no process is left: {leaks.held_processes(self.platform)[:4]}",
        )
        await self.until(self._is_ready, seconds=READY_SECONDS, what="all Pods are ready again")
        await self.until(
            lambda: not leaks.held_files(self.platform),
            seconds=10,
            what=lambda: f"no files are left: {leaks.held_files(self.platform)[:4]}",
        )
        return rested

    def is_done(self, made: Made) -> bool:
        return self.is_over(made) or (made.uid not in self.watching.runs and self.watching.has_seen(made.uid))

    async def _end(self) -> None:
        await self.watching.stop()
        for gate in self._gates:
            gate.open()
            gate.close()
        shutil.rmtree(self.folder, ignore_errors=True)


def completed(run: Run) -> tuple[str, str]:
    """Phase and reason of a terminal Run."""
    return run.phase, next(condition.reason for condition in run.status.conditions if condition.type == "Completed")


def _is_fit(pod: Any) -> bool:
    ready, beat = pod.condition("Ready"), pod.heartbeat
    if ready is None or ready.status != "True" or beat is None or beat.status != "True" or beat.last_probe_time is None:
        return False
    # One that missed a beat in the row before is near to being given up.
    return (datetime.now(UTC) - parse_timestamp(beat.last_probe_time)).total_seconds() < INTERVAL_SECONDS + 1


__all__ = ["RETRYING", "Row", "completed"]
