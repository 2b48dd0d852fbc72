"""Runs in `import site` of a Python that is to be a zygote (servers.supervisor.zygote), before that Python opens its script.

In a held child it returns, having left no trace: the interpreter goes on as if nothing had been here.
"""

import os
import sys


def _hold() -> None:
    folder = os.environ.pop("PYTHONPATH")
    channel_fd = int(os.environ.pop("KRT_CHANNEL_FD"))
    preload = os.environ.pop("KRT_PRELOAD")
    sys.path.remove(folder)
    sys.path_importer_cache.pop(folder, None)
    _import_the_real_one()
    # STRICTLY BEFORE our own imports: what modules share with us must stay when our own are forgotten.
    failure = _preload(preload.split(",") if preload else [])
    open_fds = _open_fds() - {channel_fd}
    known = set(sys.modules)
    package_parent = os.path.dirname(os.path.dirname(os.path.dirname(folder)))
    sys.path.append(package_parent)
    from servers.supervisor import zygote

    # Not remove: it may be there a first time, in its own right.
    sys.path.pop()
    ours = [name for name in sys.modules if name not in known]
    zygote.run(channel_fd, failure=failure, open_fds=open_fds)
    # A held child: its own `json.py` must not be hidden by the module that we used.
    for name in ours:
        sys.modules.pop(name, None)
    if package_parent not in sys.path:
        sys.path_importer_cache.pop(package_parent, None)


def _import_the_real_one() -> None:
    """A distribution may have a sitecustomize too; while this one is being imported, it may put another in its place."""
    this = sys.modules.pop(__name__)
    try:
        __import__(__name__)
    except ImportError:
        sys.modules[__name__] = this


def _preload(names: list[str]) -> str:
    for name in names:
        try:
            __import__(name)
        except BaseException as error:
            return f"--preload {name}: {type(error).__name__}: {error}"
    return ""


def _open_fds() -> frozenset[int]:
    """What preloaded modules hold open, and the standard ones."""
    with os.scandir("/proc/self/fd") as entries:
        listed = {int(entry.name) for entry in entries}
    return frozenset(fd for fd in listed if os.path.exists(f"/proc/self/fd/{fd}"))


_hold()
del _hold, _import_the_real_one, _preload, _open_fds, os, sys
