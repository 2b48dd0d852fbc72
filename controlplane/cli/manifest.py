"""From the flags of `krt run` to the manifest of a Run. Pure: reading files and sending are the command's."""

from __future__ import annotations

import random
import re
import shlex
import string
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from k8s.api import names
from k8s.api.durations import parse_duration
from k8s.api.errors import InvalidRun, UsageError

BASH = "bash"
_BUILT_IN = frozenset({BASH, "python"})
"""Runtimes that have nothing to run without a source or args; a custom one may."""
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_LABEL_NAME = re.compile(r"(?=.{1,63}$)[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?")
_LABEL_VALUE = re.compile(r"(?=.{0,63}$)([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?")


@dataclass(frozen=True, slots=True)
class RunRequest:
    """What the command line asked for; `source` is the text of the file."""

    runtime: str = BASH
    words: tuple[str, ...] = ()
    source: str | None = None
    entrypoint: str | None = None
    handler: str | None = None
    repo_url: str | None = None
    commit_sha: str | None = None
    env: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    timeout: str | None = None
    retry_attempts: int = 0
    retry_backoff: str | None = None
    ttl: str | None = None
    name: str | None = None
    keep_log: bool = False


def random_name(*, source: random.Random | None = None) -> str:
    """`run-` and 8 random lower-case letters and digits: 2.8 * 10^12 names, so a clash is answered by AlreadyExists."""
    choose = (source or random.SystemRandom()).choice
    return "run-" + "".join(choose(string.ascii_lowercase + string.digits) for _ in range(8))


def build_manifest(request: RunRequest, *, name: str) -> dict[str, Any]:
    """The Run as it is sent. Raises UsageError for combinations that cannot mean anything, InvalidRun for bad values."""
    check_combinations(request)
    _check_name(name)
    metadata: dict[str, Any] = {"name": name}
    if labels := _labels(request.labels):
        metadata["labels"] = labels
    if request.keep_log:
        metadata["annotations"] = {names.KEEP_LOG_ANNOTATION: "true"}
    spec: dict[str, Any] = {"runtime": request.runtime, **_source(request), "mode": _mode(request), **_env(request), **_limits(request)}
    return {"apiVersion": names.API_VERSION, "kind": "Run", "metadata": metadata, "spec": spec}


def _check_name(name: str) -> None:
    if len(name) > 253 or not _NAME.fullmatch(name):
        remedy = "use lower-case letters, digits, `-` and `.`, at most 253 of them"
        raise InvalidRun(field="metadata.name", message=f"{name[:64]!r} is not a name; {remedy}")


def check_combinations(request: RunRequest) -> None:
    """Refuses flags that exclude each other, and a Run with nothing to run."""
    refused = (
        (request.source is not None and request.repo_url, "--file and --repo-url exclude each other: a Run has one source"),
        (request.handler and request.entrypoint, "--handler and --entrypoint exclude each other: a function has no entrypoint"),
        (request.handler and request.words, "--handler takes no arguments after `--`: a function gets its input when it is called"),
        (request.source is not None and request.entrypoint, "--file and --entrypoint exclude each other: the file is what is run"),
        (request.commit_sha and not request.repo_url, "--commit-sha needs --repo-url: it names a commit of that repository"),
        (request.retry_backoff and not request.retry_attempts, "--retry-backoff needs --retry-attempts: without it nothing is retried"),
        (request.source == "", "--file is empty: there is nothing to run"),
    )
    for is_refused, message in refused:
        if is_refused:
            raise UsageError(message)
    has_work = request.source or request.repo_url or request.words or request.handler or request.entrypoint
    if request.runtime in _BUILT_IN and not has_work:
        raise UsageError("nothing to run: give a command after `--`, a script with -f, or a repository with --repo-url")


def command_args(words: Sequence[str], *, runtime: str) -> list[str]:
    """The args of a command. The bash Runtime runs several args as lines of one script, so words are joined, quoted, into one."""
    is_shell_call = len(words) > 2 and words[0] in {"sh", "bash"} and words[1] == "-c"
    if runtime != BASH or len(words) == 1 or is_shell_call:
        return list(words)
    return [shlex.join(words)]


def _mode(request: RunRequest) -> dict[str, Any]:
    if request.handler:
        return {"function": {"handler": request.handler}}
    task: dict[str, Any] = {}
    if request.entrypoint:
        task["entrypoint"] = request.entrypoint
    if request.words:
        # Beside a script or an entrypoint, words are its arguments, whatever the Runtime.
        is_command = request.source is None and not request.entrypoint
        task["args"] = command_args(request.words, runtime=request.runtime) if is_command else list(request.words)
    return {"task": task}


def _source(request: RunRequest) -> dict[str, Any]:
    if request.source is not None:
        source: dict[str, Any] = {"inline": request.source}
        if request.handler:
            source["inlinePath"] = handler_path(request.handler, runtime=request.runtime)
        return {"source": source}
    if request.repo_url:
        return {"source": {"repoURL": request.repo_url, **({"commitSHA": request.commit_sha} if request.commit_sha else {})}}
    return {}


def handler_path(handler: str, *, runtime: str) -> str:
    """Where an inline source must lie for `module.function` to be found in it (the API requires inlinePath then)."""
    module, dot, function = handler.rpartition(".")
    if not dot or not module or not function or not all(module.split(".")):
        raise UsageError(f"--handler {handler[:64]!r}: write it as MODULE.FUNCTION, as in jobs.nightly")
    return f"{module}.sh" if runtime == BASH else f"{module.replace('.', '/')}.py"


def _env(request: RunRequest) -> dict[str, Any]:
    return {"env": [_variable(text, index=index) for index, text in enumerate(request.env)]} if request.env else {}


def _variable(text: str, *, index: int) -> dict[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        # What does not look like a name may be a secret that the shell has split off: then it is not repeated.
        shown = f" {text!r}" if re.fullmatch(r"[A-Z_][A-Z0-9_]{0,63}", text) else ""
        raise InvalidRun(field=f"spec.env[{index}]", message=f"--env{shown} has no `=`; write --env NAME=VALUE")
    return {"name": name, "value": value}


def _labels(texts: Sequence[str]) -> dict[str, str]:
    labels: dict[str, str] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not _LABEL_NAME.fullmatch(key.rpartition("/")[2]) or not _LABEL_VALUE.fullmatch(value):
            raise InvalidRun(field="metadata.labels", message=f"--label {text[:64]!r} is not a label; write --label KEY=VALUE")
        labels[key] = value
    return labels


def _limits(request: RunRequest) -> dict[str, Any]:
    limits: dict[str, Any] = {}
    if timeout := _duration(request.timeout, flag="--timeout"):
        limits["timeout"] = timeout
    if request.retry_attempts:
        backoff = _duration(request.retry_backoff, flag="--retry-backoff") or "1s"
        limits["retryPolicy"] = {"maxAttempts": _attempts(request.retry_attempts), "backoff": backoff}
    if request.ttl is not None:
        limits["ttlSecondsAfterFinished"] = _whole_seconds(request.ttl)
    return limits


def _duration(text: str | None, *, flag: str) -> str | None:
    """The text itself, None where it means none. A bare number is taken for seconds, as people write it."""
    if text is None or text == "0":
        return None
    text = f"{text}s" if text.isdecimal() else text
    try:
        seconds = parse_duration(text).total_seconds()
    except ValueError as error:
        raise UsageError(f"{flag}: {error}") from error
    if seconds < 0:
        raise UsageError(f"{flag}: {text} is negative; give a duration as in 30s or 5m")
    return text if seconds else None


def _attempts(count: int) -> int:
    if not 1 <= count <= 100:
        raise UsageError(f"--retry-attempts: {count} is not between 1 and 100")
    return count


def _whole_seconds(text: str) -> int:
    try:
        seconds = int(text) if text.isdecimal() else parse_duration(text).total_seconds()
    except ValueError as error:
        raise UsageError(f"--ttl: {error}") from error
    if seconds < 0 or seconds != int(seconds) or seconds > 2**31 - 1:
        raise UsageError(f"--ttl: {text} is not a whole number of seconds from 0 on; give it as in 600 or 10m")
    return int(seconds)
