"""The real kubectl against both servers: what changes and removes objects, and what waits for changes."""

from __future__ import annotations

import json

import pytest
import yaml

from tests.cluster.kubectl import DEADLINE_SECONDS, Kubectl
from tests.contract.objects import changed, config_map, deployment, pod, run, runtime

pytestmark = [pytest.mark.kube, pytest.mark.slow]


def test_patch_changes_a_run(one: Kubectl) -> None:
    assert one.ok("patch", "run", "one", "--type=merge", "-p", '{"spec": {"cancelRequested": true}}') == "run.kruntimes.io/one patched\n"
    operation = '[{"op": "add", "path": "/spec/ttlSecondsAfterFinished", "value": 5}]'
    one.ok("patch", "run", "one", "--type=json", "-p", operation)

    spec = one.json("run", "one")["spec"]
    assert (spec["cancelRequested"], spec["ttlSecondsAfterFinished"]) == (True, 5)


def test_patch_of_an_immutable_field_says_so(one: Kubectl) -> None:
    assert "runtime is immutable" in one.fails("patch", "run", "one", "--type=merge", "-p", '{"spec": {"runtime": "python"}}')


def test_patch_is_strategic_for_built_in_kinds(kubectl: Kubectl) -> None:
    kubectl.create(deployment())
    patch = {"spec": {"template": {"spec": {"containers": [{"name": "runtime", "image": "bash-runtime:2"}]}}}}

    kubectl.ok("patch", "deployment", "one", "-p", json.dumps(patch))

    (container,) = kubectl.json("deployment", "one")["spec"]["template"]["spec"]["containers"]
    assert container["image"] == "bash-runtime:2"


def test_edit_writes_what_the_editor_wrote(one: Kubectl) -> None:
    editor = one.folder / "editor"
    editor.write_text('#!/bin/sh\nexec sed -i "s/cancelRequested: false/cancelRequested: true/" "$1"\n')
    editor.chmod(0o700)

    assert one.ok("edit", "run", "one", EDITOR=str(editor)) == "run.kruntimes.io/one edited\n"
    assert one.json("run", "one")["spec"]["cancelRequested"] is True


def test_label_and_annotate(one: Kubectl) -> None:
    assert one.ok("label", "run", "one", "team=x") == "run.kruntimes.io/one labeled\n"
    assert one.ok("annotate", "run", "one", "note=y") == "run.kruntimes.io/one annotated\n"
    assert "already has a value" in one.fails("label", "run", "one", "team=z")
    one.ok("label", "run", "one", "team=z", "--overwrite")
    one.ok("annotate", "run", "one", "note-")

    metadata = one.json("run", "one")["metadata"]
    assert metadata["labels"] == {"team": "z"}
    assert "annotations" not in metadata


def test_labels_can_be_columns(one: Kubectl) -> None:
    one.ok("label", "run", "one", "team=x")

    assert one.rows("rn", "-L", "team")[1][-1] == "x"
    assert "team=x" in one.ok("get", "rn", "--show-labels")


def test_wait_returns_when_it_is_so(one: Kubectl) -> None:
    waiting = one.start("wait", "run/one", "--for=jsonpath={.status.phase}=Succeeded", "--timeout=20s")
    one.ok("patch", "run", "one", "--subresource=status", "--type=merge", "-p", '{"status": {"phase": "Succeeded"}}')

    printed, _ = waiting.communicate(timeout=DEADLINE_SECONDS)

    assert (waiting.returncode, printed) == (0, "run.kruntimes.io/one condition met\n")


def test_wait_for_a_condition(one: Kubectl) -> None:
    condition = {
        "type": "Completed",
        "status": "True",
        "reason": "RunCompleted",
        "message": "",
        "lastTransitionTime": "2026-08-09T10:00:01Z",
    }
    one.ok("patch", "run", "one", "--subresource=status", "--type=merge", "-p", json.dumps({"status": {"conditions": [condition]}}))

    assert one.ok("wait", "run/one", "--for=condition=Completed", "--timeout=10s") == "run.kruntimes.io/one condition met\n"


def test_wait_gives_up(one: Kubectl) -> None:
    assert "timed out waiting for the condition" in one.fails("wait", "run/one", "--for=jsonpath={.status.phase}=Failed", "--timeout=1s")


def test_wait_for_deletion(one: Kubectl) -> None:
    waiting = one.start("wait", "run/one", "--for=delete", "--timeout=20s")
    one.ok("delete", "run", "one")

    waiting.communicate(timeout=DEADLINE_SECONDS)

    assert waiting.returncode == 0


def test_delete_waits_until_it_is_gone(one: Kubectl) -> None:
    assert one.ok("delete", "run", "one") == f'run.kruntimes.io "one" deleted from {one.namespace} namespace\n'
    assert one.ok("delete", "run", "one", "--ignore-not-found") == ""
    assert "not found" in one.fails("delete", "run", "one")


def test_delete_by_label_and_all(one: Kubectl) -> None:
    one.create(run("two", labels={"a": "b"}), run("three"))

    one.ok("delete", "rn", "-l", "a=b")
    assert one.ok("get", "rn", "-o", "name").split() == ["run.kruntimes.io/one", "run.kruntimes.io/three"]
    one.ok("delete", "rn", "--all")
    assert one.ok("get", "rn", "-o", "name") == ""


def test_delete_does_not_wait_for_a_finalizer_when_told_so(kubectl: Kubectl) -> None:
    kubectl.create(run(finalizers=["kruntimes.io/artifact-cleanup"]))

    kubectl.ok("delete", "run", "one", "--wait=false")

    assert "deletionTimestamp" in kubectl.json("run", "one")["metadata"]


def test_delete_of_a_pod_at_once(kubectl: Kubectl) -> None:
    kubectl.create(pod(node="node-1"))

    kubectl.run("delete", "pod", "one", "--grace-period=0", "--force")

    assert "not found" in kubectl.fails("get", "pod", "one")


def test_apply_creates_changes_and_leaves_alone(kubectl: Kubectl) -> None:
    manifest = changed(runtime(), "spec.replicas", 2)

    assert kubectl.apply(manifest) == "runtime.kruntimes.io/bash created\n"
    assert kubectl.apply(manifest) == "runtime.kruntimes.io/bash unchanged\n"
    assert kubectl.apply(changed(manifest, "spec.replicas", 3)) == "runtime.kruntimes.io/bash configured\n"
    assert kubectl.json("runtime", "bash")["spec"]["replicas"] == 3


def test_apply_removes_what_is_no_longer_said(kubectl: Kubectl) -> None:
    kubectl.apply(changed(runtime(), "spec.daemonImage", "runtimed:1"))
    kubectl.ok("label", "runtime", "bash", "theirs=kept")

    kubectl.apply(runtime())

    thing = kubectl.json("runtime", "bash")
    assert "daemonImage" not in thing["spec"]
    assert thing["metadata"]["labels"] == {"theirs": "kept"}


def test_apply_works_on_built_in_kinds(kubectl: Kubectl) -> None:
    kubectl.apply(deployment(), config_map())

    changed_deployment = changed(deployment(), "spec.template.spec.containers.0.image", "bash-runtime:2")
    printed = kubectl.apply(changed_deployment, changed(config_map(), "data", {"other": "value"}))

    assert printed.splitlines() == ["deployment.apps/one configured", "configmap/one configured"]
    assert kubectl.json("configmap", "one")["data"] == {"other": "value"}


def test_apply_of_a_bad_run_names_the_field(kubectl: Kubectl) -> None:
    complaint = kubectl.fails("apply", "-f", "-", stdin=yaml.safe_dump(changed(run(), "spec.ttlSecondsAfterFinished", -1)))

    assert "spec.ttlSecondsAfterFinished" in complaint


def test_apply_on_the_server(kubectl: Kubectl) -> None:
    command = ("apply", "--server-side", "--force-conflicts", "-f", "-")

    first = kubectl.ok(*command, stdin=yaml.safe_dump(runtime()))
    kubectl.ok(*command, stdin=yaml.safe_dump(changed(runtime(), "spec.replicas", 4)))

    assert first == "runtime.kruntimes.io/bash serverside-applied\n"
    assert kubectl.json("runtime", "bash")["spec"]["replicas"] == 4


def test_diff_shows_what_apply_would_change(kubectl: Kubectl) -> None:
    kubectl.apply(runtime())

    same = kubectl.run("diff", "-f", "-", stdin=yaml.safe_dump(runtime()))
    other = kubectl.run("diff", "-f", "-", stdin=yaml.safe_dump(changed(runtime(), "spec.replicas", 5)))

    assert (same.returncode, same.stdout) == (0, "")
    assert other.returncode == 1
    assert "+  replicas: 5" in other.stdout
    assert kubectl.json("runtime", "bash")["spec"]["replicas"] == 1


def test_replace_writes_the_whole_object(one: Kubectl) -> None:
    thing = one.json("run", "one")
    thing["metadata"]["labels"] = {"a": "b"}

    assert one.ok("replace", "-f", "-", stdin=json.dumps(thing)) == "run.kruntimes.io/one replaced\n"
    assert "the object has been modified" in one.fails("replace", "-f", "-", stdin=json.dumps(changed(thing, "metadata.labels.a", "c")))


def test_a_dry_run_leaves_nothing(kubectl: Kubectl) -> None:
    printed = kubectl.ok("create", "--dry-run=server", "-f", "-", stdin=yaml.safe_dump(run()))

    assert printed == "run.kruntimes.io/one created (server dry run)\n"
    assert kubectl.ok("get", "rn", "-o", "name") == ""
