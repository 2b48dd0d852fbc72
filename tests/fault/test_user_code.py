"""Rows 30 to 32 and 40 to 42: what user code does to get away, and what a Run asks for."""

from __future__ import annotations

import asyncio
import base64
import os
import threading
import time
from collections.abc import Awaitable, Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from k8s.client import EVENTS, NAMESPACES, Invalid, merge_patch
from tests.fault.canaries import CANARY, Search
from tests.fault.history import Made
from tests.fault.platform import NAMESPACE, Platform
from tests.fault.row import Row, completed

pytestmark = [pytest.mark.fault, pytest.mark.slow, pytest.mark.timeout(120)]

GRACE_SECONDS = 2.0
DAEMON = "(setsid bash -c 'trap \"\" TERM HUP; exec >/dev/null 2>&1 </dev/null; sleep 1000' & )"
"""Double-forked, in a session of its own, deaf to signals, without stdio."""


async def test_row_30_a_daemon_that_got_away_is_found(platform: Platform) -> None:
    """At the end of its Run, and when the Run is cancelled."""
    async with Row.of(platform, "30") as row:
        ending = await row.create(f"{DAEMON}; sleep 0.3")
        running = await row.create(f"{DAEMON}; sleep 1000")
        await row.until(lambda: len(row.pids(running)) >= 3, seconds=20, what="its daemon runs")
        assert (await row.over(ending))[0].phase == "Succeeded"
        assert row.pids(ending) == []
        await row.cancel(running)
        assert (await row.over(running))[0].phase == "Cancelled"
        assert row.pids(running) == []


async def test_row_31_ten_thousand_short_children_leave_no_zombie(platform: Platform) -> None:
    """Each is orphaned, so that it is ours to reap."""
    async with Row.of(platform, "31") as row:
        count = 10_000
        made = await row.create(f"for ((i = 0; i < {count}; i++)); do ( : & ); done; sleep 1")
        await row.until(lambda: bool(row.starts(made)), seconds=20, what="it has started")
        [start] = row.starts(made)
        keeper = psutil.Process(start.pid).ppid()
        zombies, pids = [], []
        while not row.is_over(made):
            below = _children(keeper)
            zombies.append(sum(_is_zombie(child) for child in below))
            pids.append(len(below))
            await asyncio.sleep(0.1)
        assert row.run_of(made).phase == "Succeeded"  # type: ignore[union-attr]
        assert sum(zombies[-4:-1]) == 0, zombies
        row.note("most processes below the keeper at a time", max(pids), unit="", at_most=200)


def _children(pid: int) -> list[psutil.Process]:
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.Error:
        return []


def _is_zombie(process: psutil.Process) -> bool:
    try:
        return bool(process.status() == psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False


@pytest.mark.parametrize(
    "body",
    [
        pytest.param("trap '' TERM; while :; do sleep 100; done", id="ignores SIGTERM"),
        pytest.param("kill -STOP $$; sleep 1000", id="stops itself"),
        pytest.param("exec <&- >&- 2>&-; trap '' TERM; while :; do sleep 100; done", id="closes its stdio"),
        pytest.param("sleep 1000 & sleep 1000 & wait", id="has children"),
    ],
)
async def test_row_32_whoever_does_not_want_to_end_is_ended(platform: Platform, body: str) -> None:
    async with Row.of(platform, "32") as row:
        made = await row.create(body)
        await row.until(lambda: bool(row.starts(made)), seconds=20, what="it has started")
        await asyncio.sleep(0.3)
        cancelled_at = time.monotonic()
        await row.cancel(made)
        assert (await row.over(made))[0].phase == "Cancelled"
        row.note("end after the cancel", row.ended_at(made) - cancelled_at, unit="s", at_most=GRACE_SECONDS + 1)
        assert row.pids(made) == []


async def test_row_32_a_grandchild_that_holds_the_pipe_delays_nothing(platform: Platform) -> None:
    async with Row.of(platform, "32") as row:
        made = await row.create("sleep 1000 & exit 0")
        await row.until(lambda: bool(row.starts(made)), seconds=20, what="it has started")
        [start] = row.starts(made)
        [run] = await row.over(made)
        assert run.phase == "Succeeded"
        row.note("end of a Run whose grandchild holds the pipe", row.ended_at(made) - start.at, unit="s", at_most=GRACE_SECONDS + 1)


ENTRYPOINTS = {
    "a shell command": ("; touch {witness}", "Failed"),
    "a substitution": ("$(touch {witness})", "Failed"),
    "a pipe": ("x | touch {witness}", "Failed"),
    "unicode": ("ünïcödé-☃", "Failed"),
    "four thousand bytes": ("x" * 4000, "Failed"),
    "an option": ("-c", "Failed"),
}


@pytest.mark.parametrize(("entrypoint", "phase"), ENTRYPOINTS.values(), ids=ENTRYPOINTS.keys())
@pytest.mark.parametrize("runtime", ["bash", "python"])
async def test_row_40_an_entrypoint_is_a_file_name_and_never_a_command(
    platform: Platform, tmp_path: Path, runtime: str, entrypoint: str, phase: str
) -> None:
    async with Row.of(platform, "40") as row:
        witness = tmp_path / "witness"
        spec = {"runtime": runtime, "mode": {"task": {"entrypoint": entrypoint.format(witness=witness)}}}
        made = await row.create_raw(spec)
        [run] = await row.over(made)
        assert run.phase == phase
        assert not witness.exists()


@pytest.mark.parametrize("entrypoint", ["/bin/true", "../x", "a/../../x"])
async def test_row_40_an_entrypoint_outside_is_refused_at_once(platform: Platform, entrypoint: str) -> None:
    async with Row.of(platform, "40") as row:
        with pytest.raises(Invalid, match="entrypoint"):
            await row.create_raw({"runtime": "bash", "mode": {"task": {"entrypoint": entrypoint}}})


async def env_of(row: Row, env: list[dict[str, str]], *, runtime: str = "bash") -> dict[str, str]:
    """What a process of a Run with that environment is given, but for what any bash adds to it."""
    seen = row.folder / f"env-{len(row.made)}"
    made = await row.create(f"env > {seen}", env=env)
    assert (await row.over(made))[0].phase == "Succeeded"
    found = dict(line.split("=", 1) for line in seen.read_text().splitlines() if "=" in line)
    return {name: value for name, value in found.items() if name not in {"PWD", "SHLVL", "_"}}


async def test_row_41_the_environment_is_an_allow_list_and_what_the_run_says(platform: Platform) -> None:
    async with Row.of(platform, "41") as row:
        bare = await env_of(row, [])
        assert set(bare) <= {"PATH", "HOME", "LANG", "TZ", "TMPDIR", "HOSTNAME", "KRUNTIME_OUTPUTS", "LC_ALL", "LC_CTYPE"}
        asked: list[dict[str, Any]] = [
            {"name": "PATH", "value": "/bin:/usr/bin"},
            {"name": "BASH_ENV", "value": "/dev/null"},
            {"name": "PYTHONPATH", "value": "/nowhere"},
            {"name": "LD_LIBRARY_PATH", "value": "/nowhere"},
            {"name": "TWICE", "value": "first"},
            {"name": "TWICE", "value": "last"},
            {"name": "KRUNTIME_OUTPUTS", "value": "/etc/passwd"},
            {"name": "KRUNTIME_OTHER", "value": "mine"},
            {"name": "MULTI", "value": "x" * 100_000},
        ]
        seen = await env_of(row, asked)
        assert set(seen) - set(bare) == {"BASH_ENV", "PYTHONPATH", "LD_LIBRARY_PATH", "TWICE", "KRUNTIME_OTHER", "MULTI"}
        assert (seen["PATH"], seen["TWICE"], seen["KRUNTIME_OTHER"], len(seen["MULTI"])) == ("/bin:/usr/bin", "last", "mine", 100_000)
        assert seen["KRUNTIME_OUTPUTS"].endswith("/outputs"), "a reserved name is ours"


@pytest.mark.parametrize("name", ["WITH=EQUALS", ""])
async def test_row_41_a_name_that_is_none_is_refused_with_its_place(platform: Platform, name: str) -> None:
    async with Row.of(platform, "41") as row:
        try:
            made = await row.create(env=[{"name": name, "value": "x"}])
        except Invalid:
            return  # by the API server, even before
        [run] = await row.over(made)
        assert completed(run) == ("Failed", "PrepareSource")
        assert "spec.env[0]" in run.status.message


async def test_row_41_an_environment_too_large_for_the_kernel_fails_with_a_reason(platform: Platform) -> None:
    async with Row.of(platform, "41") as row:
        made = await row.create(env=[{"name": "HUGE", "value": "x" * 1_000_000}])
        [run] = await row.over(made)
        assert run.phase == "Failed"
        assert "larger than what a process can be given" in run.status.message


async def test_row_42_what_a_run_carries_is_found_nowhere(platform: Platform) -> None:
    """In env, args, crashes of all of our processes with it in their locals: no log, event, status or metric."""
    async with Row.of(platform, "42") as row:
        secret: dict[str, Any] = {"env": [{"name": "TOKEN", "value": CANARY}], "mode": {"task": {"args": [CANARY]}}}
        made: list[Made] = [
            await row.create('[ "$1" = "$TOKEN" ]', **secret),
            await row.create("exit 3", retryPolicy={"maxAttempts": 2, "backoff": "50ms"}, **secret),
            await row.create("sleep 100", timeout="500ms", **secret),
            await row.create(env=[{"name": "BAD=", "value": CANARY}], mode={"task": {"args": [CANARY]}}),
            await row.create(env=[{"name": "TOKEN", "value": CANARY + "x" * 200_000}]),
        ]
        held, gate = await row.in_flight(5, **secret)
        for pid in [*platform.containers("runtimed").values(), *platform.containers("runtime").values()]:
            psutil.Process(pid).send_signal(11)  # a crash, with everything in memory
        gate.open()
        runs = await row.over(*made, *held, seconds=60)
        assert runs[0].phase == "Succeeded", "it did get the secret"
        events = (await row.client.request("GET", "/api/v1/events")).decode()
        assert "StaleRun" in events or "Retry" in events, "there are events to look at"
        assert await row.canaries_found() == []


async def leak_to_log(row: Row) -> str:
    with (row.platform.system.folder / "scheduler.log").open("a") as log:
        log.write(f"env={CANARY}\n")
    return "scheduler.log"


async def leak_to_container_log(row: Row) -> str:
    """In base64, as a Secret has it."""
    log = next(row.platform.node_root.glob("pods/*/logs/runtimed/0.log"))
    with log.open("ab") as file:
        file.write(b"x " + base64.b64encode(f"user:{CANARY}".encode()) + b"\n")
    return str(log)


async def leak_to_file(row: Row) -> str:
    place = next(row.platform.node_root.glob("pods/*")) / "left-over"
    place.write_text(CANARY)
    return str(place)


async def leak_to_status(row: Row) -> str:
    """Of something that nobody else writes."""
    condition = {"type": "Leak", "status": "True", "reason": "Leak", "message": CANARY, "lastTransitionTime": "2026-01-01T00:00:00Z"}
    await row.client.patch(NAMESPACES, NAMESPACE, merge_patch({"status": {"conditions": [condition]}}), subresource="status")
    return "audit.jsonl"


@pytest.mark.parametrize("leak", [leak_to_log, leak_to_container_log, leak_to_file, leak_to_status])
async def test_row_42_a_canary_that_gets_out_is_found_once(platform: Platform, leak: Callable[[Row], Awaitable[str]]) -> None:
    async with Row.of(platform, "42") as row:
        assert await row.canaries_found() == []
        place = await leak(row)
        assert [place in found for found in await row.canaries_found()] == [True]
        assert await row.canaries_found() == [], "what was looked at is not looked at again"


async def test_row_42_a_canary_in_an_event_fails_its_row(platform: Platform) -> None:
    about = {"kind": "Run", "name": "x", "namespace": NAMESPACE}
    event = {"apiVersion": "v1", "kind": "Event", "metadata": {"name": "leak"}, "involvedObject": about, "message": CANARY}
    with pytest.raises(AssertionError, match=r"^P8: a canary is in an event"):
        async with Row.of(platform, "42") as row:
            await row.client.create(EVENTS, event, namespace=NAMESPACE)


def test_row_42_a_canary_in_metrics_is_found() -> None:
    class Leaking(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(f'runs_total{{run="{CANARY}"}} 1\n'.encode())

    with ThreadingHTTPServer(("127.0.0.1", 0), Leaking) as server:
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        try:
            this = SimpleNamespace(roles=lambda: {"scheduler-2": [os.getpid()]})
            assert Search(this).in_metrics() == ["P8: a canary is in the metrics of scheduler-2"]  # type: ignore[arg-type]
        finally:
            server.shutdown()
            serving.join()


def plain(row: Row) -> dict[str, Any]:
    return {"runtime": "bash", "mode": {"task": {}}, "source": {"inline": row.bash("true")}}


async def test_row_46_our_reserved_names_give_a_user_nothing(platform: Platform) -> None:
    """Labels, annotations and finalizers of ours on a user's Run change nothing of how it is scheduled, run and deleted."""
    async with Row.of(platform, "46") as row:
        metadata = {
            "labels": {"runtime": "python", "kruntimes.io/run": "x", "app.kubernetes.io/component": "controller"},
            "annotations": {"kruntimes.io/capacity.runs": "0", "kruntimes.io/pod": "nowhere"},
        }
        made = await row.create_raw(plain(row), metadata=metadata)
        [run] = await row.over(made)
        assert run.phase == "Succeeded"
        assert run.status.assigned_pod.startswith("runtime-bash")
        # The artifact finalizer is ours to remove; without artifacts there is nobody to wait for, and the user may take it off.
        with_status = await row.create_raw(plain(row), status={"phase": "Succeeded", "assignedPod": "x", "attempt": 7})
        assert (await row.over(with_status))[0].status.attempt == 1
