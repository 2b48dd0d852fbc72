"""`kubectl logs` of a Runtime Pod: what its Runs printed. The embedded server's node serves them; beside the real one is no kubelet."""

from __future__ import annotations

import json

import pytest

from tests.cluster.kubectl import Kubectl
from tests.contract.objects import run

pytestmark = [pytest.mark.kube, pytest.mark.slow, pytest.mark.parametrize("kubectl", ["embedded"], indirect=True, scope="module")]


def printed(text: str, *, uid: str) -> list[tuple[str, str]]:
    lines = [json.loads(line) for line in text.splitlines()]
    return [(line["stream"], line["message"]) for line in lines if line.get("run_uid") == uid]


def test_the_log_of_runtimed_carries_what_a_run_printed(kubectl: Kubectl) -> None:
    manifest = run("talks")
    manifest["spec"]["source"]["inline"] = "echo one; echo two >&2"
    kubectl.create(manifest)
    kubectl.ok("wait", "--for=jsonpath={.status.phase}=Succeeded", "run/talks", "--timeout=20s")
    made = kubectl.json("run", "talks")
    text = kubectl.ok("logs", made["status"]["assignedPod"], "-c", "runtimed", "--tail=50")
    assert sorted(printed(text, uid=made["metadata"]["uid"])) == [("stderr", "two"), ("stdout", "one")]


def test_a_followed_log_shows_output_as_it_happens(kubectl: Kubectl) -> None:
    pod = kubectl.json("pods", "-l", "runtime=bash")["items"][0]["metadata"]["name"]
    follower = kubectl.start("logs", pod, "-c", "runtimed", "-f", "--tail=1")
    try:
        assert follower.stdout is not None
        follower.stdout.readline()  # it stands
        manifest = run("lasts")
        manifest["spec"]["source"]["inline"] = "echo started; sleep 600"
        kubectl.create(manifest)
        seen = next(line for line in follower.stdout if '"message":"started"' in line)
        assert json.loads(seen)["run_name"] == "lasts"
        kubectl.ok("delete", "run", "lasts")
    finally:
        follower.terminate()
        follower.wait()
        assert follower.stdout is not None
        follower.stdout.close()
