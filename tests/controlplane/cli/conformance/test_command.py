"""krt conformance as a process, against servers that are processes: ours, and the example, keep the contract."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from krtpb.executor.v1 import runtime_pb2, runtime_pb2_grpc

from tests.cluster.processes import Child, free_ports
from tests.controlplane.cli.conftest import ROOT, KrtStarter
from tests.servers import example

pytestmark = pytest.mark.slow

SERVERS = {
    "sh": [str(example.PATH)],
    "bash": ["-m", "servers.bash", "--host=127.0.0.1"],
    "python": ["-m", "servers.python", "--host=127.0.0.1"],
}


@contextmanager
def serving(kind: str, folder: Path) -> Iterator[str]:
    """Its address."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "proto")])}
    command = [sys.executable, *SERVERS[kind], "--port=0", f"--work-dir={folder}"]
    server = Child(command, log=folder / f"{kind}.log", env=environment, capture_stdout=True)
    try:
        line = server.first_line()
        assert line, server.log_tail()
        yield f"127.0.0.1:{json.loads(line)['port']}"
    finally:
        server.stop(kill=True)


@pytest.fixture(scope="module")
def addresses(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    with ExitStack() as stack:
        yield {kind: stack.enter_context(serving(kind, tmp_path_factory.mktemp(kind))) for kind in SERVERS}


@pytest.mark.timeout(120)
async def test_our_servers_and_the_example_keep_the_contract(krt_alone: KrtStarter, addresses: dict[str, str]) -> None:
    """Side by side: mostly they wait."""

    async def check(kind: str) -> tuple[int, Any]:
        krt = await krt_alone.start("conformance", addresses[kind], f"--language={kind}", "-o", "json")
        out, err = await krt.process.communicate()
        assert err == b""
        return krt.process.returncode or 0, json.loads(out)

    for kind, (code, document) in zip(SERVERS, await asyncio.gather(*map(check, SERVERS)), strict=True):
        broken = [entry for entry in document["checks"] if entry["result"] == "failed"]
        assert (broken, code, document["conforms"], document["address"]) == ([], 0, True, addresses[kind])
        results = {entry["name"]: entry["result"] for entry in document["checks"]}
        unkept = {name: outcome for name, outcome in results.items() if outcome != "ok"}
        if kind == "sh":
            assert unkept.pop("cancel-escaped") == "advice"  # a process group is not all
            assert {name.split("-")[0] for name in unkept} == {"stream"}
            assert set(unkept.values()) == {"skipped"}
        else:
            assert unkept == {}


async def test_what_is_broken_exits_with_1_and_says_what(krt_alone: KrtStarter, addresses: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("echo hello; echo oops >&2; exit 1")
    code, out, _ = await krt_alone("conformance", addresses["sh"], f"--script=hello={tmp_path / 'mine'}")
    assert code == 1
    assert out.startswith("ok        health")
    assert r"a first script: expected SUCCEEDED, stdout 'hello\n', stderr 'oops\n'" in out
    assert "          runtime.proto Execute: Returns quickly; the work goes on in the background.\n" in out
    assert out.endswith("skipped: the server does not keep the contract\n")


async def test_scripts_may_be_given_as_arguments(krt_alone: KrtStarter, addresses: dict[str, str]) -> None:
    only = ("--only=execute", "--only=env", "--only=args")
    for kind in ("sh", "python"):
        code, out, _ = await krt_alone("conformance", addresses[kind], f"--language={kind}", "--deliver=args", *only)
        assert (code, out.splitlines()[-1]) == (0, "3 kept, 1 skipped: the server keeps the contract"), out


async def test_in_another_language_only_what_was_given_is_checked(krt_alone: KrtStarter, addresses: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("echo hello; echo oops >&2")
    code, out, _ = await krt_alone(
        "conformance", addresses["sh"], "--language=other", f"--script=hello={tmp_path / 'mine'}", "--only=execute", "--only=exit-codes"
    )
    assert code == 0
    assert "exit-codes:\n          no script for the program 'exit' was given" in out


async def test_the_server_may_see_the_workspace_under_another_path(
    krt_alone: KrtStarter, addresses: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "there").symlink_to(tmp_path / "here")
    workspace = f"--workspace={tmp_path / 'here'}:{tmp_path / 'there'}"
    code, out, _ = await krt_alone("conformance", addresses["sh"], workspace, "--only=execute", "--only=working-dir")
    assert code == 0, out
    assert list((tmp_path / "here").iterdir()) == []


async def test_a_server_that_serves_somebody_is_left_alone(krt_alone: KrtStarter, addresses: dict[str, str]) -> None:
    async with grpc.aio.insecure_channel(addresses["bash"]) as channel:
        stub = runtime_pb2_grpc.RuntimeStub(channel)
        await stub.Execute(runtime_pb2.ExecuteRequest(id="somebody", args=["true"]))
        code, out, err = await krt_alone("conformance", addresses["bash"])
        await stub.Cancel(runtime_pb2.CancelRequest(id="somebody"))
    assert (code, out) == (125, "")
    assert "the server holds 1 executions; it must serve nobody else" in err


async def test_nobody_there_is_a_failure_of_the_command(krt_alone: KrtStarter) -> None:
    address = f"127.0.0.1:{free_ports(1)[0]}"
    code, out, err = await krt_alone("conformance", address)
    assert (code, out, err) == (125, "", f"error: {address}: no gRPC server answers there; start the Runtime Server first\n")


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ((), "HOST:PORT is missing"),
        (("--only=nope", "x"), "--only nope: no check has this name; see --list"),
        (("--script=nope=x", "x"), "'nope' is no program"),
        (("--script=hello=/nonexistent", "x"), "--script hello=/nonexistent: cannot be read"),
        (("--workspace=/nonexistent", "x"), "--workspace /nonexistent: is no folder"),
        (("--language=cobol", "x"), "'cobol' is not one of"),
    ],
)
async def test_bad_options_are_named(krt_alone: KrtStarter, words: tuple[str, ...], text: str) -> None:
    code, out, err = await krt_alone("conformance", *words)
    assert (code, out) == (2, "")
    assert text in err


async def test_the_checks_can_be_listed_without_a_server(krt_alone: KrtStarter) -> None:
    code, out, _ = await krt_alone("conformance", "--list", "--only=cancel-tree")
    assert code == 0
    assert out.splitlines() == [
        "cancel-tree             runtime.proto Cancel: Stops the process tree and drops the entry; answers when that is done.",
        "",
        "tree      start a child that starts another, which adds to $NOTES/alive.child as `wait` does; when it does, print `started`, "
        "wait for both",
    ]
