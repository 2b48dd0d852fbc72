"""A Run from `kubectl create -f` to its end, in every way that it can end, on both API servers."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster.kubectl import Kubectl
from tests.contract.objects import run as minimal_run
from tests.system.conftest import EXAMPLES

pytestmark = [pytest.mark.kube, pytest.mark.slow]


def create(kubectl: Kubectl, manifest: Path | dict[str, Any]) -> str:
    """The name it was given."""
    if isinstance(manifest, Path):
        return kubectl.ok("create", "-f", str(manifest), "-o", "name").strip()
    return kubectl.ok("create", "-f", "-", "-o", "name", stdin=yaml.safe_dump(manifest)).strip()


def ended(kubectl: Kubectl, name: str, *, phase: str) -> Any:
    """Its status once it is in that phase, which it must reach."""
    kubectl.ok("wait", f"--for=jsonpath={{.status.phase}}={phase}", name, "--timeout=20s")
    return kubectl.json(name)["status"]


def bash(script: str, **spec: Any) -> dict[str, Any]:
    manifest = minimal_run()
    manifest["metadata"] = {"generateName": "case-"}
    manifest["spec"] |= {"source": {"inline": script}} | spec
    return manifest


def condition(status: Any, type_: str) -> tuple[str, str, str]:
    found = next(item for item in status["conditions"] if item["type"] == type_)
    return found["status"], found["reason"], found["message"]


def test_the_first_example_succeeds_with_its_outputs(kubectl: Kubectl) -> None:
    status = ended(kubectl, create(kubectl, EXAMPLES / "runs" / "hello.yaml"), phase="Succeeded")
    assert status["outputs"] == {"greeted": "kubectl"}
    assert (status["message"], status["exitCode"], status["attempt"]) == ("execution completed", 0, 1)
    assert condition(status, "Completed") == ("True", "RunCompleted", "Completed successfully")
    assert condition(status, "Running") == ("False", "Completed", "")


def test_the_python_example_gets_its_arguments_and_its_environment(kubectl: Kubectl) -> None:
    name = create(kubectl, EXAMPLES / "runs" / "python.yaml")
    status = ended(kubectl, name, phase="Succeeded")
    assert status["outputs"] == {"total": "6"}


def test_the_ledger_tells_each_step_in_order(kubectl: Kubectl) -> None:
    status = ended(kubectl, create(kubectl, EXAMPLES / "runs" / "hello.yaml"), phase="Succeeded")
    timings = status["timings"]
    steps = [timings[step] for step in ("observed", "assigned", "received", "started", "finished", "recorded")]
    assert steps == sorted(steps)
    assert all(len(step) == len("2026-08-09T10:00:01.000250Z") for step in steps)


def test_a_failing_run_carries_its_exit_code_and_reason(kubectl: Kubectl) -> None:
    status = ended(kubectl, create(kubectl, EXAMPLES / "runs" / "failing.yaml"), phase="Failed")
    assert (status["exitCode"], status["attempt"]) == (3, 1)
    assert condition(status, "Completed")[:2] == condition(status, "Running")[:2] == ("False", "RuntimeError")


def test_a_timed_out_run_says_so(kubectl: Kubectl) -> None:
    status = ended(kubectl, create(kubectl, EXAMPLES / "runs" / "timeout.yaml"), phase="Timeout")
    assert condition(status, "Completed") == ("False", "Timeout", "timeout after 500ms")


def test_a_run_is_cancelled_by_a_patch(kubectl: Kubectl) -> None:
    name = create(kubectl, EXAMPLES / "runs" / "long.yaml")
    kubectl.ok("wait", "--for=jsonpath={.status.phase}=Running", name, "--timeout=20s")
    kubectl.ok("patch", name, "--type=merge", "-p", '{"spec": {"cancelRequested": true}}')
    status = ended(kubectl, name, phase="Cancelled")
    assert condition(status, "Completed") == ("False", "Cancelled", "cancelled by user")


def test_a_run_cancelled_before_anybody_took_it_has_made_no_attempt(kubectl: Kubectl) -> None:
    name = create(kubectl, bash("exit 0", runtime="nowhere"))
    kubectl.ok("wait", "--for=jsonpath={.status.phase}=Pending", name, "--timeout=20s")
    kubectl.ok("patch", name, "--type=merge", "-p", '{"spec": {"cancelRequested": true}}')
    assert ended(kubectl, name, phase="Cancelled").get("attempt", 0) == 0


def test_an_unknown_runtime_waits_with_the_known_message(kubectl: Kubectl) -> None:
    name = create(kubectl, bash("exit 0", runtime="nowhere"))
    status = ended(kubectl, name, phase="Pending")
    assert status["message"] == 'waiting for available runtime pods for runtime "nowhere"'
    assert "assignedPod" not in status
    kubectl.ok("delete", name)


def test_a_signal_is_an_exit_code_and_a_runtime_error(kubectl: Kubectl) -> None:
    status = ended(kubectl, create(kubectl, bash("kill -9 $$")), phase="Failed")
    assert status["exitCode"] == 137
    assert condition(status, "Completed")[1] == "RuntimeError"
    assert "memory" not in status["message"]


def test_retries_run_in_place_and_are_counted(kubectl: Kubectl, tmp_path: Path) -> None:
    starts = tmp_path / "starts"
    script = f"echo start >> {starts}; [ $(wc -l < {starts}) -ge 3 ]"
    retry = {"maxAttempts": 3, "backoff": "10ms"}
    status = ended(kubectl, create(kubectl, bash(script, retryPolicy=retry)), phase="Succeeded")
    assert status["attempt"] == 3
    assert starts.read_text().splitlines() == ["start"] * 3


def test_unsound_outputs_fail_the_run_and_are_not_retried(kubectl: Kubectl, tmp_path: Path) -> None:
    starts = tmp_path / "starts"
    script = f'echo start >> {starts}; echo "no equals sign" >> "$KRUNTIME_OUTPUTS"'
    retry = {"maxAttempts": 3, "backoff": "10ms"}
    status = ended(kubectl, create(kubectl, bash(script, retryPolicy=retry)), phase="Failed")
    assert condition(status, "Completed")[1] == "OutputsInvalid"
    assert starts.read_text() == "start\n"


def test_invalid_resources_are_refused_by_the_scheduler(kubectl: Kubectl) -> None:
    status = ended(kubectl, create(kubectl, bash("exit 0", resources={"requests": {"runs": "500m"}})), phase="Failed")
    assert condition(status, "Completed")[1] == "InvalidResources"


def test_a_deleted_run_takes_its_processes_along(kubectl: Kubectl, tmp_path: Path) -> None:
    """The script holds a FIFO open: the reader sees its end when, and only when, the last process of the Run is gone."""
    fifo = tmp_path / "alive"
    os.mkfifo(fifo)
    name = create(kubectl, bash(f"exec 9> {fifo}; setsid sleep 600 & echo up >&9; wait"))
    with fifo.open() as reader:
        assert reader.readline() == "up\n"
        kubectl.ok("delete", name)
        assert reader.read() == ""


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"source": {"inline": "x" * 300_000}}, "spec.source.inline"),
        ({"mode": {"task": {"args": "echo"}}}, "spec.mode.task.args"),
        ({"mode": {"task": {"args": [5]}}}, "spec.mode.task.args[0]"),
        ({"timeout": 5}, "spec.timeout"),
        ({"mode": {"task": {"entrypoint": "../up"}}, "source": {"repoURL": "https://example.com/r"}}, "spec.mode.task.entrypoint"),
    ],
)
def test_a_refused_run_names_the_field(kubectl: Kubectl, spec: dict[str, Any], field: str) -> None:
    assert field in kubectl.fails("create", "-f", "-", stdin=json.dumps(bash("exit 0", **spec)))


def test_a_watch_shows_the_phases(kubectl: Kubectl) -> None:
    watch = kubectl.start("get", "rn", "-w", "-o", "jsonpath={.metadata.name} {.status.phase}{'\\n'}")
    try:
        name = create(kubectl, bash("sleep 0.5")).partition("/")[2]
        assert watch.stdout is not None
        phases: list[str] = []
        for line in watch.stdout:
            seen, _, phase = line.strip().partition(" ")
            if seen == name and phase and phase not in phases:
                phases.append(phase)
            if phases[-1:] == ["Succeeded"]:
                break
    finally:
        watch.terminate()
        watch.wait()
        assert watch.stdout is not None
        watch.stdout.close()
    assert phases == ["Scheduled", "Running", "Succeeded"]
