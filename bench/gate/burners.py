"""Programs that only use the CPU: a known foreign load, beside which the gate is calibrated."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.cluster.processes import Child


@contextmanager
def burning() -> Iterator[None]:
    """One a core, which together take what they are given."""
    with tempfile.TemporaryDirectory(prefix="kruntimes-burners-") as folder:
        count = os.cpu_count() or 1
        burners = [Child([sys.executable, "-c", "while True: pass"], log=Path(folder) / "log") for _ in range(count)]
        try:
            yield
        finally:
            for burner in burners:
                burner.stop(kill=True)
