"""The output of one attempt in files, where its Run asks for that: byte for byte, to be kept with its artifacts.

Not what is printed: that is lines, and leaves out what its reader does not take in time. Every byte lies at its offset in its stream,
so what is given again after a restart of this process, or after a broken session, changes nothing.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from k8s.api.names import KEEP_LOG_ANNOTATION
from k8s.api.run import Run
from runtimed.artifacts.source import OwnFile
from runtimed.hooks.logs import MISSING_LINE, STREAMS, TRUNCATED_LINE, LastOutput
from runtimed.hooks.previews import StreamName

logger = logging.getLogger(__name__)

FILE_NAMES: Final[Mapping[StreamName, str]] = {"stdout": "stdout.log", "stderr": "stderr.log"}
"""How the artifacts are called."""
_CUT: Final = f"\n{TRUNCATED_LINE}\n".encode()


def keeps_log(run: Run) -> bool:
    """Whether the Run asks for it."""
    return run.metadata.annotations.get(KEEP_LOG_ANNOTATION) == "true"


class KeptLog:
    """Both streams of one attempt, together up to `max_bytes`; then the last 64 KiB of each."""

    def __init__(self, path_of: Callable[[StreamName], str], *, taken: tuple[int, int], max_bytes: int) -> None:
        """`taken`: as much of each is known to be there, or will be given again."""
        self._streams = {
            stream: KeptStream(path_of(stream), name=FILE_NAMES[stream], taken=offset)
            for stream, offset in zip(STREAMS, taken, strict=True)
        }
        self._max_bytes = max_bytes

    def feed(self, stream: StreamName, data: bytes, *, offset: int, is_truncated: bool) -> None:
        others = sum(each.size for name, each in self._streams.items() if name != stream)
        self._streams[stream].feed(data, offset=offset, is_truncated=is_truncated, end=self._max_bytes - others)

    @property
    def has_any(self) -> bool:
        return any(stream.has_any for stream in self._streams.values())

    def finish(self) -> Sequence[OwnFile]:
        """Of the streams that were written to. May be called again."""
        return [stream.finish() for stream in self._streams.values() if stream.has_any]


class KeptStream:
    """One of them. The file is made with its first byte."""

    def __init__(self, path: str, *, name: str, taken: int) -> None:
        self._path, self._name = path, name
        self.size = os.stat(path).st_size if os.path.exists(path) else 0
        """Up to where there is something in the file, its end not counted."""
        self._taken = taken
        self._last = LastOutput()
        self._is_cut = False
        self._failure = ""

    @property
    def has_any(self) -> bool:
        return bool(self.size or self._is_cut or self._failure)

    def feed(self, data: bytes, *, offset: int, is_truncated: bool, end: int) -> None:
        """`end`: up to where this file may go."""
        if offset > self._taken:  # with an older session, or it came faster than it could be taken
            missing = f"{MISSING_LINE.format(offset - self._taken)}\n".encode()
            self._put(missing[: offset - self._taken], self._taken, end=end)
        self._put(data, offset, end=end)
        self._taken = max(self._taken, offset + len(data))
        self._is_cut |= is_truncated

    def _put(self, data: bytes, offset: int, *, end: int) -> None:
        room = max(0, end - offset)
        if room < len(data):
            self._is_cut = True
            self._last.feed(data[max(room, self._taken - offset) :])
        if room and data:
            self._write(data[:room], offset)
            self.size = max(self.size, offset + min(room, len(data)))

    def finish(self) -> OwnFile:
        if self._is_cut:
            self._write(_CUT + self._last.text(), self.size)
        return OwnFile(self._name, self._path, self._failure)

    def _write(self, data: bytes, offset: int) -> None:
        """At the end of the attempt it is told: the Run has asked for all of it, and did not get it."""
        if self._failure:
            return
        try:
            fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            try:
                while data:
                    written = os.pwrite(fd, data, offset)
                    data, offset = data[written:], offset + written
            finally:
                os.close(fd)
        except OSError as error:
            self._failure = error.strerror or type(error).__name__
            logger.warning("the log of a Run is not kept", extra={"file": os.path.basename(self._path), "error": self._failure})
