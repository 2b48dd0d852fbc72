"""What it costs that a Runtime Server has no stream: `python -m bench.unary_cost`.

One embedded API server, and one Pod each (runtimed and Runtime Server as processes) of our Bash server with its stream and without.
No-op Runs take turns, so that a slow moment of the machine meets both; each is timed from the write that binds it to the watch
event of its end. The scheduler is left out: it is the same for both.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import click
import msgspec

from bench.samples import Summary, summarize
from k8s.api.run import Run
from k8s.client import RUNS, Changed, Listed, list_and_watch
from tests.cluster.embedded import EmbeddedApiServer
from tests.runtimed.rig import NAMESPACE, Cluster, Rig

SERVERS = {"stream": "bash", "unary": "unary-bash"}
RESULTS = Path("build") / "bench" / "unary-cost.json"
WARM_UP_RUNS = 20
RUN_SECONDS = 30


class Ends:
    """One watch on a connection of its own: when each Run was seen to end."""

    def __init__(self) -> None:
        self._ended: dict[str, asyncio.Future[float]] = {}

    def expect(self, run: Run) -> asyncio.Future[float]:
        """Resolves to monotonic seconds. Asked for BEFORE the Run is bound."""
        return self._ended.setdefault(run.uid, asyncio.get_running_loop().create_future())

    async def follow(self, cluster: Cluster, *, stands: asyncio.Event) -> None:
        async with aclosing(list_and_watch(cluster.client, RUNS, namespace=NAMESPACE)) as notices:
            async for notice in notices:
                now = time.monotonic()
                if isinstance(notice, Listed):
                    stands.set()
                elif isinstance(notice, Changed) and notice.object.is_terminal:
                    ended = self._ended.pop(notice.object.uid, None)
                    if ended is not None:
                        assert notice.object.phase == "Succeeded", notice.object.status.message
                        ended.set_result(now)


class Pods(NamedTuple):
    """Both, and the watch that sees what they do."""

    clusters: dict[str, Cluster]
    ends: Ends


@asynccontextmanager
async def running_pods(api: Any) -> AsyncIterator[Pods]:
    """One Pod of each kind, with room for one Run after the other."""
    async with AsyncExitStack() as stack:
        clusters = {}
        for name, server in SERVERS.items():
            rig = stack.enter_context(Rig(api, server=server))
            rig.start_server()
            clusters[name] = await Cluster.open(rig)
            stack.push_async_callback(clusters[name].client.close)
            await clusters[name].create_pod()
            rig.start_runtimed()
        ends, stands = Ends(), asyncio.Event()
        following = asyncio.create_task(ends.follow(clusters["stream"], stands=stands))
        stack.callback(following.cancel)
        await stands.wait()
        yield Pods(clusters, ends)


async def measure_one(pods: Pods, name: str) -> float:
    """Milliseconds from the bind to its end."""
    cluster = pods.clusters[name]
    run = await cluster.create("cost", source={"inline": ":"})
    ended = pods.ends.expect(run)
    sent = time.monotonic()
    await cluster.bind(run)
    async with asyncio.timeout(RUN_SECONDS):
        return (await ended - sent) * 1000


async def measure(*, runs: int) -> dict[str, list[float]]:
    """By kind of server, in the order measured."""
    times: dict[str, list[float]] = {name: [] for name in SERVERS}
    with EmbeddedApiServer() as api:
        async with running_pods(api) as pods:
            for number in range(WARM_UP_RUNS + runs):
                # Turn and turn about: neither always follows the other.
                for name in list(SERVERS) if number % 2 else reversed(SERVERS):
                    took = await measure_one(pods, name)
                    if number >= WARM_UP_RUNS:
                        times[name].append(took)
    return times


def table(summaries: dict[str, Summary]) -> list[str]:
    """Markdown."""
    rows = [f"| {name} | {row.p50:.1f} | {row.p90:.1f} | {row.p99:.1f} | {row.max:.1f} |" for name, row in summaries.items()]
    stream, unary = summaries["stream"], summaries["unary"]
    more = f"| unary costs | {unary.p50 - stream.p50:+.1f} | {unary.p90 - stream.p90:+.1f} | {unary.p99 - stream.p99:+.1f} | |"
    return ["| bind → end seen, ms | p50 | p90 | p99 | max |", "|---|--:|--:|--:|--:|", *rows, more]


@click.command()
@click.option("--runs", default=300, show_default=True, help="Of each kind.")
@click.option("--out", type=click.Path(path_type=Path), default=RESULTS, show_default=True, help="JSON with every sample.")
def main(runs: int, out: Path) -> None:
    """The added latency of a Runtime Server that has no stream."""
    load_average = os.getloadavg()[0]
    times = asyncio.run(measure(runs=runs))
    click.echo("\n".join(table({name: summarize(values) for name, values in times.items()})))
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_bytes(msgspec.json.encode({"load_average_before": load_average, "milliseconds": times}))
    click.echo(f"\n{runs} Runs of each kind, load average before {load_average:.1f}; every sample: {out}", err=True)


if __name__ == "__main__":
    main()
