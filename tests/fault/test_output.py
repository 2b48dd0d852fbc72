"""Rows 33 and 34, and what `krt logs -f` promises: output without end, readers that stop, streams that break."""

from __future__ import annotations

import asyncio
import json
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from k8s.api.run import Run
from tests.cluster.access import Access, write_kubeconfig
from tests.fault.krt import krt, lines_of
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
