"""The flag --preload: modules that all Runs find imported."""

from __future__ import annotations

import click


def module_names(context: click.Context, parameter: click.Parameter, value: str) -> tuple[str, ...]:
    """From "a,b.c". A name that cannot be imported is found out later; one that cannot be a name, here."""
    names = tuple(name.strip() for name in value.split(",") if name.strip())
    for name in names:
        if not all(part.isidentifier() for part in name.split(".")):
            raise click.BadParameter(f"{name!r} is not the name of a module; give MODULE[,MODULE...]", ctx=context, param=parameter)
    return names


PRELOAD = click.Option(
    ["--preload"],
    default="",
    callback=module_names,
    metavar="MODULE[,MODULE...]",
    help="Imported once, before the first Run, for all of them.",
)
