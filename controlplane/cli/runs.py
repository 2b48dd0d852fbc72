"""Runs: get, list, cancel, delete. Creating them is `run`, their output `logs`, their end `wait`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import click

from controlplane.cli import console
from controlplane.cli.answers import explained
from controlplane.cli.connection import ConnectionSettings, Session, connect, connection_options, run_async, settings_of
from controlplane.cli.printers import Output, output_option
from controlplane.cli.show import Query, fetch_all, list_once, print_objects, watch
from controlplane.cli.suggestions import complete_run, complete_runtime
from controlplane.cli.targets import RUN, Target, parse_targets
from k8s.api import phases
from k8s.api.errors import UsageError

watch_option = click.option("-w", "--watch", "is_watching", is_flag=True, help="Go on printing changes.")
names_argument = click.argument("words", metavar="NAME...", nargs=-1, required=True, shell_complete=complete_run)


@click.command()
@names_argument
@output_option()
@watch_option
@connection_options(hidden=True)
@click.pass_context
def get(ctx: click.Context, *, words: tuple[str, ...], output: Output, is_watching: bool) -> int:
    """Show Runs by NAME or run/NAME, Runtimes by runtime/NAME."""
    settings = settings_of(ctx)
    targets = parse_targets(words, default=RUN)
    if is_watching and len(targets) != 1:
        raise UsageError("--watch: name exactly one object, or use krt list --watch")
    return run_async(_get(targets, settings=settings, output=output, is_watching=is_watching), settings=settings)


async def _get(targets: Sequence[Target], *, settings: ConnectionSettings, output: Output, is_watching: bool) -> int:
    failures: list[Exception] = []
    async with connect(settings) as session:
        found = await fetch_all(session, targets, on_error=failures.append)
        if not found or (is_watching and failures):
            _raise_last(failures)
        if is_watching:
            query = Query(targets[0].kind, session.namespace, field_selector=f"metadata.name={targets[0].name}")
            await watch(session, query, output=output)
        print_objects(found, output=output, is_list=len(targets) > 1)
        return _raise_last(failures) if failures else 0


def _raise_last(failures: Sequence[Exception]) -> int:
    """All but the last are only told: the last one decides the exit code."""
    for error in failures[:-1]:
        console.complain(str(error))
    raise failures[-1]


@click.command("list")
@click.option("--runtime", metavar="NAME", shell_complete=complete_runtime, help="Only Runs of this Runtime.")
@click.option("--phase", type=click.Choice(phases.ALL_PHASES, case_sensitive=False), help="Only Runs in this phase.")
@click.option("-l", "--selector", metavar="SELECTOR", default="", help="Label selector, as in app=web,tier!=test.")
@click.option("--field-selector", metavar="SELECTOR", default="", help="Field selector, as in status.assignedPod=NAME.")
@output_option()
@watch_option
@connection_options(hidden=True)
@click.pass_context
def list_runs(
    ctx: click.Context, *, runtime: str | None, phase: str | None, selector: str, field_selector: str, output: Output, is_watching: bool
) -> None:
    """List Runs."""
    settings = settings_of(ctx)
    fields = ",".join(filter(None, [field_selector, runtime and f"spec.runtime={runtime}", phase and phase_selector(phase)]))

    async def show() -> None:
        async with connect(settings, spans_namespaces=True) as session:
            namespace = None if settings.all_namespaces else session.namespace
            query = Query(RUN, namespace, label_selector=selector, field_selector=fields)
            await (watch if is_watching else list_once)(session, query, output=output)

    run_async(show(), settings=settings)


def phase_selector(phase: str) -> str:
    """Fresh Runs have no phase yet and count as Pending, so Pending is everything that is no other phase."""
    if phase != phases.PENDING:
        return f"status.phase={phase}"
    return ",".join(f"status.phase!={other}" for other in phases.ALL_PHASES if other != phases.PENDING)


@click.command()
@names_argument
@connection_options(hidden=True)
@click.pass_context
def cancel(ctx: click.Context, *, words: tuple[str, ...]) -> int:
    """Ask for Runs to be cancelled: what runs is stopped, what waits never starts."""
    return _for_each(ctx, words, request_cancel, done="Cancellation requested for run {}")


@click.command()
@names_argument
@connection_options(hidden=True)
@click.pass_context
def delete(ctx: click.Context, *, words: tuple[str, ...]) -> int:
    """Delete Runs; what is running is stopped."""
    return _for_each(ctx, words, delete_run, done="Run {} deleted")


async def request_cancel(session: Session, name: str) -> None:
    """Sets spec.cancelRequested, and nothing else: a merge patch leaves alone what newer versions have added."""
    from k8s.client import merge_patch

    async with explained(RUN, namespace=session.namespace, name=name, verb="patch"):
        patch = merge_patch({"spec": {"cancelRequested": True}})
        await session.client.patch(RUN.resource(), name, patch, namespace=session.namespace, field_manager="krt")


async def delete_run(session: Session, name: str) -> None:
    async with explained(RUN, namespace=session.namespace, name=name, verb="delete"):
        await session.client.delete(RUN.resource(), name, namespace=session.namespace)


def _for_each(ctx: click.Context, words: Sequence[str], act: Callable[[Session, str], Awaitable[None]], *, done: str) -> int:
    """Does it to every named Run, goes on after failures, and fails if one did."""
    settings = settings_of(ctx)
    names = [target.name if target.kind is RUN else _refuse(target) for target in parse_targets(words, default=RUN)]

    async def act_on_all() -> int:
        async with connect(settings) as session:
            answers: list[Any] = await asyncio.gather(*(act(session, name) for name in names), return_exceptions=True)
        failures = [answer for answer in answers if isinstance(answer, Exception)]
        for name, answer in zip(names, answers, strict=True):
            if answer is None:
                click.echo(done.format(name))
        return _raise_last(failures) if failures else 0

    return run_async(act_on_all(), settings=settings) or 0


def _refuse(target: Target) -> str:
    raise UsageError(f"{target.kind.singular}/{target.name} is a {target.kind.title}; this command is for Runs (use kubectl for the rest)")
