"""`python -m bench.gate`: judge this tree; `record` a baseline; `proof` that the gate is to be trusted."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from bench.conditions import look_around
from bench.gate.baseline import PATH, Recorded, make_baseline, read_baseline, write_baseline
from bench.gate.burners import burning
from bench.gate.judging import Verdict, passes, summary
from bench.gate.proof import Attempt, proof_markdown
from bench.gate.running import PLAIN, Steps, record_once, run_gate
from bench.report.docs import replace_marked
from bench.report.tables import table
from bench.slowed import STEPS, launcher

DOCS = Path("docs") / "performance.md"
PARTIAL = Path("build") / "bench" / "gate-proof.md"


@click.group(invoke_without_command=True)
@click.pass_context
def main(context: click.Context) -> None:
    """Fail when the path of a Run has become slower, dearer or chattier than the baseline allows."""
    if context.invoked_subcommand is not None:
        return
    began = time.monotonic()
    rounds = run_gate(read_baseline())
    for verdict, steps in rounds:
        click.echo(_round(verdict, steps) + "\n")
    verdicts = [verdict for verdict, _ in rounds]
    click.echo(f"{summary(verdicts)} ({time.monotonic() - began:.0f} s)")
    sys.exit(0 if passes(verdicts) else 1)


@main.command()
@click.option("--times", default=8, show_default=True, help="Starts on the machine as it is; it should have nothing else to do.")
@click.option("--busy-times", default=3, show_default=True, help="Starts at each of three degrees of foreign load.")
def record(times: int, busy_times: int) -> None:
    """Measure this tree and write it as the baseline, to be committed."""
    about, cores = look_around(), os.cpu_count() or 1
    recordings: list[Recorded] = []
    for burners, count in ((0, times), *((number, busy_times) for number in (1, cores, 2 * cores))):
        with burning(burners):
            recordings += [record_once() for _ in _counted(count, f"beside {burners} programs that use the CPU")]
    baseline = make_baseline(recordings, commit=about.commit, machine=about.machine)
    write_baseline(baseline)
    rows = [(name, f"{one.idle:.3f}", f"{one.growth:.2f}", f"{one.tolerance * 100:.0f} %") for name, one in baseline.metrics.items()]
    click.echo(table(("metric", "idle", "growth with foreign CPU", "tolerance"), rows, numeric_from=1))
    shares = ", ".join(f"{one.foreign_share:.2f}" for one in recordings)
    click.echo(f"\nforeign share of the CPU: {shares}; written to {PATH}")


@main.command()
@click.option("--unchanged", default=20, show_default=True, help="Runs of the gate on the tree as it is.")
@click.option("--slowed", default=1, show_default=True, help="Runs of the gate for each step with 5 ms more in it.")
@click.option("--update-docs", is_flag=True, help=f"Write the table into {DOCS}.")
def proof(unchanged: int, slowed: int, update_docs: bool) -> None:
    """Show that unchanged code passes every time, and that 5 ms in any step of the path fails."""
    attempts: list[Attempt] = []
    for what, should_pass, command, count in _plan(unchanged=unchanged, slowed=slowed):
        for _ in range(count):
            attempts.append(Attempt(what, should_pass, [verdict for verdict, _ in run_gate(read_baseline(), launcher=command)]))
            # At once: it takes most of an hour, and what was found so far must survive its being cut off.
            _write(PARTIAL, proof_markdown(attempts))
            click.echo(f"{len(attempts)}: {what}: {summary(attempts[-1].rounds)}", err=True)
    text = proof_markdown(attempts)
    click.echo(text)
    if update_docs:
        DOCS.write_text(replace_marked(DOCS.read_text(), text, name="proof"))
    sys.exit(0 if all(attempt.is_right for attempt in attempts) else 1)


def _plan(*, unchanged: int, slowed: int) -> Iterator[tuple[str, bool, Sequence[str], int]]:
    """(what, whether it should pass, how programs are started, how often)."""
    yield "unchanged", True, PLAIN, unchanged
    for name, step in STEPS.items():
        yield f"5 ms in {step.what}", False, launcher(name), slowed


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def _counted(times: int, what: str) -> range:
    click.echo(f"{what}: {times} times", err=True)
    return range(times)


def _round(verdict: Verdict, steps: Steps) -> str:
    rows = [
        (
            finding.metric,
            f"{finding.measured:.2f}",
            f"{finding.expected:.2f}",
            f"{finding.limit:.2f}",
            "**above**" if finding.is_above else "",
        )
        for finding in verdict.findings
    ]
    where = ", ".join(f"{step} {milliseconds:.1f}" for step, milliseconds in steps.items())
    head = (
        f"Others used {verdict.foreign_share * 100:.0f} % of the CPU; {verdict.failures} Runs did not succeed. Median steps, ms: {where}."
    )
    return f"{head}\n\n" + table(("against the floor", "measured", "expected", "limit", ""), rows, numeric_from=1)


if __name__ == "__main__":
    main()
