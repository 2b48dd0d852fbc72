"""One output stream of one attempt: its first MiB, what came last, and the count of all of it. Memory is bounded whatever is written.

Not here: who reads the pipe, and who is sent what.
"""

from __future__ import annotations

from servers.sdk.limits import RECENT_BYTES, RETAINED_BYTES, STDERR_TAIL_BYTES, TRUNCATION_MARKER


class RetainedOutput:
    def __init__(self, *, limit_bytes: int = RETAINED_BYTES, tail_bytes: int = STDERR_TAIL_BYTES, recent_bytes: int = RECENT_BYTES) -> None:
        self._limit_bytes = limit_bytes
        self._tail_bytes = tail_bytes
        self._recent_bytes = max(recent_bytes, tail_bytes)
        self._kept = bytearray()
        self._recent = bytearray()
        """The last of what came after that which is kept."""
        self.total_bytes = 0

    def write(self, data: bytes | memoryview) -> None:
        room = self._limit_bytes - len(self._kept)
        self.total_bytes += len(data)
        if room > 0:
            self._kept += data[:room]
        if len(data) > room:
            self._recent += data[max(room, 0) :]
            if len(self._recent) > 2 * self._recent_bytes:  # seldom, so that what is moved is a small part of what is written
                del self._recent[: -self._recent_bytes]

    @property
    def kept_bytes(self) -> int:
        return len(self._kept)

    @property
    def is_truncated(self) -> bool:
        return self.total_bytes > len(self._kept)

    @property
    def tail(self) -> bytes:
        start = self._kept if len(self._recent) < self._tail_bytes else b""
        return bytes((start[-self._tail_bytes :] + self._recent[-self._tail_bytes :])[-self._tail_bytes :])

    def slice(self, offset: int, *, size: int) -> bytes:
        return bytes(self._kept[offset : offset + size])

    def read_live(self, offset: int, *, size: int) -> tuple[int, bytes]:
        """What there is from `offset` on, kept or recent; and where it begins, which is later for a reader that is too slow."""
        if offset < len(self._kept):
            return offset, self.slice(offset, size=size)
        first = self.total_bytes - len(self._recent)
        begin = max(offset, first)
        return begin, bytes(self._recent[begin - first : begin - first + size])

    def text(self, *, limit_bytes: int | None = None) -> str:
        """Valid text of at most `limit_bytes` of UTF-8, the truncation marker not counted.

        Replacing invalid bytes can triple the size, so the limit holds again after that.
        """
        limit = self._limit_bytes if limit_bytes is None else min(limit_bytes, self._limit_bytes)
        text = decode_start(self._kept[:limit], is_cut=self.total_bytes > limit)
        cut = cut_to_bytes(text, limit_bytes=limit)
        return cut + TRUNCATION_MARKER if self.total_bytes > limit or len(cut) < len(text) else cut


def decode_start(data: bytes | bytearray, *, is_cut: bool) -> str:
    """U+FFFD for what is not UTF-8; a character that was cut in two at the end is dropped, not replaced."""
    if is_cut:
        data = data[: len(data) - _unfinished_bytes(data)]
    return data.decode("utf-8", errors="replace")


def cut_to_bytes(text: str, *, limit_bytes: int) -> str:
    encoded = text.encode()
    return text if len(encoded) <= limit_bytes else encoded[:limit_bytes].decode("utf-8", errors="ignore")


def _unfinished_bytes(data: bytes | bytearray) -> int:
    """How many bytes at the end begin a character that needs more of them."""
    for length in range(1, min(3, len(data)) + 1):
        byte = data[-length]
        if byte & 0b1100_0000 != 0b1000_0000:
            needed = 4 if byte >= 0xF0 else 3 if byte >= 0xE0 else 2 if byte >= 0xC0 else 1
            return length if needed > length else 0
    return 0
