"""What krt says to humans. Data goes to stdout, everything else to stderr; colour only on a terminal and never with NO_COLOR."""

from __future__ import annotations

import os
import sys
from typing import TextIO

import click


def note(text: str) -> None:
    """Progress and confirmations."""
    click.echo(text, err=True)


def warn(text: str) -> None:
    """Something the user should look at, while the command goes on."""
    click.echo(f"{_paint('warning:', colour='yellow')} {text}", err=True)


def complain(text: str) -> None:
    """Why the command failed."""
    click.echo(f"{_paint('error:', colour='red')} {text}", err=True)


def is_colourful(stream: TextIO) -> bool:
    """NO_COLOR counts when it is set and not empty (no-color.org)."""
    return not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb" and stream.isatty()


def _paint(text: str, *, colour: str) -> str:
    return click.style(text, fg=colour, bold=True) if is_colourful(sys.stderr) else text
