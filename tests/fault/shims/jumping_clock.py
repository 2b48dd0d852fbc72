"""`python -m tests.fault.shims.jumping_clock MODULE ARGUMENT...`: one of our programs, with a wall clock that a file moves.

The file that `KRT_SHIM_CLOCK` names holds an offset in seconds. Our programs ask for the wall clock by `datetime.now` alone, so every
module of ours that does so gets a class whose `now` is moved. Monotonic clocks are left alone, as the kernel leaves them.
"""

from __future__ import annotations

import importlib
import inspect
import os
import pkgutil
import runpy
import sys
from datetime import datetime, timedelta, tzinfo
from pathlib import Path

PACKAGES = ("k8s.client", "k8s.manager", "controlplane.scheduler", "controlplane.controllers", "runtimed")


class Jumping(datetime):
    """Gives out plain instants, so that nothing but the time is different."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
        offset = Path(os.environ["KRT_SHIM_CLOCK"]).read_text()
        return datetime.now(tz) + timedelta(seconds=float(offset))


def move_clock() -> list[str]:
    """In which modules it was moved."""
    moved = []
    for name in PACKAGES:
        package = importlib.import_module(name)
        for found in pkgutil.walk_packages(package.__path__, prefix=f"{name}."):
            if found.name.endswith("__main__"):
                continue
            module = importlib.import_module(found.name)
            if "datetime.now(" in inspect.getsource(module):
                vars(module)["datetime"] = Jumping
                moved.append(found.name)
    return moved


if __name__ == "__main__":
    module = sys.argv[1]
    move_clock()
    sys.argv = sys.argv[1:]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
