"""`make bench`: serial and 25 in flight, on the embedded API server and on a real kube-apiserver, or on any kubeconfig."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, NamedTuple

import click

from bench.cpu import CpuMeter
from bench.report import Repeat, Result, make_report, markdown, write_json
from bench.samples import Sample
from bench.scenarios import Load
from bench.stages import NAMESPACE, RUNTIME, Stage, connected, running_system

WARM_UP_RUNS = 10
PARALLEL = 25
RESULTS = Path("build") / "bench"


class Plan(NamedTuple):
    """How much is measured."""

    repeats: int
    serial_runs: int
    parallel_runs: int


async def measure(stage: Stage, *, plan: Plan) -> list[Result]:
    """Both scenarios in turn, repeat by repeat, so that a slow minute of the machine meets both; each after a warm-up."""
    meter = CpuMeter(stage.processes)
    serial, parallel = f"serial x {plan.serial_runs}", f"{PARALLEL} in flight x {plan.parallel_runs}"
    repeats: dict[str, list[Repeat]] = {serial: [], parallel: []}
    async with connected(stage.kubeconfig) as client:
        load = Load(client, namespace=NAMESPACE, runtime=RUNTIME)
        async with load.observer() as observer:
            for _ in range(plan.repeats):
                await load.serial(observer, count=WARM_UP_RUNS)
                repeats[serial].append(await timed(load.serial(observer, count=plan.serial_runs), meter=meter))
                await load.in_flight(observer, count=PARALLEL, parallel=PARALLEL)
                scenario = load.in_flight(observer, count=plan.parallel_runs, parallel=PARALLEL)
                repeats[parallel].append(await timed(scenario, meter=meter))
    return [Result(server=stage.server, scenario=name, repeats=done) for name, done in repeats.items()]


async def timed(scenario: Coroutine[Any, Any, list[Sample]], *, meter: CpuMeter) -> Repeat:
    """One pass, with its duration and what it cost."""
    cpu_before, began = meter.read(), time.monotonic()
    samples = await scenario
    seconds, cpu = time.monotonic() - began, meter.read()
    return Repeat(seconds=seconds, samples=samples, cpu_seconds={name: cpu[name] - cpu_before.get(name, 0.0) for name in cpu})


@click.command()
@click.option("--server", "servers", type=click.Choice(["embedded", "kube"]), multiple=True, help="Default: both, one after the other.")
@click.option("--kubeconfig", type=click.Path(exists=True, path_type=Path), help="Measure this cluster instead; kruntimes must run in it.")
@click.option("--runs", default=100, show_default=True, help="Runs of one serial pass; 25 in flight make three times as many.")
@click.option("--repeats", default=5, show_default=True, help="Passes of each scenario.")
@click.option("--quick", is_flag=True, help="One short pass: shows that it works, not how fast it is.")
@click.option("--out", type=click.Path(path_type=Path), default=RESULTS, show_default=True, help="Folder for the JSON with every sample.")
def main(servers: tuple[str, ...], kubeconfig: Path | None, runs: int, repeats: int, quick: bool, out: Path) -> None:
    """From create to the first instruction and to the end of no-op Bash Runs."""
    plan = Plan(1, 20, 50) if quick else Plan(repeats, runs, runs * 3)
    load_average = os.getloadavg()[0]
    results: list[Result] = []
    if kubeconfig is not None:
        results += asyncio.run(measure(Stage(kubeconfig.stem, kubeconfig, {}), plan=plan))
    else:
        for server in servers or ("embedded", "kube"):
            with running_system(server) as stage:
                results += asyncio.run(measure(stage, plan=plan))
    report = make_report(results, load_average=load_average)
    click.echo(markdown(report))
    click.echo(f"\nevery sample: {write_json(report, folder=out)}", err=True)
    if failed := [sample.name for result in results for sample in result.failures]:
        sys.exit(f"{len(failed)} Runs did not succeed, the first: {failed[0]}")


if __name__ == "__main__":
    main()
