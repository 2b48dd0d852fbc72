"""With real processes: the kernel's accounting of dead children is what the meter stands on."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bench.meters.components import CLIENT, CONTAINERD, NODE, SHIMS, members
from bench.meters.cpu import difference, read_cpu_seconds
from bench.meters.memory import read_rss_mib

BURN = "import time\nwhile time.process_time() < {seconds}: pass\n"
BURNED_SECONDS = 0.25
LEAST_SECONDS = BURNED_SECONDS - 0.05
"""The kernel counts in hundredths, and rounds each of several numbers down."""
# A parent burns nothing itself: its child does, is waited for, and is gone when the parent says so.
PARENT = f"""
import subprocess, sys
subprocess.run([sys.executable, "-S", "-c", {BURN.format(seconds=BURNED_SECONDS)!r}], check=True)
print("done", flush=True)
sys.stdin.read()
"""
# A node, a container, in it a supervisor that has waited for a child.
NODE_PROGRAM = f"""
import subprocess, sys
container = "import subprocess, sys; subprocess.run([sys.executable, '-S', '-c', sys.argv[1]])"
subprocess.run([sys.executable, "-S", "-c", container, {PARENT!r}, *sys.argv[1:]])
"""


@contextmanager
def running(program: str, *arguments: str) -> Iterator[int]:
    """The pid of a program that has said `done`."""
    command = [sys.executable, "-S", "-c", program, *arguments]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"done\n"
        yield process.pid
        assert process.stdin is not None
        process.stdin.close()


@pytest.mark.slow
def test_the_time_of_a_dead_child_is_counted_once() -> None:
    with running(PARENT) as pid:
        seconds = read_cpu_seconds({"scheduler": pid})["scheduler"]
    assert LEAST_SECONDS <= seconds < 2 * BURNED_SECONDS


@pytest.mark.slow
def test_below_a_runtime_server_the_time_of_user_code_is_that_of_the_child() -> None:
    with running(NODE_PROGRAM) as pid:
        seconds = read_cpu_seconds({NODE: pid})
        rss = read_rss_mib({NODE: pid})
    assert set(seconds) == {NODE, "server", "supervisor", "child"}
    assert LEAST_SECONDS <= seconds["child"] < 2 * BURNED_SECONDS
    assert seconds["server"] + seconds["supervisor"] < LEAST_SECONDS
    assert set(rss) == {NODE, "server", "supervisor"}  # user code is dead and takes no memory


@pytest.mark.slow
def test_runtimed_is_known_by_its_command_line() -> None:
    with running(NODE_PROGRAM.replace("container,", "container, 'runtimed',").replace("sys.argv[1]", "sys.argv[2]")) as pid:
        seconds = read_cpu_seconds({NODE: pid})
    assert set(seconds) == {NODE, "runtimed"}
    assert seconds["runtimed"] >= LEAST_SECONDS


@pytest.mark.slow
def test_containers_of_a_real_node_are_found_below_shims_that_are_nobodys_children(tmp_path: Path) -> None:
    """They share the network namespace of containerd, and outlive it."""
    shim = tmp_path / "containerd-shim-runc-v2"
    shutil.copy(shutil.which("bash") or "bash", shim)
    containers = [
        f"{sys.executable} -S -c 'import sys; sys.stdout.write(\"up\\n\"); sys.stdout.flush(); sys.stdin.read()' {name} <&0 &"
        for name in ("/opt/bin/runtimed", "krt-controller --image=runtimed")
    ]
    script = "\n".join([*containers, "read line", "kill $(jobs -p)", "wait"])
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as containerd:
        with subprocess.Popen([shim, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as running_shim:
            assert running_shim.stdout is not None
            for _ in containers:  # until then each is a copy of the shim
                assert running_shim.stdout.readline() == "up\n"
            found = [(member.process.ppid(), member.component) for member in members({CONTAINERD: containerd.pid})]
            running_shim.communicate("over\n")
        containerd.communicate()
    below = {component for parent, component in found if parent == running_shim.pid}
    assert below == {"runtimed", "controllers"}
    assert {CONTAINERD, SHIMS} <= {component for _, component in found}


@pytest.mark.slow
def test_the_client_does_not_pay_for_what_it_has_started() -> None:
    with running(PARENT) as pid:
        seconds = read_cpu_seconds({CLIENT: pid})
    assert set(seconds) == {CLIENT}


def test_a_process_that_is_gone_is_left_out() -> None:
    with subprocess.Popen(["true"]) as process:
        process.wait()
    assert read_cpu_seconds({"scheduler": process.pid}) == {}


def test_what_a_pass_took_is_the_difference() -> None:
    assert difference({"scheduler": 1.0}, {"scheduler": 1.5, "child": 0.25}) == {"scheduler": 0.5, "child": 0.25}
