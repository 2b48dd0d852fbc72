"""What is shown of a line before it is complete: a prompt, a bar that grows. So krt shows a byte soon after it was written.

Shown beside the lines and never instead of them: a complete line has all of its text, whatever was shown of it. Other programs that
read our log, and older krts, know nothing of this.
"""

from __future__ import annotations

import codecs
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Literal, Protocol

from k8s.api.run_log import format_partial_line

StreamName = Literal["stdout", "stderr"]

DELAY_SECONDS: Final = 0.025
"""Most lines are complete by then, and cost nothing. A byte is shown after twice this at the latest."""


class Timer(Protocol):
    def cancel(self) -> None: ...


class Unfinished(Protocol):
    """One stream, as far as it is cut into lines."""

    @property
    def printed(self) -> int:
        """At which byte the line begins that is not complete."""
        ...

    @property
    def partial_bytes(self) -> int: ...

    @property
    def partial(self) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Outlet:
    """Where previews go, if there is room: they are the first to be left out."""

    call_later: Callable[[float, Callable[[], None]], Timer]
    is_free: Callable[[], bool]
    """Whether nothing that was written before keeps it waiting."""
    write: Callable[[str], None]


class Previews:
    """Those of one attempt."""

    def __init__(self, outlet: Outlet, *, run_uid: str, lines: Mapping[StreamName, Unfinished], take_room: Callable[[int], bool]) -> None:
        """`take_room` says whether that many bytes may still be written."""
        self._outlet, self._run_uid, self._take_room = outlet, run_uid, take_room
        self._lines = [(stream, line, _Shown()) for stream, line in lines.items()]
        self._timer: Timer | None = None

    def show_later(self) -> None:
        """What is unfinished then as it is now."""
        if self._timer is None:
            for _, line, shown in self._lines:
                shown.is_of(line.printed)
            self._timer = self._outlet.call_later(DELAY_SECONDS, self._show)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _show(self) -> None:
        """Lines that have waited; those that began meanwhile have their turn the next time."""
        self._timer = None
        is_any_left = False
        for stream, line, shown in self._lines:
            has_waited = shown.is_of(line.printed)
            if line.partial_bytes > shown.taken_bytes:
                is_shown = has_waited and self._outlet.is_free()
                if is_shown:
                    self._write(stream, *shown.take(line.partial))
                is_any_left |= not is_shown
        if is_any_left:
            self.show_later()

    def _write(self, stream: StreamName, at: int, text: str) -> None:
        written = format_partial_line(run_uid=self._run_uid, stream=stream, at=at, text=text)
        if text and self._take_room(len(written)):
            self._outlet.write(written)


class _Shown:
    """How much of the unfinished line of one stream has been shown."""

    def __init__(self) -> None:
        self._line_start = -1
        self.taken_bytes = self._shown_chars = 0
        self._decoder = _new_decoder()

    def is_of(self, line_start: int) -> bool:
        """Whether the line that begins at this byte was the unfinished one the last time, too. If not, nothing of it is shown."""
        is_same = line_start == self._line_start
        if not is_same:
            self._line_start, self.taken_bytes, self._shown_chars = line_start, 0, 0
            self._decoder = _new_decoder()
        return is_same

    def take(self, line: bytes) -> tuple[int, str]:
        """At which character it goes on, and what of the line was not shown yet."""
        # A carriage return may be the first half of the line end, which is not part of the line.
        data = line[self.taken_bytes :].removesuffix(b"\r")
        self.taken_bytes += len(data)
        at, text = self._shown_chars, self._decoder.decode(data)
        self._shown_chars += len(text)
        return at, text


def _new_decoder() -> codecs.IncrementalDecoder:
    """It waits for all bytes of a character."""
    return codecs.getincrementaldecoder("utf-8")("replace")
