"""`krt explain` of Runs that really went through the system, held against what the API server counted."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest

from k8s.api.ledger import INSTANTS
from tests.cluster.embedded import EmbeddedApiServer
from tests.system.stage import NAMESPACE, Stage

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

EMBEDDED = pytest.mark.parametrize("stage", ["embedded"], indirect=True, scope="module")
"""Its audit names the object of each write."""


def krt(stage: Stage, *arguments: str) -> str:
    """stdout of a krt that must succeed."""
    command = [sys.executable, "-m", "controlplane.cli", "--kubeconfig", str(stage.server.kubeconfig), *arguments]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=30, env=os.environ | {"TZ": "UTC"}, check=False)
    assert (ended.returncode, ended.stderr) == (0, ""), ended.stderr
    return ended.stdout


def explained(stage: Stage, name: str) -> Any:
    return json.loads(krt(stage, "explain", name, "-o", "json"))


def writes_of(stage: Stage, name: str) -> int:
    assert isinstance(stage.server, EmbeddedApiServer)
    lines = map(json.loads, (stage.server.folder / "audit.jsonl").read_text().splitlines())
    return sum(line["name"] == name and line["resource"].startswith("runs") for line in lines)


@EMBEDDED
def test_the_writes_it_names_are_those_that_the_api_server_saw(stage: Stage) -> None:
    (short,) = stage.run_all(count=1, parallel=1)
    (long,) = stage.run_all(count=1, parallel=1, source={"inline": "echo hello; sleep 1"})
    for run in (short, long):
        writes = explained(stage, run.metadata.name)["writes"]
        assert writes["isExact"]
        assert writes["count"] == writes_of(stage, run.metadata.name)
    assert explained(stage, long.metadata.name)["writes"]["parts"] == ["create", "assign", "running", "finish"]
    retry = {"maxAttempts": 2, "backoff": "10ms"}
    (retried,) = stage.run_all(count=1, parallel=1, source={"inline": "[ -e again ] || { touch again; exit 1; }"}, retryPolicy=retry)
    writes = explained(stage, retried.metadata.name)["writes"]
    assert not writes["isExact"]
    assert 4 <= writes["count"] <= writes_of(stage, retried.metadata.name)


def test_the_timeline_of_a_finished_run_leads_without_a_gap_from_create_to_its_end(stage: Stage) -> None:
    (run,) = stage.run_all(count=1, parallel=1, source={"inline": "echo hello"})
    told = explained(stage, run.metadata.name)
    names = ["created", *(name.replace("first_output", "firstOutput") for name in INSTANTS)]
    assert [step["name"] for step in told["steps"]] == names
    assert all(step["afterSeconds"] >= 0 for step in told["steps"][1:])
    assert (told["phase"], told["exitCode"], told["attempt"]) == ("Succeeded", 0, 1)
    assert "notes" not in told
    text = krt(stage, "explain", f"run/{run.metadata.name}")
    assert f"Run:          {NAMESPACE}/{run.metadata.name}\n" in text
    assert "Runtime Server: saw the process end, exit code 0\n" in text


@EMBEDDED
def test_a_run_that_nobody_takes_says_what_is_missing_and_one_that_is_full_says_by_how_much(stage: Stage) -> None:
    manifest: dict[str, Any] = {"runtime": "nowhere", "mode": {"task": {}}}
    create(stage, "waits", **manifest)
    told = until(stage, "waits", lambda told: told["message"] != "")
    assert told["waits"][0]["why"] == 'waiting for available runtime pods for runtime "nowhere"'
    assert told["waits"][0]["details"] == [f'there is no Runtime "nowhere" in namespace {NAMESPACE}; create it, or name another']
    create(stage, "too-big", runtime="bash", mode={"task": {}}, resources={"requests": {"runs": 65}})
    told = until(stage, "too-big", lambda told: told["message"] != "")
    needs, *pods = told["waits"][0]["details"]
    assert needs == "it needs a ready Pod with room for 65 runs"
    assert [pod.partition(": ")[2] for pod in pods] == ["ready; 0 of 64 runs taken"] * 2
    assert "so far: waiting for available runtime pods" in krt(stage, "explain", "too-big")


def create(stage: Stage, name: str, **spec: Any) -> None:
    from urllib.request import Request, urlopen

    body = {"apiVersion": "kruntimes.io/v1alpha1", "kind": "Run", "metadata": {"name": name}, "spec": spec}
    access = stage.server.admin
    path = f"/apis/kruntimes.io/v1alpha1/namespaces/{NAMESPACE}/runs"
    headers = access.headers | {"Content-Type": "application/json"}
    with urlopen(Request(access.url + path, data=json.dumps(body).encode(), headers=headers), context=access.tls(), timeout=10):
        pass


def until(stage: Stage, name: str, is_so: Callable[[Any], bool]) -> Any:
    """The scheduler tells a Run that it waits after a second; krt is asked until then."""
    deadline = time.monotonic() + 20
    while True:
        told = explained(stage, name) | {}
        told.setdefault("message", "")
        if is_so(told):
            return told
        assert time.monotonic() < deadline, told
