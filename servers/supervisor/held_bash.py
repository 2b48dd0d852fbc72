"""A bash that is held just before it opens its script, and the text that lets it go.

`bash script` first reads the file named by BASH_ENV. Here that is a pipe: the shell waits for its end, evaluates what came
(the working directory, the Run's environment, the arguments), and then opens `script` by itself. So everything that a
script can see of its shell is what a fresh `bash script ARG…` shows.
"""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Mapping
from shlex import quote

from servers.supervisor.child import CHANGED_SIGNALS, Stdio, encoded
from servers.supervisor.spec import HoldSpec, StartSpec

SCRIPT = "script"
ARGV = ("bash", SCRIPT)
ORDER_FD = 9
"""Where the shell finds its order; it closes it before anything else."""

_NOWHERE = "/proc/nowhere"
"""The PATH until the order comes: a shell that is let go without one finds no script, neither here nor there, and ends."""

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")

_OWN_NAMES = re.compile(
    # Read once when a shell starts, or not taken from the environment at all, or not assignable: only a fresh shell gets these right.
    r"(?:BASH|COMP|HIST|LC_|LD_|MAIL|MALLOC_|PS[0-9]).*"
    r"|_|CDPATH|CHILD_MAX|COLUMNS|COPROC|DIRSTACK|EMACS|ENV|EPOCH.*|EUID|EXECIGNORE|FIGNORE|FUNC(?:NAME|NEST)|GCONV_PATH"
    r"|GLIBC_TUNABLES|GLOB(?:IGNORE|SORT)|GROUPS|IFS|IGNOREEOF|INPUTRC|INSIDE_EMACS|LANG|LANGUAGE|LINENO|LINES|LOCPATH|MAPFILE"
    r"|NLSPATH|OLDPWD|OPT(?:ARG|ERR|IND)|PIPESTATUS|POSIXLY_CORRECT|PPID|PROMPT_.*|PWD|S?RANDOM|READLINE_.*|REPLY|SECONDS"
    r"|SHELL|SHELLOPTS|SHLVL|TERM|TIMEFORMAT|TMOUT|UID|auto_resume|histchars"
)


def spawn(hold: HoldSpec, *, stdio: Stdio, order_fd: int) -> int:
    """The PID of a shell that waits for the end of the pipe. The caller is a keeper, whose umask it gets. Raises OSError."""
    argv, env = encoded(ARGV, env={**hold.env, "PATH": _NOWHERE, "BASH_ENV": f"/dev/fd/{ORDER_FD}"})
    # Elsewhere than at its place to be: dup2 onto itself would leave it to be closed by exec.
    source = fcntl.fcntl(order_fd, fcntl.F_DUPFD_CLOEXEC, ORDER_FD + 1)
    moves = [*enumerate(stdio), (ORDER_FD, source)]
    actions = [(os.POSIX_SPAWN_DUP2, fd, number) for number, fd in moves]
    try:
        # Not fork: a vfork costs nothing for what this process has mapped.
        return os.posix_spawn(hold.executable, argv, env, file_actions=actions, setsid=True, setsigmask=(), setsigdef=CHANGED_SIGNALS)
    finally:
        os.close(source)


def order_for(spec: StartSpec, *, base: Mapping[str, str]) -> bytes | None:
    """None if only a fresh shell can run it as asked."""
    if spec.argv[:2] != list(ARGV) or not spec.env.keys() >= base.keys():
        return None
    changed = {name: value for name, value in spec.env.items() if base.get(name) != value or name == "PATH"}
    if not all(map(_can_be_assigned, changed)):
        return None
    return _text(spec, changed=changed).encode()


def _can_be_assigned(name: str) -> bool:
    return _NAME.match(name) is not None and _OWN_NAMES.fullmatch(name) is None


def _text(spec: StartSpec, *, changed: Mapping[str, str]) -> str:
    lines = [
        f"exec {ORDER_FD}<&-; unset BASH_ENV",
        f"cd -P -- {quote(spec.cwd)} || exit 127",
        # As in a shell that was started there.
        "unset OLDPWD; declare -x OLDPWD",
        *(f"export {name}={quote(value)}" for name, value in changed.items()),
        "set -- " + " ".join(map(quote, spec.argv[2:])),
        # `:` leaves $? and $_ as a fresh shell has them.
        "SECONDS=0; : bash",
    ]
    return "\n".join(lines) + "\n"
