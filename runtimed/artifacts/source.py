"""What a store is given: one regular file, open, with a limit on how much of it is taken. The bytes are hashed as they are read."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from runtimed.artifacts.errors import ArtifactRefused

FILE: Final = "file"
DIRECTORY: Final = "directory"
CHUNK_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Source:
    """A file that is to be kept as artifact `name`."""

    name: str
    type: str
    content_type: str
    fd: int
    size: int
    """As it was when it was opened: other processes may change it."""
    max_bytes: int


@dataclass(frozen=True, slots=True)
class Stored:
    """What the store took."""

    size: int
    digest: str
    """`sha256:` and the hexadecimal digest of the stored bytes."""


@dataclass(slots=True)
class Intake:
    """Reads a source from its beginning, counts and hashes."""

    source: Source
    size: int = 0
    _hash: Any = field(default_factory=hashlib.sha256)

    def __post_init__(self) -> None:
        if self.source.size > self.source.max_bytes:
            raise self._too_large(self.source.size)

    def chunks(self) -> Iterator[memoryview]:
        """Each is valid until the next is asked for. Raises ArtifactRefused past the limit."""
        buffer = memoryview(bytearray(min(CHUNK_BYTES, max(1, self.source.size + 1))))
        while taken := self.read_into(buffer):
            yield buffer[:taken]

    def read_into(self, buffer: memoryview) -> int:
        """Fills it as far as the file goes; 0 at its end."""
        filled = 0
        while filled < len(buffer):
            read = os.preadv(self.source.fd, [buffer[filled:]], self.size + filled)
            if not read:
                break
            filled += read
        self.size += filled
        if self.size > self.source.max_bytes:
            raise self._too_large(self.size)
        self._hash.update(buffer[:filled])
        return filled

    @property
    def stored(self) -> Stored:
        return Stored(self.size, f"sha256:{self._hash.hexdigest()}")

    def _too_large(self, size: int) -> ArtifactRefused:
        return ArtifactRefused(
            f"artifact {self.source.name!r}: {size} bytes, over what is left of the limit, {self.source.max_bytes} bytes "
            "(--max-artifact-bytes for one, --max-artifacts-bytes for all of a Run)"
        )
