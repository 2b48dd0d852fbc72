"""`make bench`: measures, prints Markdown, and keeps every sample as JSON and as a page with plots."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click
import uvloop

from bench import measuring
from bench.conditions import Conditions, look_around, look_back, server_version
from bench.node import NodeIsDown, node_stage
from bench.plan import DEFAULT_NAMES, NAMES, NODE_NAMES, QUICK, Scale, make_trials
from bench.report.docs import replace_marked
from bench.report.page import page
from bench.report.tables import markdown
from bench.results import Report, Result, write_raw
from bench.stages import LOCAL_IMAGES, ServerName, Stage, connected, running_system

RESULTS = Path("build") / "bench"
DOCS = Path("docs") / "performance.md"
KEPT = Path(__file__).parent / "results"
"""The raw data behind docs/performance.md: latest.json.gz, node.json.gz. Older ones are in the history of these files."""


@click.command()
@click.option("--server", "servers", type=click.Choice(["embedded", "kube"]), multiple=True, help="Default: both, one after the other.")
@click.option("--kubeconfig", type=click.Path(exists=True, path_type=Path), help="Measure this cluster instead; kruntimes must run in it.")
@click.option("--node", is_flag=True, help="Measure the node that the environment names (make bench-node), with the CPU of all of it.")
@click.option(
    "--scenario",
    "scenarios",
    type=click.Choice(NAMES),
    multiple=True,
    help=f"Default: {', '.join(DEFAULT_NAMES)}; on the node {', '.join(NODE_NAMES)}.",
)
@click.option("--floor/--no-floor", default=None, help="The null implementation beside it [default: on kube-apiserver].")
@click.option("--runs", default=100, show_default=True, help="Runs of one serial pass; 25 in flight make three times as many.")
@click.option("--repeats", default=5, show_default=True, help="Passes of each short scenario.")
@click.option("--soak-minutes", default=5.0, show_default=True, help="How long `--scenario soak` takes.")
@click.option("--quick", is_flag=True, help="One short pass of each: shows that it works, not how fast it is.")
@click.option("--images", default=LOCAL_IMAGES, show_default=True, help="Names of images on a cluster, of plain Jobs too.")
@click.option("--out", type=click.Path(path_type=Path), default=RESULTS, show_default=True, help="Folder for JSON, Markdown and HTML.")
@click.option("--update-docs", is_flag=True, help=f"Write the tables into {DOCS} and the raw data to bench/results/, to be committed.")
def main(
    servers: tuple[ServerName, ...],
    kubeconfig: Path | None,
    node: bool,
    scenarios: tuple[str, ...],
    floor: bool | None,
    runs: int,
    repeats: int,
    soak_minutes: float,
    quick: bool,
    images: str,
    out: Path,
    update_docs: bool,
) -> None:
    """From create to the first instruction and to the end of Runs, beside what the API server itself takes."""
    scale = QUICK if quick else Scale(repeats=repeats, serial_runs=runs, parallel_runs=runs * 3, soak_minutes=soak_minutes)
    bench = _Bench(scenarios or (NODE_NAMES if node else DEFAULT_NAMES), scale=scale, floor=floor)
    if node:
        bench.measure(_node())
    elif kubeconfig is not None:
        bench.measure(Stage(kubeconfig.stem, kubeconfig, image_template=images))
    else:
        for server in servers or ("embedded", "kube"):
            with running_system(server) as stage:
                bench.measure(stage)
    report = bench.report()
    click.echo(markdown(report))
    _keep(report, out=out)
    if update_docs:
        DOCS.write_text(replace_marked(DOCS.read_text(), markdown(report), name="bench-node" if node else "bench"))
        write_raw(report, KEPT / ("node.json.gz" if node else "latest.json.gz"))
    if report.failures:
        sys.exit(f"{len(report.failures)} Runs did not succeed, the first: {report.failures[0].name}")


class _Bench:
    """Collects results stage by stage."""

    def __init__(self, names: tuple[str, ...], *, scale: Scale, floor: bool | None) -> None:
        self._names = names
        self._scale = scale
        self._floor = floor
        self._conditions: Conditions = look_around()
        self._servers: list[tuple[str, str]] = []
        self._results: list[Result] = []

    def measure(self, stage: Stage) -> None:
        has_floor = stage.server == "kube" if self._floor is None else self._floor
        uvloop.run(self._measure(stage, has_floor=has_floor))

    def report(self) -> Report:
        return Report(conditions=look_back(self._conditions, servers=self._servers), results=self._results)

    async def _measure(self, stage: Stage, *, has_floor: bool) -> None:
        async with connected(stage) as client:
            self._servers.append((f"API server of {stage.server}", await server_version(client)))
            trials = make_trials(self._names, scale=self._scale, has_floor=has_floor)
            self._results += await measuring.measure_trials(client, trials, stage=stage, progress=_tell)


def _node() -> Stage:
    try:
        return node_stage(os.environ)
    except NodeIsDown as error:
        raise click.ClickException(str(error)) from None


def _tell(what: str) -> None:
    click.echo(f"{what} (load {os.getloadavg()[0]:.1f})", err=True)


def _keep(report: Report, *, out: Path) -> None:
    stem = report.conditions.taken.replace(":", "").replace("+0000", "Z")
    out.mkdir(parents=True, exist_ok=True)
    write_raw(report, out / f"{stem}.json")
    (out / f"{stem}.md").write_text(markdown(report))
    (out / f"{stem}.html").write_text(page(report))
    click.echo(f"\nevery sample, the tables and the plots: {out / stem}.json, .md, .html", err=True)


if __name__ == "__main__":
    main()
