"""Reading a container's log as `kubectl logs` asks for it: the last lines, since when, with timestamps, following.

Reading and choosing are here; HTTP is `logserver`'s.
"""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from controlplane.local.node.logfile import LogFile
from k8s.api.errors import UsageError
from k8s.api.timestamps import format_timestamp, parse_timestamp

_BLOCK_BYTES = 64 << 10


@dataclass(frozen=True, slots=True)
class LogOptions:
    """core/v1 PodLogOptions, as far as the node honours them."""

    follow: bool = False
    tail_lines: int | None = None
    since: datetime | None = None
    timestamps: bool = False
    limit_bytes: int | None = None
    previous: bool = False

    @classmethod
    def from_query(cls, query: dict[str, str], *, now: datetime) -> LogOptions:
        """Raises UsageError naming the parameter."""
        since = _instant(query, "sinceTime")
        if seconds := _count(query, "sinceSeconds"):
            since = now - timedelta(seconds=seconds)
        return cls(
            follow=_flag(query, "follow"),
            tail_lines=_count(query, "tailLines"),
            since=since,
            timestamps=_flag(query, "timestamps"),
            limit_bytes=_count(query, "limitBytes"),
            previous=_flag(query, "previous"),
        )


async def read_log(log: LogFile, *, options: LogOptions) -> AsyncGenerator[bytes, None]:
    """The chosen output in blocks. Following ends when the container has ended."""
    left = options.limit_bytes
    # Closing: a reader that leaves in the middle must give its files back now, not when it is collected.
    async with aclosing(_blocks(log, options=options)) as blocks:
        async for block in blocks:
            text = b"".join(_present(line, options=options) for line in block)
            if left is not None:
                text = text[:left]
                left -= len(text)
            if text:
                yield text
            if left == 0:
                return


async def _blocks(log: LogFile, *, options: LogOptions) -> AsyncGenerator[list[bytes], None]:
    """Whole CRI lines, a block at a time, oldest first."""
    event = log.subscribe()
    generation = log.generation
    files = [os.open(path, os.O_RDONLY | os.O_CLOEXEC) for path in log.paths]
    try:
        if options.tail_lines is not None:
            _seek_to_tail(files, lines=options.tail_lines)
        while True:
            event.clear()  # STRICTLY BEFORE reading: a write in between sets it again
            was_closed = log.is_closed
            for fd in files:
                for block in _whole_lines(fd):
                    yield block
            if generation != log.generation:
                # The newest file may have grown between its last read and the turn-over: its rest was read just now, or is next.
                files, generation = _next_files(log, files), log.generation
                continue
            if not options.follow or was_closed:
                return
            await event.wait()
    finally:
        log.unsubscribe(event)
        for fd in files:
            os.close(fd)


def _next_files(log: LogFile, files: list[int]) -> list[int]:
    """After a turn-over: the rest of the file we were in, then the new one. A reader slower than that loses what was dropped."""
    *read, last = files
    for fd in read:
        os.close(fd)
    return [last, os.open(log.path, os.O_RDONLY | os.O_CLOEXEC)]


def _whole_lines(fd: int) -> Iterator[list[bytes]]:
    """From the descriptor's position to the last line feed. A line is written at once, so a cut one is not there yet."""
    while True:
        start = os.lseek(fd, 0, os.SEEK_CUR)
        data = os.read(fd, _BLOCK_BYTES)
        end = data.rfind(b"\n") + 1
        if not end:
            os.lseek(fd, start, os.SEEK_SET)
            return
        os.lseek(fd, start + end, os.SEEK_SET)
        yield data[:end].splitlines(keepends=True) if b"\r" not in data else _split(data[:end])


def _split(data: bytes) -> list[bytes]:
    """bytes.splitlines also splits at carriage returns, which are part of the output."""
    return [line + b"\n" for line in data[:-1].split(b"\n")]


def _seek_to_tail(files: list[int], *, lines: int) -> None:
    """Move the descriptors so that what they still hold is the last `lines` lines of all."""
    missing = lines
    for fd in reversed(files):
        missing -= _seek_back(fd, lines=missing)


def _seek_back(fd: int, *, lines: int) -> int:
    """Put the position before the last `lines` lines; gives how many there are from it on."""
    position = os.lseek(fd, 0, os.SEEK_END)
    found = 0
    while position > 0:
        start = max(0, position - _BLOCK_BYTES)
        data = os.pread(fd, position - start, start)
        index = len(data)
        while (index := data.rfind(b"\n", 0, index)) >= 0:
            if found == lines:
                os.lseek(fd, start + index + 1, os.SEEK_SET)
                return lines
            found += 1
        position = start
    os.lseek(fd, 0, os.SEEK_SET)
    return found


def _present(line: bytes, *, options: LogOptions) -> bytes:
    """What the user sees of a CRI line; nothing if it is too old."""
    stamp, _, rest = line.partition(b" ")
    _, _, rest = rest.partition(b" ")
    tag, _, text = rest.partition(b" ")
    # Our stamps have one width and one zone, so they compare as text.
    if options.since and stamp < format_timestamp(options.since.astimezone(UTC)).encode():
        return b""
    text = text if tag == b"F" else text[:-1]
    return stamp + b" " + text if options.timestamps else text


def _flag(query: dict[str, str], name: str) -> bool:
    return query.get(name, "").lower() in ("true", "1", "t")


def _count(query: dict[str, str], name: str) -> int | None:
    if not query.get(name):
        return None
    if not query[name].isdecimal():
        raise UsageError(f"{name}: {query[name][:64]!r} is not a whole number, zero or more")
    return int(query[name])


def _instant(query: dict[str, str], name: str) -> datetime | None:
    if not query.get(name):
        return None
    try:
        return parse_timestamp(query[name])
    except ValueError as error:
        raise UsageError(f"{name}: {error}") from error


def newest_first(folder: Path) -> list[Path]:
    """The log files of a container's starts: `<restart count>.log`."""
    starts = (path for path in folder.glob("*.log") if path.stem.isdecimal())
    return sorted(starts, key=lambda path: int(path.stem), reverse=True)
