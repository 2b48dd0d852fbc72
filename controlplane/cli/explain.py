"""`krt explain RUN`: where the time of a Run went, what it waits or waited for and why, and how many API writes it took."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from controlplane.cli import console
from controlplane.cli.connection import Session, connect, connection_options, run_async, settings_of
from controlplane.cli.printers import Output, encode, output_option
from controlplane.cli.show import fetch
from controlplane.cli.suggestions import complete_run
from controlplane.cli.targets import RUN, RUNTIME, Target, parse_target

if TYPE_CHECKING:
    from controlplane.cli.explaining import Surroundings


@click.command()
@click.argument("word", metavar="RUN", shell_complete=complete_run)
@output_option()
@connection_options(hidden=True)
@click.pass_context
def explain(ctx: click.Context, *, word: str, output: Output) -> None:
    """Explain one Run: where its time went, what it waits or waited for, how many API writes it took.

    Times come from the Run's own latency ledger (status.timings), in microseconds. Durations of -o json and yaml are seconds.
    """
    settings = settings_of(ctx)
    target = Target(RUN, parse_target(word, kind=RUN))

    async def show() -> None:
        async with connect(settings) as session:
            item = await fetch(session, target)
            surroundings = await _look_around(session, item)
        _print(item, surroundings, output=output)

    run_async(show(), settings=settings)


def _print(item: dict[str, Any], surroundings: Surroundings | None, *, output: Output) -> None:
    import msgspec

    from controlplane.cli import explaining

    explanation = explaining.explain(item, now=datetime.now(UTC), surroundings=surroundings)
    if output.is_table:
        click.echo(explaining.render(explanation))
    elif output.format == "name":
        click.echo(encode([item], output=output, is_list=False), nl=False)
    else:
        click.echo(encode([msgspec.to_builtins(explanation)], output=output, is_list=False), nl=False)


async def _look_around(session: Session, item: dict[str, Any]) -> Surroundings | None:
    """Only where a Run waits for others. What may not be read is told once, and left out."""
    import msgspec

    from controlplane.cli.explaining import Surroundings
    from k8s.api import phases
    from k8s.api.names import RUNTIME_LABEL
    from k8s.api.run import Run
    from k8s.client import PODS, RUNS, ApiError

    run = msgspec.convert(item, Run)
    if run.phase not in (phases.PENDING, phases.SCHEDULED):
        return None
    has_runtime = await _has_runtime(session, run.spec.runtime)
    try:
        pods = await session.client.list(PODS, namespace=session.namespace, label_selector=f"{RUNTIME_LABEL}={run.spec.runtime}")
        runs = await session.client.list(RUNS, namespace=session.namespace, field_selector=phases.NOT_TERMINAL_SELECTOR)
    except ApiError as error:
        console.warn(f"what it waits for cannot be looked at: {error}")
        return Surroundings(has_runtime=has_runtime)
    return Surroundings(has_runtime=has_runtime, pods=pods.items, runs=[run for run in runs.items if run.is_active])


async def _has_runtime(session: Session, name: str) -> bool | None:
    from k8s.client import ApiError, NotFound

    try:
        await session.client.get(RUNTIME.resource(), name, namespace=session.namespace)
    except NotFound:
        return False
    except ApiError:
        return None
    return True
