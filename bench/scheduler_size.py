"""`python -m bench.scheduler_size`: the scheduler at its target size. 1,000 Pods, 10,000 Pending Runs, 50,000 finished ones.

Two parts. The pure core, decision by decision, in CPU time of its thread, so that a busy machine does not count. And krt-scheduler
as a process beside the embedded API server that holds all those objects: start-up, memory, and how long a new Run waits for its
bind while the backlog is being bound, and after that.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import platform
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing, asynccontextmanager, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import click
import msgspec
import psutil
from msgspec import Struct

from bench.samples import Summary, summarize
from bench.scheduler_decisions import PENDING, PODS_COUNT, TEAMS, Decisions, JsonObject, cases, decide, pod_document, queue_of, run_document
from controlplane.local.apiserver.database import Database, HistoryRow
from k8s.api import names, phases
from k8s.client import PODS, RUNS, ApiClient, Changed, list_and_watch, load_credentials, strategic_patch
from tests.cluster.embedded import EmbeddedApiServer
from tests.cluster.processes import Child

FINISHED = 50_000
ROOMY_PODS, ROOM = 40, 10
"""Pods with free slots for the backlog, and how many each."""
CONTROL_POD = "pod-99999"
"""Where the Runs go that are created while we measure: it has room for all of them."""
REPO = Path(__file__).parents[1]
RESULTS = Path("build") / "bench"


class Start(Struct, frozen=True, kw_only=True):
    """One start of krt-scheduler at that size."""

    first_bind_seconds: float
    """From the start of the process until a watch shows the first bind."""
    backlog_seconds: float
    """From then on until what has room is bound."""
    backlog_binds: int
    rss_mib: float
    peak_rss_mib: float
    cpu_seconds: float
    during_backlog: Summary
    """Milliseconds from the create of a new Run until a watch shows it as bound."""
    idle: Summary


def seated(pod: JsonObject, *, phase: str) -> JsonObject:
    """The status of a Run that is, or was, on that Pod."""
    return {"phase": phase, "assignedPod": pod["metadata"]["name"], "assignedPodUID": pod["metadata"]["uid"], "attempt": 0}


def population() -> Iterator[tuple[str, JsonObject]]:
    """(resource, object). Two Runs on each Pod; the Pending have been told that they wait."""
    for team in [*(f"team-{n}" for n in range(TEAMS)), "control"]:
        metadata = {"name": team, "uid": f"uid-{team}"}
        yield "namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata, "status": {"phase": "Active"}}
    pods = [pod_document(n, capacity={"runs": 2 + (ROOM if n < ROOMY_PODS else 0)}, **queue_of(n)) for n in range(PODS_COUNT)]
    yield from (("pods", pod) for pod in [*pods, pod_document(99_999, capacity={"runs": 10**6}, runtime="control", namespace="control")])
    for number in range(2 * PODS_COUNT):
        status = seated(pods[number % PODS_COUNT], phase=phases.RUNNING)
        yield "runs.kruntimes.io", run_document(f"running-{number}", status=status, **queue_of(number))
    for number in range(PENDING):
        where = queue_of(number)
        told = {"phase": phases.PENDING, "message": f'waiting for available runtime pods for runtime "{where["runtime"]}"'}
        yield "runs.kruntimes.io", run_document(f"pending-{number:05}", status=told, **where)
    for number in range(FINISHED):
        status = seated(pods[number % PODS_COUNT], phase=phases.SUCCEEDED) | {"message": "execution completed", "exitCode": 0}
        yield "runs.kruntimes.io", run_document(f"finished-{number:05}", status=status, **queue_of(number))


def fill(path: Path) -> None:
    """Writes the population into the file of a server that is not running: 60,000 creates would take minutes."""
    database = Database(path)
    version = max([database.compacted(), *(row.rv for row in database.history()[:1])])
    for resource, document in population():
        version += 1
        metadata = document["metadata"] | {"resourceVersion": str(version), "creationTimestamp": "2026-08-09T10:00:00Z"}
        row = HistoryRow(version, "ADDED", resource, metadata.get("namespace", ""), metadata["name"], None)
        database.write(row, body=msgspec.json.encode(document | {"metadata": metadata}))
    database.forget_history(up_to=version)
    database.close()


class Binds:
    """A watch on a connection of its own, which notes when each Run is bound."""

    def __init__(self, client: ApiClient) -> None:
        self._client = client
        self.seen: dict[str, float] = {}
        self._changed = asyncio.Condition()

    async def follow(self) -> None:
        watch = list_and_watch(self._client, RUNS, field_selector=f"status.phase={phases.SCHEDULED}")
        async with aclosing(watch) as notices:
            async for notice in notices:
                if isinstance(notice, Changed):
                    async with self._changed:
                        self.seen.setdefault(notice.object.metadata.name, time.monotonic())
                        self._changed.notify_all()

    async def until(self, is_so: Callable[[dict[str, float]], bool]) -> None:
        async with asyncio.timeout(120), self._changed:
            await self._changed.wait_for(lambda: is_so(self.seen))


@asynccontextmanager
async def following(client: ApiClient) -> AsyncIterator[Binds]:
    binds = Binds(client)
    tasks = [asyncio.create_task(binds.follow()), asyncio.create_task(_beat(client))]
    try:
        yield binds
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _beat(client: ApiClient) -> None:
    """The heartbeats of the Pods that have room: a thousand would be the API server's main work here."""
    pods = [(CONTROL_POD, "control"), *((f"pod-{n:05}", queue_of(n)["namespace"]) for n in range(ROOMY_PODS))]
    for number in itertools.count(1):
        condition = {"type": names.RUNTIMED_READY_CONDITION, "status": "True", "lastProbeTime": f"2026-08-09T10:00:{number % 60:02}Z"}
        patch = strategic_patch({"status": {"conditions": [condition]}})
        for name, namespace in pods:
            await client.patch(PODS, name, patch, namespace=namespace, subresource="status")
        await asyncio.sleep(5)


async def new_runs(client: ApiClient, binds: Binds, *, until: Callable[[int], bool]) -> list[float]:
    """One after the other, in a queue with room of its own; milliseconds each."""
    taken: list[float] = []
    for number in itertools.count():
        if until(number):
            return taken
        name = f"control-{time.monotonic_ns()}"
        document = run_document(name, runtime="control", namespace="control")
        began = time.monotonic()
        await client.create(RUNS, document | {"metadata": {"name": name}}, namespace="control")
        await binds.until(lambda seen, name=name: name in seen)  # type: ignore[misc]
        taken.append((binds.seen[name] - began) * 1_000)
    raise AssertionError


async def measure(server: EmbeddedApiServer, *, quiet_runs: int) -> Start:
    """One start, until the backlog is bound and new Runs were measured on the quiet system."""
    credentials = await load_credentials(kubeconfig=str(server.kubeconfig))
    async with await ApiClient.connect(credentials, user_agent="kruntimes-bench") as client, following(client) as binds:
        with scheduler(server) as process:
            began = time.monotonic()
            await binds.until(lambda seen: len(seen) > 0)
            first = min(binds.seen.values())
            during = await new_runs(client, binds, until=lambda number: _backlog(binds) >= ROOMY_PODS * ROOM)
            bound = max(at for name, at in binds.seen.items() if name.startswith("pending"))
            idle = await new_runs(client, binds, until=lambda number: number >= quiet_runs)
            memory, times = process.memory_info(), process.cpu_times()
            return Start(
                first_bind_seconds=round(first - began, 3),
                backlog_seconds=round(bound - first, 3),
                backlog_binds=_backlog(binds),
                rss_mib=round(memory.rss / 2**20, 1),
                peak_rss_mib=round(_peak_rss_bytes(process.pid) / 2**20, 1),
                cpu_seconds=round(times.user + times.system, 2),
                during_backlog=summarize(during),
                idle=summarize(idle),
            )


def _backlog(binds: Binds) -> int:
    return sum(name.startswith("pending") for name in binds.seen)


def _peak_rss_bytes(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


@contextmanager
def scheduler(server: EmbeddedApiServer) -> Iterator[psutil.Process]:
    """krt-scheduler as a process of its own."""
    command = [sys.executable, "-m", "controlplane.scheduler", f"--kubeconfig={server.kubeconfig}"]
    command += ["--metrics-bind-address=127.0.0.1:0", "--health-probe-bind-address=127.0.0.1:0"]
    env = os.environ | {"PYTHONPATH": os.pathsep.join([str(REPO), str(REPO / "proto")])}
    child = Child(command, log=server.folder / "scheduler.log", env=env)
    try:
        yield psutil.Process(child.pid)
    finally:
        child.stop()


def starts(*, repeats: int, quiet_runs: int) -> Iterator[Start]:
    """Each on a server filled anew: a start binds what has room."""
    for _ in range(repeats):
        with tempfile.TemporaryDirectory(prefix="kruntimes-size-") as folder:
            server = EmbeddedApiServer(folder=Path(folder))
            with server:
                pass  # makes the file, with our CRDs in it
            fill(Path(folder) / "store.db")
            with server:
                yield asyncio.run(measure(server, quiet_runs=quiet_runs))


# ---- the report


class Report(Struct, frozen=True, kw_only=True):
    taken: str
    machine: str
    load_average: float
    decisions: list[Decisions]
    starts: list[Start]


def markdown(report: Report) -> str:
    lines = [f"{report.machine}; load average before: {report.load_average}; {report.taken}.", ""]
    lines += ["| core: CPU µs a decision | n | p50 | p90 | p99 | max |", "|---|--:|--:|--:|--:|--:|"]
    for row in report.decisions:
        spent = row.microseconds
        lines.append(f"| {row.case} | {spent.count} | {spent.p50:.1f} | {spent.p90:.1f} | {spent.p99:.1f} | {spent.max:.0f} |")
    if report.starts:
        lines += ["", *_process_table(report.starts)]
    return "\n".join(lines)


def _process_table(starts: list[Start]) -> list[str]:
    def row(title: str, values: list[float]) -> str:
        return f"| {title} | {median(values):.1f} | {min(values):.1f}-{max(values):.1f} |"

    return [
        f"| process, {len(starts)} starts | median | spread |",
        "|---|--:|--:|",
        row("s until the first bind", [each.first_bind_seconds for each in starts]),
        row("binds a second of the backlog", [each.backlog_binds / each.backlog_seconds for each in starts]),
        row("MiB RSS", [each.rss_mib for each in starts]),
        row("MiB RSS at its peak", [each.peak_rss_mib for each in starts]),
        row("CPU s in all", [each.cpu_seconds for each in starts]),
        row("ms create → bound while the backlog is bound, p50", [each.during_backlog.p50 for each in starts]),
        row("ms create → bound while the backlog is bound, p99", [each.during_backlog.p99 for each in starts]),
        row("ms create → bound on the quiet system, p50", [each.idle.p50 for each in starts]),
        row("ms create → bound on the quiet system, p99", [each.idle.p99 for each in starts]),
    ]


@click.command()
@click.option("--repeats", default=3, show_default=True, help="Starts of the process.")
@click.option("--core-only", is_flag=True, help="Leave the process out.")
@click.option("--out", type=click.Path(path_type=Path), default=RESULTS, show_default=True, help="Folder for the JSON.")
def main(repeats: int, core_only: bool, out: Path) -> None:
    """Decisions, start-up, memory and fairness of the scheduler at its target size."""
    load_average = os.getloadavg()[0]
    report = Report(
        taken=datetime.now(UTC).isoformat(timespec="seconds"),
        machine=f"{os.cpu_count()} cores, {platform.system()} {platform.release()}, Python {platform.python_version()}",
        load_average=round(load_average, 2),
        decisions=[decide(case) for case in cases()],
        starts=[] if core_only else list(starts(repeats=repeats, quiet_runs=200)),
    )
    click.echo(markdown(report))
    out.mkdir(parents=True, exist_ok=True)
    path = out / f"scheduler-size-{report.taken.replace(':', '').replace('+0000', 'Z')}.json"
    path.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=1))
    click.echo(f"\neverything: {path}", err=True)


if __name__ == "__main__":
    main()
