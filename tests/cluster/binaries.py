"""Where etcd, kube-apiserver and kubectl are. Building them takes minutes, so it is never done from within a test."""

from __future__ import annotations

import os
import subprocess
from functools import cache
from pathlib import Path

_SCRIPT = Path(__file__).with_name("build-binaries.sh")


class BinariesMissing(RuntimeError):
    """They were not built yet. A test skips then, except in CI (`binaries_are_required`)."""


@cache
def binaries_folder(*flags: str) -> Path:
    """The folder with etcd, kube-apiserver and kubectl: $KUBEBUILDER_ASSETS or the cache. Others by the script's `flags`.

    Raises BinariesMissing.
    """
    found = subprocess.run([_SCRIPT, *flags, "--find"], capture_output=True, text=True, check=False)
    if found.returncode != 0:
        raise BinariesMissing(f"{found.stderr.strip()} (tests/cluster/build-binaries.sh {' '.join(flags)} builds them)")
    return Path(found.stdout.strip())


def binaries_are_required() -> bool:
    """In CI a missing binary is a failure: a skipped suite would look green."""
    return os.environ.get("CI", "") not in ("", "0", "false")
