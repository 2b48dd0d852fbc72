"""The whole system as a user meets it: krt local up, a client, Runs; and what becomes of Runs when parts of it are killed."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from controlplane.local.records import Record
from tests.controlplane.local.localmode import REPO, LocalMode, local_mode
from tests.controlplane.local.waiting import is_gone_within

Json = dict[str, Any]
pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]
RUNTIMES = ("bash", "python")
HELLO = 'echo hello; echo "total=3" >> "$KRUNTIME_OUTPUTS"'


@pytest.fixture(scope="module")
def local() -> Iterator[LocalMode]:
    with local_mode() as local:
        local.krt("local", "up")
        local.hands.apply(REPO / "examples" / "runtimes")
        until_ready(local)
        yield local


def until_ready(local: LocalMode) -> None:
    """Both Runtimes have a Pod that takes Runs."""
    for runtime in RUNTIMES:
        local.hands.wait("Runtime", runtime, until=lambda found: found.get("status", {}).get("readyReplicas") == 1)


def create(local: LocalMode, source: str, *, runtime: str = "bash", **spec: Any) -> str:
    """A new Run; gives its name."""
    body = {
        "apiVersion": "kruntimes.io/v1alpha1",
        "kind": "Run",
        "metadata": {"generateName": "test-"},
        "spec": {"runtime": runtime, "mode": {"task": {}}, "source": {"inline": source}, **spec},
    }
    name: str = local.hands.create(body)["metadata"]["name"]
    return name


def until(local: LocalMode, run: str, phase: str) -> Json:
    return local.hands.wait("Run", run, until=lambda found: found.get("status", {}).get("phase") == phase)


def pid_of_container(local: LocalMode, *, pod: str, container: str) -> int:
    """From the node's own records."""
    uid = local.hands.get("Pod", pod)["metadata"]["uid"]
    records = (msgspec.json.decode(path.read_bytes(), type=Record) for path in (local.state.node / "processes").glob("*.json"))
    return next(record.pid for record in records if record.container_id.startswith(f"{uid}-{container}-"))


def starts(path: Path) -> list[str]:
    """What user code wrote at each of its starts."""
    return path.read_text().split() if path.exists() else []


@pytest.fixture
def marks(tmp_path: Path) -> Path:
    """A place outside of every workspace, where user code notes its starts."""
    return tmp_path / "starts"


@pytest.mark.parametrize(
    ("runtime", "source"), [("bash", HELLO), ("python", "import os\nopen(os.environ['KRUNTIME_OUTPUTS'], 'a').write('total=3\\n')")]
)
def test_a_run_succeeds_with_its_outputs(local: LocalMode, runtime: str, source: str) -> None:
    run = until(local, create(local, source, runtime=runtime), "Succeeded")
    assert run["status"]["outputs"] == {"total": "3"}
    assert run["status"]["assignedPod"].startswith(f"runtime-{runtime}-")


def test_a_failing_run_keeps_its_exit_code(local: LocalMode) -> None:
    run = until(local, create(local, "echo broken >&2; exit 7"), "Failed")
    assert run["status"]["exitCode"] == 7
    assert run["status"]["message"]


def test_a_run_that_takes_too_long_times_out(local: LocalMode) -> None:
    until(local, create(local, "sleep 1000", timeout="1s"), "Timeout")


def test_a_cancelled_run_ends_with_its_whole_process_tree(local: LocalMode, marks: Path) -> None:
    name = create(local, f"setsid bash -c 'echo $BASHPID >> {marks}; exec sleep 1000' & wait")
    until(local, name, "Running")
    local.hands.merge("Run", name, {"spec": {"cancelRequested": True}})
    until(local, name, "Cancelled")
    assert all(is_gone_within(int(pid), seconds=10) for pid in starts(marks))


def test_an_unknown_runtime_waits_and_says_so(local: LocalMode) -> None:
    name = create(local, "true", runtime="none")
    run = local.hands.wait("Run", name, until=lambda found: bool(found.get("status", {}).get("message")))
    assert run["status"]["message"] == 'waiting for available runtime pods for runtime "none"'
    local.hands.delete("Run", name)


def test_krt_streams_and_exits_with_the_runs_own_code(local: LocalMode) -> None:
    result = local.krt("run", "-r", "bash", "--wait", "--", "echo one; exit 9", code=9)
    assert result.stdout == "one\n"


def test_the_log_of_the_pod_shows_what_a_run_printed(local: LocalMode) -> None:
    name = create(local, "echo seen-by-the-reader; echo and-this >&2")
    until(local, name, "Succeeded")
    result = local.krt("logs", name)
    assert (result.stdout, result.stderr) == ("seen-by-the-reader\n", "and-this\n")


@pytest.mark.parametrize("component", ["apiserver", "scheduler", "controllers"])
def test_a_killed_component_delays_runs_but_loses_none(local: LocalMode, component: str, marks: Path) -> None:
    running = create(local, f"echo start >> {marks}; while [ ! -e {marks}.go ]; do sleep 0.05; done; echo done=1 >> $KRUNTIME_OUTPUTS")
    until(local, running, "Running")
    os.kill(local.pid_of(component), signal.SIGKILL)
    Path(f"{marks}.go").touch()
    run = until(local, running, "Succeeded")
    assert run["status"]["outputs"] == {"done": "1"}
    assert run["status"]["attempt"] == 1
    assert starts(marks) == ["start"]
    until(local, create(local, "true"), "Succeeded")


def test_a_killed_runtimed_attaches_to_what_still_runs(local: LocalMode, marks: Path) -> None:
    name = create(local, f"echo start >> {marks}; while [ ! -e {marks}.go ]; do sleep 0.05; done; exit 5")
    pod = until(local, name, "Running")["status"]["assignedPod"]
    os.kill(pid_of_container(local, pod=pod, container="runtimed"), signal.SIGKILL)
    local.hands.wait("Pod", pod, until=lambda found: found["status"]["containerStatuses"][1]["restartCount"] == 1)
    Path(f"{marks}.go").touch()
    run = until(local, name, "Failed")
    assert run["status"]["exitCode"] == 5
    assert run["status"]["attempt"] == 1
    assert starts(marks) == ["start"]


def test_a_killed_server_loses_the_attempt_and_the_next_one_runs(local: LocalMode, marks: Path) -> None:
    source = f"echo $BASHPID >> {marks}; [ $(wc -l < {marks}) -gt 1 ] || sleep 1000"
    name = create(local, source, retryPolicy={"maxAttempts": 2, "backoff": "0s"})
    pod = until(local, name, "Running")["status"]["assignedPod"]
    os.kill(pid_of_container(local, pod=pod, container="runtime"), signal.SIGKILL)
    run = until(local, name, "Succeeded")
    assert run["status"]["attempt"] == 2
    assert len(starts(marks)) == 2
    assert is_gone_within(int(starts(marks)[0]), seconds=10)


def test_a_killed_node_is_a_reboot_and_runs_move_to_new_pods(local: LocalMode, marks: Path) -> None:
    source = f"echo $BASHPID >> {marks}; [ $(wc -l < {marks}) -gt 1 ] || (setsid sleep 1000 & sleep 1000)"
    name = create(local, source, retryPolicy={"maxAttempts": 2, "backoff": "0s"})
    before = until(local, name, "Running")
    os.kill(local.pid_of("node"), signal.SIGKILL)
    run = until(local, name, "Succeeded")
    assert run["status"]["attempt"] == 2
    assert run["status"]["assignedPodUID"] != before["status"]["assignedPodUID"]
    assert len(starts(marks)) == 2
    assert is_gone_within(int(starts(marks)[0]), seconds=10)
    until_ready(local)


def test_a_deleted_pod_lets_its_run_finish_and_is_replaced(local: LocalMode, marks: Path) -> None:
    name = create(local, f"echo start >> {marks}; while [ ! -e {marks}.go ]; do sleep 0.05; done")
    pod = until(local, name, "Running")["status"]["assignedPod"]
    local.hands.delete("Pod", pod)
    Path(f"{marks}.go").touch()
    until(local, name, "Succeeded")
    assert starts(marks) == ["start"]
    local.hands.wait_for_deletion("Pod", pod)
    until(local, create(local, "true"), "Succeeded")


def test_a_restart_keeps_all_objects_and_hands_running_runs_on(local: LocalMode, marks: Path) -> None:
    done = create(local, HELLO)
    until(local, done, "Succeeded")
    source = f"echo start >> {marks}; [ $(wc -l < {marks}) -gt 1 ] || (setsid sleep 1000 & sleep 1000)"
    running = create(local, source, retryPolicy={"maxAttempts": 2, "backoff": "0s"})
    until(local, running, "Running")
    local.krt("local", "down")
    assert local.survivors() == []
    local.krt("local", "up")
    assert until(local, done, "Succeeded")["status"]["outputs"] == {"total": "3"}
    run = until(local, running, "Succeeded")
    assert run["status"]["attempt"] == 2
    assert starts(marks) == ["start", "start"]
    until_ready(local)
    assert len(local.hands.list("Pod")) == len(RUNTIMES)


def test_a_deleted_runtime_takes_its_pods_along(local: LocalMode) -> None:
    pod = next(pod["metadata"]["name"] for pod in local.hands.list("Pod") if pod["metadata"]["labels"]["runtime"] == "python")
    local.hands.delete("Runtime", "python")
    local.hands.wait_for_deletion("Pod", pod)
    assert [one["metadata"]["name"] for one in local.hands.list("Deployment")] == ["runtime-bash"]
    local.hands.apply(REPO / "examples" / "runtimes")
    until_ready(local)
