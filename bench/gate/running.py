"""Starts everything, measures rounds, ends everything: one run of the gate. Decides only when to stop."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

import uvloop

from bench.gate.baseline import Baseline, Recorded
from bench.gate.judging import Verdict, is_decided, judge
from bench.gate.metrics import failures_of, metrics_of, steps_of
from bench.gate.rounds import Round, measure_round, warm_up
from bench.measuring import prepared
from bench.meters.components import CLIENT
from bench.stages import Stage, connected, running_system
from bench.subjects import BASH, FLOOR

BAD_ROUNDS = 3
"""So many, and no good one, are a regression."""
BUDGET_SECONDS = 240.0
"""No round begins later. Starts and a round take half a minute, on a machine that is very busy a whole one."""
PLAIN = (sys.executable, "-m")
Steps = dict[str, float]


def run_gate(baseline: Baseline, *, launcher: Sequence[str] = PLAIN) -> list[tuple[Verdict, Steps]]:
    """A verdict a round, with where our Runs spent their time. The first good one is the last."""
    with running_system("kube", launcher=launcher) as stage:
        return uvloop.run(_judge_rounds(stage, baseline))


def record_once() -> Recorded:
    """One round of a fresh start."""
    with running_system("kube") as stage:
        return uvloop.run(_record(stage))


async def _judge_rounds(stage: Stage, baseline: Baseline) -> list[tuple[Verdict, Steps]]:
    verdicts: list[tuple[Verdict, Steps]] = []
    began = time.monotonic()
    async with _measured(stage) as measure:
        while time.monotonic() - began < BUDGET_SECONDS and not is_decided([one for one, _ in verdicts], bad_rounds=BAD_ROUNDS):
            one = await measure()
            verdict = judge(metrics_of(one), baseline, foreign_share=one.foreign_share, failures=failures_of(one))
            verdicts.append((verdict, steps_of(one)))
    return verdicts


async def _record(stage: Stage) -> Recorded:
    async with _measured(stage) as measure:
        one = await measure()
    assert not failures_of(one), "a baseline is not made of Runs that failed"
    return Recorded(foreign_share=one.foreign_share, metrics=metrics_of(one))


@asynccontextmanager
async def _measured(stage: Stage) -> AsyncIterator[Callable[[], Awaitable[Round]]]:
    """What measures a round, once both sides are warm."""
    async with connected(stage) as client, prepared(client, [BASH, FLOOR], stage=stage) as (loads, pids):
        processes = {**pids, CLIENT: os.getpid()}
        await warm_up([loads[BASH], loads[FLOOR]])
        writes = stage.write_meter(client)
        yield lambda: measure_round(loads[BASH], loads[FLOOR], processes=processes, writes=writes)
