"""What a Run's output looks like to whoever reads it as it comes: lines, and of a line that is not complete what there is.

Pure but for `write`. Not here: from where it comes, and the Tail that leaves out what is old.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

from k8s.api.run_log import OutputLine, PartialLine


def write_to_our_own(stream: str, text: str) -> None:
    """To the stream that the Run wrote it to, at once."""
    out = sys.stderr if stream == "stderr" else sys.stdout
    out.buffer.write(text.encode("utf-8", "surrogatepass"))
    out.buffer.flush()


class Screen:
    """Shows every character once, whatever of a line was shown before it was complete."""

    def __init__(self, write: Callable[[str, str], None] = write_to_our_own) -> None:
        """`write` gets the stream and a text."""
        self._write = write
        self._shown: dict[str, str] = {}
        """Of the unfinished line of each stream."""

    def show(self, said: OutputLine | PartialLine) -> None:
        if isinstance(said, PartialLine):
            self._show_part(said)
            return
        shown = self._shown.pop(said.stream, "")
        # Another line than the one that was begun: the rest of that was lost.
        is_same = said.message.startswith(shown)
        self._write(said.stream, f"{said.message[len(shown) :]}\n" if is_same else f"\n{said.message}\n")

    def _show_part(self, part: PartialLine) -> None:
        """A beginning comes again after a restart of runtimed; what has a gap before it is shown when the line is complete."""
        shown = self._shown.get(part.stream, "")
        new = part.text[max(0, len(shown) - part.at) :]
        if part.at <= len(shown) and new:
            self._write(part.stream, new)
            self._shown[part.stream] = shown + new

    def end(self) -> None:
        """Nothing comes any more: what follows begins on a line of its own."""
        for stream in self._shown:
            self._write(stream, "\n")
        self._shown.clear()
