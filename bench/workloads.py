"""The programs that benchmark Runs execute. The first instruction of each reads the clock and reports it as an output."""

from __future__ import annotations

BASH_NOOP = 'echo "start=$EPOCHREALTIME" >> "$KRUNTIME_OUTPUTS"'
PYTHON_NOOP = """import time; start = time.time_ns()
import os
with open(os.environ["KRUNTIME_OUTPUTS"], "a") as outputs:
    outputs.write(f"start={start / 1e9:.6f}\\n")
"""


def bash_sleep(seconds: float) -> str:
    """The no-op, then a wait."""
    return f"{BASH_NOOP}; sleep {seconds}"
