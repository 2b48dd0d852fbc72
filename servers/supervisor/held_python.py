"""A Python that is held just before it opens its script, what lets it go, and what it then does to be like a fresh one.

The interpreter runs `python script` and is stopped in `import site` (see zygote); there it is forked, and the fork waits for
its order. It takes over the order's environment, working directory, arguments and file name (or command) and returns into the
interpreter's own start: from there on everything is what a fresh `python FILE ARG…` does.
"""

from __future__ import annotations

import os
import re
import signal
import sys
import time
from typing import NoReturn

from servers.supervisor import linux, wire
from servers.supervisor.child import Stdio
from servers.supervisor.held import Order
from servers.supervisor.keeper import BecameChild, close_all_but
from servers.supervisor.main_script import MainScript
from servers.supervisor.rehearsal import rehearse
from servers.supervisor.spec import HoldSpec, StartSpec

FORK = "fork"
FORMS = [FORK]
"""All that can be held: what is forked becomes either `python FILE` or `python -c COMMAND`."""

_READ_BYTES = 64 * 1024

_INTERPRETERS_NAMES = re.compile(
    # Read when the interpreter or the C library starts.
    r"(?:PYTHON|LC_|LD_|MALLOC_).*|LANG|LANGUAGE|GCONV_PATH|GLIBC_TUNABLES|HOME|LOCPATH|NLSPATH"
)
_PRELOADS_NAMES = re.compile(r"(?:BLIS|CUDA|GOTO|HDF5|KMP|MKL|NPY|NUMBA|NUMEXPR|OMP|OPENBLAS|TF|TORCH|VECLIB)_.*")
"""Read when the usual heavy modules are imported."""


def choose(spec: StartSpec, *, hold: HoldSpec) -> tuple[str, Order] | None:
    """The form that can run it and the order that makes it do so. None if only a fresh interpreter can run it as asked."""
    if spec.executable != hold.executable or not spec.env.keys() >= hold.env.keys():
        return None
    if any(_is_read_at_start(name, has_preload=bool(hold.preload)) for name, value in spec.env.items() if hold.env.get(name) != value):
        return None
    match spec.argv[1:]:
        case ["-c", command, *args]:
            main = {"command": command, "args": args}
        case [path, *args] if not path.startswith("-"):
            main = {"file": path, "args": args}
        case _:
            return None
    return FORK, Order(wire.encode_payload({**main, "env": spec.env, "cwd": spec.cwd}))


def _is_read_at_start(name: str, *, has_preload: bool) -> bool:
    return bool(_INTERPRETERS_NAMES.fullmatch(name) or (has_preload and _PRELOADS_NAMES.fullmatch(name)))


def wait_and_become(main_script: MainScript, *, stdio: Stdio, order_fd: int, open_fds: frozenset[int]) -> NoReturn:
    """The held child, fresh from its fork. Raises BecameChild when it has its order and is to run its script."""
    try:
        os.setsid()
        for number, fd in enumerate(stdio):
            os.dup2(fd, number)
        _restore_signals()
        linux.name_process(os.path.basename(sys.executable).encode())
        close_all_but({0, 1, 2, order_fd} | open_fds)
        rehearse()
        payload = _read_to_end(order_fd)
        os.close(order_fd)
        if not payload:
            os._exit(0)  # Whoever could have sent an order is gone, or wants fewer of us.
        _become(wire.decode(payload), main_script=main_script)
    except BaseException as error:
        os.write(2, f"cannot run the script: {error}\n".encode(errors="replace"))
        os._exit(127)
    raise BecameChild


def _become(order: wire.Message, *, main_script: MainScript) -> None:
    os.chdir(order["cwd"])
    is_other_zone = order["env"].get("TZ") != os.environ.get("TZ")
    os.environ.clear()
    os.environ.update(order["env"])
    if is_other_zone:
        time.tzset()
    if "command" in order:
        sys.argv[:] = ["-c", *order["args"]]
        sys.orig_argv[1:] = ["-c", order["command"], *order["args"]]
        main_script.set_command(order["command"], args=order["args"])
    else:
        sys.argv[:] = [order["file"], *order["args"]]
        sys.orig_argv[1:] = sys.argv
        main_script.set_file(order["file"], args=order["args"])
    _reseed()


def _reseed() -> None:
    """Python's own `random` seeds itself anew in a fork. numpy's global generator does not: all Runs would draw the same."""
    if numpy_random := sys.modules.get("numpy.random"):
        numpy_random.seed()


def _restore_signals() -> None:
    """What the keeper changed, back to what a Python finds at its start."""
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def _read_to_end(fd: int) -> bytes:
    chunks = []
    while chunk := os.read(fd, _READ_BYTES):
        chunks.append(chunk)
    return b"".join(chunks)
