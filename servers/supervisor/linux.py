"""The few Linux calls that the standard library lacks, through ctypes. Nothing here decides anything."""

from __future__ import annotations

import ctypes
import os
import struct

_PR_SET_PDEATHSIG = 1
_PR_SET_NAME = 15
_PR_SET_CHILD_SUBREAPER = 36

_SYS_SCHED_SETATTR = {"x86_64": 314, "aarch64": 274, "riscv64": 274, "ppc64le": 355, "s390x": 345}
_RESET_ON_FORK = 1
_SLICE_NANOSECONDS = 100_000
"""The least that the kernel grants."""

_libc = ctypes.CDLL(None, use_errno=True)
_libc.prctl.argtypes = [ctypes.c_int, ctypes.c_ulong, ctypes.c_ulong, ctypes.c_ulong, ctypes.c_ulong]


def become_subreaper() -> None:
    """Orphans below this process become its children instead of init's. Not inherited by fork."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def die_with_parent(signal_number: int) -> None:
    """Ask for `signal_number` when the parent dies. The parent may be dead already: check `os.getppid()` AFTER this call."""
    _prctl(_PR_SET_PDEATHSIG, signal_number)


def name_process(name: bytes) -> None:
    """What `ps` and /proc show; at most 15 bytes are kept."""
    buffer = ctypes.create_string_buffer(name[:15])
    _prctl(_PR_SET_NAME, ctypes.addressof(buffer))


def ask_for_short_slices() -> None:
    """For the calling thread: to be woken at once, not when the others' time is over, in return for less at a time.

    What works for some 50 us for each Run gains milliseconds by it on a busy machine, and nobody loses anything. Children do not
    inherit it: a workload is scheduled as ever. Kernels before 6.12 take no notice, and one that refuses is not worth a word.
    """
    number = _SYS_SCHED_SETATTR.get(os.uname().machine)
    if number is not None:
        attributes = struct.pack(
            "IIQiIQQQ", 48, os.SCHED_OTHER, _RESET_ON_FORK, os.getpriority(os.PRIO_PROCESS, 0), 0, _SLICE_NANOSECONDS, 0, 0
        )
        _libc.syscall(number, 0, attributes, 0)


def _prctl(option: int, argument: int) -> None:
    if _libc.prctl(option, argument, 0, 0, 0) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
