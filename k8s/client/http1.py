"""One HTTP/1.1 answer, from bytes as they arrive: as much of RFC 9112 as the answer to one request of ours can use. Pure.

Written for the hot path, where an answer is one piece of 2 KB: a client library spends ten times the work on what is not needed
there (redirects, cookies, compression, streaming, pipelining). Not for watches and logs.
"""

from __future__ import annotations

from typing import Final, NamedTuple

MAX_HEAD_BYTES: Final = 64 << 10
"""Go's servers send half a KB. Beyond this it is no head, and must not eat our memory."""
MAX_SIZE_DIGITS: Final = 16
HEX_DIGITS: Final = b"0123456789abcdefABCDEF"
WITHOUT_BODY: Final = frozenset({204, 304})
SWITCHING_PROTOCOLS: Final = 101


class BadAnswer(Exception):
    """The other side does not speak HTTP/1.1, or has cut its answer short."""


class Answer(NamedTuple):
    """All of it."""

    status: int
    retry_after: str | None
    body: bytes
    is_reusable: bool
    """Whether the connection may carry another request."""


class Head(NamedTuple):
    """What its header says about the answer, as far as we care."""

    status: int
    length: int | None
    """None where it is chunked, or goes on until the connection ends."""
    is_chunked: bool
    is_kept_alive: bool
    retry_after: str | None


class AnswerReader:
    """`feed` it until it gives the answer; then it is used up. Raises BadAnswer."""

    def __init__(self) -> None:
        self._data = bytearray()
        self._at = 0
        """What lies before is read."""
        self._head: Head | None = None
        self._chunks: list[bytes] = []

    def feed(self, data: bytes) -> Answer | None:
        """The answer, once it is complete."""
        self._data += data
        if self._head is None and not self._read_head():
            return None
        head = self._head
        assert head is not None
        if head.is_chunked:
            return self._complete(head, b"".join(self._chunks)) if self._read_chunks() else None
        if head.length is None or len(self._data) - self._at < head.length:
            return None
        start, self._at = self._at, self._at + head.length
        return self._complete(head, bytes(self._data[start : self._at]))

    def feed_end(self) -> Answer:
        """The connection has ended, which is how some answers end."""
        head = self._head
        if head is None:
            raise BadAnswer("the connection was closed without an answer")
        if head.is_chunked or head.length is not None:
            raise BadAnswer("the answer was cut short")
        return Answer(head.status, head.retry_after, bytes(self._data[self._at :]), is_reusable=False)

    def _complete(self, head: Head, body: bytes) -> Answer:
        # More than the answer is nothing that we asked for: the connection is not to be trusted any more.
        is_reusable = head.is_kept_alive and self._at == len(self._data)
        return Answer(head.status, head.retry_after, body, is_reusable)

    def _read_head(self) -> bool:
        """Also past those of 1xx, which announce the answer."""
        while (end := self._data.find(b"\r\n\r\n", self._at)) >= 0:
            head = read_head(bytes(self._data[self._at : end]))
            self._at = end + 4
            if head.status == SWITCHING_PROTOCOLS:
                raise BadAnswer("the server changes the protocol unasked")
            if head.status >= 200:
                self._head = head
                return True
        self._check_size("the head of the answer")
        return False

    def _read_chunks(self) -> bool:
        """True once the last one is read."""
        while (end := self._data.find(b"\r\n", self._at)) >= 0:
            size, start = _chunk_size(bytes(self._data[self._at : end])), end + 2
            if size == 0:
                return self._read_trailers(start)
            after = start + size
            if len(self._data) < after + 2:
                return False
            if self._data[after : after + 2] != b"\r\n":
                raise BadAnswer("a chunk does not end where it says")
            self._chunks.append(bytes(self._data[start:after]))
            self._at = after + 2
        self._check_size("the size of a chunk")
        return False

    def _read_trailers(self, start: int) -> bool:
        """Up to the empty line, which follows the last chunk's own line end where there are none."""
        end = self._data.find(b"\r\n\r\n", start - 2)
        if end < 0:
            self._check_size("what follows the chunks")
            return False
        self._at = end + 4
        return True

    def _check_size(self, what: str) -> None:
        if len(self._data) - self._at > MAX_HEAD_BYTES:
            raise BadAnswer(f"{what} is longer than {MAX_HEAD_BYTES >> 10} KiB")


def read_head(data: bytes) -> Head:
    """Status line and header fields, without the empty line. Raises BadAnswer."""
    first, *lines = data.split(b"\r\n")
    version, status = first[:9], first[9:12]
    if version not in (b"HTTP/1.1 ", b"HTTP/1.0 ") or not status.isdigit() or first[12:13] not in (b"", b" "):
        raise BadAnswer("the answer is not HTTP/1.1")
    fields = _fields(lines)
    coding = fields.get(b"transfer-encoding", b"").lower()
    if coding not in (b"", b"chunked", b"identity"):
        raise BadAnswer("the answer comes in a transfer coding that was not asked for")
    length, is_chunked = _length(fields.get(b"content-length")), coding == b"chunked"
    if int(status) in WITHOUT_BODY:
        length, is_chunked = 0, False
    wish = fields.get(b"connection", b"").lower()
    is_kept_alive = b"close" not in wish if version == b"HTTP/1.1 " else b"keep-alive" in wish
    retry_after = fields.get(b"retry-after")
    return Head(
        int(status), None if is_chunked else length, is_chunked, is_kept_alive, retry_after.decode("latin-1") if retry_after else None
    )


def _fields(lines: list[bytes]) -> dict[bytes, bytes]:
    """By lower-case name; of several equal ones all, as HTTP joins them."""
    fields: dict[bytes, bytes] = {}
    for line in lines:
        name, separator, value = line.partition(b":")
        if not separator or not name or name[-1:].isspace() or name[:1].isspace():
            raise BadAnswer("a header field of the answer cannot be read")
        name, value = name.lower(), value.strip()
        fields[name] = fields[name] + b", " + value if name in fields else value
    return fields


def _length(field: bytes | None) -> int | None:
    if field is None:
        return None
    values = {value.strip() for value in field.split(b",")}
    value = values.pop()
    if values or not value.isdigit():
        raise BadAnswer("the length of the answer is no number")
    return int(value)


def _chunk_size(line: bytes) -> int:
    digits = line.partition(b";")[0].strip()
    # `int` would read signs, underscores and prefixes as well.
    if not 0 < len(digits) <= MAX_SIZE_DIGITS or digits.strip(HEX_DIGITS):
        raise BadAnswer("the size of a chunk is no number")
    return int(digits, 16)
