"""The supervisor process behind its socket, without a server: orders, what it makes of nonsense, and its end."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import random
import select
import socket
import struct
from typing import Any

import pytest

from servers.supervisor import process_tree, wire
from tests.servers.processes import is_alive, rss_bytes, wait_until, wait_until_gone
from tests.servers.supervisor.harness import DEADLINE_SECONDS, Harness, read_all

tickets = itertools.count(1000)


def open_fds(supervisor: Harness) -> list[str]:
    return sorted(os.listdir(f"/proc/{supervisor.pid}/fd"))


def test_a_start_is_started_and_ended_with_status_usage_and_output(supervisor: Harness) -> None:
    supervisor.start(7, "echo out; echo err >&2; exit 3")
    started, fds = supervisor.hear_started()
    ended = supervisor.hear()
    assert (started["id"], ended["id"], ended["op"]) == (7, 7, "ended")
    assert os.waitstatus_to_exitcode(ended["status"]) == 3
    assert (ended["stopped"], ended["lost"], ended["survivors"]) == (False, False, 0)
    assert ended["cpu_seconds"] > 0
    assert ended["peak_rss_bytes"] > 0
    assert read_all(fds) == (b"out\n", b"err\n")


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"cwd": "/nonexistent/ü"}, "working directory /nonexistent/ü: No such file or directory"),
        ({"cwd": "/" + "\x01" * 4000}, "working directory /"),
        ({"cwd": "/" + "ü" * 2500}, "working directory /"),
        ({"executable": "/nonexistent"}, "/nonexistent: command not found"),
        ({"executable": "/etc/passwd"}, "/etc/passwd: Permission denied"),
        ({"argv": ["bash", "-c", "x" * 200_000]}, "E2BIG"),
        ({"argv": []}, "argv"),
        ({"argv": [1]}, "argv"),
        ({"argv": ["a\0"]}, "argv"),
        ({"env": {"A=B": ""}}, "env"),
        ({"env": {"A": 1}}, "env"),
        ({"env": []}, "env"),
        ({"cwd": None}, "cwd"),
        ({"executable": "\ud800"}, "executable"),
        ({"op": "restart"}, "op"),
        ({"id": "x"}, "id"),
        ({"id": True}, "id"),
    ],
)
def test_what_cannot_be_started_is_refused_with_its_reason(supervisor: Harness, fields: dict[str, Any], text: str) -> None:
    order = {"op": "start", "id": 1, "executable": "/bin/bash", "argv": ["bash", "-c", "exit 0"], "env": {}, "cwd": "/", **fields}
    payload = json.dumps(order).encode()
    supervisor.socket.sendall(struct.pack("!I", len(payload)) + payload)
    refused = supervisor.hear()
    assert refused["op"] == "refused"
    assert text in refused["message"]
    assert_still_works(supervisor)


def assert_still_works(supervisor: Harness) -> None:
    supervisor.start(next(tickets), "echo works")
    _, fds = supervisor.hear_started()
    assert supervisor.hear()["op"] == "ended"
    assert read_all(fds)[0] == b"works\n"


@pytest.mark.parametrize("payload", [b"", b"nonsense", b"[1]", b"{}", b"\xff\xfe", b'{"op":"stop"}', b"[" * 100_000])
def test_a_frame_of_nonsense_is_refused_and_the_next_one_works(supervisor: Harness, payload: bytes) -> None:
    supervisor.socket.sendall(struct.pack("!I", len(payload)) + payload)
    assert supervisor.hear()["op"] == "refused"
    assert_still_works(supervisor)


@pytest.mark.parametrize("grace_seconds", [None, "1", -1, float("nan"), float("inf"), True])
def test_a_grace_that_is_no_time_is_refused(supervisor: Harness, grace_seconds: Any) -> None:
    supervisor.stop(1, grace_seconds=grace_seconds)
    assert "grace_seconds" in supervisor.hear()["message"]
    assert_still_works(supervisor)


def test_stopping_what_does_not_run_is_nothing(supervisor: Harness) -> None:
    supervisor.stop(12345)
    assert_still_works(supervisor)


def test_a_ticket_that_runs_is_not_started_twice(supervisor: Harness) -> None:
    supervisor.start(1, "echo ready; exec sleep 1000")
    _, fds = supervisor.hear_started()
    supervisor.start(1, "echo again")
    assert "running already" in supervisor.hear()["message"]
    supervisor.stop(1)
    assert supervisor.hear()["stopped"] is True
    assert read_all(fds)[0] in {b"ready\n", b""}


def test_random_frames_do_not_kill_it(supervisor: Harness) -> None:
    generator = random.Random(20)
    for _ in range(300):
        payload = generator.randbytes(generator.randrange(0, 200))
        supervisor.socket.setblocking(True)
        supervisor.socket.sendall(struct.pack("!I", len(payload)) + payload)
        assert supervisor.hear()["op"] == "refused"
    assert_still_works(supervisor)


def test_orders_in_crumbs_and_in_one_piece_are_the_same(supervisor: Harness) -> None:
    supervisor.socket.setblocking(True)
    data = wire.encode({"op": "start", "id": 1, "executable": "/bin/bash", "argv": ["bash", "-c", "exit 4"], "env": {}, "cwd": "/"})
    for position in range(len(data)):
        supervisor.socket.send(data[position : position + 1])
    _, fds = supervisor.hear_started()
    assert os.waitstatus_to_exitcode(supervisor.hear()["status"]) == 4
    read_all(fds)


def test_a_length_that_cannot_be_meant_ends_it_and_everything(supervisor: Harness) -> None:
    supervisor.start(1, "trap '' TERM; echo ready; while :; do sleep 100; done")
    _, fds = supervisor.hear_started()
    tree = process_tree.descendants_of([supervisor.pid])
    supervisor.socket.sendall(b"\xff\xff\xff\xff")
    assert supervisor.is_ended()
    assert wait_until_gone(tree, seconds=2) == []
    read_all(fds)


def test_descriptors_sent_to_it_are_not_kept(supervisor: Harness) -> None:
    assert_still_works(supervisor)
    assert wait_until(lambda: not process_tree.children_of(supervisor.pid), seconds=2)
    before = open_fds(supervisor)
    read_end, write_end = os.pipe()
    payload = b"{}"
    supervisor.socket.setblocking(True)
    socket.send_fds(supervisor.socket, [struct.pack("!I", len(payload)) + payload], [write_end])
    os.close(write_end)
    assert supervisor.hear()["op"] == "refused"
    assert wait_until(lambda: open_fds(supervisor) == before, seconds=2)
    with open(read_end, "rb") as pipe:
        assert pipe.read() == b""


@pytest.mark.slow
def test_a_server_that_does_not_read_for_a_while_misses_nothing(supervisor: Harness) -> None:
    count = 60
    for ticket in range(count):
        supervisor.start(ticket, f"exit {ticket}")
    codes: dict[int, int] = {}
    while len(codes) < count:
        message = supervisor.hear()
        if message["op"] == "started":
            fds = supervisor.channel.take_fds()
            assert fds is not None
            for fd in fds:
                os.close(fd)
        else:
            codes[message["id"]] = os.waitstatus_to_exitcode(message["status"])
    assert codes == {ticket: ticket for ticket in range(count)}


@pytest.mark.slow
def test_a_server_that_never_reads_is_not_listened_to_and_then_misses_nothing(supervisor: Harness) -> None:
    frame = wire.encode({"op": "nonsense", "id": 1})
    # More answers than the socket holds: the supervisor stops taking orders, so sending stops too.
    sent = 0
    supervisor.socket.setblocking(False)
    while select.select([], [supervisor.socket], [], 1)[1]:
        with contextlib.suppress(BlockingIOError):
            sent += supervisor.socket.send((frame * 100)[sent % len(frame) :])
    assert sent > 100_000
    for _ in range(sent // len(frame)):
        assert supervisor.hear()["op"] == "refused"
    supervisor.socket.setblocking(True)
    supervisor.socket.sendall(frame[sent % len(frame) :])
    assert supervisor.hear()["op"] == "refused"
    assert rss_bytes(supervisor.pid) < 64 * 1024 * 1024
    assert_still_works(supervisor)


def test_no_descriptor_stays_behind_an_attempt(supervisor: Harness) -> None:
    assert_still_works(supervisor)
    assert wait_until(lambda: not process_tree.children_of(supervisor.pid), seconds=2)
    before = open_fds(supervisor)
    for _ in range(5):
        assert_still_works(supervisor)
    assert wait_until(lambda: open_fds(supervisor) == before, seconds=2)


def test_it_ends_with_all_it_started_when_the_server_is_gone(supervisor: Harness) -> None:
    supervisor.start(1, "trap '' TERM; (setsid sleep 1000 &); echo ready; while :; do sleep 100; done")
    _, (stdout, stderr) = supervisor.hear_started()
    select.select([stdout], [], [], DEADLINE_SECONDS)
    tree = [supervisor.pid, *process_tree.descendants_of([supervisor.pid])]
    supervisor.channel.close()
    for fd in (stdout, stderr):
        with contextlib.suppress(OSError):
            os.close(fd)
    assert wait_until_gone(tree, seconds=2) == []
    assert not is_alive(supervisor.pid)
