"""The root of krt: its commands, imported only when used, and the one place where errors end."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Sequence
from typing import Any

import click

from controlplane.cli.connection import connection_options
from controlplane.cli.failures import exit_code_of, leave_broken_pipe

_COMMANDS = {
    "run": ("controlplane.cli.run:run", "Create a Run, and with --wait see it through."),
    "get": ("controlplane.cli.runs:get", "Show Runs (or Runtimes) by name."),
    "list": ("controlplane.cli.runs:list_runs", "List Runs."),
    "logs": ("controlplane.cli.logs:logs", "Print the output of a Run."),
    "artifact": ("controlplane.cli.artifacts:artifact", "List and download the files that a Run left."),
    "explain": ("controlplane.cli.explain:explain", "Explain a Run: where its time went, what it waits for, what it cost."),
    "cancel": ("controlplane.cli.runs:cancel", "Ask for Runs to be cancelled."),
    "delete": ("controlplane.cli.runs:delete", "Delete Runs; what is running is stopped."),
    "wait": ("controlplane.cli.wait:wait", "Wait for Runs to end; exit with a Run's own exit code."),
    "runtime": ("controlplane.cli.runtimes:runtime", "Show Runtimes."),
    "conformance": ("controlplane.cli.conformance.command:conformance", "Check a Runtime Server of your own against the contract."),
    "local": ("controlplane.local.cli:local", "The whole system on this machine, without Kubernetes."),
    "completion": ("controlplane.cli.completion:completion", "Print the completion script of a shell."),
    "version": ("controlplane.cli.version:version", "Print the version."),
}
_LOCAL_EXTRA = ("cel", "jsonpatch", "jsonschema_rs")
"""The packages that `pip install 'kruntimes[local]'` adds."""


class _LazyGroup(click.Group):
    """A group whose commands are imported when they are called, not when help lists them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module, _, attribute = _COMMANDS[cmd_name][0].partition(":")
        if cmd_name == "local" and (missing := _missing_for_local()):
            return _explain_missing_local(missing)
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            # Before click sees it: it would exit with 1, as if the Run had.
            return leave_broken_pipe()

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in _COMMANDS.items()])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[Any]:
        from click.shell_completion import CompletionItem

        commands = [CompletionItem(name, help=text) for name, (_, text) in _COMMANDS.items() if name.startswith(incomplete)]
        return [*commands, *click.Command.shell_complete(self, ctx, incomplete)]


def _missing_for_local() -> str:
    """Local mode is not in production images, and its extra packages not in every installation."""
    import importlib.util

    names = ("controlplane.local", *_LOCAL_EXTRA)
    return ", ".join(name for name in names if importlib.util.find_spec(name) is None)


def _explain_missing_local(missing: str) -> click.Command:
    """Stands in for the group `local`, so that its arguments are not complained about instead of what is missing."""

    @click.command("local", context_settings={"ignore_unknown_options": True}, add_help_option=False)
    @click.argument("args", nargs=-1, type=click.UNPROCESSED)
    def local(args: tuple[str, ...]) -> None:
        raise click.ClickException(f"krt local needs packages that are not installed ({missing}); run: pip install 'kruntimes[local]'")

    return local


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@connection_options(hidden=False)
def krt() -> None:
    """Short tasks on Kubernetes, started in milliseconds in warm Runtime Pods.

    Connection options work before and after the command.
    """


def run_krt(arguments: Sequence[str]) -> int:
    """Runs the command line and returns the exit code. No exception of ours leaves it as a traceback."""
    try:
        code = krt.main(args=_with_kubectl_verbosity(arguments), prog_name="krt", standalone_mode=False)
        sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except BaseException as error:
        return exit_code_of(error, is_verbose=_asks_for_details(arguments))


def _with_kubectl_verbosity(arguments: Sequence[str]) -> list[str]:
    """kubectl users write `-v=6` and `--v=6`; here every level from 1 on shows details."""
    ours, rest = _split_at_dashes(arguments)
    ours = ["-v" if re.fullmatch(r"--?v=[1-9]\d*", argument) else argument for argument in ours]
    return [argument for argument in ours if not re.fullmatch(r"--?v=0", argument)] + rest


def _asks_for_details(arguments: Sequence[str]) -> bool:
    """From the raw words: a failure may come before the flags are parsed."""
    return any(re.fullmatch(r"-v+|--verbose|--?v=[1-9]\d*", argument) for argument in _split_at_dashes(arguments)[0])


def _split_at_dashes(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Our own words, and those from `--` on."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    return list(arguments[:end]), list(arguments[end:])
