"""The output of one attempt, from chunks of bytes to lines in our log, as it happens (interface.md 6.8).

Complete lines at once; the last, partial one when the output ends. What was seen already, after a new session, is skipped.
"""

from __future__ import annotations

import codecs
from collections.abc import Callable
from typing import Final, Literal

from k8s.api.run import Run
from k8s.api.run_log import format_end_line, format_output_line

StreamName = Literal["stdout", "stderr"]
STREAMS: Final[tuple[StreamName, ...]] = ("stdout", "stderr")
TRUNCATED_LINE: Final = "[output truncated]"


class LineSplitter:
    """One stream: bytes in, lines out. Invalid UTF-8 is replaced, also where a character is cut by a chunk's end."""

    def __init__(self) -> None:
        self.offset = 0
        """Bytes taken in."""
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._partial: list[str] = []
        self._is_truncated = False

    def feed(self, data: bytes, *, offset: int, is_truncated: bool) -> list[str]:
        """The lines that are complete now, without line ends; empty ones are skipped."""
        known = self.offset - offset
        if known > 0:
            data = data[known:]
        elif known < 0:  # what lies between was lost with an older session
            self.offset = offset
        self.offset += len(data)
        lines = self._split(self._decoder.decode(data))
        if is_truncated and not self._is_truncated:
            self._is_truncated = True
            lines += [*self.finish(), TRUNCATED_LINE]
        return lines

    def finish(self) -> list[str]:
        """The last line, if it has no line end."""
        rest = "".join(self._partial) + self._decoder.decode(b"", final=True)
        self._partial.clear()
        return _present([rest])

    def _split(self, text: str) -> list[str]:
        first, *others = text.split("\n")
        self._partial.append(first)
        if not others:
            return []
        complete = ["".join(self._partial), *others[:-1]]
        self._partial = [others[-1]]
        return _present(complete)


def _present(lines: list[str]) -> list[str]:
    return [line for line in (line.removesuffix("\r") for line in lines) if line]


class AttemptLog:
    """Both streams of one attempt, printed with the keys that other programs read."""

    def __init__(self, run: Run, *, attempt: int, pod: str, write: Callable[[str], None]) -> None:
        self._run, self._attempt, self._pod, self._write = run, attempt, pod, write
        self._streams: dict[StreamName, LineSplitter] = {stream: LineSplitter() for stream in STREAMS}

    def offset(self, stream: StreamName) -> int:
        """From where on output is still unknown."""
        return self._streams[stream].offset

    def feed(self, stream: StreamName, data: bytes, *, offset: int, is_truncated: bool) -> None:
        self._print(stream, self._streams[stream].feed(data, offset=offset, is_truncated=is_truncated))

    def end(self) -> None:
        """No more output: the partial lines, then the line that says so."""
        for stream, splitter in self._streams.items():
            self._print(stream, splitter.finish())
        self._write(format_end_line(run_uid=self._run.uid, attempt=self._attempt))

    def _print(self, stream: StreamName, lines: list[str]) -> None:
        run = self._run
        for line in lines:
            self._write(
                format_output_line(
                    line,
                    run_uid=run.uid,
                    run_name=run.metadata.name,
                    namespace=run.metadata.namespace,
                    runtime=run.spec.runtime,
                    pod=self._pod,
                    stream=stream,
                )
            )
