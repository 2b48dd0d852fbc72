"""krt, the command line: creates Runs, shows them, streams their output. One module per noun, one for printers.

It needs nothing but a kubeconfig. Nothing heavy is imported here or at the top of the modules of this package: `krt --help`
and completion must answer at once, so the Kubernetes client is imported by the command that talks to the API server.
"""

from __future__ import annotations


def main() -> int:
    """The console script `krt`. Returns the exit code."""
    import sys

    from controlplane.cli.app import run_krt

    return run_krt(sys.argv[1:])
