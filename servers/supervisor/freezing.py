"""What a zygote has loaded is never garbage: its forks share it, and their collections leave it alone.

An end like a fresh interpreter's needs two exceptions. The end of an interpreter takes modules apart so that what was left in
them is finalized, a buffered file for instance; but of what is frozen it can take apart only those modules that something
still refers to, and cycles only if nothing in them is frozen.
"""

from __future__ import annotations

import ctypes
import gc
import sys


def freeze() -> None:
    gc.collect()
    gc.freeze()
    # Cycles through it are the user's own.
    main = sys.modules["__main__"]
    _thaw(main)
    _thaw(vars(main))
    _keep_for_good([module for module in sys.modules.values() if module is not main])


def _thaw(thing: object) -> None:
    """Of the youngest generation from now on."""
    ctypes.pythonapi.PyObject_GC_UnTrack(ctypes.py_object(thing))
    ctypes.pythonapi.PyObject_GC_Track(ctypes.py_object(thing))


def _keep_for_good(thing: object) -> None:
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(thing))
