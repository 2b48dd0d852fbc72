"""Free TCP ports on the loopback address, outside the range from which the kernel takes ports for outgoing connections.

From inside that range any program's outgoing connection could take the port between our test and the server's bind; outside
it only another server can, and the container then restarts with a new one.
"""

from __future__ import annotations

import random
import socket
from pathlib import Path

LOOPBACK = "127.0.0.1"
_FIRST_CHOICE = range(20000, 30000)
"""Below the default ephemeral range (32768 and up), above the ports of well-known services."""


def is_free(port: int) -> bool:
    """Whether a server could listen on `port` now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # closed connections that linger do not count
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
        return True


def _candidates() -> range:
    try:
        first, last = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    except (OSError, ValueError):
        return _FIRST_CHOICE
    if last < _FIRST_CHOICE.start or first >= _FIRST_CHOICE.stop:
        return _FIRST_CHOICE
    return range(last + 1, 65536) if first - 1024 < 65536 - last else range(1024, first)


class Ports:
    """Gives each port to one user at a time, until it is released."""

    def __init__(self, *, randomness: random.Random | None = None) -> None:
        self._random = randomness or random.Random()  # noqa: S311 - spreads programs that start at once; nothing secret
        self._range = _candidates()
        self._taken: set[int] = set()

    def take(self) -> int:
        """A free port. Raises OSError when the whole range is in use."""
        start = self._random.randrange(len(self._range))
        for offset in range(len(self._range)):
            port = self._range[(start + offset) % len(self._range)]
            if port not in self._taken and is_free(port):
                self._taken.add(port)
                return port
        raise OSError("no free TCP port is left on 127.0.0.1")

    def release(self, port: int) -> None:
        self._taken.discard(port)
