"""`krt wait`: until Runs have ended, by watch. Exits with a Run's own exit code; of several, with the first that is not 0."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import click

from controlplane.cli import console
from controlplane.cli.answers import explained
from controlplane.cli.attendance import Progress, describe_end
from controlplane.cli.connection import Session, connect, connection_options, run_async, settings_of
from controlplane.cli.failures import CommandFailed
from controlplane.cli.run_watch import watch_run
from controlplane.cli.runs import names_argument
from controlplane.cli.targets import RUN, parse_target
from controlplane.cli.verdicts import TIMED_OUT, exit_code_of_run
from k8s.api.durations import parse_duration
from k8s.api.errors import UsageError
from k8s.api.run import Run


@click.command()
@names_argument
@click.option("--timeout", metavar="DURATION", help="Give up after this long, with exit code 124; the Runs go on.")
@connection_options(hidden=True)
@click.pass_context
def wait(ctx: click.Context, *, words: tuple[str, ...], timeout: str | None) -> int:
    """Wait for Runs to end; exit with a Run's own exit code."""
    names = [parse_target(word, kind=RUN) for word in words]
    settings = settings_of(ctx)
    limit_seconds = _seconds(timeout)

    async def wait_for_all() -> int:
        async with connect(settings) as session:
            try:
                async with asyncio.timeout(limit_seconds):
                    return await _wait_for(session, names)
            except TimeoutError:
                console.complain(f"not ended within {timeout}: some of {', '.join(names)}; they go on")
                return TIMED_OUT

    return run_async(wait_for_all(), settings=settings)


async def _wait_for(session: Session, names: list[str]) -> int:
    ended = await asyncio.gather(*(_end_of(session, name) for name in names))
    for run in ended:
        console.note(describe_end(run))
    return next(filter(None, map(exit_code_of_run, ended)), 0)


async def _end_of(session: Session, name: str) -> Run:
    async with explained(RUN, namespace=session.namespace, name=name, verb="get"):
        await session.client.get(RUN.resource(), name, namespace=session.namespace)
    progress = Progress()
    async with aclosing(watch_run(session, name)) as states:
        async for run in states:
            progress.show(run)
            if run.is_terminal:
                return run
    raise CommandFailed(f"Run {name}: the watch ended before the Run did")


def _seconds(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        return float(text) if text.isdecimal() else parse_duration(text).total_seconds()
    except ValueError as error:
        raise UsageError(f"--timeout: {error}") from error
