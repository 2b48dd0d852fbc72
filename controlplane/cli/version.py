"""`krt version`, and what the version is."""

from __future__ import annotations

import os

import click

from controlplane.cli.connection import connection_options

VERSION = "0.1.0"
"""As in pyproject.toml (a test holds the two together): asking the installed metadata costs tens of milliseconds."""


@click.command()
@connection_options(hidden=True)
def version() -> None:
    """Print the version, the commit and the build date."""
    click.echo(f"krt {VERSION}")
    click.echo(f"commit: {os.environ.get('KRT_COMMIT', 'unknown')}")
    click.echo(f"built: {os.environ.get('KRT_BUILT', 'unknown')}")
