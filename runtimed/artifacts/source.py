"""What a store is given: one regular file, open, with a limit on how much of it is taken. The bytes are hashed as they are read."""

from __future__ import annotations

import hashlib
import itertools
import os
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Final

from runtimed.artifacts.errors import ArtifactRefused

FILE: Final = "file"
DIRECTORY: Final = "directory"
CHUNK_BYTES: Final = 1 << 20
LARGE_BYTES: Final = 16 << 20
"""From here on a second thread is worth its start."""


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
        if self.source.size > LARGE_BYTES:
            yield from self._chunks_hashed_beside()
            return
        buffer = memoryview(bytearray(min(CHUNK_BYTES, max(1, self.source.size + 1))))
        while taken := self.read_into(buffer):
            yield buffer[:taken]

    def _chunks_hashed_beside(self) -> Iterator[memoryview]:
        """Hashing takes longer than writing: a thread of its own does it meanwhile, on the one of two buffers that is being written."""
        buffers = [memoryview(bytearray(CHUNK_BYTES)) for _ in range(2)]
        hashed: list[Future[None] | None] = [None, None]
        with ThreadPoolExecutor(1, thread_name_prefix="artifact digest") as hashing:
            for turn in itertools.cycle((0, 1)):
                before = hashed[turn]
                if before is not None:
                    before.result()
                taken = self._fill(buffers[turn])
                if not taken:
                    return
                hashed[turn] = hashing.submit(self._hash.update, buffers[turn][:taken])
                yield buffers[turn][:taken]

    def read_into(self, buffer: memoryview) -> int:
        """Fills it as far as the file goes; 0 at its end."""
        filled = self._fill(buffer)
        self._hash.update(buffer[:filled])
        return filled

    def _fill(self, buffer: memoryview) -> int:
        filled = 0
        while filled < len(buffer):
            read = os.preadv(self.source.fd, [buffer[filled:]], self.size + filled)
            if not read:
                break
            filled += read
        self.size += filled
        if self.size > self.source.max_bytes:
            raise self._too_large(self.size)
        return filled

    @property
    def stored(self) -> Stored:
        return Stored(self.size, f"sha256:{self._hash.hexdigest()}")

    def _too_large(self, size: int) -> ArtifactRefused:
        return ArtifactRefused(
            f"artifact {self.source.name!r}: {size} bytes, over what is left of the limit, {self.source.max_bytes} bytes "
            "(--max-artifact-bytes for one, --max-artifacts-bytes for all of a Run)"
        )
