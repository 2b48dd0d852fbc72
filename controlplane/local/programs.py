"""Where our own programs are, and the little of this environment that programs of local mode are given.

An installed kruntimes has console scripts beside its interpreter; a checkout runs the same functions with this interpreter.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Mapping
from pathlib import Path

STATE_MARK = "KRUNTIMES_LOCAL_STATE"
"""Environment name that every process of a local mode carries: the state folder. By it `krt local down` finds what is left."""
_ENTRY_POINTS = {
    "krt-scheduler": "controlplane.scheduler",
    "krt-controller": "controlplane.controllers",
    "krt-maintainer": "runtimed.maintainer",
    "runtimed": "runtimed",
    "krt-server-bash": "servers.bash",
    "krt-server-python": "servers.python",
}
_PASSED_ON = ("PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR", "SSL_CERT_FILE", "SSL_CERT_DIR")
_DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def program(name: str) -> list[str]:
    """The command that runs one of our programs."""
    script = Path(sys.executable).parent / name
    if script.exists():
        return [str(script)]
    # -P: a folder named like one of our packages in the working directory must not be imported instead.
    return [sys.executable, "-P", "-c", f"import sys; from {_ENTRY_POINTS[name]} import main; sys.exit(main())"]


def module(name: str) -> list[str]:
    """The command that runs a module of ours."""
    return [sys.executable, "-P", "-m", name]


def base_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """The allow-list, taken from `environment`. Secrets that a shell exports do not get past it."""
    passed_on = {name: environment[name] for name in _PASSED_ON if name in environment}
    return {"PATH": _DEFAULT_PATH, **passed_on}


def own_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """For our own programs: also where this checkout's packages are, unless they are installed."""
    folders = _package_folders()
    return {**base_environment(environment), "PYTHONUNBUFFERED": "1"} | ({"PYTHONPATH": os.pathsep.join(folders)} if folders else {})


def marks(environment: Mapping[str, str]) -> dict[str, str]:
    """What says to which local mode a process belongs."""
    return {STATE_MARK: environment[STATE_MARK]} if STATE_MARK in environment else {}


def _package_folders() -> list[str]:
    folders: dict[str, None] = {}
    for package in ("controlplane", "krtpb"):
        spec = importlib.util.find_spec(package)
        for location in (spec.submodule_search_locations if spec else None) or ():
            folder = Path(location).resolve().parent
            if folder.name not in ("site-packages", "dist-packages"):
                folders[str(folder)] = None
    return list(folders)
