"""The output of one attempt, from chunks of bytes to lines in our log, as it happens (interface.md 6.8).

Complete lines at once; the last, partial one when the output ends, and before that as a preview. How far it is printed is noted,
so that a successor of this process goes on from there: it may repeat what was printed in the moment of a crash, and loses nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from k8s.api.run import Run
from k8s.api.run_log import complete_lines, format_beginning, format_end_line
from runtimed.hooks.previews import Outlet, Previews, StreamName

STREAMS: Final[tuple[StreamName, ...]] = ("stdout", "stderr")
TRUNCATED_LINE: Final = "[output truncated]"
REFUSED_LINE: Final = "[output is missing: the log was not written fast enough]"
MISSING_LINE: Final = "[{} bytes of output are missing]"
MAX_BYTES: Final = 64 << 20
LAST_BYTES: Final = 64 << 10
"""Of each stream, printed at the end where the limit was reached before."""
MAX_LINE_BYTES: Final = 256 << 10
"""A longer line becomes several: memory is bounded also without line feeds."""
LINES_A_WRITE: Final = 64


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
        lines: list[str] = []
        if known < 0:  # what lies between was lost with an older session, or came faster than it could be taken
            lines = [*self.finish(), MISSING_LINE.format(-known)]
            self.offset = offset
        self.offset += len(data)
        lines += self._split(data)
        if is_truncated and not self._is_truncated:
            self._is_truncated = True
            lines += [*self.finish(), TRUNCATED_LINE]
        return lines

    def skip(self, data: bytes, *, offset: int) -> bytes:
        """Takes it in without making lines of it; gives what of it is new."""
        new = data[max(0, self.offset - offset) :]
        self.offset = max(self.offset, offset + len(data))
        return new

    def finish(self) -> list[str]:
        """The last line, if it has no line end."""
        return _present(self.take_partial())

    @property
    def partial_bytes(self) -> int:
        return self._partial_bytes

    @property
    def partial(self) -> bytes:
        """What there is of the line that is not complete."""
        return b"".join(self._partial)

    def take_partial(self) -> bytes:
        rest = self.partial
        self._partial.clear()
        self._partial_bytes = 0
        return rest

    def _split(self, data: bytes) -> list[str]:
        head, separator, last = data.rpartition(b"\n")
        complete: list[str] = []
        if separator:
            complete = _present(b"".join(self._partial) + head)
            self._partial.clear()
            self._partial_bytes = 0
        self._partial.append(last)
        self._partial_bytes += len(last)
        if self._partial_bytes >= MAX_LINE_BYTES:
            complete += self.finish()
        return complete


def _present(data: bytes) -> list[str]:
    """Its lines without their ends; those that are not empty."""
    lines = data.decode("utf-8", "replace").split("\n")
    if b"\r" in data:
        lines = [line.removesuffix("\r") for line in lines]
    return list(filter(None, lines))


def _never_refusing(write: Callable[[str], None]) -> Callable[[str], bool]:
    def write_output(text: str) -> bool:
        write(text)
        return True

    return write_output


class LastOutput:
    """The end of one stream after the log's limit was reached."""

    def __init__(self) -> None:
        self._data = bytearray()
        self._is_cut = False

    def feed(self, data: bytes) -> None:
        self._data += data
        if len(self._data) > 2 * LAST_BYTES:  # seldom, so that little is moved
            del self._data[:-LAST_BYTES]
            self._is_cut = True

    def text(self) -> bytes:
        """Whole lines, unless all of it is one."""
        data = bytes(self._data[-LAST_BYTES:])
        _, separator, rest = data.partition(b"\n")
        is_cut = self._is_cut or len(self._data) > LAST_BYTES
        return rest if is_cut and separator else data

    def lines(self) -> list[str]:
        return _present(self.text())


class AttemptLog:
    """Both streams of one attempt, printed with the keys that other programs read, up to `max_bytes` of what is printed."""

    def __init__(
        self,
        run: Run,
        *,
        attempt: int,
        pod: str,
        write: Callable[[str], None],
        write_output: Callable[[str], bool] | None = None,
        has_room: Callable[[], bool] = lambda: True,
        printed: tuple[int, int] = (0, 0),
        note_printed: Callable[[int, int], None] = lambda _stdout, _stderr: None,
        max_bytes: int = MAX_BYTES,
        previews: Outlet | None = None,
    ) -> None:
        """`write_output` may refuse lines, and says so; `has_room`, whether it would not; `write` is for what must not be missing.

        Without `previews`, none.
        """
        self._run_uid, self._attempt, self._write, self._note_printed = run.uid, attempt, write, note_printed
        self._write_output = write_output or _never_refusing(write)
        self._has_room = has_room
        self._refused: set[StreamName] = set()
        """Streams of which lines are missing, which is not told yet."""
        self._streams = {stream: LineSplitter(offset=offset) for stream, offset in zip(STREAMS, printed, strict=True)}
        self._beginnings = {
            stream: format_beginning(
                run_uid=run.uid,
                run_name=run.metadata.name,
                namespace=run.metadata.namespace,
                runtime=run.spec.runtime,
                pod=pod,
                stream=stream,
            )
            for stream in STREAMS
        }
        # After a restart it is not known how much was printed of what; at least as much as was taken in.
        self._room_bytes = max_bytes - sum(printed)
        self._previews = Previews(previews, run_uid=run.uid, lines=self._streams, take_room=self._take_room) if previews else None
        self._last: dict[StreamName, LastOutput] = {}
        """Of the streams whose output is not printed any more, or was refused."""

    def offset(self, stream: StreamName) -> int:
        """From where on output is still unknown."""
        return self._streams[stream].offset

    def feed(self, stream: StreamName, data: bytes, *, offset: int, is_truncated: bool) -> None:
        splitter = self._streams[stream]
        if self._room_bytes <= 0 or (stream in self._refused and not self._has_room()):
            # No lines are made of what is not printed: of a flood that took all of our time, and with it that of its neighbours.
            self._keep_last(stream, splitter.take_partial())
            self._keep_last(stream, splitter.skip(data, offset=offset))
            return
        lines = splitter.feed(data, offset=offset, is_truncated=is_truncated)
        if lines:
            self._print(stream, lines)
            # STRICTLY AFTER: a crash in between repeats lines, the other order would lose them.
            self._note_printed(self._streams["stdout"].printed, self._streams["stderr"].printed)
        if self._previews is not None and splitter.partial_bytes:
            self._previews.show_later()

    def stop(self) -> None:
        """Nothing comes any more by itself."""
        if self._previews is not None:
            self._previews.stop()

    def end(self) -> None:
        """No more output: the partial lines or, where the limit was reached, the last lines; then the line that says so."""
        self.stop()
        for stream, splitter in self._streams.items():
            if stream in self._refused:
                self._write(complete_lines(self._beginnings[stream], [REFUSED_LINE]))
                self._keep_last(stream, splitter.take_partial())
            last = self._last.get(stream)
            for text in self._texts(stream, last.lines() if last else splitter.finish()):
                self._write(text)
        self._write(format_end_line(run_uid=self._run_uid, attempt=self._attempt))

    def _take_room(self, size: int) -> bool:
        """For a preview: never the last of it, since a line must tell where the log ends."""
        is_left = size < self._room_bytes
        self._room_bytes -= size if is_left else 0
        return is_left

    def _print(self, stream: StreamName, lines: list[str]) -> None:
        """As far as there is room; the rest may be among the last."""
        for number, text in enumerate(self._texts(stream, lines)):
            if stream in self._refused:
                text = f"{complete_lines(self._beginnings[stream], [REFUSED_LINE])}\n{text}"
            if not self._write_output(text):
                self._refused.add(stream)
                self._keep_lines(stream, lines[number * LINES_A_WRITE :])
                return
            self._refused.discard(stream)
            self._last.pop(stream, None)  # what was refused before is not the last any more
            self._room_bytes -= len(text)
            if self._room_bytes <= 0:
                cut = (number + 1) * LINES_A_WRITE
                self._truncate(stream, shown=lines[:cut], rest=lines[cut:])
                return

    def _truncate(self, stream: StreamName, *, shown: list[str], rest: list[str]) -> None:
        """Our limit is reached; that of the Runtime Server may be in the same moment, and then it has said so."""
        if shown[-1] != TRUNCATED_LINE:
            self._write(complete_lines(self._beginnings[stream], [TRUNCATED_LINE]))
        self._keep_lines(stream, rest[:-1] if rest[-1:] == [TRUNCATED_LINE] else rest)
        for each, splitter in self._streams.items():
            self._keep_last(each, splitter.take_partial())

    def _texts(self, stream: StreamName, lines: list[str]) -> Iterator[str]:
        """Several lines in one write: a line a call costs more than what is in it."""
        beginning = self._beginnings[stream]
        for start in range(0, len(lines), LINES_A_WRITE):
            yield complete_lines(beginning, lines[start : start + LINES_A_WRITE])

    def _keep_lines(self, stream: StreamName, lines: list[str]) -> None:
        if lines:
            self._keep_last(stream, ("\n".join(lines) + "\n").encode("utf-8", "replace"))

    def _keep_last(self, stream: StreamName, data: bytes) -> None:
        if data:
            self._last.setdefault(stream, LastOutput()).feed(data)
