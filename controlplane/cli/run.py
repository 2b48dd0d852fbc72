"""`krt run`: creates a Run, and with --wait sees it through: output, progress, exit code."""

from __future__ import annotations

import asyncio
import signal
from dataclasses import dataclass
from typing import Any

import click

from controlplane.cli import console
from controlplane.cli.connection import ConnectionSettings, Session, connect, connection_options, run_async, settings_of
from controlplane.cli.failures import CommandFailed
from controlplane.cli.interruption import until_signal
from controlplane.cli.manifest import RunRequest, build_manifest, random_name
from controlplane.cli.printers import Output, encode, output_option
from controlplane.cli.sources import read_source
from controlplane.cli.suggestions import complete_runtime
from k8s.api.errors import KrtError, UsageError
from k8s.api.names import KEEP_LOG_ANNOTATION
from k8s.api.validation import check_run_manifest

FIELD_MANAGER = "krt"


@dataclass(frozen=True, slots=True)
class Attention:
    """What to do after the Run is created."""

    is_waiting: bool = False
    is_quiet: bool = False
    cancels_on_interrupt: bool = False

    def tell(self, text: str) -> None:
        if not self.is_quiet:
            console.note(text)


@click.command()
@click.argument("words", metavar="[-- COMMAND [ARG]...]", nargs=-1, type=click.UNPROCESSED)
@click.option(
    "-r", "--runtime", metavar="NAME", default="bash", show_default=True, shell_complete=complete_runtime, help="Runtime that executes it."
)
@click.option(
    "-f", "--file", "path", metavar="FILE", type=click.Path(), help="Script to run, `-` for stdin. Words after `--` are its arguments."
)
@click.option("--env", metavar="NAME=VALUE", multiple=True, help="Environment variable; repeatable.")
@click.option("--timeout", metavar="DURATION", help="Limit of each attempt, as in 30s or 1m30s; none by default.")
@click.option("--entrypoint", metavar="PATH", help="File to run, relative to the repository.")
@click.option("--handler", metavar="MODULE.FUNCTION", help="Function to run.")
@click.option("--repo-url", metavar="URL", help="Git repository to run in.")
@click.option("--commit-sha", metavar="REF", help="Commit, tag or branch of the repository.")
@click.option("--retry-attempts", metavar="N", type=int, default=0, help="Attempts in all, 1 to 100; one by default.")
@click.option(
    "--retry-backoff", metavar="DURATION", help="Pause before the second attempt, doubled before each further one; 1s by default."
)
@click.option("--name", metavar="NAME", help="Name of the Run; by default run-<8 random letters and digits>.")
@click.option("--ttl", metavar="DURATION", help="Delete the Run this long after its end.")
@click.option("-l", "--label", "labels", metavar="KEY=VALUE", multiple=True, help="Label of the Run; repeatable.")
@click.option("--keep-log", is_flag=True, help="Keep what it writes with its artifacts, where its Runtime has a store for them.")
@click.option("--wait", "is_waiting", is_flag=True, help="Stream its output, wait for its end, exit with its own exit code.")
@click.option("-q", "--quiet", is_flag=True, help="With --wait: no progress on stderr.")
@click.option("--cancel-on-interrupt", is_flag=True, help="With --wait: Ctrl-C cancels the Run.")
@output_option()
@connection_options(hidden=True)
@click.pass_context
def run(
    ctx: click.Context, /, *, path: str | None, is_waiting: bool, quiet: bool, cancel_on_interrupt: bool, output: Output, **fields: Any
) -> int:
    """Create a Run, and with --wait see it through.

    \b
    krt run -- echo hello                       one command in the bash Runtime
    krt run -f job.sh --wait -- --dry-run       a script with arguments, its output and exit code
    krt run -r python -f - --env DAY=Monday < job.py

    \b
    Exit codes with --wait: the Run's own, or 124 it timed out, 125 the platform failed, 126/127 the command
    cannot be executed or found, 128+N ended by signal N, 130 interrupted or cancelled, 2 wrong usage.
    """
    for name in ("commit_sha", "entrypoint", "handler", "name", "repo_url", "retry_backoff", "timeout", "ttl"):
        if fields[name] == "":
            raise UsageError(f"--{name.replace('_', '-')} is empty; give a value or leave the flag out")
    if is_waiting and not output.is_table:
        raise UsageError(f"-o {output.format} and --wait exclude each other: with --wait stdout is the Run's")
    request = RunRequest(source=read_source(path), **fields)
    manifest = build_manifest(request, name=request.name or random_name())
    check_run_manifest(manifest)
    settings = settings_of(ctx)
    attention = Attention(is_waiting, quiet, cancel_on_interrupt)
    work = _run(manifest, settings=settings, output=output, attention=attention, is_name_random=request.name is None)
    return run_async(work, settings=settings)


async def _run(
    manifest: dict[str, Any], *, settings: ConnectionSettings, output: Output, attention: Attention, is_name_random: bool
) -> int:
    from controlplane.cli.targets import RUN

    async with connect(settings) as session:
        created, warning = await asyncio.gather(
            create_run(session, manifest, is_name_random=is_name_random), doubt_about(session, manifest)
        )
        if warning:
            console.warn(warning)
        name = created["metadata"]["name"]
        if attention.is_waiting:
            attention.tell(f"Task {name} created")
            return await _see_through(session, name=name, uid=created["metadata"]["uid"], attention=attention)
        if output.is_table:
            click.echo(f"Task {name} created")
        else:
            created = {"apiVersion": RUN.resource().api_version, "kind": RUN.title, **created}
            click.echo(encode([created], output=output, is_list=False), nl=False)
        return 0


async def create_run(session: Session, manifest: dict[str, Any], *, is_name_random: bool) -> dict[str, Any]:
    """POSTs it once. The errors say what to do about them."""
    from controlplane.cli.answers import explained
    from controlplane.cli.targets import RUN
    from k8s.client import ApiError

    name, namespace = manifest["metadata"]["name"], session.namespace
    try:
        async with explained(RUN, namespace=namespace, name=name, verb="create"):
            return await session.client.create(RUN.resource(), manifest, namespace=namespace, field_manager=FIELD_MANAGER)
    except KrtError as error:
        cause = error if isinstance(error, ApiError) else error.__cause__
        if not isinstance(cause, ApiError) or cause.is_answered:
            raise
        return await _created_after_all(session, name, is_name_random=is_name_random, error=error)


async def _created_after_all(session: Session, name: str, *, is_name_random: bool, error: KrtError) -> dict[str, Any]:
    """The answer to the POST was lost: read, and never send it again. What has a random name of ours is ours."""
    from controlplane.cli.targets import RUN
    from k8s.client import ApiError

    try:
        found = await session.client.get(RUN.resource(), name, namespace=session.namespace)
    except ApiError:
        raise error from error.__cause__
    if not is_name_random:
        remedy = f"look with: krt get {name} -n {session.namespace}"
        raise CommandFailed(f"{error}; Run {name} exists, but whether this command created it is not known, {remedy}") from error
    return found


async def doubt_about(session: Session, manifest: dict[str, Any]) -> str:
    """A warning when the Runtime cannot do what the Run asks for; empty otherwise, also when we may not know."""
    from controlplane.cli.targets import RUNTIME
    from k8s.client import ApiError, NotFound

    runtime = manifest["spec"]["runtime"]
    try:
        found = await session.client.get(RUNTIME.resource(), runtime, namespace=session.namespace)
    except NotFound:
        return f'there is no Runtime "{runtime}" in namespace {session.namespace}: the Run waits until there is one (see: krt runtime list)'
    except (ApiError, UsageError):
        return ""
    if KEEP_LOG_ANNOTATION in manifest["metadata"].get("annotations", {}) and not found.get("spec", {}).get("artifactStore"):
        remedy = "krt logs has it while the Pod is there"
        return f'--keep-log: Runtime "{runtime}" has no spec.artifactStore, so no log will be kept; {remedy}'
    return ""


async def _see_through(session: Session, *, name: str, uid: str, attention: Attention) -> int:
    from controlplane.cli.attendance import Attendance, describe_end
    from controlplane.cli.verdicts import exit_code_of_run

    attendance = Attendance(session, tell=attention.tell)
    finished = await until_signal(attendance.attend(name, uid=uid))
    if isinstance(finished, signal.Signals):
        await _leave(session, name=name, attention=attention)
        return 128 + finished
    code = exit_code_of_run(finished)
    (attention.tell if code == 0 else console.note)(describe_end(finished))
    return code


async def _leave(session: Session, *, name: str, attention: Attention) -> None:
    """Ctrl-C ends the waiting, not the Run; unless that is what was asked for."""
    from controlplane.cli.runs import request_cancel

    remedy = f"krt cancel {name} -n {session.namespace}"
    if not attention.cancels_on_interrupt:
        console.note(f"Interrupted. Run {name} goes on; cancel it with: {remedy}")
        return
    try:
        await request_cancel(session, name)
        console.note(f"Interrupted. Cancellation requested for run {name}")
    except CommandFailed as error:
        console.complain(f"Interrupted, but Run {name} could not be cancelled: {error}; try: {remedy}")
