"""runtimed: the sidecar that owns the Runs of one Runtime Pod. It never runs user code; the one program that it starts is git."""

from __future__ import annotations

import os
import signal


def main() -> None:
    """Console script. Imports late: `import runtimed.core` must not cost a Kubernetes client and grpc."""
    if os.getpid() == 1:
        # The first process of a container has no default for SIGTERM: it would be lost while the rest is imported.
        signal.signal(signal.SIGTERM, lambda *_: os._exit(128 + signal.SIGTERM))
    from runtimed.cli import main as run

    run()
