"""What a runtimed weighs: idle, with 64 Runs in flight, and after them. VmRSS and VmHWM of the real process."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.cluster.server import ApiServer
from tests.runtimed.rig import Cluster, Rig

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

RUNS = 64
IDLE_MIB = 90
BUSY_MIB = 130


def memory_mib(rig: Rig, field: str) -> float:
    """`VmRSS` is now, `VmHWM` the most ever."""
    assert rig.runtimed is not None
    lines = Path(f"/proc/{rig.runtimed.pid}/status").read_text().splitlines()
    kib = next(line.split()[1] for line in lines if line.startswith(field + ":"))
    return int(kib) / 1024


async def test_idle_it_takes_less_than_90_mib_and_with_64_runs_in_flight_less_than_130(api: ApiServer) -> None:
    with Rig(api, workers=RUNS) as rig:
        rig.start_server()
        cluster = await Cluster.open(rig)
        async with cluster.client:
            await cluster.create_pod()
            rig.start_runtimed()
            await cluster.wait(await cluster.script("echo warm"))
            assert memory_mib(rig, "VmRSS") < IDLE_MIB
            gate = rig.folder / "gate"
            text = f"until [ -e {gate} ]; do sleep 0.5; done; head -c 20000 /dev/zero | tr '\\0' x"
            runs = [await cluster.script(text) for _ in range(RUNS)]
            for run in runs:
                await cluster.wait(run, lambda run: run.phase == "Running")
            assert memory_mib(rig, "VmHWM") < BUSY_MIB
            gate.touch()
            ended = await asyncio.gather(*(cluster.wait(run) for run in runs))
            assert [run.phase for run in ended] == ["Succeeded"] * RUNS
            await cluster.wait_until(lambda: not any(rig.left_of(run) for run in runs))
            assert memory_mib(rig, "VmHWM") < BUSY_MIB
            assert memory_mib(rig, "VmRSS") < IDLE_MIB
