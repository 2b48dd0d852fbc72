"""Orders about children to be held: what is wrong with them is said, and what cannot be held costs neither Runs nor CPU."""

from __future__ import annotations

import os
import resource
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from servers.supervisor import process_tree
from tests.servers.processes import name_of, wait_until
from tests.servers.supervisor.harness import ENV, Harness, read_all, read_report

HOLD = {"op": "hold", "kind": "bash", "executable": "/bin/bash", "env": ENV, "preload": []}


def hold(supervisor: Harness, *, slots: int, **fields: Any) -> None:
    supervisor.channel.send({**HOLD, **fields})
    supervisor.channel.send({"op": "slots", "slots": slots})


def run(supervisor: Harness, ticket: int, script: str) -> tuple[bool, bytes]:
    """Whether it was warm, and what it wrote."""
    supervisor.start(ticket, script, env=ENV)
    started, fds = supervisor.hear_started()
    ended = supervisor.hear_other()
    assert (ended["op"], ended["id"]) == ("ended", ticket), ended
    return started["warm"], read_all(fds)[0]


def children(supervisor: Harness) -> list[int]:
    return [pid for pid in process_tree.descendants_of([supervisor.pid]) if name_of(pid) == "bash"]


def held_count(supervisor: Harness) -> int:
    return len(children(supervisor))


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


def test_it_says_ready_and_lends_children_that_report_their_own_end(supervisor: Harness) -> None:
    hold(supervisor, slots=1)
    assert supervisor.hear() == {"op": "ready"}
    for ticket in (1, 2, 3):
        lent = supervisor.take(ticket, f"echo on; exit {ticket}")
        report = read_report(lent)
        assert (os.waitstatus_to_exitcode(report["status"]), report["unused"], report["lost"]) == (ticket, False, False)
        assert read_all(lent.held.output) == (b"on\n", b"")


def test_what_ends_before_it_is_told_taken_costs_nothing(supervisor: Harness) -> None:
    hold(supervisor, slots=1)
    assert supervisor.hear() == {"op": "ready"}
    for ticket in (1, 2, 3):
        lent = supervisor.take(ticket, "exit 0", is_told=False)
        read_report(lent)
        # Its keeper holds the next child by now.
        supervisor.hear_lent()
        supervisor.tell_taken(ticket, lent)
        supervisor.stop(ticket)
    assert run(supervisor, 4, "echo on") == (False, b"on\n")


@pytest.mark.parametrize("is_told", [True, False])
def test_a_keeper_that_is_killed_is_told_by_the_number_of_what_was_lent(supervisor: Harness, is_told: bool) -> None:
    hold(supervisor, slots=1)
    assert supervisor.hear() == {"op": "ready"}
    lent = supervisor.take(1, "echo on; exec sleep 1000", is_told=is_told)
    assert os.read(lent.held.output[0], 10) == b"on\n"
    keeper_pid = process_tree.parent_of(lent.held.pid)
    assert keeper_pid
    os.kill(keeper_pid, signal.SIGKILL)
    ended = supervisor.hear_other()
    assert (ended["op"], ended["hold"], ended["id"], ended["lost"]) == ("ended", lent.hold, 1 if is_told else None, True)
    assert read_report(lent) == {}


def test_what_was_taken_is_stopped_by_its_ticket(supervisor: Harness) -> None:
    hold(supervisor, slots=1)
    assert supervisor.hear() == {"op": "ready"}
    lent = supervisor.take(1, "echo on; exec sleep 1000")
    assert os.read(lent.held.output[0], 10) == b"on\n"
    supervisor.stop(1)
    report = read_report(lent)
    assert report["stopped"]
    assert os.waitstatus_to_exitcode(report["status"]) == -signal.SIGTERM


def test_with_fewer_slots_it_asks_for_its_children_back(supervisor: Harness) -> None:
    hold(supervisor, slots=1)
    assert supervisor.hear() == {"op": "ready"}
    for _ in range(2):
        supervisor.hear_lent()
    supervisor.channel.send({"op": "slots", "slots": 0})
    for _ in range(2):
        recalled = supervisor.hear()
        assert recalled["op"] == "recall"
        assert supervisor.shelf.remove(recalled["hold"])
        supervisor.channel.send({"op": "returned", "hold": recalled["hold"]})
    assert wait_until(lambda: held_count(supervisor) == 0, seconds=5)


def test_one_that_was_taken_when_it_was_asked_back_runs_and_is_the_last(supervisor: Harness) -> None:
    hold(supervisor, slots=1)
    assert supervisor.hear() == {"op": "ready"}
    for _ in range(2):
        supervisor.hear_lent()
    supervisor.channel.send({"op": "slots", "slots": 0})
    lent = supervisor.take(1, "echo on")
    read_report(lent)
    assert read_all(lent.held.output)[0] == b"on\n"
    other = next(message["hold"] for message in (supervisor.hear(), supervisor.hear()) if message["hold"] != lent.hold)
    supervisor.channel.send({"op": "returned", "hold": other})
    assert wait_until(lambda: held_count(supervisor) == 0, seconds=5)


def test_a_child_that_dies_on_the_shelf_is_gone_and_replaced(supervisor: Harness) -> None:
    hold(supervisor, slots=1)
    assert supervisor.hear() == {"op": "ready"}
    supervisor.hear_lent()
    os.kill(children(supervisor)[0], signal.SIGKILL)
    gone = supervisor.hear_other()
    assert gone["op"] == "gone"
    assert supervisor.shelf.remove(gone["hold"])
    supervisor.hear_lent()


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
    hold(supervisor, slots=100)
    assert supervisor.hear() == {"op": "ready"}
    for _ in range(5):
        supervisor.hear_lent()
    answers = []
    for ticket in range(100, 130):
        supervisor.start(ticket, "echo on", env=ENV)
        while (message := supervisor.hear_other())["op"] == "started":
            fds = supervisor.channel.take_fds()
            assert fds is not None
            read_all((fds[0], fds[1]))
        answers.append((message["id"], message["op"], message.get("lost")))
    # Each is answered once: it ran, it was refused, or it is lost where its output could not be taken.
    assert [ticket for ticket, _, _ in answers] == list(range(100, 130))
    assert 5 <= held_count(supervisor) < limit
