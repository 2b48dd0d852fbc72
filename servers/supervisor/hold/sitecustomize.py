"""Runs in `import site` of a Python that is to be a zygote (servers.supervisor.zygote), before that Python opens its script.

In a held child it returns, having left no trace: the interpreter goes on as if nothing had been here. A subinterpreter of such a
child comes by here too, for its path is that of the zygote.
"""

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:  # typing.TYPE_CHECKING would be an import, and leave a trace.
    from collections.abc import Callable
    from typing import Any


def _hold() -> None:
    folder = os.path.dirname(__file__)
    sys.path.remove(folder)
    sys.path_importer_cache.pop(folder, None)
    is_alone = not _import_the_real_one()
    if os.environ.get("PYTHONPATH") == folder:
        _become_zygote(folder)
    # From here on in a held child, or in a subinterpreter of one.
    if is_alone:
        # What `site` finds, and takes in silence, where there is no sitecustomize.
        raise ImportError(name=__name__)


def _become_zygote(folder: str) -> None:
    channel_fd, log_fd, names, _ = (os.environ.pop(name) for name in ("KRT_CHANNEL_FD", "KRT_LOG_FD", "KRT_PRELOAD", "PYTHONPATH"))
    _log_to(int(log_fd))
    first_modules = set(sys.modules)
    at_end = _call_at_end() if names else []
    # STRICTLY BEFORE our own imports: what modules share with us must stay when our own are forgotten.
    failure = _preload(names)
    open_fds = _open_fds() - {int(channel_fd)}
    known_modules, known_folders = set(sys.modules), set(sys.path_importer_cache)
    package_parent = os.path.dirname(os.path.dirname(os.path.dirname(folder)))
    sys.path.append(package_parent)
    from servers.supervisor import freezing, zygote

    # Not remove: it may be there a first time, in its own right.
    sys.path.pop()

    def leave_no_trace() -> None:
        # Its own `json.py` must not be hidden by the module that we used.
        _forget_all_but(known_modules, sys.modules)
        _forget_all_but(known_folders, sys.path_importer_cache)

    # Or each held child would let go of each name in them.
    for names_of_many in (first_modules, known_modules, known_folders):
        freezing.keep_for_good(names_of_many)
    at_end.append(lambda: freezing.leave_alone(known_modules - first_modules))
    zygote.run(int(channel_fd), failure=failure, open_fds=open_fds, leave_no_trace=leave_no_trace)
    # A held child. Most of it was forgotten before the fork already, but for what was loaded since.
    leave_no_trace()


def _forget_all_but(known: set[str], table: "dict[str, Any]") -> None:
    """The newest are the last. Each name that is looked at is a page that a fork copies, and thousands may be known."""
    too_many = len(table) - len(known)
    forgotten: list[str] = []
    for name in reversed(table):
        if len(forgotten) >= too_many:
            break
        if name not in known:
            forgotten.append(name)
    for name in forgotten:
        del table[name]


def _import_the_real_one() -> bool:
    """A distribution may have a sitecustomize too; while this one is being imported, it may put another in its place."""
    this = sys.modules.pop(__name__)
    try:
        __import__(__name__)
    except ImportError as error:
        sys.modules[__name__] = this
        return error.name != __name__
    return True


def _log_to(fd: int) -> None:
    """What preloaded modules print is for the server's log. The streams were made on pipes, as they are in a Run."""
    os.dup2(fd, 1)
    os.dup2(fd, 2)
    os.close(fd)


def _preload(names: str) -> str:
    """Why it went wrong, "" if it did not."""
    for name in filter(None, names.split(",")):
        try:
            __import__(name)
        except BaseException as error:
            return f"--preload {name}: {type(error).__name__}: {error}"
    return ""


def _call_at_end() -> "list[Callable[[], object]]":
    """What is put into the list is called when an interpreter ends, after all else: what is registered first is called last."""
    import atexit

    calls: list[Callable[[], object]] = []
    atexit.register(lambda: [call() for call in calls])
    return calls


def _open_fds() -> frozenset[int]:
    """What preloaded modules hold open, and the standard ones."""
    with os.scandir("/proc/self/fd") as entries:
        listed = {int(entry.name) for entry in entries}
    return frozenset(fd for fd in listed if os.path.exists(f"/proc/self/fd/{fd}"))


_hold()
