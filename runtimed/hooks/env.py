"""The environment that a Run's process is given: spec.env, and our own names above it."""

from __future__ import annotations

from k8s.api import names
from k8s.api.run import Run
from runtimed.hooks.source import SourceRefused


def build_env(run: Run, *, outputs_file: str, artifacts_dir: str = "") -> dict[str, str]:
    """Name to value; of two equal names the last counts. Raises SourceRefused naming a variable that cannot be resolved."""
    env: dict[str, str] = {}
    for index, variable in enumerate(run.spec.env):
        if variable.value_from is not None:
            kind = next(iter(variable.value_from), "valueFrom")
            raise SourceRefused(
                f"spec.env[{index}].valueFrom: the variable {variable.name[:128]!r} asks for {kind}, which this version of runtimed "
                "does not resolve; set its value instead"
            )
        if "\0" in variable.value or "\0" in variable.name or "=" in variable.name or not variable.name:
            raise SourceRefused(
                f"spec.env[{index}]: {variable.name[:128]!r} is not a possible environment variable; NUL and = are not allowed"
            )
        if variable.name not in names.RESERVED_ENV_NAMES:
            env[variable.name] = variable.value
    env[names.OUTPUTS_ENV] = outputs_file
    if artifacts_dir:
        env[names.ARTIFACTS_DIR_ENV] = artifacts_dir
    return env
