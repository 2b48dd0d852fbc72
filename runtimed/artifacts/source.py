"""What a store is given: one regular file, open, with a limit on how much of it is taken. The bytes are hashed as they are read."""

from __future__ import annotations

import hashlib
import itertools
import os
from collections import deque
from collections.abc import Generator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Final

from runtimed.artifacts.errors import ArtifactRefused

FILE: Final = "file"
DIRECTORY: Final = "directory"
CHUNK_BYTES: Final = 4 << 20
"""Much, because two threads wait for each other at the end of each: on a busy machine every such turn costs milliseconds."""
CHUNKS_IN_FLIGHT: Final = 2
"""One is hashed while it is stored and the next is read."""


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
class OwnFile:
    """A file of ours that is kept as artifact `name` beside what user code has left."""

    name: str
    path: str
    failure: str = ""
    """Why it is not complete; then it is not kept."""


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

    def chunks(self) -> Generator[memoryview]:
        """Each is valid until the next is asked for. Raises ArtifactRefused past the limit.

        They are hashed in a thread of their own, while they are stored and the next is read: hashing takes as long as copying does, and
        OpenSSL holds no lock of Python's meanwhile. Close it where it is left before its end.
        """
        if self.source.size < CHUNK_BYTES:  # a thread would cost more than it saves
            return self._hashed_in_turn()
        return self._hashed_beside()

    def _hashed_in_turn(self) -> Generator[memoryview]:
        buffer = memoryview(bytearray(self.source.size + 1))
        while taken := self.read_into(buffer):
            yield buffer[:taken]

    def _hashed_beside(self) -> Generator[memoryview]:
        buffers = [memoryview(bytearray(CHUNK_BYTES)) for _ in range(CHUNKS_IN_FLIGHT)]
        hashing: deque[Future[None]] = deque()
        with ThreadPoolExecutor(1, thread_name_prefix="artifact digest") as hasher:  # its end waits for what is left to hash
            for buffer in itertools.cycle(buffers):
                if len(hashing) == len(buffers):
                    hashing.popleft().result()  # STRICTLY BEFORE its buffer is filled anew
                taken = self._fill(buffer)
                if not taken:
                    return
                hashing.append(hasher.submit(self._hash.update, buffer[:taken]))
                yield buffer[:taken]

    def read_into(self, buffer: memoryview) -> int:
        """Fills it as far as the file goes; 0 at its end."""
        filled = self._fill(buffer)
        self._hash.update(buffer[:filled])
        return filled

    def take_note(self, count: int) -> None:
        """So much more was taken, here or elsewhere. Raises ArtifactRefused past the limit."""
        self.size += count
        if self.size > self.source.max_bytes:
            raise self._too_large(self.size)

    def hash(self, piece: memoryview) -> None:
        """What was taken elsewhere, in order."""
        self._hash.update(piece)

    def _fill(self, buffer: memoryview) -> int:
        filled = 0
        while filled < len(buffer):
            read = os.preadv(self.source.fd, [buffer[filled:]], self.size + filled)
            if not read:
                break
            filled += read
        self.take_note(filled)
        return filled

    @property
    def stored(self) -> Stored:
        return Stored(self.size, f"sha256:{self._hash.hexdigest()}")

    def _too_large(self, size: int) -> ArtifactRefused:
        return ArtifactRefused(
            f"artifact {self.source.name!r}: {size} bytes, over what is left of the limit, {self.source.max_bytes} bytes "
            "(--max-artifact-bytes for one, --max-artifacts-bytes for all of a Run)"
        )
