"""`krt run --wait`: output as it comes, progress, exit codes; the test plays scheduler and runtimed."""

from __future__ import annotations

from typing import Any

import pytest
from aiohttp import web

from k8s.api.run_log import format_end_line, format_output_line
from tests.controlplane.cli.conftest import Krt, KrtStarter
from tests.controlplane.cli.fake_apiserver import FakeApiServer, Json, status_answer

pytestmark = pytest.mark.slow  # each starts a krt

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
    await server.set_status(name, **{"phase": phase, "attempt": 1} | times | status)


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


async def start_waiting(server: FakeApiServer, krt: KrtStarter, *flags: str) -> tuple[Krt, Json]:
    """A waiting krt that has seen its Run assigned, and the Run."""
    await server.add("runtimes", "bash")
    waiting = await krt.start("run", "--wait", *flags, "--", "job")
    run = await server.run_named()
    await assign(server, run["metadata"]["name"])
    await server.log_of(POD).append(output(run, "begun"))
    assert await waiting.stdout_line() == "begun"
    return waiting, run


@pytest.mark.parametrize(("flags", "is_cancelled"), [((), False), (("--cancel-on-interrupt",), True)])
async def test_ctrl_c_exits_130_and_cancels_only_when_asked_to(
    server: FakeApiServer, krt: KrtStarter, flags: tuple[str, ...], is_cancelled: bool
) -> None:
    waiting, run = await start_waiting(server, krt, *flags)
    name = run["metadata"]["name"]
    waiting.interrupt()
    assert await waiting.end() == 130
    assert server.objects["runs"][name]["spec"].get("cancelRequested", False) is is_cancelled
    expected = f"Cancellation requested for run {name}" if is_cancelled else f"cancel it with: krt cancel {name} -n default"
    assert waiting.stderr.splitlines()[-1].endswith(expected)


async def test_sigterm_exits_143_and_may_cancel_too(server: FakeApiServer, krt: KrtStarter) -> None:
    waiting, run = await start_waiting(server, krt, "--cancel-on-interrupt")
    waiting.process.terminate()
    assert await waiting.end() == 143
    assert server.objects["runs"][run["metadata"]["name"]]["spec"]["cancelRequested"] is True


async def test_a_run_that_is_deleted_while_krt_waits_is_a_platform_failure(server: FakeApiServer, krt: KrtStarter) -> None:
    waiting, run = await start_waiting(server, krt)
    await server.remove("runs", run["metadata"]["name"])
    assert await waiting.end() == 125
    assert "was deleted" in waiting.stderr


async def test_a_finished_run_that_is_collected_at_once_still_counts(server: FakeApiServer, krt: KrtStarter) -> None:
    waiting, run = await start_waiting(server, krt)
    name = run["metadata"]["name"]
    await server.log_of(POD).append(end(run))
    ended = server.objects["runs"][name]
    ended["status"] |= {"phase": "Failed", "exitCode": 4, "attempt": 1, **failed("RuntimeError")}
    await server.remove("runs", name)
    assert await waiting.end() == 4


async def test_lines_that_arrive_after_the_terminal_status_are_printed(server: FakeApiServer, krt: KrtStarter) -> None:
    waiting, run = await start_waiting(server, krt)
    await finish(server, run["metadata"]["name"], "Succeeded", exitCode=0)
    await server.log_of(POD).append(output(run, "late"), end(run))
    assert await waiting.end() == 0
    assert waiting.stdout == "begun\nlate\n"


async def test_a_runtimed_without_end_lines_only_costs_a_moment(server: FakeApiServer, krt: KrtStarter) -> None:
    waiting, run = await start_waiting(server, krt)
    await server.log_of(POD).append(output(run, "more"))
    await finish(server, run["metadata"]["name"], "Succeeded", exitCode=0)
    assert await waiting.end() == 0
    assert waiting.stdout == "begun\nmore\n"


async def test_a_log_that_breaks_off_goes_on_without_a_line_lost_or_doubled(server: FakeApiServer, krt: KrtStarter) -> None:
    await server.add("runtimes", "bash")
    server.log_of(POD).cuts = 3
    waiting = await krt.start("run", "--wait", "--", "job")
    run = await server.run_named()
    await assign(server, run["metadata"]["name"])
    await server.log_of(POD).append(*(output(run, str(number)) for number in range(20)), end(run))
    await finish(server, run["metadata"]["name"], "Succeeded", exitCode=0)
    assert await waiting.end() == 0
    assert waiting.stdout.split() == [str(number) for number in range(20)]


async def test_a_run_that_moves_to_another_pod_shows_the_output_of_all_attempts(server: FakeApiServer, krt: KrtStarter) -> None:
    waiting, run = await start_waiting(server, krt)
    name = run["metadata"]["name"]
    await server.log_of(POD).append(end(run))
    await server.set_status(name, phase="Pending", attempt=2, assignedPod="", assignedPodUID="")
    await assign(server, name, pod="other", attempt=2)
    await server.log_of("other").append(output(run, "again", pod="other"), end(run, attempt=2))
    await finish(server, name, "Succeeded", exitCode=0, attempt=2)
    assert await waiting.end() == 0
    assert waiting.stdout == "begun\nagain\n"
    assert "Scheduled to other (attempt 2)" in waiting.stderr


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (status_answer(501, "NotImplemented", "no logs here"), "this API server offers no logs of Pods"),
        (status_answer(404, "NotFound", "the server could not find the requested resource"), "this API server offers no logs of Pods"),
        (status_answer(403, "Forbidden", 'cannot get resource "pods/log"'), "ask for the permission `get` on `pods/log`"),
        (status_answer(404, "NotFound", 'pods "runtime-bash-1" not found'), "the Pod runtime-bash-1 that ran it is gone"),
    ],
)
async def test_without_a_log_krt_says_so_and_waits_all_the_same(
    server: FakeApiServer, krt: KrtStarter, answer: web.Response, words: str
) -> None:
    await server.add("runtimes", "bash")
    server.log_of(POD).refusal = answer
    waiting = await krt.start("run", "--wait", "--", "job")
    run = await server.run_named()
    await assign(server, run["metadata"]["name"])
    while not (line := await waiting.stderr_line()).startswith("warning: no more output"):
        assert line
    assert words in line
    await finish(server, run["metadata"]["name"], "Failed", exitCode=9, **failed("RuntimeError"))
    assert await waiting.end() == 9


async def test_an_unknown_runtime_is_told_and_its_waiting_message_shown(server: FakeApiServer, krt: KrtStarter) -> None:
    waiting = await krt.start("run", "-r", "nowhere", "--wait", "--", "job")
    run = await server.run_named()
    assert await waiting.stderr_line() == (
        'warning: there is no Runtime "nowhere" in namespace default: the Run waits until there is one (see: krt runtime list)'
    )
    await server.set_status(run["metadata"]["name"], phase="Pending", message="waiting for available runtime pods")
    assert await waiting.stderr_line() == f"Task {run['metadata']['name']} created"
    assert await waiting.stderr_line() == "Waiting: waiting for available runtime pods"
    await finish(server, run["metadata"]["name"], "Cancelled", message="cancelled by user", startTime=None)
    assert await waiting.end() == 130
    assert not any("/log" in request for request in server.requests), "it never had a Pod"


@pytest.mark.parametrize(("spec", "warnings"), [({}, 1), ({"artifactStore": {"driver": "s3", "s3": {"bucket": "kept"}}}, 0)])
async def test_a_log_that_cannot_be_kept_is_told_when_it_is_asked_for(
    server: FakeApiServer, krt: KrtStarter, spec: dict[str, Any], warnings: int
) -> None:
    await server.add("runtimes", "bash", spec=spec)
    creating = await krt.start("run", "--keep-log", "--", "job")
    assert await creating.end() == 0
    assert creating.stderr.count('warning: --keep-log: Runtime "bash" has no spec.artifactStore, so no log will be kept') == warnings


async def test_quiet_waiting_says_only_what_went_wrong(server: FakeApiServer, krt: KrtStarter) -> None:
    waiting, run = await start_waiting(server, krt, "-q")
    await server.log_of(POD).append(end(run))
    await finish(server, run["metadata"]["name"], "Succeeded", exitCode=0)
    assert await waiting.end() == 0
    assert waiting.stderr == ""


async def test_a_reader_of_the_output_that_goes_away_ends_krt(server: FakeApiServer, krt: KrtStarter) -> None:
    await server.add("runtimes", "bash")
    piped = await krt.start_shell("run --wait -- job | head -n 1; echo ${PIPESTATUS[0]}")
    run = await server.run_named()
    await assign(server, run["metadata"]["name"])
    await server.log_of(POD).append(output(run, "one"))
    assert await piped.stdout_line() == "one"
    for _ in range(3):
        await server.log_of(POD).append(output(run, "two"))
    assert await piped.stdout_line() == "141"
    assert await piped.end() == 0
    assert "Traceback" not in piped.stderr


async def test_wait_exits_with_the_first_code_that_is_not_zero(server: FakeApiServer, krt: KrtStarter) -> None:
    await server.add("runs", "good", spec={"runtime": "bash"}, status={"phase": "Running", "assignedPod": "p"})
    await server.add("runs", "bad", spec={"runtime": "bash"})
    waiting = await krt.start("wait", "run/good", "rn/bad")
    await finish(server, "bad", "Failed", exitCode=5, **failed("RuntimeError"))
    await finish(server, "good", "Succeeded", exitCode=0)
    assert await waiting.end() == 5
    assert waiting.stdout == ""
    assert "Run good succeeded in 250ms" in waiting.stderr


async def test_wait_gives_up_with_124_and_leaves_the_run_alone(server: FakeApiServer, krt: KrtStarter) -> None:
    await server.add("runs", "slow", spec={"runtime": "bash"})
    code, _, stderr = await krt("wait", "slow", "--timeout", "10ms")
    assert code == 124
    assert "not ended within 10ms" in stderr
    assert "cancelRequested" not in server.objects["runs"]["slow"]["spec"]
