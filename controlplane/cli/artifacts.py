"""`krt artifact`: what files a Run left, and getting them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from controlplane.cli.ages import NONE
from controlplane.cli.connection import ConnectionSettings, connect, connection_options, run_async, settings_of
from controlplane.cli.failures import CommandFailed
from controlplane.cli.printers import Column, Output, Table, encode, output_option
from controlplane.cli.show import fetch
from controlplane.cli.suggestions import complete_run
from controlplane.cli.targets import RUN, Target, parse_target

DEFAULT_STATUS_PORT = 19093
_COLUMNS = (
    Column("NAME", lambda ref: ref.get("name", "")),
    Column("TYPE", lambda ref: ref.get("type", "")),
    Column("SIZE", lambda ref: ref.get("sizeBytes", 0)),
    Column("CONTENT-TYPE", lambda ref: ref.get("contentType") or NONE),
    Column("DIGEST", lambda ref: ref.get("digest") or NONE),
)


@click.group()
@connection_options(hidden=True)
def artifact() -> None:
    """List and download the files that a Run left."""


@artifact.command("list")
@click.argument("word", metavar="RUN", shell_complete=complete_run)
@output_option()
@connection_options(hidden=True)
@click.pass_context
def list_artifacts(ctx: click.Context, *, word: str, output: Output) -> None:
    """List the artifacts of a Run."""
    settings = settings_of(ctx)
    name = parse_target(word, kind=RUN)
    run_async(_list(name, settings=settings, output=output), settings=settings)


async def _list(name: str, *, settings: ConnectionSettings, output: Output) -> None:
    async with connect(settings) as session:
        run = await fetch(session, Target(RUN, name))
    refs = _refs(run)
    if output.format == "name":
        click.echo("".join(f"{ref['name']}\n" for ref in refs), nl=False)
    elif not output.is_table:
        click.echo(encode(refs, output=output, is_list=True), nl=False)
    elif refs:
        click.echo("\n".join(Table(_COLUMNS).render(refs)))
    else:
        _tell_none(run)


@artifact.command("download")
@click.argument("word", metavar="RUN", shell_complete=complete_run)
@click.argument("name", metavar="ARTIFACT")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="File or folder to write to; else the artifact's name here.")
@click.option(
    "--status-port", type=click.IntRange(0, 65535), default=DEFAULT_STATUS_PORT, hidden=True, help="Taken for older scripts; not used."
)
@connection_options(hidden=True)
@click.pass_context
def download_artifact(ctx: click.Context, *, word: str, name: str, output: Path | None, status_port: int) -> None:
    """Download an artifact; directories come as tar.gz. Interrupted, the same command goes on where it was."""
    settings = settings_of(ctx)
    run_async(_download(parse_target(word, kind=RUN), name, settings=settings, output=output), settings=settings)


async def _download(run_name: str, name: str, *, settings: ConnectionSettings, output: Path | None) -> None:
    from controlplane.cli.download import Wanted, download

    async with connect(settings) as session:
        run = await fetch(session, Target(RUN, run_name))
        ref = _find(run, name)
        wanted = Wanted(
            namespace=session.namespace,
            run=run_name,
            name=name,
            size=int(ref.get("sizeBytes", 0)),
            digest=str(ref.get("digest") or ""),
        )
        path = _place(ref, output=output)
        status = run.get("status", {})
        await download(session, wanted, path=path, runtime=run["spec"]["runtime"], assigned_pod=status.get("assignedPod", ""))
    click.echo(f"Downloaded {name} ({ref['type']}, {wanted.size} bytes) to {path}")


def _refs(run: Mapping[str, Any]) -> list[dict[str, Any]]:
    return list(run.get("status", {}).get("artifactRefs") or [])


def _tell_none(run: Mapping[str, Any]) -> None:
    from controlplane.cli import console

    console.note(f"Run {run['metadata']['name']} has no artifacts; it is {run.get('status', {}).get('phase') or 'Pending'}.")


def _find(run: Mapping[str, Any], name: str) -> dict[str, Any]:
    refs = _refs(run)
    for ref in refs:
        if ref["name"] == name:
            return ref
    known = ", ".join(ref["name"] for ref in refs) or "it has none"
    raise CommandFailed(f"Run {run['metadata']['name']} has no artifact {name!r}; there are: {known}")


def _place(ref: Mapping[str, Any], *, output: Path | None) -> Path:
    own_name = ref["name"] + (".tar.gz" if ref["type"] == "directory" else "")
    if output is None:
        return Path(own_name)
    return output / own_name if output.is_dir() else output
