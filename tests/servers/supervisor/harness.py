"""The supervisor process behind its socket, without a server."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

from servers.sdk.shelf import Lent, Shelf
from servers.supervisor import wire
from servers.supervisor.channel import Channel, OutputFds
from servers.supervisor.spec import HoldSpec, StartSpec
from tests.servers.processes import REPO

BOOTSTRAP = "import sys; sys.path.append(sys.argv[1]); from servers.supervisor.__main__ import main; main(int(sys.argv[2]))"
DEADLINE_SECONDS = 10.0
ENV = {"PATH": "/usr/bin:/bin"}


class Harness:
    """The server's end of the socket, blocking."""

    def __init__(self, sock: socket.socket, *, pid: int) -> None:
        self.socket = sock
        self.pid = pid
        self.channel = Channel(sock, takes_fds=True)
        self.shelf = Shelf(HoldSpec("bash", executable="/bin/bash", env=ENV, preload=[]))
        self._taken: list[Lent] = []
        self._heard: list[dict[str, Any]] = []

    def start(self, ticket: int, script: str, **fields: Any) -> None:
        order = {"op": "start", "id": ticket, "executable": "/bin/bash", "argv": ["bash", "-c", script], "env": {}, "cwd": "/"}
        self.channel.send({**order, **fields})

    def hear_lent(self) -> None:
        """Until the next child is on the shelf."""
        self._shelve(self.hear())

    def hear_other(self) -> dict[str, Any]:
        """The next message that lends nothing; what is lent before it is on the shelf."""
        while (message := self.hear())["op"] == "lent":
            self._shelve(message)
        return message

    def _shelve(self, message: dict[str, Any]) -> None:
        assert message["op"] == "lent", message
        fds = self.channel.take_fds()
        assert fds is not None
        self.shelf.put(message, fds)

    def take(self, ticket: int, script: str, *, is_told: bool = True) -> Lent:
        """A child that runs the script from now on; waits until one is ready. `is_told`: the supervisor is."""
        choice = self.shelf.choose(StartSpec(ticket, executable="/bin/bash", argv=["bash", "-c", script], env=ENV, cwd="/"))
        assert choice is not None
        while (lent := self.shelf.take(*choice)) is None:
            self.hear_lent()
        self._taken.append(lent)
        if is_told:
            self.tell_taken(ticket, lent)
        return lent

    def tell_taken(self, ticket: int, lent: Lent) -> None:
        self.channel.send({"op": "took", "id": ticket, "hold": lent.hold})

    def close(self) -> None:
        self.channel.close()
        self.shelf.clear()
        for lent in self._taken:
            lent.report.close()

    def stop(self, ticket: Any, *, grace_seconds: Any = 0) -> None:
        self.channel.send({"op": "stop", "id": ticket, "grace_seconds": grace_seconds})

    def hear(self) -> dict[str, Any]:
        while not self._heard:
            assert self._wait(), "the supervisor says nothing"
            self._heard += [wire.decode(payload) for payload in self.channel.receive()]
            assert self._heard or not self.channel.is_closed, "the supervisor is gone"
        return self._heard.pop(0)

    def hear_started(self) -> tuple[dict[str, Any], OutputFds]:
        message = self.hear_other()
        assert message["op"] == "started", message
        fds = self.channel.take_fds()
        assert fds is not None
        return message, (fds[0], fds[1])

    def is_ended(self) -> bool:
        while not self.channel.is_closed:
            assert self._wait(), "the supervisor still lives"
            self.channel.receive()
        return True

    def _wait(self) -> bool:
        return bool(select.select([self.socket], [], [], DEADLINE_SECONDS)[0])


@contextlib.contextmanager
def running_supervisor() -> Iterator[Harness]:
    ours, theirs = socket.socketpair()
    command = [sys.executable, "-I", "-S", "-c", BOOTSTRAP, str(REPO), str(theirs.fileno())]
    with theirs:
        process = subprocess.Popen(command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL)
    harness = Harness(ours, pid=process.pid)
    yield harness
    harness.close()
    process.wait(timeout=DEADLINE_SECONDS)


def read_report(lent: Lent) -> dict[str, Any]:
    """What its keeper says of its end."""
    assert select.select([lent.report], [], [], DEADLINE_SECONDS)[0], "the keeper says nothing"
    report = lent.read_report()
    assert report is not None
    return report


def read_all(fds: OutputFds) -> tuple[bytes, bytes]:
    contents = []
    for fd in fds:
        os.set_blocking(fd, True)
        with open(fd, "rb") as pipe:
            contents.append(pipe.read())
    return contents[0], contents[1]
