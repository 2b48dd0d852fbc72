"""`krt local`: start, stop and look at local mode. Everything that runs is the daemon's business; this asks it and tells the user."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from controlplane.local import lifecycle
from controlplane.local.shells import SHELLS, export_line
from controlplane.local.state import StateFolder
from controlplane.local.statusview import describe, read_status, to_json
from k8s.api.errors import UsageError

NOT_UP = 1
"""Exit code of `status` when local mode is not up, as systemctl's."""


@click.group()
def local() -> None:
    """The whole system on this machine, without Kubernetes (Linux only)."""
    if not sys.platform.startswith("linux"):
        raise UsageError("krt local needs Linux: it watches processes by pidfd and /proc; on other systems use a cluster, or Linux in a VM")


@local.command()
@click.option("--foreground", is_flag=True, help="Stay in the foreground and log to this terminal; Ctrl-C stops everything.")
@click.option("--detach", "is_detached", is_flag=True, help="Run in the background (the default).")
@click.option("--port", type=click.IntRange(1, 65535), help="Port of the API server; default: as last time, else any free one.")
def up(foreground: bool, is_detached: bool, port: int | None) -> None:
    """Start local mode; says so and exits 0 when it is up already."""
    if foreground and is_detached:
        raise UsageError("--foreground and --detach exclude each other: give one of them")
    state = StateFolder.locate(os.environ)
    lifecycle.check_extra()
    state.create()
    if foreground:
        lifecycle.run_in_foreground(state, port=port)
    was_up = lifecycle.bring_up(state, port=port, tell=_note)
    _note("Local mode is up already." if was_up else "Local mode is up.")
    click.echo(describe(read_status(state), pods=False), nl=False)
    _note(_next_steps(state))


@local.command()
@click.option("--purge", is_flag=True, help="Also delete the state folder, with all objects and logs.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask before purging.")
def down(purge: bool, yes: bool) -> None:
    """Stop everything, Pods first. Objects are kept for the next `up`."""
    state = StateFolder.locate(os.environ)
    if purge and not yes and state.root.exists():
        click.confirm(f"Delete {state.root} with all objects and logs in it?", abort=True, err=True)
    was_up = lifecycle.bring_down(state, tell=_note)
    _note("Local mode is down; nothing of it is running." if was_up else "Local mode was not up.")
    if purge:
        lifecycle.purge(state)
        _note(f"Deleted {state.root}.")


@local.command()
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table", show_default=True)
@click.pass_context
def status(ctx: click.Context, output: str) -> None:
    """Show what runs; exit 0 when local mode is up, 1 when not."""
    current = read_status(StateFolder.locate(os.environ))
    click.echo(to_json(current) if output == "json" else describe(current, pods=True), nl=False)
    ctx.exit(0 if current.is_up else NOT_UP)


@local.command()
@click.option("--shell", type=click.Choice(SHELLS), help="Default: from $SHELL.")
def env(shell: str | None) -> None:
    """Print what points kubectl and krt at local mode: eval "$(krt local env)"."""
    state = StateFolder.locate(os.environ)
    if not state.kubeconfig.exists():
        raise UsageError("local mode has no kubeconfig yet; run: krt local up")
    if state.read_snapshot() is None:
        _note("Local mode is not up; run: krt local up")
    name = shell or Path(os.environ.get("SHELL", "bash")).name
    click.echo(export_line("KUBECONFIG", str(state.kubeconfig), shell=name))


def _note(text: str) -> None:
    click.echo(text, err=True)


def _next_steps(state: StateFolder) -> str:
    return f"""
Kubeconfig: {state.kubeconfig}
Next:
  eval "$(krt local env)"                            # point kubectl and krt at it
  kubectl apply -f examples/runtimes                 # warm Bash and Python Pods
  krt run -r bash --wait -- 'echo hello'             # a first Run
  krt local down                                     # stop; objects are kept"""
