"""What a kube-apiserver takes for the three writes of a Run, ours and the floor's: `python -m bench.write_cost`.

Nothing of kruntimes runs and nobody watches: create, bind and end are written one after the other, with what our components write, with
parts of it left out, and with what the floor probe writes; and each of the two also to the other's kind, which differs in one thing: the
API server notes who wrote the fields of the floor's Runs, and not of ours (k8s/deploy/components/untracked-runs). They take turns, so
that a slow moment of the machine meets all of them.
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import click
import msgspec

from bench.floor import schema
from bench.floor.answers import ROLES
from bench.samples import summarize
from bench.stages import NAMESPACE
from bench.subjects import BASH, FLOOR_RUNS
from k8s.api import phases, transitions
from k8s.api.run import Run, Timings
from k8s.client import RUNS, ApiClient, Patch, Resource, conditional_status, fenced_status, load_credentials, merge_patch
from tests.cluster.real import RealApiServer

RESULTS = Path("build") / "bench" / "write-cost.json"
WARM_UP_RUNS = 20
POD_NAME, POD_UID = "runtime-bench-bash-abcde", "11111111-2222-4333-8444-555555555555"
WRITES = ("create", "bind", "end")
MANIFEST = {
    "kind": "Run",
    "metadata": {"generateName": "cost-"},
    "spec": {"runtime": BASH.runtime, "mode": {"task": {}}, "source": {"inline": BASH.source}},
}

Times = list[tuple[float, float, float]]
"""Milliseconds of each Run's three writes."""


class Content(NamedTuple):
    """What is written: the status patches of bind and end."""

    bind: Callable[[Run], Patch]
    end: Callable[[Run], Patch]
    runs: Resource[Run]


def ours(*left_out: str, runs: Resource[Run] = RUNS) -> Content:
    """As our scheduler and runtimed write it, but for these keys."""

    def bind(run: Run) -> Patch:
        change = transitions.bind(run, pod_name=POD_NAME, pod_uid=POD_UID, observed=_now(), now=_now())
        return conditional_status(_without(change, left_out), resource_version=run.metadata.resource_version)

    def end(run: Run) -> Patch:
        now = _now()
        timings = Timings(observed=now, assigned=now, received=now, started=now, first_output=now, finished=now, recorded=now)
        outputs = {"start": f"{time.time():.6f}"}
        change = transitions.succeeded(run, outputs=outputs, exit_code=0, timings=timings, now=now)
        return fenced_status(_without(change, left_out), run=run, expected_phase=phases.SCHEDULED)

    return Content(bind, end, runs)


def floors(*, runs: Resource[Run] = FLOOR_RUNS) -> Content:
    """As the floor probe writes it."""

    def answer(role: str) -> Callable[[Run], Patch]:
        return lambda run: merge_patch({"status": ROLES[role].status(time.time())})

    return Content(answer("scheduler"), answer("runtimed"), runs)


CONTENTS = {
    "ours": ours(),
    "without timings": ours("timings"),
    "without conditions": ours("conditions"),
    "without both": ours("timings", "conditions"),
    "ours, managers tracked": ours(runs=FLOOR_RUNS),
    "floor": floors(),
    "floor, managers not tracked": floors(runs=RUNS),
}


def _now() -> datetime:
    return datetime.now(UTC)


def _without(change: dict[str, Any], keys: tuple[str, ...]) -> dict[str, Any]:
    return {key: value for key, value in change.items() if key not in keys}


async def measure_one(client: ApiClient, content: Content) -> tuple[float, float, float]:
    """Milliseconds of each write, from sent to answered."""
    manifest = {"apiVersion": content.runs.api_version, **MANIFEST}
    began = time.monotonic()
    run = await client.create(content.runs, manifest, namespace=NAMESPACE)
    created = time.monotonic()
    run = await client.patch(content.runs, run.metadata.name, content.bind(run), namespace=NAMESPACE, subresource="status")
    bound = time.monotonic()
    await client.patch(content.runs, run.metadata.name, content.end(run), namespace=NAMESPACE, subresource="status")
    return (created - began) * 1000, (bound - created) * 1000, (time.monotonic() - bound) * 1000


async def measure(*, runs: int) -> dict[str, Times]:
    """By content, in the order measured."""
    times: dict[str, Times] = {name: [] for name in CONTENTS}
    with RealApiServer(has_untracked_runs=True) as api:
        credentials = await load_credentials(kubeconfig=str(api.kubeconfig))
        async with await ApiClient.connect(credentials, user_agent="kruntimes-bench") as client:
            await schema.install(client, namespace=NAMESPACE)
            for number in range(WARM_UP_RUNS + runs):
                for name in random.sample(list(CONTENTS), len(CONTENTS)):
                    took = await measure_one(client, CONTENTS[name])
                    if number >= WARM_UP_RUNS:
                        times[name].append(took)
    return times


def table(times: dict[str, Times]) -> list[str]:
    """Markdown: medians, and the sum of all three against the floor's."""
    medians = {name: [summarize(values).p50 for values in zip(*taken, strict=True)] for name, taken in times.items()}
    floor = sum(medians["floor"])
    rows = [
        f"| {name} | {' | '.join(f'{value:.2f}' for value in row)} | {sum(row):.2f} | {sum(row) / floor:.2f} |"
        for name, row in medians.items()
    ]
    return [f"| content, ms p50 | {' | '.join(WRITES)} | all three | x floor |", "|---|--:|--:|--:|--:|--:|", *rows]


@click.command()
@click.option("--runs", default=300, show_default=True, help="Of each content.")
@click.option("--out", type=click.Path(path_type=Path), default=RESULTS, show_default=True, help="JSON with every sample.")
def main(runs: int, out: Path) -> None:
    """What the API server alone takes for a Run's three writes."""
    load_average = os.getloadavg()[0]
    times = asyncio.run(measure(runs=runs))
    click.echo("\n".join(table(times)))
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_bytes(msgspec.json.encode({"load_average_before": load_average, "milliseconds": times}))
    click.echo(f"\n{runs} Runs of each, load average before {load_average:.1f}; every sample: {out}", err=True)


if __name__ == "__main__":
    main()
