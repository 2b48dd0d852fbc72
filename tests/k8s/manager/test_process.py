"""A whole process: its exit code, its signals, its log. Real processes and real signals."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

pytestmark = pytest.mark.slow
DEADLINE_SECONDS = 20.0

PROGRAM = """
import asyncio, sys
from k8s.api.errors import PlatformError, UsageError
from k8s.manager import run_process

async def wait(lifecycle):
    print("ready", flush=True)
    await lifecycle.stopping.wait()
    print("stopping", flush=True)

async def stubborn(lifecycle):
    print("ready", flush=True)
    await lifecycle.stopping.wait()
    print("stopping", flush=True)
    await asyncio.Event().wait()

async def misused(lifecycle):
    raise UsageError("--flag: is wrong; do it right")

async def unlucky(lifecycle):
    raise PlatformError("the API server is away")

async def buggy(lifecycle):
    raise ZeroDivisionError("by design")

async def crash(lifecycle):
    async def die():
        raise ZeroDivisionError("by design")
    lifecycle.tasks.start(die(), name="watch runs")
    await lifecycle.stopping.wait()

async def loop(lifecycle):
    print(type(asyncio.get_running_loop()).__module__, flush=True)

sys.exit(run_process("test", globals()[sys.argv[1]]))
"""


@contextmanager
def started(main: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, main],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={"PYTHONPATH": ".:proto"},
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate(timeout=DEADLINE_SECONDS)


def expect(process: subprocess.Popen[str], word: str) -> None:
    assert process.stdout is not None
    assert process.stdout.readline().strip() == word


def end(process: subprocess.Popen[str]) -> tuple[int, list[dict[str, object]]]:
    """(exit code, log lines)."""
    _, errors = process.communicate(timeout=DEADLINE_SECONDS)
    return process.returncode, [json.loads(line) for line in errors.splitlines()]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_asks_to_stop_and_the_end_is_clean(number: signal.Signals) -> None:
    with started("wait") as process:
        expect(process, "ready")
        process.send_signal(number)
        expect(process, "stopping")
        code, log = end(process)
    assert code == 0
    assert [line["message"] for line in log] == ["process starts", "process is asked to stop", "process ends"]
    assert log[1]["signal"] == number.name


@pytest.mark.parametrize(("number", "expected"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_the_second_signal_ends_at_once(number: signal.Signals, expected: int) -> None:
    with started("stubborn") as process:
        expect(process, "ready")
        process.send_signal(signal.SIGTERM)
        expect(process, "stopping")
        process.send_signal(number)
        assert end(process)[0] == expected


@pytest.mark.parametrize(
    ("main", "expected", "message"),
    [
        ("misused", 2, "process cannot start"),
        ("unlucky", 1, "process failed"),
        ("buggy", 1, "process crashed"),
        ("crash", 1, "task died"),
    ],
)
def test_what_went_wrong_is_logged_and_in_the_exit_code(main: str, expected: int, message: str) -> None:
    with started(main) as process:
        code, log = end(process)
    assert code == expected
    assert message in [line["message"] for line in log]
    is_our_bug = main in {"buggy", "crash"}
    assert any("exc_info" in line for line in log) == is_our_bug


def test_the_loop_is_uvloop() -> None:
    with started("loop") as process:
        expect(process, "uvloop")
        assert end(process)[0] == 0
