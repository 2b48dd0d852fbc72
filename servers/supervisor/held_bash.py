"""A bash that is held just before it opens its script or evaluates its command, and what lets it go.

`bash script` and `bash -c COMMAND` first read the file named by BASH_ENV. Here that is a pipe: the shell waits for its end,
evaluates what came (the working directory, the Run's environment, the arguments), and then goes on by itself to what it was
started for. So everything that a script can see of its shell is what a fresh one shows; what it could still tell apart is
PIPESTATUS before the first command, and the arguments in /proc/PID/cmdline. The command of `-c` is not known when the shell
starts: it is put over its placeholder (see placeholder).
"""

from __future__ import annotations

import errno
import fcntl
import functools
import os
import re
import shutil
import signal
import stat
from collections.abc import Mapping, Sequence
from shlex import quote

from servers.supervisor.child import CHANGED_SIGNALS, Stdio, encoded
from servers.supervisor.held import CannotHold, Order, Waiting
from servers.supervisor.placeholder import PLACEHOLDER, fits, open_memory, over_placeholder
from servers.supervisor.spec import HoldSpec, StartSpec

SCRIPT, COMMAND = "script", "command"
FORMS = {SCRIPT: ["bash", "script"], COMMAND: ["bash", "-c", PLACEHOLDER]}
"""What can be held, and how it is started."""

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
    r"|SHELL|SHELLOPTS|SHLVL|SSH.*|TERM|TIMEFORMAT|TMOUT|UID|auto_resume|histchars"
)

_ARGUMENT_ARRAYS = b"BASH_ARG"
"""BASH_ARGV and BASH_ARGC are filled before a shell reads BASH_ENV, and cannot be assigned to."""

_LOOK_BYTES = 64 * 1024


def spawn(hold: HoldSpec, *, form: str, stdio: Stdio, order_fd: int) -> Waiting:
    """A shell that waits for the end of the pipe. The caller is a keeper, whose umask it gets. Raises OSError, CannotHold."""
    pid = _spawn(hold, argv=FORMS[form], stdio=stdio, order_fd=order_fd)
    if form != COMMAND:
        return Waiting(pid)
    try:
        memory_fd, offset = open_memory(pid)
    except CannotHold as error:
        if os.waitpid(pid, os.WNOHANG)[0]:
            raise ProcessLookupError(errno.ESRCH, "it was killed meanwhile") from error
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        raise
    return Waiting(pid, memory_fd=memory_fd, memory_offset=offset)


def _spawn(hold: HoldSpec, *, argv: Sequence[str], stdio: Stdio, order_fd: int) -> int:
    arguments, env = encoded(argv, env={**hold.env, "PATH": _NOWHERE, "BASH_ENV": f"/dev/fd/{ORDER_FD}"})
    # Elsewhere than at its place to be: dup2 onto itself would leave it to be closed by exec.
    source = fcntl.fcntl(order_fd, fcntl.F_DUPFD_CLOEXEC, ORDER_FD + 1)
    moves = [*enumerate(stdio), (ORDER_FD, source)]
    actions = [(os.POSIX_SPAWN_DUP2, fd, number) for number, fd in moves]
    try:
        # Not fork: a vfork costs nothing for what this process has mapped.
        return os.posix_spawn(hold.executable, arguments, env, file_actions=actions, setsid=True, setsigmask=(), setsigdef=CHANGED_SIGNALS)
    finally:
        os.close(source)


def choose(spec: StartSpec, *, hold: HoldSpec) -> tuple[str, Order] | None:
    """The form that can run it and the order that makes it do so. None if only a fresh shell can run it as asked."""
    changed = {name: value for name, value in spec.env.items() if hold.env.get(name) != value or name == "PATH"}
    if spec.executable != hold.executable or not spec.env.keys() >= hold.env.keys() or not all(map(_can_be_assigned, changed)):
        return None
    if not all(folder.startswith("/") for folder in spec.env.get("PATH", "").split(":")):
        return None
    if spec.argv[:2] == FORMS[SCRIPT]:
        return _script(spec, changed=changed)
    if len(spec.argv) == 3 and spec.argv[:2] == FORMS[COMMAND][:2] and fits(spec.argv[2]):
        return _command(spec, changed=changed)
    return None


def _script(spec: StartSpec, *, changed: Mapping[str, str]) -> tuple[str, Order] | None:
    args = spec.argv[2:]
    if args and _looks_at_argument_arrays(os.path.join(spec.cwd, spec.argv[1])):
        return None
    return SCRIPT, Order(_text(spec, changed=changed, own="set -- " + " ".join(map(quote, args))))


def _command(spec: StartSpec, *, changed: Mapping[str, str]) -> tuple[str, Order]:
    text = _text(spec, changed=changed, own=f"BASH_EXECUTION_STRING={quote(spec.argv[2])}")
    return COMMAND, Order(text, command=over_placeholder(spec.argv[2]))


def _can_be_assigned(name: str) -> bool:
    return _NAME.match(name) is not None and _OWN_NAMES.fullmatch(name) is None


def _looks_at_argument_arrays(path: str) -> bool:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return True
    try:
        text = os.read(fd, _LOOK_BYTES) if stat.S_ISREG(os.fstat(fd).st_mode) else b""
    finally:
        os.close(fd)
    # Of a longer one we do not know.
    return _ARGUMENT_ARRAYS in text or len(text) == _LOOK_BYTES


@functools.lru_cache(maxsize=64)
def _assignment_of_bash(path: str) -> str:
    """A shell looks up its own name when it starts; one that finds nothing, as a held one does, takes the user's shell."""
    found = shutil.which("bash", path=path)
    return f"BASH={quote(found)}" if found else ":"


def _text(spec: StartSpec, *, changed: Mapping[str, str], own: str) -> bytes:
    lines = [
        f"exec {ORDER_FD}<&-; unset BASH_ENV",
        f"cd -P -- {quote(spec.cwd)} || exit 127",
        # As in a shell that was started there.
        "unset OLDPWD; declare -x OLDPWD",
        *(f"export {name}={quote(value)}" for name, value in changed.items()),
        _assignment_of_bash(spec.env["PATH"]),
        own,
        # `:` leaves $? and $_ as a fresh shell has them.
        "SECONDS=0; : bash",
    ]
    return ("\n".join(lines) + "\n").encode()
