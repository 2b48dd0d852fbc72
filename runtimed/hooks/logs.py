"""The output of one attempt, from chunks of bytes to lines in our log, as it happens (interface.md 6.8).

Complete lines at once; the last, partial one when the output ends. How far it is printed is noted, so that a successor of this
process goes on from there: it may repeat what was printed in the moment of a crash, and loses nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Literal

from k8s.api.run import Run
from k8s.api.run_log import format_end_line, format_output_line

StreamName = Literal["stdout", "stderr"]
STREAMS: Final[tuple[StreamName, ...]] = ("stdout", "stderr")
TRUNCATED_LINE: Final = "[output truncated]"


class LineSplitter:
    """One stream: bytes in, lines out. Invalid UTF-8 is replaced, a line at a time."""

    def __init__(self, *, offset: int = 0) -> None:
        self.offset = offset
        """Bytes taken in."""
        self._partial: list[bytes] = []
        self._partial_bytes = 0
        self._is_truncated = False

    @property
    def printed(self) -> int:
        """Bytes of the lines that were complete."""
        return self.offset - self._partial_bytes

    def feed(self, data: bytes, *, offset: int, is_truncated: bool) -> list[str]:
        """The lines that are complete now, without line ends; empty ones are skipped."""
        known = self.offset - offset
        if known > 0:
            data = data[known:]
        elif known < 0:  # what lies between was lost with an older session
            self.offset = offset
        self.offset += len(data)
        lines = self._split(data)
        if is_truncated and not self._is_truncated:
            self._is_truncated = True
            lines += [*self.finish(), TRUNCATED_LINE]
        return lines

    def finish(self) -> list[str]:
        """The last line, if it has no line end."""
        rest = b"".join(self._partial)
        self._partial.clear()
        self._partial_bytes = 0
        return _present([rest])

    def _split(self, data: bytes) -> list[str]:
        head, separator, last = data.rpartition(b"\n")
        complete: list[str] = []
        if separator:
            complete = _present((b"".join(self._partial) + head).split(b"\n"))
            self._partial.clear()
            self._partial_bytes = 0
        self._partial.append(last)
        self._partial_bytes += len(last)
        return complete


def _present(lines: list[bytes]) -> list[str]:
    stripped = (line.removesuffix(b"\r") for line in lines)
    return [line.decode("utf-8", "replace") for line in stripped if line]


class AttemptLog:
    """Both streams of one attempt, printed with the keys that other programs read."""

    def __init__(
        self,
        run: Run,
        *,
        attempt: int,
        pod: str,
        write: Callable[[str], None],
        printed: tuple[int, int] = (0, 0),
        note_printed: Callable[[int, int], None] = lambda _stdout, _stderr: None,
    ) -> None:
        self._run, self._attempt, self._pod, self._write, self._note_printed = run, attempt, pod, write, note_printed
        self._streams = {stream: LineSplitter(offset=offset) for stream, offset in zip(STREAMS, printed, strict=True)}

    def offset(self, stream: StreamName) -> int:
        """From where on output is still unknown."""
        return self._streams[stream].offset

    def feed(self, stream: StreamName, data: bytes, *, offset: int, is_truncated: bool) -> None:
        lines = self._streams[stream].feed(data, offset=offset, is_truncated=is_truncated)
        if lines:
            self._print(stream, lines)
            # STRICTLY AFTER: a crash in between repeats lines, the other order would lose them.
            self._note_printed(self._streams["stdout"].printed, self._streams["stderr"].printed)

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
