"""One output stream of one attempt: its first MiB, its last KiB, and the count of all of it. Memory is bounded whatever is written.

Not here: who reads the pipe, and who is sent what.
"""

from __future__ import annotations

from servers.sdk.limits import RETAINED_BYTES, STDERR_TAIL_BYTES, TRUNCATION_MARKER


class RetainedOutput:
    def __init__(self, *, limit_bytes: int = RETAINED_BYTES, tail_bytes: int = STDERR_TAIL_BYTES) -> None:
        self._limit_bytes = limit_bytes
        self._tail_bytes = tail_bytes
        self._kept = bytearray()
        self._tail = b""
        self.total_bytes = 0

    def write(self, data: bytes | memoryview) -> bool:
        """Whether a reader of what is kept can see a change: more bytes, or that there are more than are kept."""
        was_truncated = self.is_truncated
        room = self._limit_bytes - len(self._kept)
        self.total_bytes += len(data)
        if room > 0:
            self._kept += data[:room]
        self._tail = (self._tail + bytes(data[-self._tail_bytes :]))[-self._tail_bytes :]
        return room > 0 or self.is_truncated != was_truncated

    @property
    def kept_bytes(self) -> int:
        return len(self._kept)

    @property
    def is_truncated(self) -> bool:
        return self.total_bytes > len(self._kept)

    @property
    def tail(self) -> bytes:
        return self._tail

    def slice(self, offset: int, *, size: int) -> bytes:
        return bytes(self._kept[offset : offset + size])

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
