"""What a zygote has loaded is never garbage: its forks share it, and neither their collections nor their ends touch it.

An interpreter takes its modules apart at its end, so that what was left in them is finalized. In a fork this would copy nearly
all that it shares, page by page, only to throw it away. So preloaded modules are left as they are: their objects belong to all
Runs and are not finalized by each; files that a Run left open are flushed, as a fresh interpreter does.
The modules of the interpreter's own start are taken apart as ever. For that to work while everything is frozen, something must
refer to each of them, and nothing through which a cycle of the user's own may go may be frozen.
"""

from __future__ import annotations

import _io
import contextlib
import ctypes
import gc
import sys
from collections.abc import Collection


def freeze() -> None:
    gc.collect()
    gc.freeze()
    # Cycles through it are the user's own.
    main = sys.modules["__main__"]
    _thaw(main)
    _thaw(vars(main))
    keep_for_good([module for module in sys.modules.values() if module is not main])


def leave_alone(names: Collection[str]) -> None:
    """At the very end of a fork: the modules of these names are not taken apart."""
    for thing in gc.get_objects():  # But for what is frozen.
        # By type: to ask the thing itself, as isinstance does, may run code of the user's.
        if issubclass(type(thing), _io._IOBase):
            with contextlib.suppress(Exception):
                thing.flush()
    for name in names:
        sys.modules.pop(name, None)


def _thaw(thing: object) -> None:
    """Of the youngest generation from now on."""
    ctypes.pythonapi.PyObject_GC_UnTrack(ctypes.py_object(thing))
    ctypes.pythonapi.PyObject_GC_Track(ctypes.py_object(thing))


def keep_for_good(thing: object) -> None:
    """It is never freed."""
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(thing))
