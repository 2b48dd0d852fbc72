"""Where errors end: every exception becomes one message on stderr and an exit code.

2 usage, 125 krt or the platform failed, 130 interrupted. The exit codes of Runs are in `verdicts`.
"""

from __future__ import annotations

import os
import signal

import click

from controlplane.cli import console
from k8s.api.errors import KrtError

PLATFORM_FAILURE = 125
STDOUT = 1
INTERRUPTED = 128 + signal.SIGINT


class CommandFailed(KrtError):
    """The command cannot be carried out, and the message says what to do."""

    reason = "CommandFailed"


def exit_code_of(error: BaseException, *, is_verbose: bool) -> int:
    """Says what happened and returns what to exit with."""
    match error:
        case SystemExit():
            return _system_exit_code(error)
        case click.Abort() | KeyboardInterrupt():
            console.note("Interrupted.")
            return INTERRUPTED
        case click.exceptions.NoArgsIsHelpError():
            # Its message is the help.
            console.note(error.format_message())
            return error.exit_code
        case click.UsageError():
            return _complain_about_usage(error)
        case click.ClickException():
            console.complain(error.format_message())
            return PLATFORM_FAILURE
        case KrtError():
            console.complain(str(error) or type(error).__name__)
            _show_details(error, is_verbose=is_verbose)
            return error.exit_code
        case _:
            return _complain_about_bug(error, is_verbose=is_verbose)


def _complain_about_usage(error: click.UsageError) -> int:
    console.complain(error.format_message())
    if error.ctx is not None:
        console.note(f"See '{error.ctx.command_path} --help'.")
    return error.exit_code


def _complain_about_bug(error: BaseException, *, is_verbose: bool) -> int:
    console.complain(f"this is a bug in krt, not your mistake: {type(error).__name__}: {str(error)[:256]}")
    if not is_verbose:
        console.note("Run the same command with -v to see where, and please report it.")
    _show_details(error, is_verbose=is_verbose)
    return PLATFORM_FAILURE


def _show_details(error: BaseException, *, is_verbose: bool) -> None:
    if is_verbose:
        import traceback

        console.note("".join(traceback.format_exception(error)).rstrip())


def _system_exit_code(error: SystemExit) -> int:
    if isinstance(error.code, int):
        return error.code
    return 0 if error.code is None else PLATFORM_FAILURE


def leave_broken_pipe() -> int:
    """`krt list | head` is no failure of ours: be quiet, and keep the interpreter from flushing into the closed pipe at exit."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, STDOUT)
    os.close(null)
    return 128 + signal.SIGPIPE
