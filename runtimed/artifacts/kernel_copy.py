"""A large file goes to a volume without passing through us: the kernel copies it, and what arrived is hashed meanwhile.

So the digest is of the stored bytes, whatever happens to the source. A gigabyte takes a third of the time of reading and writing it here.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Generator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final

from runtimed.artifacts.source import Intake

PIECE_BYTES: Final = 8 << 20
"""A stopped upload ends within one."""
_HASH_BYTES: Final = 1 << 20
_CANNOT: Final = frozenset({errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EXDEV})


class CannotCopy(Exception):
    """These two file systems do not do that. Nothing was taken."""


def copied(intake: Intake, target: int) -> Generator[None]:
    """Yields after each piece that `target` has, which is empty and can be read; `intake` has counted it by then.

    Raises CannotCopy, OSError, or ArtifactRefused past the limit. Close it where it is left before its end.
    """
    hashing: list[Future[None]] = []
    with ThreadPoolExecutor(1, thread_name_prefix="artifact digest") as hasher:
        try:
            while taken := _copy_piece(intake, target):
                hashing.append(hasher.submit(_hash, intake, target, intake.size, taken))
                intake.take_note(taken)
                yield
            for piece in hashing:
                piece.result()
        finally:
            for piece in hashing:
                piece.cancel()


def _copy_piece(intake: Intake, target: int) -> int:
    try:
        return os.sendfile(target, intake.source.fd, intake.size, PIECE_BYTES)
    except OSError as error:
        if intake.size == 0 and error.errno in _CANNOT:
            raise CannotCopy from error
        raise


def _hash(intake: Intake, target: int, begin: int, count: int) -> None:
    """In the thread: of what lies in the target. OpenSSL holds no lock of Python's meanwhile."""
    buffer = memoryview(bytearray(min(_HASH_BYTES, count)))
    end = begin + count
    while begin < end:
        read = os.preadv(target, [buffer[: end - begin]], begin)
        if not read:
            raise OSError(errno.EIO, os.strerror(errno.EIO))  # somebody cut it short
        intake.hash(buffer[:read])
        begin += read
