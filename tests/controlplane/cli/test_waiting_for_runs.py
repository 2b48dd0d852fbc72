"""`krt run --wait`: output as it comes, progress, exit codes; the test plays scheduler and runtimed."""

from __future__ import annotations

from typing import Any

import pytest

from k8s.api.run_log import format_end_line, format_output_line
from tests.controlplane.cli.conftest import KrtStarter
from tests.controlplane.cli.fake_apiserver import FakeApiServer, Json

POD = "runtime-bash-1"


def output(run: Json, text: str, *, stream: Any = "stdout", pod: str = POD) -> str:
    metadata = run["metadata"]
    return format_output_line(
        text, run_uid=metadata["uid"], run_name=metadata["name"], namespace=metadata["namespace"], runtime="bash", pod=pod, stream=stream
    )


def end(run: Json, *, attempt: int = 1) -> str:
    return format_end_line(run_uid=run["metadata"]["uid"], attempt=attempt)


async def assign(server: FakeApiServer, name: str, *, pod: str = POD, **status: Any) -> None:
    server.log_of(pod)
    await server.set_status(name, phase="Scheduled", assignedPod=pod, assignedPodUID=f"uid-of-{pod}", **status)


async def finish(server: FakeApiServer, name: str, phase: str, **status: Any) -> None:
    times = {"startTime": "2026-08-09T10:00:00.100000Z", "completionTime": "2026-08-09T10:00:00.350000Z"}
    await server.set_status(name, phase=phase, attempt=1, **times | status)


def failed(reason: str) -> Json:
    return {
        "conditions": [
            {"type": "Completed", "status": "False", "reason": reason, "message": "m", "lastTransitionTime": "2026-08-09T10:00:01Z"}
        ]
    }


async def test_output_arrives_from_the_first_line_while_the_run_still_runs(server: FakeApiServer, krt: KrtStarter) -> None:
    await server.add("runtimes", "bash")
    waiting = await krt.start("run", "--wait", "--", "echo", "hi there")
    run = await server.run_named()
    name = run["metadata"]["name"]
    assert run["spec"] == {"runtime": "bash", "mode": {"task": {"args": ["echo 'hi there'"]}}}
    await assign(server, name)
    await server.log_of(POD).append(output(run, "first"))
    assert await waiting.stdout_line() == "first"
    await server.set_status(name, phase="Running")
    await server.log_of(POD).append("not json", output(run, "", stream="stdout"), output(run, "tröuble", stream="stderr"))
    await server.log_of(POD).append(end(run))
    await finish(server, name, "Succeeded", exitCode=0)
    assert await waiting.end() == 0
    assert waiting.stdout == "first\n\n"
    assert waiting.stderr.splitlines()[:2] == [f"Task {name} created", f"Scheduled to {POD}"]
    assert "tröuble" in waiting.stderr.splitlines()
    assert waiting.stderr.splitlines()[-1] == f"Run {name} succeeded in 250ms"


@pytest.mark.parametrize(
    ("phase", "status", "code"),
    [
        ("Succeeded", {"exitCode": 0}, 0),
        ("Failed", {"exitCode": 3, **failed("RuntimeError")}, 3),
        ("Failed", {"exitCode": 127, **failed("RuntimeError")}, 127),
        ("Failed", {"exitCode": 137, **failed("RuntimeError")}, 137),
        ("Failed", failed("RuntimeError"), 126),
        ("Failed", failed("PrepareSource"), 126),
        ("Failed", {"exitCode": 0, **failed("OutputsInvalid")}, 1),
        ("Failed", failed("PodGone"), 125),
        ("Failed", failed("ExecutionLost"), 125),
        ("Timeout", {"exitCode": 143, **failed("Timeout")}, 124),
        ("Cancelled", {"exitCode": 143, **failed("Cancelled")}, 130),
    ],
)
async def test_krt_exits_with_what_became_of_the_run(server: FakeApiServer, krt: KrtStarter, phase: str, status: Json, code: int) -> None:
    await server.add("runtimes", "bash")
    waiting = await krt.start("run", "--wait", "--", "true")
    run = await server.run_named()
    await assign(server, run["metadata"]["name"])
    await server.log_of(POD).append(end(run))
    await finish(server, run["metadata"]["name"], phase, message="what happened", **status)
    assert await waiting.end() == code
    assert waiting.stdout == ""
    assert phase == "Succeeded" or "what happened" in waiting.stderr
