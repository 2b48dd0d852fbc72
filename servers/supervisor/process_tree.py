"""Finds and signals everything below a process, daemons included, as long as the process at the top is a subreaper.

A snapshot of /proc is not a transaction: whoever wants a tree gone signals again until it has no children left to wait for.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Collection, Iterable


def children_of(pid: int) -> list[int]:
    """Living children and zombies, over all threads of `pid`; empty if it is gone."""
    try:
        threads = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return []
    return [child for thread in threads for child in _children_of_thread(pid, thread=thread)]


def _children_of_thread(pid: int, *, thread: str) -> list[int]:
    try:
        with open(f"/proc/{pid}/task/{thread}/children", "rb") as file:
            return [int(word) for word in file.read().split()]
    except FileNotFoundError:
        return _children_by_parent(pid) if thread == str(pid) and os.path.exists(f"/proc/{pid}") else []
    except OSError:
        return []


def _children_by_parent(pid: int) -> list[int]:
    """For kernels without CONFIG_PROC_CHILDREN: slower, looks at every process."""
    return [int(name) for name in os.listdir("/proc") if name.isdigit() and parent_of(int(name)) == pid]


def parent_of(pid: int) -> int | None:
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            stat = file.read()
    except OSError:
        return None
    # The name is in parentheses and may contain anything, also ") ": fields are counted from the last one.
    return int(stat[stat.rindex(b")") + 2 :].split()[1])


def descendants_of(roots: Iterable[int]) -> list[int]:
    """All below `roots`, without them, parents first."""
    found: list[int] = []
    seen: set[int] = set()
    frontier = list(roots)
    while frontier:
        fresh = [child for pid in frontier for child in children_of(pid) if child not in seen]
        seen.update(fresh)
        found += fresh
        frontier = fresh
    return found


def terminate(pids: Iterable[int]) -> None:
    """SIGTERM, then SIGCONT so that stopped processes can act on it."""
    for pid in pids:
        _send(pid, signal_number=signal.SIGTERM)
        _send(pid, signal_number=signal.SIGCONT)


def kill(pids: Collection[int]) -> None:
    """SIGKILL to each and to the process groups that they opened.

    A group is signalled atomically against fork: that is what ends a fork bomb, which outruns any scan of /proc.
    """
    own_session = os.getsid(0)
    groups = {group for pid in pids if (group := _group_in_other_session(pid, own_session=own_session)) is not None}
    for group in groups:
        _send(-group, signal_number=signal.SIGKILL)
    for pid in pids:
        _send(pid, signal_number=signal.SIGKILL)


def _group_in_other_session(pid: int, *, own_session: int) -> int | None:
    """An attempt starts in a session of its own, so a group of another session than ours has no foreign members."""
    try:
        return os.getpgid(pid) if os.getsid(pid) != own_session else None
    except OSError:
        return None


def _send(pid: int, *, signal_number: int) -> None:
    try:
        os.kill(pid, signal_number)
    except OSError:
        # Gone already, or become another user's by a set-uid program: nothing that we could do about either.
        return
