"""krt local, as a user types it: up, down, status, env; and what kills its processes."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from controlplane.local.ports import Ports
from tests.contract.objects import config_map
from tests.controlplane.local.localmode import LocalMode, local_mode
from tests.controlplane.local.waiting import is_gone_within

pytestmark = pytest.mark.slow
COMPONENTS = ["apiserver", "scheduler", "controllers", "node"]


@pytest.fixture
def local() -> Iterator[LocalMode]:
    with local_mode() as local:
        yield local


@pytest.fixture(scope="module")
def shared() -> Iterator[LocalMode]:
    """One that is up, for tests that leave it so: each start takes a second or two."""
    with local_mode() as local:
        local.first_up = local.krt("local", "up")
        yield local


def until_running(local: LocalMode, component: str, *, restarts: int) -> None:
    """The daemon writes its snapshot at every change; `kubectl` is asked nothing."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        snapshot = local.state.read_snapshot()
        one = next(one for one in snapshot.components if one.name == component) if snapshot else None
        if one and one.restarts >= restarts and one.state == "Running":
            return
        time.sleep(0.02)
    pytest.fail(f"{component} did not come back: {local.state.read_snapshot()}\n{local.logs()}")


def test_up_says_what_is_up_and_what_to_do_next(shared: LocalMode) -> None:
    local, result = shared, shared.first_up
    assert result is not None
    assert [line.split()[0] for line in result.stdout.splitlines()[4:]] == COMPONENTS
    assert "Local mode is up." in result.stderr
    assert str(local.state.kubeconfig) in result.stderr
    assert local.state.kubeconfig.stat().st_mode & 0o077 == 0
    assert local.hands.list("Node")[0]["metadata"]["name"] == "local"


def test_up_is_idempotent(shared: LocalMode) -> None:
    before = shared.status()
    result = shared.krt("local", "up")
    assert "up already" in result.stderr
    assert [one["pid"] for one in shared.status()["components"]] == [one["pid"] for one in before["components"]]
    assert "--port" in shared.krt("local", "up", "--port", "1", code=2).stderr
    assert "up already" in shared.krt("local", "up", "--foreground", code=2).stderr


def test_two_ups_at_once_make_one_local_mode_at_the_wanted_port(local: LocalMode) -> None:
    port = Ports().take()
    both = [local.start_krt("local", "up", "--port", str(port)) for _ in range(2)]
    outcomes = [process.communicate(timeout=60)[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], outcomes
    assert sorted("already" in text for text in outcomes) == [False, True]
    assert local.status()["url"].rstrip("/").endswith(f":{port}")


def test_status_is_for_humans_and_programs_and_has_an_exit_code(shared: LocalMode) -> None:
    assert "No Pods." in shared.krt("local", "status").stdout
    status = shared.status()
    assert status["up"] is True
    assert [one["name"] for one in status["components"] if one["state"] == "Running"] == COMPONENTS


def test_env_is_for_eval(shared: LocalMode) -> None:
    path = shared.state.kubeconfig
    assert shared.krt("local", "env", "--shell", "bash").stdout == f"export KUBECONFIG={path}\n"
    assert shared.krt("local", "env", "--shell", "fish").stdout == f"set -gx KUBECONFIG '{path}'\n"


def test_before_the_first_up_everything_says_so(local: LocalMode) -> None:
    assert "not up" in local.krt("local", "status", code=1).stdout
    assert json.loads(local.krt("local", "status", "-o", "json", code=1).stdout)["up"] is False
    assert "krt local up" in local.krt("local", "env", code=2).stderr
    assert "not up" in local.krt("local", "down").stderr


def test_down_leaves_no_process_and_keeps_the_objects(local: LocalMode) -> None:
    local.krt("local", "up")
    url = local.status()["url"]
    local.hands.create(config_map("kept"))
    assert "nothing of it is running" in local.krt("local", "down").stderr
    assert local.survivors() == []
    assert "not up" in local.krt("local", "down").stderr
    local.krt("local", "up")
    assert local.status()["url"] == url, "kubeconfigs stay good"
    assert local.hands.get("ConfigMap", "kept")["data"] == {"key": "value"}


def test_purging_deletes_everything_after_asking(local: LocalMode) -> None:
    local.krt("local", "up")
    local.krt("local", "down", "--purge", code=130)  # no answer is no
    assert local.state.root.exists()
    local.krt("local", "down", "--purge", "--yes")
    assert not local.state.root.exists()
    assert local.survivors() == []


@pytest.mark.parametrize("component", COMPONENTS)
def test_a_killed_component_comes_back(shared: LocalMode, component: str) -> None:
    name = f"kept-{component}"
    shared.hands.create(config_map(name))
    url = shared.status()["url"]
    os.kill(shared.pid_of(component), signal.SIGKILL)
    until_running(shared, component, restarts=1)
    assert shared.hands.get("ConfigMap", name)["data"] == {"key": "value"}
    assert shared.status()["url"] == url


def test_a_killed_daemon_takes_everything_along_and_up_starts_anew(local: LocalMode) -> None:
    local.krt("local", "up")
    pids = [local.status()["pid"], *(local.pid_of(name) for name in COMPONENTS)]
    os.kill(pids[0], signal.SIGKILL)
    assert all(is_gone_within(pid, seconds=10) for pid in pids)
    assert "not up" in local.krt("local", "status", code=1).stdout
    local.krt("local", "up")
    assert local.status()["up"] is True


def test_a_port_that_is_taken_is_named(local: LocalMode) -> None:
    with socket.create_server(("127.0.0.1", Ports().take())) as taken:
        port = taken.getsockname()[1]
        result = local.krt("local", "up", "--port", str(port), code=None)
    assert result.returncode in (2, 125)
    assert str(port) in result.stderr
    assert "Traceback" not in result.stderr
    assert local.survivors() == []


def test_a_store_that_is_damaged_is_an_error_that_shows_the_log(local: LocalMode) -> None:
    local.state.create()
    (local.state.root / "store.db").write_bytes(b"this is no database" * 1000)
    result = local.krt("local", "up", code=125)
    assert "apiserver does not start" in result.stderr
    assert local.survivors() == []


def test_the_foreground_ends_with_ctrl_c(local: LocalMode) -> None:
    process = local.start_krt("local", "up", "--foreground")
    assert process.stderr is not None
    for line in process.stderr:
        if "local mode is up" in line:
            break
    assert local.status()["up"] is True
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=40)
    assert process.returncode == 0
    assert local.survivors() == []


def test_missing_packages_name_the_remedy(local: LocalMode) -> None:
    program = "import sys; sys.modules['jsonpatch'] = None; from controlplane.cli import main; sys.exit(main())"
    result = subprocess.run(
        [sys.executable, "-c", program, "local", "up"], env=local.environment, capture_output=True, text=True, check=False, timeout=60
    )
    assert result.returncode in (2, 125)
    assert "pip install 'kruntimes[local]'" in result.stderr


def test_nothing_secret_is_on_a_command_line(shared: LocalMode) -> None:
    token = (shared.state.root / "token").read_text().strip()
    assert len(token) > 20
    assert not any(token in line for line in shared.survivors())
    assert not any(token in path.read_text(errors="replace") for path in shared.state.logs.iterdir())
