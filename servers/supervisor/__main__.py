"""Entry of the supervisor process: `python -I -S <this file's code> FD`, where FD is its end of the socketpair with the server."""

from __future__ import annotations

import gc
import os
import signal
import socket
import sys

from servers.supervisor import linux
from servers.supervisor.supervising import Supervisor


def main(fd: int) -> None:
    linux.name_process(b"krt-supervisor")
    linux.become_subreaper()
    _reset_signals()
    os.chdir("/")
    _occupy_standard_fds()
    server = socket.socket(fileno=fd)
    server.set_inheritable(False)
    # What is loaded now is never garbage: forked keepers share it for good.
    gc.freeze()
    Supervisor(server).run()


def _occupy_standard_fds() -> None:
    """A pipe that got number 1 because standard output was closed would be lost in a child's dup2."""
    while (fd := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(fd, True)
    os.close(fd)


def _reset_signals() -> None:
    """Whatever the server's parent ignored or blocked must not reach a Run. Ctrl-C is the server's to act on."""
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP, signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT}:
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


if __name__ == "__main__":
    main(int(sys.argv[1]))
