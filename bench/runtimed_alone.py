"""runtimed by itself: CPU a Run, event to frame, exit to write, memory. Stands alone: `python -m bench.runtimed_alone --help`.

One API server, and for each tree that is compared one runtimed process of it beside a null Runtime Server (`--null-server`), which
answers Execute at once with accepted, started, one line of output and exit 0. This process plays scheduler and client. The trees
take turns, batch by batch, so that a slow minute of the machine meets all of them.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, aclosing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

import click
import grpc
import psutil
from krtpb.executor.v1 import stream_pb2, stream_pb2_grpc

from k8s.api import transitions
from k8s.api.names import API_VERSION
from k8s.api.run import Run
from k8s.client import PODS, RUNS, ApiClient, Changed, Listed, conditional_status, list_and_watch, load_credentials
from servers.sdk import batches
from tests.cluster.embedded import EmbeddedApiServer
from tests.cluster.processes import Child
from tests.cluster.real import RealApiServer
from tests.cluster.server import ApiServer

HERE = Path(__file__).parents[1]
NAMESPACE = "default"
SLOTS = 64
LABEL = "kruntimes.io/benchmark-id"
PATIENCE_SECONDS = 60
SHARED_MEMORY = Path("/dev/shm")

# -- the null Runtime Server, a process of its own -----------------------------------------------------------------------


class NullServer(stream_pb2_grpc.RuntimeStreamServicer):
    """Executes nothing: what it is asked for has succeeded already, or, with an argument, once a file of that name is there."""

    def __init__(self) -> None:
        self._outgoing: asyncio.Queue[stream_pb2.SessionResponse] = asyncio.Queue()
        self._held: set[asyncio.Task[None]] = set()

    async def Session(self, requests: AsyncIterator[stream_pb2.SessionRequest], context: Any) -> None:  # noqa: N802 - gRPC's name
        hello = (await anext(aiter(requests))).hello
        reader = asyncio.create_task(self._read(requests))
        await context.write(stream_pb2.SessionResponse(welcome=stream_pb2.Welcome(boot_id="null", takes_batches=True)))
        try:
            while True:
                first = await self._outgoing.get()
                await context.write(batches.gather(first, following=self._next) if hello.takes_batches else first)
        finally:
            reader.cancel()

    def _next(self) -> stream_pb2.SessionResponse | None:
        return None if self._outgoing.empty() else self._outgoing.get_nowait()

    async def _read(self, requests: AsyncIterator[stream_pb2.SessionRequest]) -> None:
        async for message in requests:
            for request in batches.spread(message):
                if request.WhichOneof("event") == "execute":
                    self._execute(request.execute)
                elif request.WhichOneof("event") == "forget":
                    self._say(forgotten=stream_pb2.Forgotten(key=request.forget.key))

    def _execute(self, execute: stream_pb2.Execute) -> None:
        now = _micros()
        Path(execute.env["KRUNTIME_OUTPUTS"]).write_text(f"frame={now}\n")
        self._say(accepted=stream_pb2.Accepted(key=execute.key))
        self._say(started=stream_pb2.Started(key=execute.key, pid=1, started_unix_micros=now))
        if execute.args:
            task = asyncio.create_task(self._hold(execute))
            self._held.add(task)
            task.add_done_callback(self._held.discard)
        else:
            self._end(execute)

    async def _hold(self, execute: stream_pb2.Execute) -> None:
        while not os.path.exists(execute.args[0]):  # noqa: ASYNC110, ASYNC240 - a file has no event
            await asyncio.sleep(0.05)
        self._end(execute)

    def _end(self, execute: stream_pb2.Execute) -> None:
        self._say(output=stream_pb2.Output(key=execute.key, stream=stream_pb2.OUTPUT_STREAM_STDOUT, data=b"hello\n"))
        self._say(exited=stream_pb2.Exited(key=execute.key, reason=stream_pb2.EXIT_REASON_EXITED, exited_unix_micros=_micros()))

    def _say(self, **event: Any) -> None:
        self._outgoing.put_nowait(stream_pb2.SessionResponse(**event))


def _micros() -> int:
    return time.time_ns() // 1000


async def serve_null() -> None:
    """Prints its port, and serves until it is killed."""
    server = grpc.aio.server()
    stream_pb2_grpc.add_RuntimeStreamServicer_to_server(NullServer(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(port, flush=True)
    await server.wait_for_termination()


# -- what is measured ---------------------------------------------------------------------------------------------------


@dataclass
class Pod:
    """One runtimed of one tree, and what was measured of it."""

    title: str
    tree: Path
    has_memory_dir: bool
    name: str = field(default_factory=lambda: f"alone-{secrets.token_hex(4)}")
    uid: str = ""
    server: Child | None = None
    runtimed: Child | None = None
    cpu_ms: list[float] = field(default_factory=list)
    to_frame_ms: list[float] = field(default_factory=list)
    to_write_ms: list[float] = field(default_factory=list)
    idle_mib: float = 0.0
    busy_mib: float = 0.0

    def start(self, *, api: ApiServer, folder: Path) -> None:
        here = folder / self.name
        (here / "workspace").mkdir(parents=True)
        environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(self.tree), str(self.tree / "proto")])}
        null = [sys.executable, "-P", "-m", "bench.runtimed_alone", "--null-server"]
        ours = os.environ | {"PYTHONPATH": os.pathsep.join([str(HERE), str(HERE / "proto")])}
        self.server = Child(null, log=here / "server.log", env=ours, capture_stdout=True)
        flags = {
            "runtime-endpoint": f"127.0.0.1:{int(self.server.first_line())}",
            "runtime-name": "null",
            "workers": SLOTS,
            "status-addr": "127.0.0.1:0",
            "metrics-bind-address": "127.0.0.1:0",
            "health-probe-bind-address": "127.0.0.1:0",
            "workspace": here / "workspace",
            "state-dir": here / "state",
            "kubeconfig": api.kubeconfig_of("kruntimes-runtimed"),
            **({"memory-dir": SHARED_MEMORY / self.name} if self.has_memory_dir else {}),
        }
        command = [sys.executable, "-P", "-m", "runtimed", *(f"--{flag}={value}" for flag, value in flags.items())]
        identity = {"HOSTNAME": self.name, "POD_NAMESPACE": NAMESPACE, "POD_UID": self.uid}
        self.runtimed = Child(command, log=here / "runtimed.log", env=environment | identity)

    def stop(self) -> None:
        for child in (self.runtimed, self.server):
            if child is not None:
                child.stop()
        shutil.rmtree(SHARED_MEMORY / self.name, ignore_errors=True)

    def cpu_seconds(self) -> float:
        """Of all threads of runtimed, to the nanosecond."""
        assert self.runtimed is not None
        tasks = Path(f"/proc/{self.runtimed.pid}/task").glob("*/schedstat")
        return sum(int(task.read_text().split()[0]) for task in tasks) / 1e9

    def rss_mib(self) -> float:
        assert self.runtimed is not None
        return float(psutil.Process(self.runtimed.pid).memory_info().rss) / (1 << 20)

    def note(self, run: Run) -> None:
        """What one Run says of itself."""
        timings = run.status.timings
        assert timings is not None
        assert timings.received is not None
        assert timings.finished is not None
        assert timings.recorded is not None
        framed = datetime.fromtimestamp(int(run.status.outputs["frame"]) / 1e6, tz=UTC)
        self.to_frame_ms.append((framed - timings.received).total_seconds() * 1000)
        self.to_write_ms.append((timings.recorded - timings.finished).total_seconds() * 1000)

    def forget(self) -> None:
        """The warm-up."""
        for values in (self.cpu_ms, self.to_frame_ms, self.to_write_ms):
            values.clear()


class Load:
    """Creates Runs, binds them, and learns of their ends by one watch."""

    def __init__(self, client: ApiClient) -> None:
        self._client = client
        self._label = secrets.token_hex(4)
        self._ends: dict[str, asyncio.Future[Run]] = {}
        self._count = 0

    async def watch(self) -> None:
        """For ever."""
        async with aclosing(list_and_watch(self._client, RUNS, namespace=NAMESPACE, label_selector=f"{LABEL}={self._label}")) as notices:
            async for notice in notices:
                for run in notice.items if isinstance(notice, Listed) else [notice.object] if isinstance(notice, Changed) else []:
                    if run.is_terminal and not self._ends[run.metadata.name].done():
                        self._ends[run.metadata.name].set_result(run)

    async def batch(self, pod: Pod, *, count: int, parallel: int) -> None:
        """`count` Runs, `parallel` at a time, all on `pod`."""
        numbers = iter(range(count))

        async def creator() -> list[Run]:
            return [await self.run(pod) for _ in numbers]

        before = pod.cpu_seconds()
        batches = await asyncio.gather(*(creator() for _ in range(parallel)))
        pod.cpu_ms.append((pod.cpu_seconds() - before) * 1000 / count)
        for run in (run for batch in batches for run in batch):
            pod.note(run)

    async def hold(self, pod: Pod, *, count: int, folder: Path) -> None:
        """Memory with `count` Runs in flight at the same time, and right after they have ended."""
        gate = folder / f"{pod.name}-gate"
        running = [asyncio.create_task(self.run(pod, args=[str(gate)])) for _ in range(count)]
        names = [f"{pod.name}-{number}" for number in range(self._count + 1, self._count + 1 + count)]
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not await self._are_running(names):  # noqa: ASYNC110
                await asyncio.sleep(0.2)
        pod.busy_mib = pod.rss_mib()
        gate.touch()
        await asyncio.gather(*running)
        pod.busy_mib = max(pod.busy_mib, pod.rss_mib())

    async def _are_running(self, names: list[str]) -> bool:
        runs = await self._client.list(RUNS, namespace=NAMESPACE, label_selector=f"{LABEL}={self._label}")
        return {run.metadata.name for run in runs.items if run.phase == "Running"} >= set(names)

    async def run(self, pod: Pod, *, args: list[str] | None = None) -> Run:
        self._count += 1
        name = f"{pod.name}-{self._count}"
        body = {
            "apiVersion": API_VERSION,
            "kind": "Run",
            "metadata": {"name": name, "labels": {LABEL: self._label}},
            "spec": {"runtime": "null", "mode": {"task": {"args": args or []}}, "source": {"inline": "echo hello"}},
        }
        ended = self._ends[name] = asyncio.get_running_loop().create_future()
        run = await self._client.create(RUNS, body, namespace=NAMESPACE)
        now = datetime.now(UTC)
        change = transitions.bind(run, pod_name=pod.name, pod_uid=pod.uid, observed=now, now=now)
        patch = conditional_status(change, resource_version=run.metadata.resource_version)
        await self._client.patch(RUNS, name, patch, namespace=NAMESPACE, subresource="status")
        return await asyncio.wait_for(ended, PATIENCE_SECONDS)


async def create_pods(api: ApiServer, pods: list[Pod]) -> None:
    async with await connect(api) as client:
        for pod in pods:
            spec = {"nodeName": "bench", "containers": [{"name": "runtime", "image": "null"}]}
            body = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": pod.name, "namespace": NAMESPACE}, "spec": spec}
            pod.uid = (await client.create(PODS, body, namespace=NAMESPACE)).uid


async def measure(api: ApiServer, pods: list[Pod], *, folder: Path, runs: int, repeats: int, parallel: int) -> None:
    """Everything, tree by tree in turn."""
    async with await connect(api) as client:
        for pod in pods:
            async with asyncio.timeout(PATIENCE_SECONDS):
                while not (await client.get(PODS, pod.name, namespace=NAMESPACE)).heartbeat:  # noqa: ASYNC110
                    await asyncio.sleep(0.1)
        await asyncio.sleep(1)
        for pod in pods:
            pod.idle_mib = pod.rss_mib()
        load = Load(client)
        watching = asyncio.create_task(load.watch())
        for pod in pods:
            await load.batch(pod, count=50, parallel=parallel)
            pod.forget()
        for _ in range(repeats):
            for pod in pods:
                await load.batch(pod, count=runs, parallel=parallel)
        for pod in pods:
            await load.hold(pod, count=SLOTS, folder=folder)
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)


async def connect(api: ApiServer) -> ApiClient:
    return await ApiClient.connect(await load_credentials(kubeconfig=str(api.kubeconfig)), user_agent="bench")


def percentile(values: list[float], percent: int) -> float:
    """Nearest rank."""
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * percent // 100) - 1)]


def report(pods: list[Pod]) -> Iterator[str]:
    yield "| tree | CPU ms a Run, median [spread] | received → frame p50 / p95 ms | exit → write p50 / p95 ms | RSS MiB idle / busy |"
    yield "|---|--:|--:|--:|--:|"
    for pod in pods:
        frame, write = pod.to_frame_ms, pod.to_write_ms
        yield (
            f"| {pod.title} | {median(pod.cpu_ms):.2f} [{min(pod.cpu_ms):.2f}-{max(pod.cpu_ms):.2f}] "
            f"| {percentile(frame, 50):.2f} / {percentile(frame, 95):.2f} | {percentile(write, 50):.2f} / {percentile(write, 95):.2f} "
            f"| {pod.idle_mib:.0f} / {pod.busy_mib:.0f} |"
        )


@click.command()
@click.option("--server", type=click.Choice(["embedded", "kube"]), default="embedded", show_default=True)
@click.option(
    "--against", "others", multiple=True, type=click.Path(exists=True, path_type=Path), help="Another checkout, in turns with this."
)
@click.option("--runs", default=100, show_default=True, help="Runs of one batch.")
@click.option("--repeats", default=5, show_default=True, help="Batches of each tree.")
@click.option("--parallel", default=25, show_default=True, help="Runs in flight.")
@click.option("--memory-dir/--no-memory-dir", default=True, show_default=True, help="Markers of this tree on a tmpfs, as in a Pod.")
@click.option("--null-server", is_flag=True, hidden=True)
def main(server: str, others: tuple[Path, ...], runs: int, repeats: int, parallel: int, memory_dir: bool, null_server: bool) -> None:
    """CPU a Run, latencies and memory of the runtimed process."""
    if null_server:
        asyncio.run(serve_null())
        return
    pods = [Pod("this tree", HERE, memory_dir), *(Pod(str(other), other.absolute(), has_memory_dir=False) for other in others)]
    api: ApiServer = EmbeddedApiServer() if server == "embedded" else RealApiServer()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="kruntimes-alone-")))
        api.start()
        stack.callback(api.stop)
        api.bind_runtimed(NAMESPACE)
        asyncio.run(create_pods(api, pods))
        for pod in pods:
            stack.callback(pod.stop)
            pod.start(api=api, folder=folder)
        asyncio.run(measure(api, pods, folder=folder, runs=runs, repeats=repeats, parallel=parallel))
        click.echo("\n".join(report(pods)))


if __name__ == "__main__":
    main()
