"""`krt logs`: the output of a Run, stdout to stdout and stderr to stderr, while its Pod lives."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import click

from controlplane.cli.answers import explained
from controlplane.cli.attendance import Attendance, may_have_output, write_output_line
from controlplane.cli.connection import ConnectionSettings, Session, connect, connection_options, run_async, settings_of
from controlplane.cli.failures import CommandFailed
from controlplane.cli.pod_log import PodLog
from controlplane.cli.run_output import OutputReader
from controlplane.cli.suggestions import complete_run
from controlplane.cli.targets import RUN, parse_target
from k8s.api.run import Run
from k8s.api.run_log import OutputLine


@dataclass(slots=True)
class Tail:
    """The last lines of each stream, in their order."""

    limit: int
    _lines: deque[tuple[int, OutputLine]] = field(default_factory=deque)
    _counts: dict[str, int] = field(default_factory=dict)

    def add(self, line: OutputLine) -> None:
        number = self._counts.get(line.stream, 0)
        self._counts[line.stream] = number + 1
        self._lines.append((number, line))
        while self._lines and self._is_old(*self._lines[0]):
            self._lines.popleft()

    def lines(self) -> list[OutputLine]:
        return [line for number, line in self._lines if not self._is_old(number, line)]

    def _is_old(self, number: int, line: OutputLine) -> bool:
        return number < self._counts[line.stream] - self.limit


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
        if is_following and not run.is_terminal:
            await Attendance(session, is_log_optional=False).attend(name, uid=run.uid)
        else:
            await _print_log(session, run, tail=tail)


async def _print_log(session: Session, run: Run, *, tail: int) -> None:
    """What there is now."""
    name = run.metadata.name
    if not run.status.assigned_pod:
        raise CommandFailed(f"Run {name} has no output yet: it is {run.phase}{_because(run)}; follow it with: krt logs -f {name}")
    if not may_have_output(run):
        raise CommandFailed(f"Run {name} never started: it is {run.phase}{_because(run)}")
    kept = Tail(tail or 2**62)
    log = PodLog(session.client, session.namespace, run.status.assigned_pod)
    emit = kept.add if tail else write_output_line
    await OutputReader(log, run_uid=run.uid, created=run.metadata.creation_timestamp, emit=emit).read_once()
    for line in kept.lines():
        write_output_line(line)


def _because(run: Run) -> str:
    return f" ({run.status.message})" if run.status.message else ""
