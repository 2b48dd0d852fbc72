"""The command `krt conformance`: options, the folder, the connection; exits with 1 for a server that breaks the contract."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import click

from controlplane.cli.failures import CommandFailed
from k8s.api.errors import UsageError

if TYPE_CHECKING:
    from controlplane.cli.conformance.catalogue import Check
    from controlplane.cli.conformance.running import Result
    from controlplane.cli.conformance.subject import Subject, Workspace

NOT_CONFORMING = 1
START_SECONDS = 5.0
LANGUAGES = ("sh", "bash", "python", "other")


@dataclass(frozen=True, slots=True)
class Options:
    address: str
    language: str
    deliver: str
    workspace: str
    parallel: int
    only: Sequence[str]
    scripts: dict[str, str] = field(default_factory=dict)
    is_json: bool = False


@click.command(context_settings={"show_default": True})
@click.argument("address", metavar="HOST:PORT", required=False)
@click.option("--language", type=click.Choice(LANGUAGES), default="sh", help="What the server executes; of `other` you give --script.")
@click.option("--script", "scripts", metavar="PROGRAM=FILE", multiple=True, help="Your own script for a program; see --list.")
@click.option(
    "--deliver", type=click.Choice(["file", "args"]), default="file", help="How a script reaches the server: as runtimed gives it."
)
@click.option("--workspace", metavar="DIR[:SERVER_DIR]", default="", help="Shared with the server, which may see it under another path.")
@click.option("--parallel", type=click.IntRange(1, 256), default=8, help="How many executions the server is to run at once.")
@click.option("--only", metavar="NAME", multiple=True, help="Checks whose name is, or begins with, NAME.")
@click.option("--list", "is_listing", is_flag=True, help="Show the checks and what their programs do, and ask nobody.")
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table", help="How the results are shown.")
def conformance(
    address: str | None, *, language: str, scripts: tuple[str, ...], deliver: str, workspace: str, parallel: int,
    only: tuple[str, ...], is_listing: bool, output: str,
) -> int:  # fmt: skip
    """Check whether a Runtime Server keeps the contract that runtimed relies on.

    The server must serve nobody else: a session of ours ends that of runtimed. It must see the workspace, by default a new folder of
    this machine. Exits with 0 if the contract is kept, with 1 if not.
    """
    checks = _selected(only)
    if is_listing:
        from controlplane.cli.conformance.report import listing_of

        click.echo("\n".join(listing_of(checks)))
        return 0
    if address is None:
        raise UsageError("HOST:PORT is missing: the address of the Runtime Server")
    options = Options(address, language, deliver, workspace, parallel, only, _read_scripts(scripts), is_json=output == "json")
    with _workspace(options.workspace) as shared:
        return asyncio.run(_check(options, checks, shared))


def _selected(only: Sequence[str]) -> list[Check]:
    from controlplane.cli.conformance.catalogue import load_catalogue, select

    try:
        return select(load_catalogue(), only=only)
    except KeyError as error:
        raise UsageError(f"--only {error.args[0]}: no check has this name; see --list") from error


def _read_scripts(words: Sequence[str]) -> dict[str, str]:
    from controlplane.cli.conformance.programs import PROGRAMS

    scripts = {}
    for word in words:
        name, _, path = word.partition("=")
        if name not in PROGRAMS:
            raise UsageError(f"--script {word}: {name!r} is no program; use one of {', '.join(PROGRAMS)}")
        try:
            scripts[name] = Path(path).read_text()
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"--script {word}: cannot be read: {error}") from error
    return scripts


@contextmanager
def _workspace(word: str) -> Iterator[Workspace]:
    """A folder of its own, gone afterwards; also within a folder that the user names."""
    from controlplane.cli.conformance.subject import Workspace

    parent, _, there = word.partition(":")
    if parent and not Path(parent).is_dir():
        raise UsageError(f"--workspace {parent}: is no folder")
    folder = Path(tempfile.mkdtemp(prefix="krt-conformance-", dir=parent or None)).resolve()
    folder.chmod(0o777)  # the server may be another user
    try:
        yield Workspace(folder, f"{there.rstrip('/')}/{folder.name}" if there else str(folder))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


async def _check(options: Options, checks: Sequence[Check], workspace: Workspace) -> int:
    import grpc

    from controlplane.cli.conformance.programs import texts_of
    from controlplane.cli.conformance.report import document_of, is_good, lines_of_skipped, summary_of
    from controlplane.cli.conformance.subject import Subject
    from runtimed.shell.session import CHANNEL_OPTIONS

    async with grpc.aio.insecure_channel(options.address, options=CHANNEL_OPTIONS) as channel:
        subject = Subject(
            channel,
            workspace,
            texts_of(options.language, own=options.scripts),
            parallel=options.parallel,
            gives_args=options.deliver == "args",
            args_before_text=("-c",) if options.language == "python" else (),
        )
        await _reach(subject, address=options.address)
        results = await _run(subject, checks, is_shown=not options.is_json)
    if options.is_json:
        click.echo(document_of(results, address=options.address))
    else:
        click.echo("\n".join([*lines_of_skipped(results), "", summary_of(results)]))
    return 0 if is_good(results) else NOT_CONFORMING


async def _reach(subject: Subject, *, address: str) -> None:
    """Raises CommandFailed for a server that is not there, or that serves somebody. One that is just being started is waited for."""
    give_up_at = time.monotonic() + START_SECONDS
    while (code := await subject.code_of("List")) == "UNAVAILABLE":
        if time.monotonic() > give_up_at:
            raise CommandFailed(f"{address}: no gRPC server answers there; start the Runtime Server first")
        await asyncio.sleep(0.1)
    if code == "OK" and (held := await subject.listed()):
        raise CommandFailed(f"{address}: the server holds {len(held)} executions; it must serve nobody else while it is checked")


async def _run(subject: Subject, checks: Sequence[Check], *, is_shown: bool) -> list[Result]:
    from controlplane.cli.conformance.judgement import Outcome
    from controlplane.cli.conformance.report import lines_of
    from controlplane.cli.conformance.running import run_checks

    results = []
    async for result in run_checks(subject, checks):
        results.append(result)
        if is_shown and result.verdict.outcome is not Outcome.SKIPPED:
            click.echo("\n".join(lines_of(result)))
    return results
