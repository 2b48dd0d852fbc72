"""A Run from its bind to its end on Runtime Servers without the stream: the example of docs/custom-servers.md, and ours as they were."""

from __future__ import annotations

import pytest

from k8s.api.phases import Reason
from k8s.api.run import Run
from k8s.client import RUNS
from tests.runtimed.rig import NAMESPACE, Cluster, Rig, is_alive

pytestmark = [
    pytest.mark.slow,
    pytest.mark.parametrize("server_name", ["sh", "unary-bash"], scope="module"),
    pytest.mark.parametrize("api", ["embedded"], indirect=True, scope="module"),
]


def completed(run: Run) -> tuple[str, str]:
    found = next(condition for condition in run.status.conditions if condition.type == "Completed")
    return found.status, found.reason


async def test_a_run_succeeds_with_its_outputs_exit_code_and_ledger(shared: Cluster, shared_rig: Rig) -> None:
    run = await shared.script(
        'echo "hello $1 $A"; echo oops >&2; echo "total=$((1+2))" >> "$KRUNTIME_OUTPUTS"',
        mode={"task": {"args": ["you"]}},
        env=[{"name": "A", "value": "there"}],
    )
    run = await shared.wait(run)
    assert (run.phase, run.status.message, run.status.outputs) == ("Succeeded", "execution completed", {"total": "3"})
    assert (run.status.exit_code, run.status.attempt, completed(run)) == (0, 1, ("True", "RunCompleted"))
    timings = run.status.timings
    assert timings is not None
    steps = [timings.received, timings.started, timings.first_output, timings.finished, timings.recorded]
    assert [step for step in steps if step is not None] == sorted(step for step in steps if step is not None)
    assert None not in steps
    await shared.wait_until(lambda: not shared_rig.left_of(run))
    assert sorted(shared_rig.output_of(run)) == [("stderr", "oops"), ("stdout", "hello you there")]


async def test_arguments_without_a_source_are_run(shared: Cluster, shared_rig: Rig) -> None:
    run = await shared.create("args", mode={"task": {"args": ["echo from the arguments"]}})
    run = await shared.wait(await shared.bind(run))
    assert run.phase == "Succeeded"
    assert shared_rig.output_of(run) == [("stdout", "from the arguments")]


async def test_a_failing_exit_code_ends_as_failed(shared: Cluster) -> None:
    run = await shared.wait(await shared.script("exit 7"))
    assert (run.phase, run.status.exit_code, completed(run)) == ("Failed", 7, ("False", Reason.RUNTIME_ERROR))


async def test_a_signal_is_named_in_the_message(shared: Cluster) -> None:
    run = await shared.wait(await shared.script("kill -9 $$"))
    assert (run.phase, run.status.exit_code) == ("Failed", 137)
    assert "signal 9 (SIGKILL)" in run.status.message


async def test_nothing_to_run_is_a_failure_of_the_source(shared: Cluster) -> None:
    run = await shared.wait(await shared.bind(await shared.create("empty")))
    assert (run.phase, run.status.message, completed(run)[1]) == ("Failed", "no args or script provided", Reason.PREPARE_SOURCE)


async def test_the_timeout_kills_and_claims_no_exit_code(shared: Cluster, shared_rig: Rig) -> None:
    mark = shared_rig.folder / "timeout-pid"
    run = await shared.wait(await shared.script(f"echo $$ > {mark}; echo before; sleep 60", timeout="600ms"))
    assert (run.phase, run.status.message, run.status.exit_code) == ("Timeout", "timeout after 600ms", None)
    assert not is_alive(int(mark.read_text()))
    assert shared_rig.output_of(run) == [("stdout", "before")]


async def test_cancel_kills_the_process_tree(shared: Cluster, shared_rig: Rig) -> None:
    mark = shared_rig.folder / "cancel-pid"
    run = await shared.script(f"sleep 300 & echo $! > {mark}; wait")
    await shared.wait_until(lambda: mark.exists() and mark.read_text().strip() != "")
    await shared.cancel(run)
    run = await shared.wait(run)
    assert (run.phase, run.status.message, run.status.exit_code) == ("Cancelled", "cancelled by user", None)
    await shared.wait_until(lambda: not is_alive(int(mark.read_text())))
    await shared.wait_until(lambda: not shared_rig.left_of(run))


async def test_deleting_a_run_kills_its_processes_and_removes_its_files(shared: Cluster, shared_rig: Rig) -> None:
    mark = shared_rig.folder / "delete-pid"
    run = await shared.script(f"echo $$ > {mark}; sleep 300")
    await shared.wait_until(lambda: mark.exists() and mark.read_text().strip() != "")
    await shared.client.delete(RUNS, run.metadata.name, namespace=NAMESPACE)
    await shared.wait_until(lambda: not is_alive(int(mark.read_text())))
    await shared.wait_until(lambda: not shared_rig.left_of(run))


async def test_retries_have_an_execution_each_and_the_log_has_all_of_their_output(shared: Cluster, shared_rig: Rig) -> None:
    text = 'echo x >> tries; n=$(wc -l < tries); echo "try $n"; echo "n=$n" > "$KRUNTIME_OUTPUTS"; [ "$n" -eq 3 ]'
    run = await shared.wait(await shared.script(text, retryPolicy={"maxAttempts": 3, "backoff": "50ms"}))
    assert (run.phase, run.status.attempt, run.status.outputs) == ("Succeeded", 3, {"n": "3"})
    assert shared_rig.output_of(run) == [("stdout", "try 1"), ("stdout", "try 2"), ("stdout", "try 3")]
    ends = [line["attempt"] for line in shared_rig.log_lines() if line.get("ended_run_uid") == run.uid]
    assert ends == [1, 2, 3]


async def test_exhausted_retries_end_as_the_last_failure(shared: Cluster) -> None:
    run = await shared.wait(await shared.script("exit 3", retryPolicy={"maxAttempts": 2, "backoff": "50ms"}))
    assert (run.phase, run.status.attempt, run.status.exit_code) == ("Failed", 2, 3)


async def test_output_is_logged_while_the_run_goes_on(shared: Cluster, shared_rig: Rig) -> None:
    gate = shared_rig.folder / "gate"
    run = await shared.script(f"echo first; until [ -e {gate} ]; do sleep 0.02; done; echo last")
    await shared.wait_until(lambda: shared_rig.output_of(run) == [("stdout", "first")])
    gate.touch()
    run = await shared.wait(run)
    assert shared_rig.output_of(run) == [("stdout", "first"), ("stdout", "last")]


async def test_a_character_written_in_two_halves_is_logged_whole(shared: Cluster, shared_rig: Rig) -> None:
    gate = shared_rig.folder / "half"
    run = await shared.script(f"printf 'first\\n\\342\\202'; until [ -e {gate} ]; do sleep 0.02; done; printf '\\254 \\377 last\\n'")
    await shared.wait_until(lambda: shared_rig.output_of(run) == [("stdout", "first")])
    await shared.wait(run, lambda run: run.phase == "Running")
    gate.touch()
    await shared.wait(run)
    assert shared_rig.output_of(run) == [("stdout", "first"), ("stdout", "€ \ufffd last")]


async def test_a_flood_is_cut_and_the_run_succeeds(shared: Cluster, shared_rig: Rig) -> None:
    run = await shared.wait(await shared.script("yes 0123456789abcde | head -c 3000000; echo end >&2"))
    assert run.phase == "Succeeded"
    lines = [message for stream, message in shared_rig.output_of(run) if stream == "stdout"]
    assert (len(lines), lines[0], lines[-1]) == (65537, "0123456789abcde", "[output truncated]")


async def test_fifty_runs_at_once_all_end_well(shared: Cluster, shared_rig: Rig) -> None:
    runs = [await shared.script(f'echo "n={n}" >> "$KRUNTIME_OUTPUTS"') for n in range(50)]
    ended = [await shared.wait(run) for run in runs]
    assert [run.status.outputs for run in ended] == [{"n": str(n)} for n in range(50)]
    await shared.wait_until(lambda: not list(shared_rig.workspace.iterdir()))
    await shared.wait_until(lambda: [path.name for path in shared_rig.state_dir.iterdir()] == ["node-boot-id"])
