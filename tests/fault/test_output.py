"""Rows 33 and 34, and what `krt logs -f` promises: output without end, readers that stop, streams that break."""

from __future__ import annotations

import asyncio
import json
import re
import statistics
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from k8s.api.run import Run
from tests.cluster.access import Access, write_kubeconfig
from tests.fault.history import Made
from tests.fault.krt import krt, lines_of
from tests.fault.neighbours import Control, control_load, control_run, p99
from tests.fault.platform import Platform
from tests.fault.processes import usage_of
from tests.fault.proxy import Proxy
from tests.fault.row import Row

pytestmark = [pytest.mark.fault, pytest.mark.slow, pytest.mark.timeout(180)]

MIB = 1 << 20
FLOODS = {
    "a gigabyte of zeros, without a line feed": "head -c 1000000000 /dev/zero",
    "300 MB of short lines": "yes | head -c 300000000",
    "a line of 100 MB": "head -c 100000000 /dev/zero | tr '\\0' x; echo",
    "20 MB that are no UTF-8": "head -c 20000000 /dev/urandom",
    "colours": "yes $'\\e[31mred\\e[0m' | head -c 20000000",
    "both streams at once": "yes out | head -c 100000000 & yes err | head -c 100000000 >&2; wait",
}


@pytest.mark.parametrize("flood", FLOODS.values(), ids=FLOODS.keys())
async def test_row_33_a_flood_is_drained_within_bounds_and_its_end_is_kept(platform: Platform, flood: str) -> None:
    async with Row.of(platform, "33") as row:
        await row.over(await row.create("echo warm"))
        pids = [*platform.containers("runtimed").values(), *platform.containers("runtime").values()]
        before = {pid: usage_of(pid).rss_bytes for pid in pids}
        made = await row.create(f"{flood}; echo; echo the-last-line; exit 7")
        most = dict(before)
        while not row.is_over(made):
            most = {pid: max(most[pid], usage_of(pid).rss_bytes) for pid in pids}
            await asyncio.sleep(0.05)
        [run] = await row.over(made)
        assert (run.phase, run.status.exit_code) == ("Failed", 7)
        growth = max(most[pid] - before[pid] for pid in pids) / MIB
        row.note("growth of runtimed and server in a flood", growth, unit="MiB", at_most=32)
        await row.until(lambda: ended(platform, run), seconds=30, what="the end of its log is there")
        messages = [line["message"] for line in printed(platform, run) if line.get("stream") == "stdout"]
        assert messages[-1] == "the-last-line"
        assert sum(message == "[output truncated]" for message in messages) <= 1


MARK = r"\[output truncated\]|\[output is missing: .*\]|\[\d+ bytes of output are missing\]"
ROUNDS = 3
CONTROLS_A_ROUND = 100
ANCHOR = {"flood.test/beside": "me"}


async def test_row_33_a_gigabyte_on_stdout_costs_little_memory_and_its_neighbours_little_time(platform: Platform) -> None:
    """A control load on the very Pod, alone and beside the flood, in turns."""
    async with Row.of(platform, "33") as row:
        gate = row.gate()
        anchor = await row.create(gate.wait, labels=ANCHOR)
        await row.until(lambda: row.started_count([anchor]) == 1, seconds=20, what="there is a Pod to be on")
        beside_it: dict[str, Any] = {"affinity": beside(ANCHOR)}
        await control_load(row, CONTROLS_A_ROUND, **beside_it)
        pod = row.watching.runs[anchor.uid].status.assigned_pod_uid
        memory = Memory(platform, pod)
        alone: list[Control] = []
        flooded: list[Control] = []
        for _ in range(ROUNDS):
            alone += await control_load(row, CONTROLS_A_ROUND, **beside_it)
            flood = await row.create("yes | head -c 1000000000; echo the-last-line; exit 7", **beside_it)
            await row.until(lambda uid=flood: row.started_count([uid]) == 1, seconds=20, what="it floods")  # type: ignore[misc]
            async with memory.watched():
                while not row.is_over(flood):
                    flooded.append(await control_run(row, **beside_it))
            await check_flood(row, flood)
        gate.open()
        memory.note(row, "a gigabyte of output", at_most_mib=16)
        for name in ("to_start", "to_finish"):
            ratio = p99(getattr(each, name) for each in flooded) / p99(getattr(each, name) for each in alone)
            row.note(f"p99 {name} beside a gigabyte of output, against alone".replace("_", " "), ratio, unit="x", at_most=2)


def beside(labels: dict[str, str]) -> dict[str, Any]:
    """On the Pod of a Run with these labels."""
    term = {"labelSelector": {"matchLabels": labels}, "topologyKey": "kruntimes.io/runtime-pod"}
    return {"runAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}


class Memory:
    """The most that runtimed and the Runtime Server of one Pod hold while they are watched, above what they held before."""

    def __init__(self, platform: Platform, pod_uid: str) -> None:
        self._pids = {name: platform.containers(name)[pod_uid] for name in ("runtimed", "runtime")}
        self._before = {name: usage_of(pid).rss_bytes for name, pid in self._pids.items()}
        self._most = dict(self._before)

    @asynccontextmanager
    async def watched(self) -> AsyncIterator[None]:
        watching = asyncio.create_task(self._watch())
        try:
            yield
        finally:
            watching.cancel()

    async def _watch(self) -> None:
        while True:
            self._most = {name: max(self._most[name], usage_of(pid).rss_bytes) for name, pid in self._pids.items()}
            await asyncio.sleep(0.02)

    def note(self, row: Row, what: str, *, at_most_mib: float) -> None:
        for name, before in self._before.items():
            row.note(f"growth of {name} in {what}", (self._most[name] - before) / MIB, unit="MiB", at_most=at_most_mib)


async def check_flood(row: Row, flood: Made) -> None:
    """It ended as its program did; its log has a beginning, the mark, and the end."""
    [run] = await row.over(flood)
    assert (run.phase, run.status.exit_code) == ("Failed", 7)
    await row.until(lambda: ended(row.platform, run), seconds=30, what="the end of its log is there")
    messages = [line["message"] for line in printed(row.platform, run)]
    assert messages[0] == "y"
    assert any(re.fullmatch(MARK, message) for message in messages), "whatever was left out, the log says so"
    assert messages[-1] == "the-last-line"


def logged(platform: Platform) -> Iterator[str]:
    """Whole lines of the logs of all runtimeds, the older first; those that the node has cut in parts are left out."""
    for log in sorted(platform.node_root.glob("pods/*/logs/runtimed/*"), key=lambda path: path.stat().st_mtime):
        with log.open(errors="replace") as lines:
            for line in lines:
                _, separator, text = line.partition(" F {")
                if separator:
                    yield "{" + text


def printed(platform: Platform, run: Run) -> list[dict[str, str]]:
    needle = f'"run_uid":"{run.uid}"'
    return [json.loads(line) for line in logged(platform) if needle in line]


def ended(platform: Platform, run: Run) -> bool:
    needle = f'"ended_run_uid":"{run.uid}"'
    return any(needle in line for line in logged(platform))


async def test_row_34_a_reader_that_is_stuck_holds_nobody_up(platform: Platform) -> None:
    async with Row.of(platform, "34") as row:
        line = "x" * 999
        body = f"yes {line} | head -c 3000000"
        alone = await seconds_of(row, body)
        gate = row.gate()
        made = await row.create(f"echo ready; {gate.wait}; {body}")
        await row.phase(made, "Running")
        async with krt("logs", "-f", made.name, kubeconfig=platform.api.kubeconfig) as stuck:
            assert stuck.stdout is not None
            assert await stuck.stdout.readline() == b"ready\n"
            began_at = time.monotonic()
            gate.open()
            await row.over(made)
            beside = time.monotonic() - began_at
            row.note("a Run whose reader is stuck, against one without", beside - alone, unit="s", at_most=2)
            rest = await lines_of(stuck)
        assert set(rest) == {line}, "and it gets whole lines once it reads on"
        assert len(rest) == 3000, "and all of them"


async def seconds_of(row: Row, body: str) -> float:
    began_at = time.monotonic()
    await row.over(await row.create(body))
    return time.monotonic() - began_at


async def test_row_34_output_is_shown_within_a_tenth_of_a_second_of_being_written(platform: Platform) -> None:
    async with Row.of(platform, "34") as row:
        made = await row.create("echo ready; for i in {1..30}; do sleep 0.1; echo $EPOCHREALTIME; done")
        await row.phase(made, "Running")
        async with krt("logs", "-f", made.name, kubeconfig=platform.api.kubeconfig) as follower:
            assert follower.stdout is not None
            assert await follower.stdout.readline() == b"ready\n"
            late = [time.time() - float(line) async for line in follower.stdout]
        # The first are what was there before krt had come.
        row.note("from written to shown, median", statistics.median(late[15:]), unit="s", at_most=0.1)


PROMPT = "echo ready; for i in {1..20}; do sleep 0.2; printf '%s ' $EPOCHREALTIME; done; sleep 0.2; echo done"


@pytest.mark.parametrize("command", [("logs", "-f"), ("run", "--wait")], ids=["krt logs -f", "krt run --wait"])
async def test_row_34_a_byte_is_shown_within_a_tenth_of_a_second_without_a_line_feed(platform: Platform, command: tuple[str, ...]) -> None:
    """A line that grows for four seconds: each of its words is a moment, and is there soon after it. Nothing comes twice at its end."""
    async with Row.of(platform, "34") as row:
        async with prompting(row, command) as follower:
            assert follower.stdout is not None
            assert await follower.stdout.readline() == b"ready\n"
            late, words = [], []
            while (word := await word_of(follower.stdout)) != b"done\n":
                words.append(word)
                late.append(time.time() - float(word))
            assert await follower.stdout.read() == b""
        assert words == sorted(set(words))
        assert len(words) == 20
        # The first are what was there before krt had come.
        row.note(f"from written to shown without a line feed, krt {command[0]}, median", statistics.median(late[5:]), unit="s", at_most=0.1)


@asynccontextmanager
async def prompting(row: Row, command: tuple[str, ...]) -> AsyncIterator[asyncio.subprocess.Process]:
    """krt at a Run that writes a line slowly."""
    kubeconfig = row.platform.api.kubeconfig
    if command[0] == "logs":
        made = await row.create(PROMPT)
        await row.phase(made, "Running")
        async with krt(*command, made.name, kubeconfig=kubeconfig) as follower:
            yield follower
        return
    async with krt(*command, "--runtime=bash", "--", "bash", "-c", PROMPT, kubeconfig=kubeconfig) as follower:
        yield follower


async def word_of(stream: asyncio.StreamReader) -> bytes:
    """With the space after it; the last has the line feed."""
    word = b""
    while not word.endswith((b" ", b"\n")):
        word += await stream.readexactly(1)
    return word


async def test_row_34_a_stream_that_breaks_again_and_again_loses_and_repeats_nothing(platform: Platform, tmp_path: Path) -> None:
    async with Row.of(platform, "34") as row, Proxy() as proxy:
        proxy.target_port = urlsplit(platform.api.admin.url).port or 0
        kubeconfig = tmp_path / "kubeconfig"
        write_kubeconfig(kubeconfig, access=Access(f"http://127.0.0.1:{proxy.port}", platform.api.admin.token), user="admin")
        count = 400
        made = await row.create(f"for ((i = 0; i < {count}; i++)); do echo $i; sleep 0.01; done")
        await row.phase(made, "Running")
        async with krt("logs", "-f", made.name, kubeconfig=kubeconfig) as follower:
            reading = asyncio.create_task(lines_of(follower))
            for _ in range(4):
                await asyncio.sleep(0.8)
                proxy.cut_off(follower.pid)
                proxy.heal()
            assert await reading == [str(number) for number in range(count)]
        assert follower.returncode == 0
