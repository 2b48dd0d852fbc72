"""From flags to a Run."""

from __future__ import annotations

import random
import re
from typing import Any

import pytest

from controlplane.cli.manifest import RunRequest, build_manifest, command_args, handler_path, random_name
from k8s.api.errors import InvalidRun, KrtError, UsageError


def spec_of(**request: Any) -> dict[str, Any]:
    spec: dict[str, Any] = build_manifest(RunRequest(**request), name="n")["spec"]
    return spec


@pytest.mark.parametrize(
    ("words", "args"),
    [
        (["echo hi; ls"], ["echo hi; ls"]),
        (["ls"], ["ls"]),
        (["echo", "hi there", "$HOME"], ["echo 'hi there' '$HOME'"]),
        (["sh", "-c", "echo hi"], ["sh", "-c", "echo hi"]),
        (["bash", "-c", "echo $1", "x", "y z"], ["bash", "-c", "echo $1", "x", "y z"]),
        (["bash", "-c"], ["bash -c"]),
        (["bash", "-lc", "ls"], ["bash -lc ls"]),
        (["echo", ""], ["echo ''"]),
    ],
)
def test_words_for_bash_become_one_command_unless_they_are_one_already(words: list[str], args: list[str]) -> None:
    assert command_args(words, runtime="bash") == args
    assert command_args(words, runtime="other") == words


def test_words_beside_a_script_or_an_entrypoint_are_its_arguments() -> None:
    assert spec_of(source="echo $1", words=("a b", "c"))["mode"] == {"task": {"args": ["a b", "c"]}}
    git = spec_of(repo_url="https://example.com/r.git", entrypoint="bin/x.sh", words=("a", "b c"))
    assert git["mode"] == {"task": {"entrypoint": "bin/x.sh", "args": ["a", "b c"]}}
    assert spec_of(repo_url="https://example.com/r.git", words=("make", "a b"))["mode"] == {"task": {"args": ["make 'a b'"]}}


def test_all_flags_reach_their_fields() -> None:
    request = RunRequest(
        runtime="python", source="print(1)", env=("A=1", "B=x=y", "EMPTY="), labels=("app=web", "example.com/tier="), timeout="1m30s",
        retry_attempts=3, ttl="10m", commit_sha=None, keep_log=True,
    )  # fmt: skip
    assert build_manifest(request, name="job-1") == {
        "apiVersion": "kruntimes.io/v1alpha1",
        "kind": "Run",
        "metadata": {
            "name": "job-1",
            "labels": {"app": "web", "example.com/tier": ""},
            "annotations": {"kruntimes.io/keep-log": "true"},
        },
        "spec": {
            "runtime": "python",
            "source": {"inline": "print(1)"},
            "mode": {"task": {}},
            "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "x=y"}, {"name": "EMPTY", "value": ""}],
            "timeout": "1m30s",
            "retryPolicy": {"maxAttempts": 3, "backoff": "1s"},
            "ttlSecondsAfterFinished": 600,
        },
    }


def test_git_sources_carry_their_commit() -> None:
    assert spec_of(repo_url="https://example.com/r.git", commit_sha="v1")["source"] == {
        "repoURL": "https://example.com/r.git",
        "commitSHA": "v1",
    }


def test_an_inline_function_lies_where_its_handler_is_looked_for() -> None:
    spec = spec_of(runtime="python", source="def nightly(event): ...", handler="jobs.nightly")
    assert spec["mode"] == {"function": {"handler": "jobs.nightly"}}
    assert spec["source"]["inlinePath"] == "jobs.py"
    assert handler_path("a.b.c", runtime="python") == "a/b.py"
    assert handler_path("job.main", runtime="bash") == "job.sh"


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        ({}, "nothing to run"),
        ({"runtime": "python"}, "nothing to run"),
        ({"source": ""}, "--file is empty"),
        ({"source": "x", "repo_url": "u"}, "--file and --repo-url"),
        ({"handler": "a.b", "entrypoint": "x"}, "--handler and --entrypoint"),
        ({"handler": "a.b", "words": ("x",)}, "--handler takes no arguments"),
        ({"source": "x", "entrypoint": "y"}, "--file and --entrypoint"),
        ({"commit_sha": "v1", "words": ("x",)}, "--commit-sha needs --repo-url"),
        ({"retry_backoff": "1s", "words": ("x",)}, "--retry-backoff needs --retry-attempts"),
        ({"retry_attempts": 101, "words": ("x",)}, "--retry-attempts: 101"),
        ({"retry_attempts": -1, "words": ("x",)}, "--retry-attempts: -1"),
        ({"timeout": "soon", "words": ("x",)}, "--timeout: 'soon' is not a duration"),
        ({"timeout": "-5s", "words": ("x",)}, "--timeout: -5s is negative"),
        ({"ttl": "1500ms", "words": ("x",)}, "--ttl: 1500ms is not a whole number"),
        ({"ttl": "later", "words": ("x",)}, "--ttl: 'later'"),
        ({"source": "x", "handler": "nightly"}, "write it as MODULE.FUNCTION"),
    ],
)
def test_what_cannot_mean_anything_is_refused_with_the_remedy(request_: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=re.escape(words)) as refusal:
        spec_of(**request_)
    assert refusal.value.exit_code == 2


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        ({"env": ("A=1", "SECRETVALUE")}, "spec.env[1]"),
        ({"labels": ("app",)}, "metadata.labels"),
        ({"labels": ("-bad=x",)}, "metadata.labels"),
        ({"labels": ("app=not ok",)}, "metadata.labels"),
    ],
)
def test_bad_values_are_refused_by_field(request_: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidRun) as refusal:
        spec_of(words=("x",), **request_)
    assert refusal.value.field == field
    assert isinstance(refusal.value, KrtError)


@pytest.mark.parametrize(("text", "written"), [("0", None), ("0s", None), ("90", "90s"), ("1.5s", "1.5s"), ("2h", "2h")])
def test_timeouts_are_written_as_durations_and_zero_means_none(text: str, written: str | None) -> None:
    assert spec_of(words=("x",), timeout=text).get("timeout") == written


def test_a_custom_runtime_may_run_with_nothing() -> None:
    assert spec_of(runtime="batch") == {"runtime": "batch", "mode": {"task": {}}}


def test_names_are_run_and_eight_lower_case_letters_or_digits() -> None:
    assert re.fullmatch(r"run-[a-z0-9]{8}", random_name())
    assert random_name(source=random.Random(1)) == random_name(source=random.Random(1))
