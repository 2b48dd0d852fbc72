"""Carries out a plan on one stage: repeat by repeat all subjects in turn, so that a slow minute of the machine meets each of them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager

from bench.floor.probe import floor_running
from bench.jobs import job_load
from bench.loads import Load, run_load
from bench.passes import Costs, Repeat
from bench.plan import Trial
from bench.results import Result
from bench.stages import NAMESPACE, Stage, warm_runtimes
from bench.subjects import Subject
from k8s.client import ApiClient

Progress = Callable[[str], None]


async def measure_trials(client: ApiClient, trials: Sequence[Trial], *, stage: Stage, progress: Progress) -> list[Result]:
    """With the floor probe beside kruntimes where a trial has it."""
    subjects = list(dict.fromkeys(subject for trial in trials for subject in trial.subjects))
    async with prepared(client, subjects, stage=stage) as (loads, processes):
        costs = Costs(processes, writes=stage.write_meter(client))
        return [result for trial in trials for result in await _measure(trial, loads, costs=costs, stage=stage, progress=progress)]


@asynccontextmanager
async def prepared(
    client: ApiClient, subjects: Sequence[Subject], *, stage: Stage
) -> AsyncIterator[tuple[dict[Subject, Load], Mapping[str, int]]]:
    """A load for each subject, and the processes whose costs are read."""
    processes = dict(stage.processes)
    async with AsyncExitStack() as stack:
        if any(subject.is_floor for subject in subjects):
            floor = floor_running(client, kubeconfig=stage.kubeconfig, namespace=NAMESPACE, is_server_kept=not stage.is_ours)
            pids = await stack.enter_async_context(floor)
            processes |= pids if stage.processes else {}
        ours = [subject for subject in subjects if not subject.is_floor and not subject.is_job]
        await stack.enter_async_context(warm_runtimes(client, ours, stage=stage))
        loads = {subject: await stack.enter_async_context(_load(client, subject, stage=stage)) for subject in subjects}
        yield loads, processes


def _load(client: ApiClient, subject: Subject, *, stage: Stage) -> AbstractAsyncContextManager[Load]:
    if subject.is_job:
        return job_load(client, subject, image=stage.image(subject), namespace=NAMESPACE)
    return run_load(client, subject, namespace=NAMESPACE)


async def _measure(trial: Trial, loads: Mapping[Subject, Load], *, costs: Costs, stage: Stage, progress: Progress) -> list[Result]:
    repeats: dict[Subject, list[Repeat]] = {subject: [] for subject in trial.subjects}
    for number in range(trial.repeats):
        # The order alternates: what one pass leaves behind (compaction, garbage) meets each subject as often.
        for subject in trial.subjects if number % 2 == 0 else reversed(trial.subjects):
            progress(f"{stage.server}: {subject.name}, {trial.scenario.title}, {number + 1} of {trial.repeats}")
            await trial.warm_up.run(loads[subject])
            repeats[subject].append(await costs.timed(trial.scenario, loads[subject]))
    return [
        Result(
            server=stage.server,
            subject=subject.name,
            scenario=trial.scenario.title,
            repeats=done,
            is_open_loop=trial.scenario.is_open_loop,
            ideal_seconds=trial.scenario.ideal_seconds,
        )
        for subject, done in repeats.items()
    ]
