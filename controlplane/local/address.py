"""At which port the API server listens: the one that was asked for, else the last one, so that kubeconfigs stay good."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

import yaml

from controlplane.local.ports import Ports, is_free


def remembered_port(kubeconfig: Path, *, wanted: int | None) -> int:
    """`wanted` if given, whether free or not: a server that cannot have it says so."""
    if wanted:
        return wanted
    last = _last_port(kubeconfig)
    return last if last and is_free(last) else Ports().take()


def _last_port(kubeconfig: Path) -> int | None:
    try:
        document = yaml.safe_load(kubeconfig.read_text())
        return urlsplit(str(document["clusters"][0]["cluster"]["server"])).port
    except (OSError, ValueError, yaml.YAMLError, KeyError, IndexError, TypeError):
        return None  # there is none yet, or somebody edited it: it is written anew
