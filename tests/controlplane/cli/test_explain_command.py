"""`krt explain` as a command: what it asks the API server for, in which form it answers, and what it does with refusals."""

from __future__ import annotations

import json

import pytest
import yaml

from tests.controlplane.cli.conftest import KrtHere
from tests.controlplane.cli.explaining.lives import Life
from tests.controlplane.cli.fake_apiserver import FakeApiServer, status_answer


async def put(server: FakeApiServer, life: Life) -> None:
    await server.put("runs", life.body, event="ADDED")


async def test_a_finished_run_is_explained_from_itself_alone(server: FakeApiServer, krt_here: KrtHere) -> None:
    await put(server, Life().bound().succeeded())
    code, stdout, stderr = await krt_here("explain", "run/sum-1")
    assert (code, stderr) == (0, "")
    assert "API Writes:   3 (create, assign, finish)" in stdout.splitlines()
    assert server.requests == ["GET /apis/kruntimes.io/v1alpha1/namespaces/default/runs/sum-1"]


async def test_machines_get_documents(server: FakeApiServer, krt_here: KrtHere) -> None:
    await put(server, Life().bound().succeeded())
    as_json = json.loads((await krt_here("explain", "sum-1", "-o", "json"))[1])
    assert (as_json["name"], as_json["writes"]["isExact"], len(as_json["steps"])) == ("sum-1", True, 8)
    assert yaml.safe_load((await krt_here("explain", "sum-1", "-o", "yaml"))[1]) == as_json
    assert (await krt_here("explain", "sum-1", "-o", "jsonpath={.writes.count}"))[1] == "3\n"
    assert (await krt_here("explain", "sum-1", "-o", "name"))[1] == "run.kruntimes.io/sum-1\n"


async def test_around_a_waiting_run_it_looks_and_what_it_may_not_see_it_leaves_out(server: FakeApiServer, krt_here: KrtHere) -> None:
    await put(server, Life().told_to_wait())
    code, stdout, stderr = await krt_here("explain", "sum-1")
    # This server has no Pods at all, which is as good as none that may be read.
    assert code == 0
    assert stderr.startswith("warning: what it waits for cannot be looked at: ")
    assert stdout.splitlines()[-1] == '    there is no Runtime "bash" in namespace team-a; create it, or name another'
    server.refuse["GET runtimes"] = status_answer(403, "Forbidden", "no")
    assert (await krt_here("explain", "sum-1"))[1].splitlines()[-1].endswith('waiting for available runtime pods for runtime "bash"')


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("gone",), 125, 'Run "gone" not found in namespace default'),
        (("runtime/bash",), 2, "this command takes a Run"),
        ((), 2, "Missing argument 'RUN'"),
        (("a", "b"), 2, "unexpected extra argument"),
        (("a", "-o", "xml"), 2, "unknown format"),
    ],
)
async def test_mistakes_are_named(krt_here: KrtHere, arguments: tuple[str, ...], code: int, words: str) -> None:
    ended, stdout, stderr = await krt_here("explain", *arguments)
    assert words in stderr
    assert (ended, stdout) == (code, "")
