"""Disks that are really full: small tmpfs, mounted in a mount namespace of our own, so that nobody else on the machine sees them."""

from __future__ import annotations

import ctypes
import errno
import functools
import os
from pathlib import Path
from types import TracebackType

import pytest

from tests.cluster.binaries import binaries_are_required

_CLONE_NEWNS, _MS_REC, _MS_PRIVATE, _MNT_DETACH = 0x20000, 0x4000, 0x40000, 2
_libc = ctypes.CDLL(None, use_errno=True)
_BLOCK = bytes(64 << 10)


@functools.cache
def enter_own_mounts() -> None:
    """This thread and whatever it starts from now on; the mounts go with the last of these processes.

    Where that is not allowed (it takes CAP_SYS_ADMIN) the test is skipped, in CI it fails.
    """
    try:
        _check(_libc.unshare(_CLONE_NEWNS), "unshare")
        _check(_libc.mount(b"none", b"/", None, _MS_REC | _MS_PRIVATE, None), "mount")
    except PermissionError as error:
        message = f"a mount namespace of our own: {error}; run the tests as root"
        pytest.fail(message) if binaries_are_required() else pytest.skip(message)


class SmallDisk:
    """A tmpfs at `path`, a folder that is made if need be; what is in it counts against `size_kib`. Use as a context manager."""

    def __init__(self, path: Path, *, size_kib: int) -> None:
        self.path, self._size_kib = path, size_kib
        self._is_made_by_us = False
        self._filler = path / ".filler"

    def __enter__(self) -> SmallDisk:
        enter_own_mounts()
        self._is_made_by_us = not self.path.exists()
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        mode = self.path.stat().st_mode & 0o777
        options = f"size={self._size_kib}k,mode={mode:o}".encode()
        _check(_libc.mount(b"tmpfs", bytes(self.path), b"tmpfs", 0, options), f"mount {self.path}")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        # Detached: descriptors into it are closed with those who hold them.
        _check(_libc.umount2(bytes(self.path), _MNT_DETACH), f"umount {self.path}")
        if self._is_made_by_us:
            self.path.rmdir()

    def fill(self) -> None:
        """To the last byte, also what was freed since it was filled before."""
        fd = os.open(self._filler, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            while True:
                os.write(fd, _BLOCK)
        except OSError as failure:
            if failure.errno != errno.ENOSPC:
                raise
        finally:
            os.close(fd)

    async def refill(self) -> None:
        """For a loop that keeps it full."""
        self.fill()

    def free(self) -> None:
        """There is room again."""
        self._filler.unlink(missing_ok=True)

    def names(self) -> list[str]:
        """What others have put there, at any depth."""
        return sorted(str(path.relative_to(self.path)) for path in self.path.rglob("*") if path != self._filler)


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), what)
