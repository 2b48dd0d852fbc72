"""A Runtime Server by itself, over its real line: Execute received → first instruction, and exit of the process → the client knows.

`python -m bench.server_alone`. No Kubernetes, no runtimed but its end of the line: one server process, one session. User code
reports its first and its last instruction itself; all clocks are this machine's wall clock. "received" is the server's own
note of when it began to act on the frame (its debug log); "sent" is before the client wrote it, so an upper bound of that.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import click
import grpc
from krtpb.executor.v1 import stream_pb2, stream_pb2_grpc

from bench.samples import summarize
from runtimed.shell import frames
from runtimed.shell.carriers import Carrier, LineCarrier

REPO = Path(__file__).resolve().parents[1]
SCRIPTS = {
    "bash": "a=$EPOCHREALTIME; echo $a $EPOCHREALTIME\n",
    "python": "import time; a = time.time_ns(); print(f'{a / 1e9:.6f} {time.time_ns() / 1e9:.6f}')\n",
}
HEAVY = "numpy,kubernetes,grpc,boto3"
BALLAST_MIB = 200
WARM_UP_RUNS = 10
ROWS = {
    "received → first instruction": ("received", "first"),
    "sent → first instruction": ("sent", "first"),
    "exit noticed → client knows": ("noticed", "known"),
    "last instruction → client knows": ("last", "known"),
}


class Case(NamedTuple):
    name: str
    kind: str
    flags: tuple[str, ...] = ()
    is_command: bool = False
    """`bash -c TEXT`, `python -c TEXT`, instead of a file named script."""
    has_ballast: bool = False


CASES = (
    Case("bash script", "bash"),
    Case("bash -c", "bash", is_command=True),
    Case("python script", "python"),
    Case("python -c", "python", is_command=True),
    Case(f"python --preload {HEAVY}", "python", ("--preload", HEAVY)),
    Case(f"python --preload of {BALLAST_MIB} MiB", "python", ("--preload", "ballast"), has_ballast=True),
    Case("bash script, cold", "bash", ("--warm", "0")),
    Case("python script, cold", "python", ("--warm", "0")),
)


class Moments(NamedTuple):
    """Of one Run, in seconds of wall-clock time."""

    sent: float
    received: float
    first: float
    last: float
    noticed: float
    """The process directly above it reaped it."""
    known: float
    is_warm: bool


class Client:
    """One session, as its listener. Runs are told apart by their UID, so any number may be at it at a time."""

    def __init__(self, *, work_dir: Path, case: Case) -> None:
        self._work_dir = work_dir
        self._case = case
        self._ends: dict[str, asyncio.Future[tuple[float, float]]] = {}
        self._output: dict[str, bytes] = {}
        self.carrier: Carrier | None = None

    def on_welcome(self, boot_id: str, held: frames.HeldRuns) -> None:
        """Was read already."""

    def on_lost(self) -> None:
        for end in self._ends.values():
            end.cancel()

    def on_response(self, response: stream_pb2.SessionResponse) -> None:
        now = time.time()
        if response.HasField("output"):
            self._output[response.output.key.run_uid] += response.output.data
        elif response.HasField("exited"):
            self._ends[response.exited.key.run_uid].set_result((response.exited.exited_unix_micros / 1e6, now))

    async def run(self) -> tuple[str, dict[str, float]]:
        """Its UID and its moments, but for the server's own."""
        assert self.carrier is not None
        run_uid = str(uuid.uuid4())
        frame = self._execute(run_uid)
        self._ends[run_uid] = asyncio.get_running_loop().create_future()
        self._output[run_uid] = b""
        sent = time.time()
        self.carrier.send(frame)
        noticed, known = await self._ends[run_uid]
        del self._ends[run_uid]
        first, last = map(float, self._output.pop(run_uid).split())
        self.carrier.send(stream_pb2.SessionRequest(forget=stream_pb2.Forget(key=frame.execute.key)))
        return run_uid, {"sent": sent, "first": first, "last": last, "noticed": noticed, "known": known}

    def _execute(self, run_uid: str) -> stream_pb2.SessionRequest:
        script = SCRIPTS[self._case.kind]
        args = [] if not self._case.is_command else [script] if self._case.kind == "bash" else ["-c", script]
        folder = self._work_dir / run_uid
        folder.mkdir()
        if not args:
            (folder / "script").write_text(script)
        execute = stream_pb2.Execute(key=stream_pb2.AttemptKey(run_uid=run_uid), args=args, working_dir=str(folder))
        return stream_pb2.SessionRequest(execute=execute)


async def measure(case: Case, *, runs: int, parallel: int, pause_seconds: float) -> list[Moments]:
    # Two slots are what runtimed has by default.
    slots = max(2, parallel)
    with tempfile.TemporaryDirectory() as folder, running_server(case, folder=Path(folder)) as (port, log):
        async with connected(port, case=case, work_dir=Path(folder), slots=slots) as client:
            await asyncio.sleep(1 + parallel / 20)
            for _ in range(WARM_UP_RUNS):
                await client.run()
            told = dict(await all_of(client, runs=runs, parallel=parallel, pause_seconds=pause_seconds))
        noted = {entry["run_uid"]: entry for entry in read_log(log)}
    return [
        Moments(**moments, received=noted[run_uid]["received_micros"] / 1e6, is_warm=noted[run_uid]["warm"])
        for run_uid, moments in told.items()
    ]


async def all_of(client: Client, *, runs: int, parallel: int, pause_seconds: float) -> list[tuple[str, dict[str, float]]]:
    """`parallel` at a time; each waits a little before its next, as whoever sends Runs does."""
    done: list[tuple[str, dict[str, float]]] = []

    async def one_after_the_other() -> None:
        while len(done) < runs:
            done.append(await client.run())
            await asyncio.sleep(pause_seconds)

    await asyncio.gather(*(one_after_the_other() for _ in range(parallel)))
    return done


@contextlib.contextmanager
def running_server(case: Case, *, folder: Path) -> Iterator[tuple[int, Path]]:
    """The port, and where the log is."""
    log = folder / "server.log"
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": f"{REPO}:{REPO / 'proto'}"}
    interpreter = python_with_ballast(folder) if case.has_ballast else sys.executable
    command = [interpreter, "-m", f"servers.{case.kind}", "-v", "--port", "0", "--work-dir", str(folder), *case.flags]
    with log.open("w") as stderr, subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr, text=True, env=environment) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line, log.read_text()
            yield int(json.loads(line)["port"]), log
        finally:
            process.terminate()
            process.wait()


def python_with_ballast(folder: Path) -> str:
    """An interpreter that finds what this one finds, and a module that takes much memory in many objects."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "venv"], check=True)
    (packages,) = (folder / "venv" / "lib").glob("python*/site-packages")
    (packages / "more.pth").write_text("\n".join(path for path in sys.path if path.endswith("site-packages")))
    (packages / "ballast.py").write_text(f"DATA = [str(i) * 16 for i in range({BALLAST_MIB} * 2**20 // 170)]\n")
    return str(folder / "venv" / "bin" / "python")


@contextlib.asynccontextmanager
async def connected(port: int, *, case: Case, work_dir: Path, slots: int) -> AsyncIterator[Client]:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        call = stream_pb2_grpc.RuntimeStreamStub(channel).Session()
        await call.write(frames.hello("bench", slots=slots, takes_line=True))
        welcome = (await call.read()).welcome
        client = Client(work_dir=work_dir, case=case)
        client.carrier = await LineCarrier.connect(call, offer=welcome.line, listener=client)
        listening = asyncio.create_task(client.carrier.listen())
        listening.add_done_callback(lambda _: client.on_lost())
        try:
            yield client
        finally:
            listening.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await listening
            await client.carrier.close()
            call.cancel()


def read_log(log: Path) -> Iterator[dict[str, Any]]:
    for line in log.read_text().splitlines():
        if line.startswith("{") and (entry := json.loads(line))["message"] == "started":
            yield entry


def table(case: Case, measured: list[Moments]) -> str:
    warm = sum(moments.is_warm for moments in measured)
    lines = [f"{case.name}: n = {len(measured)}, {warm} of them warm; milliseconds"]
    for title, (begin, end) in ROWS.items():
        row = summarize([(getattr(moments, end) - getattr(moments, begin)) * 1000 for moments in measured])
        lines.append(f"  {title:32} p50 {row.p50:7.3f}  p90 {row.p90:7.3f}  p95 {row.p95:7.3f}  p99 {row.p99:7.3f}  max {row.max:7.3f}")
    return "\n".join(lines)


@click.command()
@click.option("--runs", default=500, show_default=True, help="For each case.")
@click.option("--parallel", default=1, show_default=True, help="Runs at a time.")
@click.option("--pause-seconds", default=0.01, show_default=True, help="Between a Run's end and the next.")
@click.option("--case", "words", multiple=True, help="Only cases with this in their name.")
def main(runs: int, parallel: int, pause_seconds: float, words: tuple[str, ...]) -> None:
    """Measure the Runtime Servers alone."""
    click.echo(f"load average {os.getloadavg()[0]:.1f}, {os.cpu_count()} cores, {parallel} at a time")
    for case in CASES:
        if not words or any(word in case.name for word in words):
            measured = asyncio.run(measure(case, runs=runs, parallel=parallel, pause_seconds=pause_seconds))
            click.echo(table(case, measured))


if __name__ == "__main__":
    main()
