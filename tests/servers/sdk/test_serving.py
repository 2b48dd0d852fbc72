"""The life of a server process: its ready line, a port in use, SIGTERM with and without Runs, bad flags."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import grpc
import psutil
import pytest

from tests.servers.processes import REPO, ServerProcess, running_server, wait_until_gone
from tests.servers.sessions import Session, open_session

HANDOVER_TIMEOUT = 8
"""Seconds. A server whose session stands stays 5."""


def start_failing(*flags: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "servers.bash", *flags]
    env = {"PATH": "/usr/bin:/bin", "PYTHONPATH": f"{REPO}:{REPO / 'proto'}"}
    return subprocess.run(command, capture_output=True, text=True, timeout=20, env=env, check=False)


@pytest.mark.slow
def test_a_port_in_use_is_an_error_that_names_it(bash_server: ServerProcess) -> None:
    failed = start_failing("--port", str(bash_server.port))
    assert failed.returncode == 1
    assert f"--port {bash_server.port}" in failed.stderr
    assert "Traceback" not in failed.stderr


@pytest.mark.slow
@pytest.mark.parametrize("flags", [("--port", "70000"), ("--port", "x"), ("--shutdown-grace-seconds", "-1"), ("--nope",)])
def test_a_bad_flag_is_a_usage_error_that_names_it(flags: tuple[str, ...]) -> None:
    failed = start_failing(*flags)
    assert failed.returncode == 2
    assert flags[0] in failed.stderr


@pytest.mark.slow
def test_a_server_without_its_shell_says_so(tmp_path: Path) -> None:
    env = {"PATH": str(tmp_path), "PYTHONPATH": f"{REPO}:{REPO / 'proto'}"}
    command = [sys.executable, "-m", "servers.bash", "--port", "0"]
    failed = subprocess.run(command, capture_output=True, text=True, timeout=20, env=env, check=False)
    assert failed.returncode == 1
    assert "bash: not found on PATH" in failed.stderr


@pytest.mark.slow
def test_an_empty_server_ends_at_once_on_sigterm(own_server: ServerProcess) -> None:
    tree = [own_server.pid, own_server.supervisor_pid]
    own_server.process.terminate()
    assert own_server.process.wait(timeout=2) == 0
    assert wait_until_gone(tree, seconds=1) == []


@pytest.mark.slow
async def test_after_sigterm_an_empty_server_stays_for_what_runtimed_may_still_send(tmp_path: Path) -> None:
    """Both are signalled at once, and runtimed asks the API server why before it takes in no more."""
    with running_server("bash", work_dir=tmp_path) as server:
        async with open_session(server.port) as session:
            server.process.terminate()
            late = await session.run("echo begun")
            assert late.stdout == b"begun\n"
        assert server.process.wait(timeout=3) == 0


@pytest.mark.slow
async def test_a_session_that_stays_is_not_waited_for_for_ever(own_session: Session, own_server: ServerProcess) -> None:
    """Where the server alone is asked to stop, as by a liveness probe."""
    await own_session.run("true")
    own_server.process.terminate()
    assert own_server.process.wait(timeout=HANDOVER_TIMEOUT) == 0


@pytest.mark.slow
@pytest.mark.parametrize(("package", "is_heard"), [("servers", True), ("json", False)])
def test_as_the_first_process_of_a_container_it_ends_on_sigterm_from_its_first_import_on(package: str, *, is_heard: bool) -> None:
    """Without a handler the kernel drops the signal: that of `json` shows it."""
    program = f"import {package}, sys; print('imported', flush=True); sys.stdin.read(); sys.exit(7)"
    command = ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--kill-child", sys.executable, "-c", program]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=REPO) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "imported\n"
        (first,) = psutil.Process(process.pid).children()
        first.terminate()
        if not is_heard:
            process.communicate("")
        assert process.wait(timeout=5) == (128 + signal.SIGTERM if is_heard else 7)


@pytest.mark.slow
async def test_after_sigterm_it_stays_until_the_last_result_was_fetched(own_session: Session, own_server: ServerProcess) -> None:
    run_uid = await own_session.execute("trap 'echo asked; exit 3' USR1; echo ready; while :; do sleep 100 & wait; done")
    heard = await own_session.until_printed(run_uid, b"ready")
    own_server.process.terminate()
    # It still serves.
    await own_session.run(f"kill -USR1 {heard.pid}")
    await own_session.until_exited(run_uid)
    assert (heard.outcome.exit_code, heard.stdout) == (3, b"ready\nasked\n")
    await own_session.forget(run_uid)
    assert own_server.process.wait(timeout=HANDOVER_TIMEOUT) == 0


@pytest.mark.slow
async def test_a_second_sigterm_ends_it_and_everything_at_once(own_session: Session, own_server: ServerProcess) -> None:
    run_uid = await own_session.execute("trap '' TERM; echo ready; while :; do sleep 100; done")
    await own_session.until_printed(run_uid, b"ready")
    tree = own_server.run_pids()
    own_server.process.terminate()
    assert (await own_session.run("echo still here")).stdout == b"still here\n"
    own_server.process.terminate()
    assert own_server.process.wait(timeout=3) == 0
    assert wait_until_gone(tree, seconds=1) == []


@pytest.mark.slow
async def test_the_shutdown_grace_bounds_the_stay(tmp_path: Path) -> None:
    with running_server("bash", work_dir=tmp_path, flags=("--shutdown-grace-seconds", "0.2")) as server:
        async with open_session(server.port) as session:
            run_uid = await session.execute("trap '' TERM; echo ready; while :; do sleep 100; done")
            await session.until_printed(run_uid, b"ready")
            tree = server.run_pids()
            server.process.terminate()
            started = time.monotonic()
            assert server.process.wait(timeout=3) == 0
            assert time.monotonic() - started < 2
            assert wait_until_gone(tree, seconds=1) == []


@pytest.mark.slow
@pytest.mark.parametrize("takes_line", [True, False], ids=["line", "stream"])
async def test_a_session_that_stays_is_told_that_the_server_stops(tmp_path: Path, takes_line: bool) -> None:
    with running_server("bash", work_dir=tmp_path, flags=("--shutdown-grace-seconds", "0.2")) as server:
        async with open_session(server.port, takes_line=takes_line) as session:
            server.process.terminate()
            assert await session.until_closed() == grpc.StatusCode.UNAVAILABLE
            assert await session.call.details() == "the Runtime Server stops", "it was ended, not cut off"
            assert server.process.wait(timeout=3) == 0
        assert '"level": "ERROR"' not in server.log.read_text()


@pytest.mark.slow
async def test_ctrl_c_on_the_terminal_reaches_the_server_but_no_run(own_session: Session, own_server: ServerProcess) -> None:
    run_uid = await own_session.execute("trap 'echo interrupted' INT; echo ready; read -t 0.1 <> <(:) || exit 4")
    await own_session.until_printed(run_uid, b"ready")
    own_server.process.send_signal(signal.SIGINT)
    heard = await own_session.until_exited(run_uid)
    assert (heard.stdout, heard.outcome.exit_code) == (b"ready\n", 4)
    await own_session.forget(run_uid)
    assert own_server.process.wait(timeout=HANDOVER_TIMEOUT) == 0


@pytest.mark.slow
async def test_logs_are_json_lines_without_payload(own_session: Session, own_server: ServerProcess) -> None:
    await own_session.run("echo canary-output", "canary-arg", env={"NAME": "canary-env"})
    own_server.kill_supervisor()
    await own_session.run("echo canary-output")
    own_server.process.terminate()
    own_server.process.wait(timeout=HANDOVER_TIMEOUT)
    text = own_server.log.read_text()
    assert "Traceback" not in text, text
    entries = [json.loads(line) for line in text.splitlines()]
    assert {"supervisor started", "serving", "supervisor died"} <= {entry["message"] for entry in entries}
    assert all({"time", "level", "logger", "message"} <= set(entry) for entry in entries)
    assert "canary" not in text
