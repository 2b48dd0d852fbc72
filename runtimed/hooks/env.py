"""The environment that a Run's process is given: spec.env, and our own names above it."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from k8s.api import names
from k8s.api.run import Run
from runtimed.hooks.refusals import SourceRefused

Resolved = Mapping[int, str | None]
"""By the variable's index in spec.env: its value from elsewhere; None for one that is optional and not there."""
NOTHING_RESOLVED: Final[Resolved] = MappingProxyType({})


def asks_elsewhere(run: Run) -> bool:
    """Whether a variable has its value from another object."""
    return any(variable.value_from is not None for variable in run.spec.env)


def build_env(run: Run, *, outputs_file: str, artifacts_dir: str = "", resolved: Resolved = NOTHING_RESOLVED) -> dict[str, str]:
    """Name to value; of two equal names the last counts. Raises SourceRefused naming a variable that no process could be given."""
    env: dict[str, str] = {}
    for index, variable in enumerate(run.spec.env):
        value = variable.value if variable.value_from is None else resolved[index]
        if value is None:
            continue
        if "\0" in value or "\0" in variable.name or "=" in variable.name or not variable.name:
            raise SourceRefused(
                f"spec.env[{index}]: {variable.name[:128]!r} is not a possible environment variable; NUL and = are not allowed"
            )
        if variable.name not in names.RESERVED_ENV_NAMES:
            env[variable.name] = value
    env[names.OUTPUTS_ENV] = outputs_file
    if artifacts_dir:
        env[names.ARTIFACTS_DIR_ENV] = artifacts_dir
    return env
