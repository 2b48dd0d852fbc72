"""`make bench`: serial and 25 in flight, on the embedded API server and on a real kube-apiserver, or on any kubeconfig."""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path

import click

from bench.report import Result, make_report, markdown, write_json
from bench.scenarios import Load
from bench.stages import NAMESPACE, RUNTIME, connected, running_system

WARM_UP_RUNS = 10
PARALLEL = 25
RESULTS = Path("build") / "bench"


async def measure(kubeconfig: Path, *, server: str, serial_runs: int, parallel_runs: int) -> list[Result]:
    """Both scenarios, each after the warm-up, on a server that stands."""
    results = []
    async with connected(kubeconfig) as client:
        load = Load(client, namespace=NAMESPACE, runtime=RUNTIME)
        async with load.observer() as observer:
            await load.serial(observer, count=WARM_UP_RUNS)
            began = time.monotonic()
            samples = await load.serial(observer, count=serial_runs)
            results.append(Result(server=server, scenario="serial", seconds=time.monotonic() - began, samples=samples))
            await load.in_flight(observer, count=PARALLEL, parallel=PARALLEL)
            began = time.monotonic()
            samples = await load.in_flight(observer, count=parallel_runs, parallel=PARALLEL)
            results.append(Result(server=server, scenario=f"{PARALLEL} in flight", seconds=time.monotonic() - began, samples=samples))
    return results


@click.command()
@click.option("--server", "servers", type=click.Choice(["embedded", "kube"]), multiple=True, help="Default: both, one after the other.")
@click.option("--kubeconfig", type=click.Path(exists=True, path_type=Path), help="Measure this cluster instead; kruntimes must run in it.")
@click.option("--runs", default=200, show_default=True, help="Runs of the serial scenario; 25 in flight make one and a half times as many.")
@click.option("--quick", is_flag=True, help="40 Runs: shows that it works, not how fast it is.")
@click.option("--out", type=click.Path(path_type=Path), default=RESULTS, show_default=True, help="Folder for the JSON with every sample.")
def main(servers: tuple[str, ...], kubeconfig: Path | None, runs: int, quick: bool, out: Path) -> None:
    """From create to the first instruction and to the end of no-op Bash Runs."""
    count = 40 if quick else runs
    results: list[Result] = []
    if kubeconfig is not None:
        results += asyncio.run(measure(kubeconfig, server=kubeconfig.stem, serial_runs=count, parallel_runs=count * 3 // 2))
    else:
        for server in servers or ("embedded", "kube"):
            with running_system(server) as config:
                results += asyncio.run(measure(config, server=server, serial_runs=count, parallel_runs=count * 3 // 2))
    report = make_report(results)
    click.echo(markdown(report))
    click.echo(f"\nevery sample: {write_json(report, folder=out)}", err=True)
    if failed := [sample.name for result in results for sample in result.failures]:
        sys.exit(f"{len(failed)} Runs did not succeed, the first: {failed[0]}")


if __name__ == "__main__":
    main()
