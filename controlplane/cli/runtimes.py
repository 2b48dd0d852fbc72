"""Runtimes: list, get and grant. Creating and changing them is kubectl's."""

from __future__ import annotations

import click

from controlplane.cli.connection import connect, connection_options, run_async, settings_of
from controlplane.cli.grants import grant
from controlplane.cli.printers import Output, output_option
from controlplane.cli.runs import watch_option
from controlplane.cli.show import Query, fetch, list_once, print_objects, watch
from controlplane.cli.suggestions import complete_runtime
from controlplane.cli.targets import RUNTIME, Target, parse_target


@click.group()
@connection_options(hidden=True)
def runtime() -> None:
    """Show Runtimes: the pools of warm Pods that Runs execute in."""


@runtime.command("list")
@click.option("-l", "--selector", metavar="SELECTOR", default="", help="Label selector, as in app=web,tier!=test.")
@click.option("--field-selector", metavar="SELECTOR", default="", help="Field selector, as in metadata.name=NAME.")
@output_option()
@watch_option
@connection_options(hidden=True)
@click.pass_context
def list_runtimes(ctx: click.Context, *, selector: str, field_selector: str, output: Output, is_watching: bool) -> None:
    """List Runtimes."""
    settings = settings_of(ctx)

    async def show() -> None:
        async with connect(settings, spans_namespaces=True) as session:
            namespace = None if settings.all_namespaces else session.namespace
            query = Query(RUNTIME, namespace, label_selector=selector, field_selector=field_selector)
            await (watch if is_watching else list_once)(session, query, output=output)

    run_async(show(), settings=settings)


@runtime.command("get")
@click.argument("word", metavar="NAME", shell_complete=complete_runtime)
@output_option()
@connection_options(hidden=True)
@click.pass_context
def get_runtime(ctx: click.Context, *, word: str, output: Output) -> None:
    """Show one Runtime."""
    settings = settings_of(ctx)
    target = Target(RUNTIME, parse_target(word, kind=RUNTIME))

    async def show() -> None:
        async with connect(settings) as session:
            print_objects([(target, await fetch(session, target))], output=output, is_list=False)

    run_async(show(), settings=settings)


runtime.add_command(grant)
