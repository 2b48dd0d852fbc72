"""Programs that only use the CPU: a known foreign load, beside which the gate is calibrated."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.cluster.processes import Child


@contextmanager
def burning(count: int) -> Iterator[None]:
    """So many of them. Twice as many as cores make a machine on which everything of ours has to wait for its turn."""
    with tempfile.TemporaryDirectory(prefix="kruntimes-burners-") as folder:
        burners = [Child([sys.executable, "-c", "while True: pass"], log=Path(folder) / "log") for _ in range(count)]
        try:
            yield
        finally:
            for burner in burners:
                burner.stop(kill=True)
