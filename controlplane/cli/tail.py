"""The last lines of an output, for `--tail`."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from k8s.api.run_log import OutputLine, PartialLine


@dataclass(slots=True)
class Tail:
    """The last lines of each stream, in their order, and what has begun after them."""

    limit: int
    _lines: deque[tuple[int, OutputLine]] = field(default_factory=deque)
    _counts: dict[str, int] = field(default_factory=dict)
    _parts: dict[str, list[PartialLine]] = field(default_factory=dict)
    """Of the unfinished line of each stream."""

    def add(self, line: OutputLine | PartialLine) -> None:
        if isinstance(line, PartialLine):
            self._parts.setdefault(line.stream, []).append(line)
            return
        self._parts.pop(line.stream, None)
        number = self._counts.get(line.stream, 0)
        self._counts[line.stream] = number + 1
        self._lines.append((number, line))
        while self._lines and self._is_old(*self._lines[0]):
            self._lines.popleft()

    def lines(self) -> list[OutputLine | PartialLine]:
        complete = [line for number, line in self._lines if not self._is_old(number, line)]
        return [*complete, *(part for parts in self._parts.values() for part in parts)]

    def _is_old(self, number: int, line: OutputLine) -> bool:
        return number < self._counts[line.stream] - self.limit
