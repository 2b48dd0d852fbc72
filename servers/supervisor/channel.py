"""One end of the socketpair between Runtime Server and supervisor: framed messages and passed file descriptors, never blocking.

Both sides use it, each with its own event loop. Not here: what messages mean.
"""

from __future__ import annotations

import array
import contextlib
import os
import socket
from collections import deque
from collections.abc import Iterable

from servers.supervisor.wire import FrameReader, Message, encode

_READ_BYTES = 64 * 1024
"""Less than what malloc has the kernel map, and unmap, each time."""

OutputFds = tuple[int, int]
"""The read ends of an attempt's standard output and standard error."""

Fds = tuple[int, ...]
"""What travels with one message."""

FDS_LIMIT = 5
"""Of one message."""


class Channel:
    """`send` queues and tries at once; `flush` goes on when the socket is writable; `receive` after it is readable.

    Whoever owns a channel bounds `unsent_bytes`: it stops taking requests while the other side does not read.
    """

    def __init__(self, sock: socket.socket, *, takes_fds: bool) -> None:
        sock.setblocking(False)
        self._socket = sock
        self._takes_fds = takes_fds
        self._unsent: deque[tuple[memoryview, Fds | None]] = deque()
        self._frames = FrameReader()
        self._fds: deque[Fds | None] = deque()
        self.unsent_bytes = 0
        self.is_closed = False

    def fileno(self) -> int:
        return self._socket.fileno()

    def send(self, message: Message, *, fds: Fds | None = None) -> None:
        """Takes over `fds`: they are closed here once they are sent, or never will be."""
        data = encode(message)
        self._unsent.append((memoryview(data), fds))
        self.unsent_bytes += len(data)
        self.flush()

    def flush(self) -> None:
        while self._unsent and not self.is_closed:
            data, fds = self._unsent.popleft()
            sent = self._try_send(data, fds)
            if sent is None:
                self._unsent.appendleft((data, fds))
                return
            close_fds(fds)
            self.unsent_bytes -= sent
            if sent < len(data):
                # The descriptors went with the first byte.
                self._unsent.appendleft((data[sent:], None))

    def receive(self) -> list[bytes]:
        """The payloads that are complete now. Sets `is_closed` at the end of the stream. Raises FrameTooLarge."""
        try:
            data = self._read()
        except (BlockingIOError, InterruptedError):
            return []
        except OSError:
            data = b""
        if not data:
            self.is_closed = True
            return []
        return self._frames.feed(data)

    def take_fds(self) -> Fds | None:
        """The descriptors that came with the next message that has any, in the order sent; None if this process had no room for them."""
        return self._fds.popleft() if self._fds else None

    def close(self) -> None:
        self.is_closed = True
        for _, fds in self._unsent:
            close_fds(fds)
        self._unsent.clear()
        while self._fds:
            close_fds(self._fds.popleft())
        self._socket.close()

    def _try_send(self, data: memoryview, fds: Fds | None) -> int | None:
        try:
            return socket.send_fds(self._socket, [data], fds) if fds else self._socket.send(data)
        except (BlockingIOError, InterruptedError):
            return None
        except OSError:
            # The reader is gone: `receive` will see the end of the stream and its owner acts there.
            return len(data)

    def _read(self) -> bytes:
        if not self._takes_fds:
            return self._socket.recv(_READ_BYTES)
        # The kernel ends a read behind the first bytes that carry descriptors: those of one message at most come with one read.
        data, fds, is_cut = receive_fds(self._socket, size=_READ_BYTES, limit=FDS_LIMIT)
        if is_cut:
            close_fds(fds)
            self._fds.append(None)
        elif fds:
            self._fds.append(tuple(fds))
        return data


def receive_fds(sock: socket.socket, *, size: int, limit: int) -> tuple[bytes, list[int], bool]:
    """Data, descriptors, and whether some of these got lost. Raises OSError.

    Not socket.recv_fds: what that receives, a program that is started meanwhile inherits, and then a pipe has no end.
    """
    received = array.array("i")
    data, control, flags, _ = sock.recvmsg(size, socket.CMSG_LEN(limit * received.itemsize), socket.MSG_CMSG_CLOEXEC)
    for level, kind, payload in control:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            received.frombytes(payload[: len(payload) - len(payload) % received.itemsize])
    return data, list(received), bool(flags & socket.MSG_CTRUNC)


def close_fds(fds: Iterable[int] | None) -> None:
    for fd in fds or ():
        with contextlib.suppress(OSError):
            os.close(fd)
