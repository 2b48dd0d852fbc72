"""A round of the gate on the real kube-apiserver, plain and with a step slowed: that a Run passes through the slowed function."""

from __future__ import annotations

import asyncio
import os

import pytest

from bench.gate.metrics import failures_of, steps_of
from bench.gate.rounds import Round, measure_round
from bench.measuring import prepared
from bench.meters.components import CLIENT
from bench.slowed import EXTRA_SECONDS, launcher
from bench.stages import connected, running_system
from bench.subjects import BASH, FLOOR
from tests.cluster.fixtures import need_binaries

pytestmark = [pytest.mark.slow, pytest.mark.kube]
PAIRS = 10


def test_a_round_measures_both_sides_and_a_slowed_step_is_slower_where_it_is() -> None:
    """The scheduler's own part of a Run takes a fraction of a millisecond, so that 5 ms more cannot be missed on any machine."""
    need_binaries()
    with running_system("kube", launcher=launcher("client-scheduler")) as stage:

        async def measure() -> Round:
            async with connected(stage) as client, prepared(client, [BASH, FLOOR], stage=stage) as (loads, pids):
                processes = {**pids, CLIENT: os.getpid()}
                writes = stage.write_meter(client)
                return await measure_round(loads[BASH], loads[FLOOR], processes=processes, writes=writes, pairs=PAIRS, passes=1)

        one = asyncio.run(measure())

    assert failures_of(one) == 0
    assert 3.0 <= one.writes_per_run <= 4.0
    assert 0.0 <= one.foreign_share <= 1.0
    assert {"kube-apiserver", "etcd", "scheduler", "floor-scheduler", CLIENT} <= set(one.our_passes[0].cpu_seconds)
    assert steps_of(one)["waiting, decision"] >= EXTRA_SECONDS * 1000
