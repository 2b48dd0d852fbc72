"""The output of one container on disk: CRI lines, bounded, readable from any point while it grows.

`<RFC 3339> stdout F text` is a whole line, `P` a part of one. The file is turned over at half the limit, so at most the limit
is kept. Readers hold their own descriptor and are told by an event; they can never hold the writer up.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

from k8s.api.timestamps import format_timestamp

MAX_LOG_BYTES = 64 << 20
"""Per container and start, both files together: what a kubelet keeps by default is 50 MiB."""
MAX_LINE_BYTES = 16 << 10
"""A longer line is written in parts, as container runtimes do."""
STREAMS = ("stdout", "stderr")


class LogFile:
    """Written by the node alone. `closed` is set once the container has ended and all is written."""

    def __init__(self, path: Path, *, now: Callable[[], datetime], max_bytes: int = MAX_LOG_BYTES) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self.is_closed = False
        self.generation = 0
        """Raised at each turn-over: a reader at the end of an older file goes on with the next."""
        self._now = now
        self._max_bytes = max_bytes
        self._partial = dict.fromkeys(STREAMS, b"")
        self._waiting: set[asyncio.Event] = set()
        self._is_cut = False
        """The last write ended within a line."""
        self._open()

    def write(self, stream: str, data: bytes) -> None:
        """Take what a pipe gave. What is not yet a line is kept until it is one, or long."""
        whole, line_feed, rest = (self._partial[stream] + data).rpartition(b"\n")
        prefix = f"{format_timestamp(self._now())} {stream} ".encode()
        out = _format_lines(whole, prefix=prefix) if line_feed else b""
        if len(rest) >= MAX_LINE_BYTES:
            cut = len(rest) - len(rest) % MAX_LINE_BYTES
            out += b"".join(_format(rest[:cut], prefix=prefix, is_whole=False))
            rest = rest[cut:]
        self._partial[stream] = rest
        self._append(out)

    def close(self) -> None:
        """No more will come: an unfinished line becomes one."""
        for stream, rest in self._partial.items():
            if rest:
                prefix = f"{format_timestamp(self._now())} {stream} ".encode()
                self._append(b"".join(_format(rest, prefix=prefix, is_whole=True)))
        self._partial = dict.fromkeys(STREAMS, b"")
        if not self.is_closed:
            self.is_closed = True
            os.close(self._fd)
            self._tell()

    def subscribe(self) -> asyncio.Event:
        """An event that is set after each write; clear it BEFORE reading. Give it back with `unsubscribe`."""
        event = asyncio.Event()
        self._waiting.add(event)
        return event

    def unsubscribe(self, event: asyncio.Event) -> None:
        self._waiting.discard(event)

    @property
    def paths(self) -> list[Path]:
        """The files that hold what is kept, oldest first."""
        return [path for path in (self._older, self.path) if path.exists()]

    @property
    def _older(self) -> Path:
        return self.path.with_suffix(self.path.suffix + ".1")

    def _open(self) -> None:
        self._fd = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._size = 0

    def _append(self, data: bytes) -> None:
        if not data or self.is_closed:
            return
        if self._size + len(data) > self._max_bytes // 2 and self._size:
            os.close(self._fd)
            os.replace(self.path, self._older)
            self._open()
            self.generation += 1
        data = b"\n" + data if self._is_cut else data  # what was cut off must not take the next line with it
        try:
            self._is_cut = os.write(self._fd, data) < len(data)
        except OSError:
            return  # a full disk costs output, never the container: its pipe goes on being drained
        finally:
            self._size += len(data)
            self._tell()

    def _tell(self) -> None:
        for event in self._waiting:
            event.set()


def _format_lines(text: bytes, *, prefix: bytes) -> bytes:
    """Those between the line feeds of `text`."""
    if _has_long_line(text):
        return b"".join(piece for line in text.split(b"\n") for piece in _format(line, prefix=prefix, is_whole=True))
    beginning = prefix + b"F "
    return beginning + text.replace(b"\n", b"\n" + beginning) + b"\n"  # all of them in one go: a tenth of the time


def _has_long_line(text: bytes) -> bool:
    start = 0
    while len(text) - start > MAX_LINE_BYTES:
        start = text.rfind(b"\n", start, start + MAX_LINE_BYTES + 1) + 1
        if not start:
            return True
    return False


def _format(text: bytes, *, prefix: bytes, is_whole: bool) -> Iterator[bytes]:
    while len(text) > MAX_LINE_BYTES:
        yield prefix + b"P " + text[:MAX_LINE_BYTES] + b"\n"
        text = text[MAX_LINE_BYTES:]
    yield prefix + (b"F " if is_whole else b"P ") + text + b"\n"


class PipeReader:
    """Moves what a container prints from its pipe into the log file, in the event loop."""

    CHUNK_BYTES = 64 << 10

    def __init__(self, log: LogFile, stream: str, *, loop: asyncio.AbstractEventLoop) -> None:
        self._log = log
        self._stream = stream
        self._loop = loop
        self._fd, self.write_end = os.pipe()
        self.is_open = True
        os.set_blocking(self._fd, False)
        loop.add_reader(self._fd, self._on_readable)

    def close_write_end(self) -> None:
        """Once the child has its copy: with ours open, the end of the output would never be seen."""
        os.close(self.write_end)

    def finish(self) -> None:
        """The container is dead: take what is left in the pipe, whoever else may hold the write end."""
        # A pipe holds 1 MiB at most; the bound is for an escaped process that goes on writing.
        for _ in range(32):
            if not self.is_open or not self._on_readable():
                break
        self._close()

    def _on_readable(self) -> bool:
        """Whether there may be more."""
        try:
            data = os.read(self._fd, self.CHUNK_BYTES)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        if data:
            self._log.write(self._stream, data)
            return True
        self._close()
        return False

    def _close(self) -> None:
        if self.is_open:
            self.is_open = False
            self._loop.remove_reader(self._fd)
            os.close(self._fd)
