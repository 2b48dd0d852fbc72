"""The flags that all Runtime Servers share, and the way from them to a serving process."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any

import click

from servers.sdk.command import Commands
from servers.sdk.logs import configure_logging
from servers.sdk.serving import CannotServe, Settings, serve


def server_command(
    find_commands: Callable[..., Commands], *, name: str, default_port: int, summary: str, options: Sequence[click.Option] = ()
) -> click.Command:
    """`find_commands` is called once, after logging is set up, with the values of `options` by name; it may raise CannotServe."""

    @click.command(name=name, help=summary, context_settings={"show_default": True})
    @click.option("--port", type=click.IntRange(0, 65535), default=default_port, help="TCP port; 0 takes a free one.")
    @click.option("--host", default="0.0.0.0", help="Address to listen on; 0.0.0.0 is all of IPv4 and IPv6.")  # noqa: S104
    @click.option("--work-dir", default="/workspace", help="Runs without a working directory get a folder here.")
    @click.option("--shutdown-grace-seconds", type=click.FloatRange(min=0), default=3600.0, help="How long SIGTERM waits for Runs.")
    @click.option(
        "--warm", type=click.IntRange(0), default=2, help="Runs at a time to hold children ready for, while runtimed does not say."
    )
    @click.option("-v", "--verbose", count=True, help="Log more.")
    def main(port: int, host: str, work_dir: str, shutdown_grace_seconds: float, warm: int, verbose: int, **own: Any) -> None:
        configure_logging(verbosity=verbose)
        settings = Settings(host=host, port=port, work_dir=work_dir, shutdown_grace_seconds=shutdown_grace_seconds, warm=warm)
        try:
            asyncio.run(serve(find_commands(**own), settings=settings))
        except CannotServe as error:
            logging.getLogger(name).error("cannot start", extra={"reason": str(error)})
            raise click.ClickException(str(error)) from error

    main.params.extend(options)
    return main
