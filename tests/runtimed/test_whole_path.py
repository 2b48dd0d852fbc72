"""A Run from its bind to its terminal status, through real processes: API server, Bash Runtime Server, runtimed."""

from __future__ import annotations

from typing import Any

import pytest

from k8s.api.ledger import INSTANTS, instants_of
from k8s.api.run import Run
from k8s.client import RUNS
from tests.cluster.server import ApiServer
from tests.runtimed.rig import NAMESPACE, Cluster, Rig, is_alive

pytestmark = pytest.mark.slow


def condition(run: Run, type_: str) -> tuple[str, str, str]:
    found = next(condition for condition in run.status.conditions if condition.type == type_)
    return found.status, found.reason, found.message


async def test_a_run_succeeds_with_its_outputs_exit_code_and_ledger(shared: Cluster, shared_rig: Rig) -> None:
    run = await shared.script(
        'echo "hello $1"; echo oops >&2; echo "total=$((1+2))" >> "$KRUNTIME_OUTPUTS"', mode={"task": {"args": ["you"]}}
    )
    run = await shared.wait(run)
    assert (run.phase, run.status.message, run.status.outputs) == ("Succeeded", "execution completed", {"total": "3"})
    assert (run.status.exit_code, run.status.attempt) == (0, 1)
    assert condition(run, "Running") == ("False", "Completed", "")
    assert condition(run, "Completed") == ("True", "RunCompleted", "Completed successfully")
    steps = instants_of(run.status.timings)
    assert list(steps) == list(INSTANTS)
    assert list(steps.values()) == sorted(steps.values())
    await shared.wait_until(lambda: not shared_rig.left_of(run))
    assert sorted(shared_rig.output_of(run)) == [("stderr", "oops"), ("stdout", "hello you")]


async def test_a_failing_exit_code_ends_as_failed(shared: Cluster) -> None:
    run = await shared.wait(await shared.script("echo wrong >&2; exit 7"))
    assert (run.phase, run.status.exit_code, run.status.attempt) == ("Failed", 7, 1)
    assert condition(run, "Completed")[:2] == ("False", "RuntimeError")
    assert condition(run, "Running")[:2] == ("False", "RuntimeError")


async def test_a_signal_is_named_in_the_message(shared: Cluster) -> None:
    run = await shared.wait(await shared.script("kill -9 $$"))
    assert (run.phase, run.status.exit_code) == ("Failed", 137)
    assert "signal 9 (SIGKILL)" in run.status.message


async def test_a_run_that_lasts_shows_running_and_a_short_one_only_its_end(shared: Cluster, shared_rig: Rig) -> None:
    gate = shared_rig.folder / "gate"
    run = await shared.script(f"until [ -e {gate} ]; do sleep 0.02; done")
    shown = await shared.wait(run, lambda run: run.phase == "Running")
    assert condition(shown, "Running") == ("True", "Claimed", "claimed by runtimed")
    assert shown.status.start_time is not None
    gate.touch()
    assert (await shared.wait(run)).phase == "Succeeded"


async def test_the_full_timeout_is_given_and_not_a_whole_second_more(shared: Cluster) -> None:
    run = await shared.wait(await shared.script("sleep 60", timeout="400ms"))
    assert (run.phase, run.status.message) == ("Timeout", "timeout after 400ms")
    timings = run.status.timings
    assert timings is not None
    assert timings.started is not None
    assert timings.finished is not None
    lasted = (timings.finished - timings.started).total_seconds()
    assert 0.35 < lasted < 1.5


async def test_cancel_kills_the_process_tree(shared: Cluster, shared_rig: Rig) -> None:
    mark = shared_rig.folder / "pid"
    run = await shared.script(f"sleep 300 & echo $! > {mark}; wait")
    await shared.wait_until(lambda: mark.exists() and mark.read_text().strip() != "")
    await shared.cancel(run)
    run = await shared.wait(run)
    assert (run.phase, run.status.message) == ("Cancelled", "cancelled by user")
    assert condition(run, "Completed")[:2] == ("False", "Cancelled")
    await shared.wait_until(lambda: not is_alive(int(mark.read_text())))


async def test_a_run_that_waits_for_a_slot_stays_scheduled_and_can_be_cancelled(api: ApiServer) -> None:
    with Rig(api, workers=1) as rig:
        rig.start_server()
        cluster = await Cluster.open(rig)
        async with cluster.client:
            await cluster.create_pod()
            rig.start_runtimed()
            gate = rig.folder / "gate"
            first = await cluster.script(f"until [ -e {gate} ]; do sleep 0.02; done")
            await cluster.wait(first, lambda run: run.phase == "Running")
            cancelled = await cluster.script("true")
            waiting = await cluster.script("true")
            await cluster.cancel(cancelled)
            assert (await cluster.wait(cancelled)).phase == "Cancelled"
            assert (await cluster.get(waiting)).phase == "Scheduled"
            gate.touch()
            assert (await cluster.wait(first)).phase == "Succeeded"
            assert (await cluster.wait(waiting)).phase == "Succeeded"


async def test_retries_in_place_reuse_the_workspace_and_succeed_at_last(shared: Cluster, shared_rig: Rig) -> None:
    policy = {"maxAttempts": 3, "backoff": "100ms"}
    run = await shared.script(
        'echo x >> tries; echo "n=$(wc -l < tries)" > "$KRUNTIME_OUTPUTS"; [ $(wc -l < tries) = 3 ]', retryPolicy=policy
    )
    run = await shared.wait(run)
    assert (run.phase, run.status.attempt, run.status.outputs) == ("Succeeded", 3, {"n": "3"})
    assert run.status.exit_code == 0


async def test_exhausted_retries_end_as_the_last_failure(shared: Cluster) -> None:
    run = await shared.wait(await shared.script("exit 3", retryPolicy={"maxAttempts": 2, "backoff": "50ms"}))
    assert (run.phase, run.status.attempt, run.status.exit_code) == ("Failed", 2, 3)


async def test_each_attempt_gets_the_full_timeout(shared: Cluster) -> None:
    text = "[ -e once ] && sleep 0.3 && exit 0; touch once; sleep 60"
    run = await shared.wait(await shared.script(text, timeout="600ms", retryPolicy={"maxAttempts": 2, "backoff": "500ms"}))
    assert (run.phase, run.status.attempt) == ("Succeeded", 2)


async def test_deleting_a_run_kills_its_processes_and_removes_its_files(shared: Cluster, shared_rig: Rig) -> None:
    mark = shared_rig.folder / "pid"
    run = await shared.script(f"echo $$ > {mark}; sleep 300")
    await shared.wait_until(lambda: mark.exists() and mark.read_text().strip() != "")
    await shared.client.delete(RUNS, run.metadata.name, namespace=NAMESPACE)
    await shared.wait_until(lambda: not is_alive(int(mark.read_text())))
    await shared.wait_until(lambda: not shared_rig.left_of(run))


@pytest.mark.parametrize(
    ("spec", "reason", "text"),
    [
        ({"source": {"repoURL": "http://git.example/x.git"}}, "PrepareSource", "prepare source: spec.source.repoURL: "),
        (
            {"env": [{"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}]},
            "PrepareSource",
            "prepare source: spec.env[0].valueFrom.secretKeyRef: the Runtime does not offer the Secret 's' to its Runs",
        ),
        ({"source": {"inline": "true"}, "timeout": "soon"}, "PrepareSource", "spec.timeout: 'soon' is not a duration"),
        ({"source": {"inline": "echo nonsense >> $KRUNTIME_OUTPUTS"}}, "OutputsInvalid", "line 1"),
        ({"source": {"inline": "mkfifo $KRUNTIME_OUTPUTS"}}, "OutputsInvalid", "not a regular file"),
        ({"source": {"inline": "ln -s /etc/passwd $KRUNTIME_OUTPUTS"}}, "OutputsInvalid", "regular file"),
        ({"source": {"inline": "truncate -s 1T $KRUNTIME_OUTPUTS"}}, "OutputsTooLarge", "over the limit"),
        ({}, "PrepareSource", "no args or script provided"),
    ],
)
async def test_bad_input_ends_as_failed_with_a_message_that_names_it(
    cluster: Cluster, spec: dict[str, Any], reason: str, text: str
) -> None:
    run = await cluster.wait(await cluster.bind(await cluster.create("bad", **spec)))
    assert run.phase == "Failed"
    assert condition(run, "Completed")[:2] == ("False", reason)
    assert text in run.status.message
    assert run.status.outputs == {}


@pytest.mark.parametrize(
    ("end", "phase", "spec"),
    [("exit 3", "Failed", {}), ("kill -9 $$", "Failed", {}), ("sleep 60", "Timeout", {"timeout": "300ms"})],
)
async def test_outputs_of_a_failed_run_are_kept(shared: Cluster, end: str, phase: str, spec: dict[str, Any]) -> None:
    run = await shared.wait(await shared.script(f'echo "seen=7" >> "$KRUNTIME_OUTPUTS"; {end}', **spec))
    assert (run.phase, run.status.outputs) == (phase, {"seen": "7"})


async def test_outputs_of_a_cancelled_run_are_kept(shared: Cluster, shared_rig: Rig) -> None:
    mark = shared_rig.folder / "written"
    run = await shared.script(f'echo "seen=7" >> "$KRUNTIME_OUTPUTS"; touch {mark}; sleep 300')
    await shared.wait_until(mark.exists)
    await shared.cancel(run)
    run = await shared.wait(run)
    assert (run.phase, run.status.outputs) == ("Cancelled", {"seen": "7"})


async def test_bad_outputs_of_a_failed_run_change_nothing_of_its_reason(shared: Cluster) -> None:
    run = await shared.wait(await shared.script('mkfifo "$KRUNTIME_OUTPUTS"; exit 3'))
    assert (run.phase, run.status.exit_code, run.status.outputs) == ("Failed", 3, {})
    assert condition(run, "Completed")[:2] == ("False", "RuntimeError")


async def test_a_retry_shows_the_outputs_of_its_last_attempt_alone(shared: Cluster) -> None:
    policy = {"maxAttempts": 2, "backoff": "50ms"}
    text = 'echo x >> tries; n=$(wc -l < tries); echo "n$n=$n" >> "$KRUNTIME_OUTPUTS"; exit 1'
    run = await shared.wait(await shared.script(text, retryPolicy=policy))
    assert (run.phase, run.status.outputs) == ("Failed", {"n2": "2"})


async def test_the_environment_is_the_runs_and_ours_wins_where_reserved(shared: Cluster) -> None:
    env = [{"name": "A", "value": "1"}, {"name": "KRUNTIME_OUTPUTS", "value": "/dev/null"}]
    run = await shared.wait(await shared.script('echo "a=$A" >> "$KRUNTIME_OUTPUTS"', env=env))
    assert run.status.outputs == {"a": "1"}


async def test_output_is_logged_for_every_attempt_with_the_keys_in_order(shared: Cluster, shared_rig: Rig) -> None:
    run = await shared.wait(await shared.script("printf 'a\\xff\\r\\n\\nlast'; exit 1", retryPolicy={"maxAttempts": 2, "backoff": "50ms"}))
    assert shared_rig.output_of(run) == [("stdout", "a�"), ("stdout", "last")] * 2
    lines = [line for line in shared_rig.log_lines() if line.get("run_uid") == run.uid]
    assert list(lines[0]) == ["run_uid", "run_name", "namespace", "runtime", "pod", "stream", "message"]
    ends = [line["attempt"] for line in shared_rig.log_lines() if line.get("ended_run_uid") == run.uid]
    assert ends == [1, 2]


async def test_hundred_runs_at_once_all_end_well(shared: Cluster, shared_rig: Rig) -> None:
    runs = [await shared.script(f'echo "n={n}" >> "$KRUNTIME_OUTPUTS"') for n in range(100)]
    ended = [await shared.wait(run) for run in runs]
    assert [run.status.outputs for run in ended] == [{"n": str(n)} for n in range(100)]
    await shared.wait_until(lambda: not list(shared_rig.workspace.iterdir()))
    await shared.wait_until(lambda: [path.name for path in shared_rig.state_dir.iterdir()] == ["node-boot-id"])
