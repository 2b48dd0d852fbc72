"""The environment of user code: a short allow-list of the server's own, what the command needs, and the Run's, which wins.

Nothing else of the server's environment reaches a Run: it may hold secrets of the container. Where the container names no
locale, Python has set LC_CTYPE=C.UTF-8 for itself (PEP 538), and a Run gets that too.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from servers.sdk.command import CannotRun

ALLOWED_NAMES = frozenset({"PATH", "HOME", "LANG", "TZ", "TMPDIR", "HOSTNAME"})
ALLOWED_PREFIX = "LC_"


def compose_environment(allowed: Mapping[str, str], *, defaults: Mapping[str, str], run_env: Mapping[str, str]) -> dict[str, str]:
    """`allowed` is the `allowed_part` of the server's own. Raises CannotRun for what no process can be given."""
    for name, value in run_env.items():
        _check(name, value=value)
    return {"PATH": os.defpath, **allowed, **defaults, **run_env}


def allowed_part(own: Mapping[str, str]) -> dict[str, str]:
    """Taken once: a server's environment does not change, and looking through it is dear beside the rest of a start."""
    return {name: value for name, value in own.items() if (name in ALLOWED_NAMES or name.startswith(ALLOWED_PREFIX)) and _is_text(value)}


def _check(name: str, *, value: str) -> None:
    if not name or "=" in name or "\0" in name:
        raise CannotRun(f"env: the name {name[:64]!r} must not be empty nor contain = or NUL")
    if "\0" in value:
        raise CannotRun(f"env: the value of {name[:64]} contains NUL, which no environment can hold")


def _is_text(value: str) -> bool:
    """False for bytes of the environment that were no UTF-8: they cannot be passed on unchanged."""
    return not any("\ud800" <= character <= "\udfff" for character in value)
