"""runtimed: the sidecar that owns the Runs of one Runtime Pod. It never runs user code; the one program that it starts is git."""

from __future__ import annotations


def main() -> None:
    """Console script. Imports late: `import runtimed.core` must not cost a Kubernetes client and grpc."""
    from runtimed.cli import main as run

    run()
