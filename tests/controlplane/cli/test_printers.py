"""Tables, lines and documents, to the character."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import yaml

from controlplane.cli import views
from controlplane.cli.ages import human_age, human_duration
from controlplane.cli.jsonpath import compile_jsonpath
from controlplane.cli.printers import Output, Table, encode, key_values, parse_output, qualified_name
from controlplane.cli.views import RUN_COLUMNS, RUNTIME_COLUMNS, run_lines, runtime_lines
from k8s.api.errors import UsageError

NOW = datetime(2026, 8, 9, 10, 5, 0, tzinfo=UTC)

DONE: dict[str, Any] = {
    "apiVersion": "kruntimes.io/v1alpha1",
    "kind": "Run",
    "metadata": {
        "name": "sum-1",
        "namespace": "team-a",
        "uid": "u1",
        "creationTimestamp": "2026-08-09T10:00:00Z",
        "labels": {"app": "web"},
    },
    "spec": {"runtime": "bash", "mode": {"task": {"args": ["echo 'a b'"]}}, "env": [{"name": "TOKEN", "value": "secret"}], "timeout": "5s"},
    "status": {
        "phase": "Succeeded",
        "attempt": 1,
        "assignedPod": "runtime-bash-x2x8p",
        "message": "execution completed",
        "startTime": "2026-08-09T10:00:01.000250Z",
        "completionTime": "2026-08-09T10:00:01.012250Z",
        "exitCode": 0,
        "outputs": {"total": "3", "kind": "sum"},
        "conditions": [{"type": "Completed", "status": "True", "reason": "RunCompleted"}],
    },
}
FAILED: dict[str, Any] = DONE | {
    "metadata": DONE["metadata"] | {"name": "a-rather-long-name", "creationTimestamp": "2026-08-09T10:04:48Z"},
    "status": {
        "phase": "Failed", "attempt": 3, "exitCode": 2, "message": "line 1\nline 2\x1b[31m", "assignedPod": "p",
        "conditions": [{"type": "Completed", "status": "False", "reason": "RuntimeError"}],
    },
}  # fmt: skip
FRESH: dict[str, Any] = {
    "metadata": {"name": "new", "namespace": "team-a", "creationTimestamp": "2026-08-09T10:04:59Z"},
    "spec": {"runtime": "python"},
}


@pytest.fixture(autouse=True)
def at_five_past_ten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(views, "now", lambda: NOW)
    monkeypatch.setenv("TZ", "UTC")


def test_the_table_of_runs() -> None:
    assert Table(RUN_COLUMNS).render([DONE, FAILED, FRESH]) == [
        "NAME                 NAMESPACE   RUNTIME   PHASE       ASSIGNED POD         AGE",
        "sum-1                team-a      bash      Succeeded   runtime-bash-x2x8p   5m",
        "a-rather-long-name   team-a      bash      Failed      p                    12s",
        "new                  team-a      python    Pending     -                    1s",
    ]


def test_the_wide_table_of_runs_never_breaks_its_lines() -> None:
    header, done, failed, fresh = Table(RUN_COLUMNS, is_wide=True).render([DONE, FAILED, FRESH])
    assert header.endswith("AGE   REASON         ATTEMPT   EXIT CODE   DURATION   MESSAGE")
    assert done.endswith("5m    -              1         0           12ms       execution completed")
    assert failed.endswith(r"12s   RuntimeError   3         2           -          line 1\nline 2\x1b[31m")
    assert fresh.endswith("1s    -              -         -           -          -")


def test_rows_added_later_keep_the_columns_that_are_on_the_screen() -> None:
    table = Table(RUN_COLUMNS)
    header, _ = table.render([FAILED])
    (row,) = table.rows([FRESH])
    assert row.index("team-a") == header.index("NAMESPACE")


def test_the_table_of_runtimes() -> None:
    runtime = {
        "metadata": {"name": "bash", "namespace": "default", "creationTimestamp": "2026-08-07T10:00:00Z"},
        "spec": {"replicas": 3, "template": {"spec": {"containers": [{"name": "runtime", "image": "bash-runtime:0.1"}]}}},
        "status": {"readyReplicas": 2},
    }
    assert Table(RUNTIME_COLUMNS).render([runtime]) == [
        "NAME   NAMESPACE   IMAGE              REPLICAS   READY   PORT   AGE",
        "bash   default     bash-runtime:0.1   3          2       9091   2d",
    ]
    assert key_values(runtime_lines(runtime)) == [
        "Name:        bash",
        "Namespace:   default",
        "Image:       bash-runtime:0.1",
        "Port:        9091",
        "Replicas:    3",
        "Ready:       2",
        "Age:         2d",
    ]


def test_the_lines_of_a_run() -> None:
    assert key_values(run_lines(DONE, is_wide=False)) == [
        "Name:              sum-1",
        "Namespace:         team-a",
        "Runtime:           bash",
        "Phase:             Succeeded",
        "Assigned Pod:      runtime-bash-x2x8p",
        "Message:           execution completed",
        "Args:              'echo '\"'\"'a b'\"'\"''",
        "Start Time:        2026-08-09 10:00:01",
        "Completion Time:   2026-08-09 10:00:01",
        "Duration:          12ms",
        "Attempt:           1",
        "Exit Code:         0",
        "Outputs:           total=3",
        "                   kind=sum",
    ]
    assert "secret" not in "\n".join(key_values(run_lines(DONE, is_wide=True)))


def test_a_fresh_run_shows_dashes() -> None:
    assert key_values(run_lines(FRESH, is_wide=False))[3:] == [
        "Phase:          Pending",
        "Assigned Pod:   -",
        "Message:        -",
        "Args:           -",
    ]


def test_long_sources_are_cut_in_lines_and_whole_in_wide_lines() -> None:
    run = FRESH | {"spec": {"source": {"inline": "\n".join(f"line {number}" for number in range(8)) + "\n"}}}
    assert dict(run_lines(run, is_wide=False))["Source Inline"] == "line 0\nline 1\nline 2\nline 3\nline 4\n... 3 more lines"
    assert str(dict(run_lines(run, is_wide=True))["Source Inline"]).endswith("line 7")


def test_documents_are_the_objects_as_the_server_has_them() -> None:
    strange = DONE | {"spec": DONE["spec"] | {"newField": {"deep": [1, None]}}}
    assert json.loads(encode([strange], output=Output("json"), is_list=False)) == strange
    assert yaml.safe_load(encode([strange], output=Output("yaml"), is_list=False)) == strange
    listed = json.loads(encode([strange], output=Output("json"), is_list=True))
    assert (listed["kind"], listed["apiVersion"], listed["items"]) == ("List", "v1", [strange])
    assert json.loads(encode([], output=Output("json"), is_list=True))["items"] == []


def test_scripts_are_blocks_in_yaml() -> None:
    text = encode([{"source": "a\nb\n"}], output=Output("yaml"), is_list=False)
    assert text == "source: |\n  a\n  b\n"


def test_names_are_qualified() -> None:
    assert qualified_name(DONE) == "run.kruntimes.io/sum-1"
    assert encode([DONE, FAILED], output=Output("name"), is_list=True) == "run.kruntimes.io/sum-1\nrun.kruntimes.io/a-rather-long-name\n"


@pytest.mark.parametrize(
    ("expression", "text"),
    [
        ("{.status.phase}", "Succeeded"),
        (".status.phase", "Succeeded"),
        ("status.outputs.total", "3"),
        ("{.status.exitCode}", "0"),
        ("{.status.outputs}", '{"total":"3","kind":"sum"}'),
        ("{.spec.mode.task.args[0]}", "echo 'a b'"),
        ("{.spec.mode.task.args[-1]}", "echo 'a b'"),
        ("{.status.outputs['kind']}", "sum"),
        ("{.status.outputs.*}", "3 sum"),
        ('{.status.conditions[?(@.type=="Completed")].reason}', "RunCompleted"),
        ("{.status.conditions[?(@.type!='Completed')].reason}", ""),
        ("{.nothing.here}", ""),
        ('{range .status.conditions[*]}{.type}{"\\t"}{.status}{"\\n"}{end}', "Completed\tTrue\n"),
        ("phase={.status.phase}, code={.status.exitCode}", "phase=Succeeded, code=0"),
    ],
)
def test_jsonpath(expression: str, text: str) -> None:
    assert compile_jsonpath(expression)(DONE) == text


@pytest.mark.parametrize("expression", ["{.a[}", "{range .a}{.b}", "{.a}{end}", "{..a}", "{.a", "{.a[1:2]}", '{"a}'])
def test_jsonpath_that_is_not_understood_is_refused(expression: str) -> None:
    with pytest.raises(UsageError, match="jsonpath"):
        parse_output(f"jsonpath={expression}")


@pytest.mark.parametrize("text", ["xml", "json=", "jsonpath", "jsonpath=", "", "table=3"])
def test_unknown_formats_are_refused_with_those_that_exist(text: str) -> None:
    with pytest.raises(UsageError, match="table, wide, json, yaml, name"):
        parse_output(text)


@pytest.mark.parametrize(
    ("age", "text"),
    [
        (timedelta(seconds=-3), "0s"),
        (timedelta(), "0s"),
        (timedelta(seconds=12), "12s"),
        (timedelta(seconds=119), "119s"),
        (timedelta(minutes=2), "2m"),
        (timedelta(minutes=5, seconds=10), "5m10s"),
        (timedelta(minutes=179), "179m"),
        (timedelta(hours=3, minutes=5), "3h5m"),
        (timedelta(hours=47), "47h"),
        (timedelta(days=2, hours=5), "2d5h"),
        (timedelta(days=100), "100d"),
        (timedelta(days=800), "2y70d"),
        (timedelta(days=4000), "10y"),
    ],
)
def test_ages_are_as_short_as_kubectl_s(age: timedelta, text: str) -> None:
    assert human_age(age.total_seconds()) == text


@pytest.mark.parametrize(("seconds", "text"), [(0.0004, "0.4ms"), (0.012, "12ms"), (1.534, "1.53s"), (125, "2m5s")])
def test_durations_show_what_matters(seconds: float, text: str) -> None:
    assert human_duration(seconds) == text
