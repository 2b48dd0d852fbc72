"""The real kubectl against both servers: what people type every day.

All of it is marked `kube`, also where it talks to the embedded server: kubectl itself has to be built first. `kubectl logs` needs
a node and is tested with local mode.
"""

from __future__ import annotations

import json
import re
import signal
from base64 import b64encode
from typing import Any

import pytest
import yaml

from tests.cluster.kubectl import DEADLINE_SECONDS, Kubectl
from tests.cluster.real import CRDS
from tests.contract.objects import changed, config_map, deployment, pod, run, runtime

pytestmark = [pytest.mark.kube, pytest.mark.slow]


def test_create_makes_what_a_file_says(kubectl: Kubectl) -> None:
    assert kubectl.create(run(), runtime(), config_map()).splitlines() == [
        "run.kruntimes.io/one created", "runtime.kruntimes.io/bash created", "configmap/one created",
    ]  # fmt: skip


def test_create_namespace_by_its_name(kubectl: Kubectl) -> None:
    """kubectl speaks protobuf here, and not JSON."""
    name = f"{kubectl.namespace}-more"

    assert kubectl.ok("create", "namespace", name) == f"namespace/{name} created\n"


def test_create_the_objects_that_a_run_refers_to(kubectl: Kubectl) -> None:
    """In protobuf again."""
    kubectl.ok("create", "configmap", "settings", "--from-literal=greeting=hello é")
    kubectl.ok("create", "secret", "generic", "keys", "--from-literal=key=secret é")
    kubectl.ok("create", "serviceaccount", "worker")

    assert kubectl.json("configmap", "settings")["data"] == {"greeting": "hello é"}
    secret = kubectl.json("secret", "keys")
    assert (secret["data"], secret["type"]) == ({"key": b64encode("secret é".encode()).decode()}, "Opaque")
    assert kubectl.json("serviceaccount", "worker")["metadata"]["name"] == "worker"


def test_create_with_a_generated_name(kubectl: Kubectl) -> None:
    manifest = run()
    manifest["metadata"] = {"generateName": "job-"}

    assert re.fullmatch(r"run.kruntimes.io/job-[a-z0-9]{5} created\n", kubectl.create(manifest))


def test_creating_twice_is_refused(kubectl: Kubectl) -> None:
    kubectl.create(run())

    assert 'runs.kruntimes.io "one" already exists' in kubectl.fails("create", "-f", "-", stdin=yaml.safe_dump(run()))


@pytest.mark.parametrize(
    ("path", "value", "complaint"),
    [
        ("spec.mode", {}, "spec.mode: Invalid value: exactly one of task and function must be set"),
        ("spec.runtime", "", "spec.runtime"),
        ("spec.source.inline", "x" * 300_000, "spec.source.inline: Too long: may not be more than 262144 bytes"),
        ("spec.mode.task.args", "echo", "spec.mode.task.args"),
        ("spec.retryPolicy", {"maxAttempts": 0}, "spec.retryPolicy.maxAttempts"),
        ("spec.bogus", 1, 'strict decoding error: unknown field "spec.bogus"'),
    ],
    ids=["mode", "runtime", "inline", "args", "attempts", "unknown"],
)
def test_creating_a_bad_run_names_the_field(kubectl: Kubectl, path: str, value: Any, complaint: str) -> None:
    assert complaint in kubectl.fails("create", "-f", "-", stdin=yaml.safe_dump(changed(run(), path, value)))


def test_get_prints_the_columns_of_a_run(one: Kubectl) -> None:
    header, row = one.rows("rn")

    assert header == ["NAME", "PHASE", "ASSIGNED POD", "RUNTIME", "AGE"]
    assert row[:4] == ["one", "Running", "pod-1", "bash"]
    assert re.fullmatch(r"\d+s", row[4])


def test_get_prints_the_columns_of_a_runtime(kubectl: Kubectl) -> None:
    kubectl.create(runtime())
    kubectl.ok("patch", "rt", "bash", "--subresource=status", "--type=merge", "-p", '{"status": {"readyReplicas": 1}}')

    header, row = kubectl.rows("runtimes")

    assert header == ["NAME", "IMAGE", "REPLICAS", "READY", "AGE"]
    assert row[:4] == ["bash", "bash-runtime:1", "1", "1"]


def test_get_prints_several_kinds(one: Kubectl) -> None:
    one.create(runtime(), config_map())

    printed = one.ok("get", "run,runtime,configmap")

    assert all(text in printed for text in ("run.kruntimes.io/one", "runtime.kruntimes.io/bash", "configmap/one"))


def test_get_prints_all_namespaces(one: Kubectl) -> None:
    header, *rows = one.rows("rn", "-A")

    assert header[0] == "NAMESPACE"
    assert [one.namespace, "one", "Running"] in [row[:3] for row in rows]


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ("name", "run.kruntimes.io/one\n"),
        ("jsonpath={.status.phase}", "Running"),
        ("custom-columns=N:.metadata.name,P:.status.phase", "N     P\none   Running\n"),
        ("go-template={{.spec.runtime}}", "bash"),
    ],
    ids=["name", "jsonpath", "custom-columns", "go-template"],
)
def test_get_prints_other_forms(one: Kubectl, form: str, expected: str) -> None:
    assert one.ok("get", "run", "one", "-o", form) == expected


def test_get_prints_json_yaml_and_wide(one: Kubectl) -> None:
    thing = one.json("run", "one")

    assert thing["status"]["phase"] == "Running"
    assert yaml.safe_load(one.ok("get", "run", "one", "-o", "yaml")) == thing
    assert "Running" in one.ok("get", "run", "one", "-o", "wide")


def test_get_selects(one: Kubectl) -> None:
    one.create(run("two", labels={"a": "b"}))

    assert one.ok("get", "rn", "-l", "a=b", "-o", "name") == "run.kruntimes.io/two\n"
    assert one.ok("get", "rn", "--field-selector=status.phase=Running", "-o", "name") == "run.kruntimes.io/one\n"


def test_get_pages(one: Kubectl) -> None:
    one.create(*(run(f"more-{number}") for number in range(4)))

    assert len(one.ok("get", "rn", "--chunk-size=2", "-o", "name").splitlines()) == 5


def test_get_of_nothing_says_so(kubectl: Kubectl) -> None:
    done = kubectl.run("get", "rn")

    assert (done.returncode, done.stderr) == (0, f"No resources found in {kubectl.namespace} namespace.\n")
    assert 'runs.kruntimes.io "none" not found' in kubectl.fails("get", "run", "none")


def test_get_of_an_unknown_kind_says_so(kubectl: Kubectl) -> None:
    assert 'doesn\'t have a resource type "workflows"' in kubectl.fails("get", "workflows")


def test_get_watches(kubectl: Kubectl) -> None:
    kubectl.create(run())
    watching = kubectl.start("get", "rn", "-w")
    try:
        assert watching.stdout is not None
        lines = [watching.stdout.readline().split(), watching.stdout.readline().split()]
        for phase in ("Scheduled", "Running", "Succeeded"):
            kubectl.ok("patch", "rn", "one", "--subresource=status", "--type=merge", "-p", json.dumps({"status": {"phase": phase}}))
            lines.append(watching.stdout.readline().split())
    finally:
        watching.send_signal(signal.SIGINT)
        watching.communicate(timeout=DEADLINE_SECONDS)

    assert [line[0] for line in lines] == ["NAME", "one", "one", "one", "one"]
    assert [line[1] for line in lines[2:]] == ["Scheduled", "Running", "Succeeded"]


def test_describe_shows_fields_and_events(one: Kubectl) -> None:
    uid = one.json("run", "one")["metadata"]["uid"]
    regarding = {"apiVersion": "kruntimes.io/v1alpha1", "kind": "Run", "name": "one", "namespace": one.namespace, "uid": uid}
    when = "2026-08-09T10:00:01Z"
    event = {"apiVersion": "v1", "kind": "Event", "metadata": {"name": "e"}, "involvedObject": regarding, "reason": "Retrying"}
    one.create(event | {"type": "Warning", "message": "once more", "firstTimestamp": when, "lastTimestamp": when, "count": 1})

    printed = one.ok("describe", "run", "one")

    for text in ("Name:         one", "Kind:         Run", "Runtime:           bash", "Phase:         Running", "Retrying", "once more"):
        assert re.search(text.replace(" ", r"\s*"), printed), printed


def test_describe_knows_the_built_in_kinds(kubectl: Kubectl) -> None:
    kubectl.create(pod(), deployment("two"))

    assert re.search(r"Image:\s+bash-runtime:1", kubectl.ok("describe", "pod", "one"))
    assert re.search(r"Replicas:\s+1 desired", kubectl.ok("describe", "deployment", "two"))


def test_api_resources_lists_our_kinds(kubectl: Kubectl) -> None:
    lines = [line.split() for line in kubectl.ok("api-resources", "--api-group=kruntimes.io").splitlines()]

    assert lines == [
        ["NAME", "SHORTNAMES", "APIVERSION", "NAMESPACED", "KIND"],
        ["runs", "rn", "kruntimes.io/v1alpha1", "true", "Run"],
        ["runtimes", "rt", "kruntimes.io/v1alpha1", "true", "Runtime"],
    ]
    assert "kruntimes.io/v1alpha1" in kubectl.ok("api-versions").splitlines()


def test_explain_tells_of_fields(kubectl: Kubectl) -> None:
    printed = kubectl.ok("explain", "run.spec.source")

    assert "KIND:       Run" in printed
    assert "inline" in printed
    assert "An empty text is a source; an absent one is none." in " ".join(printed.split())
    assert "timings" in kubectl.ok("explain", "run.status", "--recursive")


def test_version_tells_the_servers(kubectl: Kubectl) -> None:
    assert "serverVersion" in json.loads(kubectl.ok("version", "-o", "json"))


def test_raw_requests_go_through(kubectl: Kubectl) -> None:
    assert kubectl.ok("get", "--raw", "/readyz") == "ok"


def test_our_definitions_are_as_their_files_say(kubectl: Kubectl) -> None:
    """kubectl reads the files, anchors and all, and would change nothing."""
    same = kubectl.run("diff", "-f", str(CRDS))

    assert (same.returncode, same.stdout) == (0, ""), same.stderr
