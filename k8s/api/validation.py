"""Checks of a Run before it is sent: krt's, so that bad input gets an answer that names the field and the remedy.

The API server validates everything again and is the authority; these checks exist for better messages and for the one rule
that no schema holds: names of environment variables that are ours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from k8s.api.durations import parse_duration
from k8s.api.errors import InvalidRun
from k8s.api.names import RESERVED_ENV_NAMES

MAX_INLINE_LENGTH = 262_144
"""Characters of `spec.source.inline`, as in the CRD."""
MAX_ARGS = 256
MAX_ARG_LENGTH = 8192
MAX_ENV = 256


def check_env_name(name: str, *, field: str) -> None:
    """Refuses names that no process could receive, and ours."""
    if not name:
        raise InvalidRun(field=field, message="the name is empty; write NAME=VALUE")
    if "=" in name or "\0" in name:
        raise InvalidRun(field=field, message=f"{name[:64]!r} cannot be the name of a variable; leave out `=` and NUL")
    if name in RESERVED_ENV_NAMES:
        raise InvalidRun(field=field, message=f"{name} is set by kruntimes for every Run; choose another name")


def check_run_manifest(manifest: Mapping[str, Any]) -> None:
    """Raises InvalidRun for the first field that breaks a rule."""
    if not isinstance(manifest, Mapping) or not isinstance(spec := manifest.get("spec"), Mapping):
        raise InvalidRun(field="spec", message="must be an object with `runtime` and `mode`")
    _check_source(_object(spec, "source", field="spec.source"))
    _check_args(_object(_object(spec, "mode", field="spec.mode"), "task", field="spec.mode.task"))
    _check_env(spec.get("env") or [])
    _check_duration(spec.get("timeout"), field="spec.timeout")
    _check_duration(_object(spec, "retryPolicy", field="spec.retryPolicy").get("backoff"), field="spec.retryPolicy.backoff")


def _object(parent: Mapping[str, Any], key: str, *, field: str) -> Mapping[str, Any]:
    """Empty where it is absent."""
    found = parent.get(key)
    if found is None:
        return {}
    if not isinstance(found, Mapping):
        raise InvalidRun(field=field, message=f"must be an object, not {type(found).__name__}")
    return found


def _check_source(source: Mapping[str, Any]) -> None:
    inline = source.get("inline")
    if inline is not None and not isinstance(inline, str):
        raise InvalidRun(field="spec.source.inline", message=f"must be a string, not {type(inline).__name__}")
    if inline is not None and len(inline) > MAX_INLINE_LENGTH:
        raise InvalidRun(
            field="spec.source.inline",
            message=f"has {len(inline)} characters, the limit is {MAX_INLINE_LENGTH}; keep large sources in git (spec.source.repoURL)",
        )


def _check_args(task: Mapping[str, Any]) -> None:
    args = task.get("args")
    if args is None:
        return
    if isinstance(args, str) or not isinstance(args, Sequence):
        raise InvalidRun(field="spec.mode.task.args", message='must be a list of strings; write it as in ["echo", "hello"]')
    if len(args) > MAX_ARGS:
        raise InvalidRun(field="spec.mode.task.args", message=f"has {len(args)} items, the limit is {MAX_ARGS}")
    for index, arg in enumerate(args):
        if not isinstance(arg, str):
            raise InvalidRun(field=f"spec.mode.task.args[{index}]", message=f"must be a string, not {type(arg).__name__}; put it in quotes")
        if len(arg) > MAX_ARG_LENGTH:
            raise InvalidRun(
                field=f"spec.mode.task.args[{index}]",
                message=f"has {len(arg)} characters, the limit is {MAX_ARG_LENGTH}; pass a script with spec.source.inline instead",
            )


def _check_env(env: Any) -> None:
    if isinstance(env, str) or not isinstance(env, Sequence) or not all(isinstance(variable, Mapping) for variable in env):
        raise InvalidRun(field="spec.env", message="must be a list of objects with `name` and `value`")
    if len(env) > MAX_ENV:
        raise InvalidRun(field="spec.env", message=f"has {len(env)} items, the limit is {MAX_ENV}")
    for index, variable in enumerate(env):
        check_env_name(str(variable.get("name", "")), field=f"spec.env[{index}].name")


def _check_duration(text: Any, *, field: str) -> None:
    if text is None:
        return
    if not isinstance(text, str):
        raise InvalidRun(field=field, message=f"must be a string as in 1m30s, not {type(text).__name__}")
    try:
        parse_duration(text)
    except ValueError as error:
        raise InvalidRun(field=field, message=str(error)) from error
