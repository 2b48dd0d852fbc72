"""Orders about children to be held: what is wrong with them is said, and what cannot be held costs neither Runs nor CPU."""

from __future__ import annotations

import os
import resource
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from servers.supervisor import process_tree
from tests.servers.processes import name_of, wait_until
from tests.servers.supervisor.harness import Harness, read_all

HOLD = {"op": "hold", "kind": "bash", "executable": "/bin/bash", "env": {"PATH": "/usr/bin:/bin"}, "preload": []}


def hold(supervisor: Harness, *, slots: int, **fields: Any) -> None:
    supervisor.channel.send({**HOLD, **fields})
    supervisor.channel.send({"op": "slots", "slots": slots})


def run(supervisor: Harness, ticket: int, script: str) -> tuple[bool, bytes]:
    """Whether it was warm, and what it wrote."""
    supervisor.start(ticket, script, env={"PATH": "/usr/bin:/bin"})
    started, fds = supervisor.hear_started()
    ended = supervisor.hear()
    assert (ended["op"], ended["id"]) == ("ended", ticket), ended
    return started["warm"], read_all(fds)[0]


def held_count(supervisor: Harness) -> int:
    below = process_tree.descendants_of([supervisor.pid])
    return len([pid for pid in below if name_of(pid) == "bash"])


def cpu_seconds(pid: int) -> float:
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


@pytest.mark.parametrize(
    ("order", "text"),
    [
        ({**HOLD, "kind": "perl"}, "kind: must be one of bash, python"),
        ({**HOLD, "executable": None}, "executable"),
        ({**HOLD, "env": []}, "env"),
        ({**HOLD, "env": {"A": 1}}, "env"),
        ({**HOLD, "preload": "numpy"}, "preload"),
        ({**HOLD, "preload": [1]}, "preload"),
        ({"op": "slots", "slots": 2}, "send hold first"),
        ({"op": "slots"}, "slots"),
        ({"op": "slots", "slots": -1}, "slots"),
        ({"op": "slots", "slots": True}, "slots"),
    ],
)
def test_an_order_that_makes_no_sense_is_refused_and_named(supervisor: Harness, order: dict[str, Any], text: str) -> None:
    supervisor.channel.send(order)
    refused = supervisor.hear()
    assert refused["op"] == "refused"
    assert text in refused["message"]
    assert run(supervisor, 1, "echo on") == (False, b"on\n")


def test_what_is_to_be_held_is_said_once(supervisor: Harness) -> None:
    hold(supervisor, slots=1)
    assert supervisor.hear() == {"op": "ready"}
    supervisor.channel.send(HOLD)
    assert "hold" in supervisor.hear()["message"]


def test_it_says_ready_and_runs_are_warm_from_then_on(supervisor: Harness) -> None:
    hold(supervisor, slots=1)
    assert supervisor.hear() == {"op": "ready"}
    assert wait_until(lambda: run(supervisor, next(tickets), "echo on") == (True, b"on\n"), seconds=5)


tickets = iter(range(1, 10_000))


@pytest.mark.slow
def test_a_shell_that_cannot_be_held_costs_no_run_and_little_time(supervisor: Harness) -> None:
    hold(supervisor, slots=50, executable="/nonexistent/bash")
    assert supervisor.hear() == {"op": "ready"}
    before = cpu_seconds(supervisor.pid)
    begun = time.monotonic()
    while time.monotonic() - begun < 1.5:
        assert run(supervisor, next(tickets), "sleep 0.1; echo on") == (False, b"on\n")
    # Each of these Runs takes a few milliseconds of it; a loop that tried again at once would take all there is.
    assert cpu_seconds(supervisor.pid) - before < 0.5


@pytest.mark.slow
def test_a_python_that_cannot_be_held_says_why_and_costs_no_run(supervisor: Harness) -> None:
    hold(supervisor, slots=2, kind="python", executable="/nonexistent/python")
    assert supervisor.hear() == {"op": "failed", "message": "cannot start a Python to fork from: No such file or directory"}
    assert run(supervisor, 1, "echo on") == (False, b"on\n")


@pytest.mark.slow
def test_a_python_whose_configuration_is_another_says_so_and_costs_no_run(supervisor: Harness, tmp_path: Path) -> None:
    """One that is started as a module, not a script: what it will run cannot be found where it is expected."""
    wrapper = tmp_path / "python"
    wrapper.write_text(f'#!/bin/sh\nexec {sys.executable} -c pass "$@"\n')
    wrapper.chmod(0o755)
    hold(supervisor, slots=2, kind="python", executable=str(wrapper))
    failed = supervisor.hear()
    assert failed["op"] == "failed"
    assert failed["message"].startswith("this Python cannot be kept warm: PyConfig: ")
    assert run(supervisor, 1, "echo on") == (False, b"on\n")


@pytest.mark.slow
def test_with_few_files_to_open_as_many_are_held_as_can_be_and_runs_go_on(supervisor: Harness) -> None:
    limit = 60
    resource.prlimit(supervisor.pid, resource.RLIMIT_NOFILE, (limit, limit))
    hold(supervisor, slots=40)
    assert supervisor.hear() == {"op": "ready"}
    assert wait_until(lambda: held_count(supervisor) >= 5, seconds=5)
    answers = []
    for ticket in range(100, 130):
        supervisor.start(ticket, "echo on", env={"PATH": "/usr/bin:/bin"})
        while (message := supervisor.hear())["op"] == "started":
            fds = supervisor.channel.take_fds()
            assert fds is not None
            read_all(fds)
        answers.append((message["id"], message["op"], message.get("lost")))
    # Each is answered once: it ran, it was refused, or it is lost where its output could not be taken.
    assert [ticket for ticket, _, _ in answers] == list(range(100, 130))
    assert ("ended", False) in {(op, is_lost) for _, op, is_lost in answers}
    assert held_count(supervisor) < 20
