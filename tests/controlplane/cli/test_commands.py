"""get, list, logs, cancel, delete, runtime and run without --wait, as a user types them."""

from __future__ import annotations

import json
import re

import pytest
import yaml

from k8s.api.run_log import format_end_line
from tests.controlplane.cli.conftest import Krt, KrtHere, KrtStarter
from tests.controlplane.cli.fake_apiserver import FakeApiServer, Json, status_answer
from tests.controlplane.cli.test_waiting_for_runs import POD, assign, finish, output


async def add_two(server: FakeApiServer) -> tuple[Json, Json]:
    one = await server.add("runs", "one", spec={"runtime": "bash", "unknownToKrt": 1}, labels={"app": "web"})
    two = await server.add("runs", "two", spec={"runtime": "python"}, status={"phase": "Running", "assignedPod": "p"})
    return one, two


async def test_run_prints_the_name_of_the_run_as_data(server: FakeApiServer, krt_here: KrtHere) -> None:
    await server.add("runtimes", "bash")
    code, stdout, stderr = await krt_here("run", "--env", "A=1", "-l", "app=web", "--timeout", "30s", "--", "echo", "hi")
    (run,) = server.objects["runs"].values()
    assert (code, stdout, stderr) == (0, f"Task {run['metadata']['name']} created\n", "")
    assert run["spec"] == {
        "runtime": "bash", "mode": {"task": {"args": ["echo hi"]}}, "env": [{"name": "A", "value": "1"}], "timeout": "30s",
    }  # fmt: skip
    assert run["metadata"]["labels"] == {"app": "web"}


@pytest.mark.slow
async def test_run_reads_scripts_from_files_and_from_stdin(server: FakeApiServer, krt: KrtStarter) -> None:
    await server.add("runtimes", "bash")
    (krt.folder / "job.sh").write_text('echo "ünï $1"\n')
    assert (await krt("run", "-f", "job.sh", "--name", "from-file", "--", "a b", "--c"))[0] == 0
    assert server.objects["runs"]["from-file"]["spec"]["source"] == {"inline": 'echo "ünï $1"\n'}
    assert server.objects["runs"]["from-file"]["spec"]["mode"] == {"task": {"args": ["a b", "--c"]}}
    assert (await krt("run", "-f", "-", "--name", "from-stdin", stdin=b"echo x"))[0] == 0
    assert server.objects["runs"]["from-stdin"]["spec"]["source"] == {"inline": "echo x"}


@pytest.mark.parametrize(("format_", "pattern"), [("name", r"run\.kruntimes\.io/r1\n"), ("jsonpath={.spec.runtime}", "bash\n")])
async def test_run_prints_the_created_object_in_a_machine_s_format(
    server: FakeApiServer, krt_here: KrtHere, format_: str, pattern: str
) -> None:
    await server.add("runtimes", "bash")
    _, stdout, _ = await krt_here("run", "--name", "r1", "-o", format_, "--", "x")
    assert re.fullmatch(pattern, stdout)


async def test_run_without_waiting_warns_when_there_is_no_such_runtime(server: FakeApiServer, krt_here: KrtHere) -> None:
    code, stdout, stderr = await krt_here("run", "-r", "nowhere", "--name", "r1", "--", "x")
    assert (code, stdout) == (0, "Task r1 created\n")
    assert 'there is no Runtime "nowhere" in namespace default' in stderr


async def test_get_prints_lines_for_people_and_the_server_s_object_for_machines(server: FakeApiServer, krt_here: KrtHere) -> None:
    one, two = await add_two(server)
    code, stdout, stderr = await krt_here("get", "run/two")
    assert (code, stderr) == (0, "")
    assert stdout.splitlines()[:5] == [
        "Name:           two", "Namespace:      default", "Runtime:        python", "Phase:          Running", "Assigned Pod:   p",
    ]  # fmt: skip
    assert json.loads((await krt_here("get", "one", "-o", "json"))[1]) == one
    assert yaml.safe_load((await krt_here("get", "one", "-o", "yaml"))[1]) == one
    both = json.loads((await krt_here("get", "rn", "one", "two", "-o", "json"))[1])
    assert (both["kind"], both["items"]) == ("List", [one, two])


async def test_get_shows_what_there_is_and_fails_for_the_rest(server: FakeApiServer, krt_here: KrtHere) -> None:
    await add_two(server)
    code, stdout, stderr = await krt_here("get", "one", "gone")
    assert code == 125
    assert stdout.startswith("Name: ")
    assert stderr == 'error: Run "gone" not found in namespace default\n'


async def test_list_prints_a_table(server: FakeApiServer, krt_here: KrtHere) -> None:
    await add_two(server)
    code, stdout, stderr = await krt_here("list")
    assert (code, stderr) == (0, "")
    assert [re.split(r" {3,}", line)[:5] for line in stdout.splitlines()] == [
        ["NAME", "NAMESPACE", "RUNTIME", "PHASE", "ASSIGNED POD"],
        ["one", "default", "bash", "Pending", "-"],
        ["two", "default", "python", "Running", "p"],
    ]


async def test_list_of_nothing_keeps_stdout_empty(server: FakeApiServer, krt_here: KrtHere) -> None:
    assert await krt_here("list") == (0, "", "No runs found in namespace default.\n")
    assert await krt_here("-A", "list") == (0, "", "No runs found.\n")
    assert json.loads((await krt_here("list", "-o", "json"))[1])["items"] == []


@pytest.mark.parametrize(
    ("arguments", "query"),
    [
        (("list", "--runtime", "bash"), "/namespaces/default/runs?fieldSelector=spec.runtime%3Dbash&limit=100"),
        (("list", "--phase", "running"), "/namespaces/default/runs?fieldSelector=status.phase%3DRunning&limit=100"),
        (("list", "-l", "app=web", "-n", "other"), "/namespaces/other/runs?labelSelector=app%3Dweb&limit=100"),
        (
            ("-n", "other", "list", "--field-selector", "metadata.name=x"),
            "/namespaces/other/runs?fieldSelector=metadata.name%3Dx&limit=100",
        ),
        (("list", "-A"), "/runs?limit=100"),
        (("-n", "before", "list", "-n", "after"), "/namespaces/after/runs?limit=100"),
        (("runtime", "list", "-n", "other"), "/namespaces/other/runtimes?limit=100"),
        (("-n", "outer", "runtime", "-n", "middle", "list"), "/namespaces/middle/runtimes?limit=100"),
    ],
)
async def test_selectors_and_namespaces_reach_the_api_server(
    server: FakeApiServer, krt_here: KrtHere, arguments: tuple[str, ...], query: str
) -> None:
    assert (await krt_here(*arguments))[0] == 0
    assert server.requests == [f"GET /apis/kruntimes.io/v1alpha1{query}"]


async def test_pending_includes_runs_without_any_status(server: FakeApiServer, krt_here: KrtHere) -> None:
    await add_two(server)
    assert (await krt_here("list", "--phase", "Pending", "-o", "name"))[1] == "run.kruntimes.io/one\n"


@pytest.mark.slow
async def test_a_watch_prints_the_table_and_then_a_row_for_each_change(server: FakeApiServer, krt: KrtStarter) -> None:
    await add_two(server)
    watching = await krt.start("list", "-w")
    assert (await watching.stdout_line()).startswith("NAME ")
    assert (await watching.stdout_line()).startswith("one ")
    assert (await watching.stdout_line()).startswith("two ")
    await server.set_status("one", phase="Scheduled", assignedPod="p")
    assert re.split(r" {3,}", await watching.stdout_line())[:4] == ["one", "default", "bash", "Scheduled"]
    await server.remove("runs", "two")
    assert (await watching.stdout_line()).startswith("two ")
    await interrupt(watching)


async def interrupt(krt: Krt) -> None:
    krt.interrupt()
    assert await krt.end() == 130


@pytest.mark.slow
async def test_a_watch_of_one_object_prints_documents_for_machines(server: FakeApiServer, krt: KrtStarter) -> None:
    await add_two(server)
    watching = await krt.start("get", "one", "-w", "-o", "jsonpath={.status.phase}")
    assert await watching.stdout_line() == ""
    await server.set_status("one", phase="Succeeded")
    assert await watching.stdout_line() == "Succeeded"
    await interrupt(watching)


async def test_cancel_asks_for_it_and_touches_nothing_else(server: FakeApiServer, krt_here: KrtHere) -> None:
    one, _ = await add_two(server)
    assert await krt_here("cancel", "run/one") == (0, "Cancellation requested for run one\n", "")
    assert server.objects["runs"]["one"]["spec"] == one["spec"] | {"cancelRequested": True}


async def test_cancel_and_delete_go_on_after_a_failure_and_then_fail(server: FakeApiServer, krt_here: KrtHere) -> None:
    await add_two(server)
    code, stdout, stderr = await krt_here("delete", "gone", "one", "two")
    assert (code, stdout) == (125, "Run one deleted\nRun two deleted\n")
    assert 'Run "gone" not found' in stderr
    assert server.objects["runs"] == {}


async def test_runtimes_are_listed_and_shown(server: FakeApiServer, krt_here: KrtHere) -> None:
    spec = {"template": {"spec": {"containers": [{"name": "runtime", "image": "bash-runtime:1"}]}}, "replicas": 2}
    bash = await server.add("runtimes", "bash", spec=spec)
    assert (await krt_here("runtime", "list"))[1].splitlines()[1].split()[:6] == ["bash", "default", "bash-runtime:1", "2", "0", "9091"]
    assert "Image:       bash-runtime:1" in (await krt_here("runtime", "get", "rt/bash"))[1]
    assert json.loads((await krt_here("get", "rt/bash", "-o", "json"))[1]) == bash


async def finished_run(server: FakeApiServer) -> Json:
    run = await server.add("runs", "done", spec={"runtime": "bash"})
    await assign(server, "done")
    lines = [output(run, str(number), stream="stdout" if number % 2 else "stderr") for number in range(6)]
    await server.log_of(POD).append(*lines, format_end_line(run_uid=run["metadata"]["uid"], attempt=1))
    await finish(server, "done", "Failed", exitCode=1)
    return run


@pytest.mark.parametrize("follow", [(), ("-f",)])
async def test_logs_of_a_finished_run_go_to_the_streams_they_came_from(
    server: FakeApiServer, krt_here: KrtHere, follow: tuple[str, ...]
) -> None:
    await finished_run(server)
    assert await krt_here("logs", "done", *follow) == (0, "1\n3\n5\n", "0\n2\n4\n")
    assert await krt_here("logs", "rn/done", "--tail", "1", *follow) == (0, "5\n", "4\n")


@pytest.mark.slow
async def test_followed_logs_begin_with_the_tail_and_end_with_the_run(server: FakeApiServer, krt: KrtStarter) -> None:
    run = await server.add("runs", "live", spec={"runtime": "bash"})
    await assign(server, "live")
    await server.log_of(POD).append(output(run, "old"), output(run, "recent"))
    following = await krt.start("logs", "-f", "--tail", "1", "live")
    assert await following.stdout_line() == "recent"
    await server.log_of(POD).append(output(run, "new"))
    assert await following.stdout_line() == "new"
    await server.log_of(POD).append(format_end_line(run_uid=run["metadata"]["uid"], attempt=1))
    await finish(server, "live", "Failed", exitCode=7)
    assert await following.end() == 0
    assert following.stdout == "recent\nnew\n"


@pytest.mark.parametrize("follow", [(), ("-f",)])
async def test_logs_of_a_run_whose_pod_is_gone_say_so(server: FakeApiServer, krt_here: KrtHere, follow: tuple[str, ...]) -> None:
    await finished_run(server)
    server.log_of(POD).is_gone = True
    code, stdout, stderr = await krt_here("logs", "done", *follow)
    assert (code, stdout) == (125, "")
    assert stderr.endswith("error: the Pod runtime-bash-1 that ran it is gone, and its log with it\n")


async def test_logs_of_a_run_without_a_pod_say_why(server: FakeApiServer, krt_here: KrtHere) -> None:
    await server.add("runs", "fresh", spec={"runtime": "bash"}, status={"phase": "Pending", "message": "waiting for room"})
    code, _, stderr = await krt_here("logs", "fresh")
    assert code == 125
    assert stderr == ("error: Run fresh has no Pod to read from: it is Pending (waiting for room); follow it with: krt logs -f fresh\n")


async def test_a_create_whose_answer_is_lost_is_read_back_and_never_sent_twice(server: FakeApiServer, krt_here: KrtHere) -> None:
    await server.add("runtimes", "bash")
    server.lose_answers = 1
    code, stdout, stderr = await krt_here("run", "--", "x")
    assert (code, stderr) == (0, "")
    assert stdout.startswith("Task run-")
    assert sum(request.startswith("POST") for request in server.requests) == 1
    server.lose_answers = 1
    code, _, stderr = await krt_here("run", "--name", "mine", "--", "x")
    assert code == 125
    assert "Run mine exists, but whether this command created it is not known, look with: krt get mine -n default" in stderr


@pytest.mark.slow
async def test_colour_needs_a_terminal(server: FakeApiServer, krt: KrtStarter) -> None:
    server.refuse["GET runs"] = status_answer(403, "Forbidden", "no")
    for environment in ({}, {"NO_COLOR": "1"}, {"FORCE_COLOR": "1"}):
        krt.environment |= environment
        assert "\x1b" not in (await krt("list"))[2]
