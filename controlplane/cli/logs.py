"""`krt logs`: the output of a Run, stdout to stdout and stderr to stderr, while its Pod lives."""

from __future__ import annotations

import click

from controlplane.cli.answers import explained
from controlplane.cli.attendance import Attendance, may_have_output
from controlplane.cli.connection import ConnectionSettings, connect, connection_options, run_async, settings_of
from controlplane.cli.failures import CommandFailed
from controlplane.cli.pod_log import PodLog
from controlplane.cli.run_output import OutputReader, first_moment
from controlplane.cli.screen import Screen
from controlplane.cli.suggestions import complete_run
from controlplane.cli.targets import RUN, parse_target
from k8s.api.run import Run


@click.command()
@click.argument("word", metavar="NAME", shell_complete=complete_run)
@click.option("-f", "--follow", is_flag=True, help="Go on until the Run has ended.")
@click.option("--tail", metavar="N", type=click.IntRange(min=0), default=0, help="Only the last N lines of each stream; 0 for all.")
@connection_options(hidden=True)
@click.pass_context
def logs(ctx: click.Context, *, word: str, follow: bool, tail: int) -> None:
    """Print the output of a Run."""
    settings = settings_of(ctx)
    name = parse_target(word, kind=RUN)
    run_async(_logs(name, settings=settings, is_following=follow, tail=tail), settings=settings)


async def _logs(name: str, *, settings: ConnectionSettings, is_following: bool, tail: int) -> None:
    from k8s.client import RUNS

    async with connect(settings) as session:
        async with explained(RUN, namespace=session.namespace, name=name, verb="get"):
            run = await session.client.get(RUNS, name, namespace=session.namespace)
        _check_may_have_output(run, is_following=is_following)
        if is_following:
            await Attendance(session, is_about_output=True, tail=tail).attend(name, uid=run.uid)
            return
        log = PodLog(session.client, session.namespace, run.status.assigned_pod)
        screen = Screen()
        reader = OutputReader(log, run_uid=run.uid, since=first_moment(run), emit=screen.show)
        await reader.read_tail(tail)
        screen.end()


def _check_may_have_output(run: Run, *, is_following: bool) -> None:
    """An empty output would look as if the Run had printed nothing."""
    name, because = run.metadata.name, f" ({run.status.message})" if run.status.message else ""
    if run.is_terminal and not may_have_output(run):
        raise CommandFailed(f"Run {name} never started: it is {run.phase}{because}")
    if not run.status.assigned_pod and (run.is_terminal or not is_following):
        remedy = "" if run.is_terminal else f"; follow it with: krt logs -f {name}"
        raise CommandFailed(f"Run {name} has no Pod to read from: it is {run.phase}{because}{remedy}")
