"""What the API server adds to a manifest, what it takes away, and how it says so."""

from __future__ import annotations

import json

from tests.contract.http import DEPLOYMENTS, JSON_PATCH, PODS, RUNS, RUNTIMES, Api
from tests.contract.objects import REMOVE, changed, deployment, pod, run, runtime


async def test_a_run_gets_its_defaults(api: Api) -> None:
    created = await api.create(RUNS, changed(run(), "spec.workspace", {"name": "a"}))

    assert created["spec"]["workspace"] == {"name": "a", "kind": "PersistentWorkspace", "apiGroup": "kruntimes.io/v1alpha1"}
    assert created["spec"]["cancelRequested"] is False


async def test_a_run_gets_no_more_than_its_defaults(api: Api) -> None:
    created = await api.create(RUNS, run())

    assert created["spec"] == run()["spec"] | {"cancelRequested": False}


async def test_a_runtime_gets_its_defaults(api: Api) -> None:
    created = await api.create(RUNTIMES, runtime())

    assert (created["spec"]["port"], created["spec"]["replicas"]) == (9091, 1)
    assert created["spec"]["template"] == runtime()["spec"]["template"]


async def test_an_s3_store_gets_its_default(api: Api) -> None:
    created = await api.create(RUNTIMES, changed(runtime(), "spec.artifactStore", {"driver": "s3", "s3": {"bucket": "b"}}))

    assert created["spec"]["artifactStore"]["s3"] == {"bucket": "b", "forcePathStyle": False}


async def test_references_in_env_get_their_defaults(api: Api) -> None:
    forms = {"secretKeyRef": {"key": "k"}, "configMapKeyRef": {"key": "k"}, "fileKeyRef": {"volumeName": "v", "path": "p", "key": "k"}}
    env = [{"name": form, "valueFrom": {form: value}} for form, value in forms.items()]

    created = await api.create(RUNS, changed(run(), "spec.env", env))

    values = {one["name"]: one["valueFrom"][one["name"]] for one in created["spec"]["env"]}
    assert values == {
        "secretKeyRef": {"key": "k", "name": ""},
        "configMapKeyRef": {"key": "k", "name": ""},
        "fileKeyRef": {"volumeName": "v", "path": "p", "key": "k", "optional": False},
    }


async def test_a_default_returns_when_its_field_is_removed(api: Api) -> None:
    await api.create(RUNTIMES, changed(runtime(), "spec.replicas", 3))

    written = (await api.patch(RUNTIMES, "bash", [{"op": "remove", "path": "/spec/replicas"}], kind=JSON_PATCH)).ok()

    assert written["spec"]["replicas"] == 1


async def test_null_is_the_same_as_absent(api: Api) -> None:
    spec = run()["spec"] | {"timeout": None, "env": None, "cancelRequested": None, "mode": {"task": {}, "function": None}}

    created = await api.create(RUNS, run() | {"spec": spec})

    assert created["spec"] == run()["spec"] | {"cancelRequested": False}


async def test_a_null_source_text_is_no_source_text(api: Api) -> None:
    created = await api.create(RUNS, changed(run(), "spec.source", {"inline": None, "repoURL": "u"}))

    assert created["spec"]["source"] == {"repoURL": "u"}


async def test_unknown_fields_are_pruned(api: Api) -> None:
    manifest = changed(changed(changed(run(), "spec.bogus", 1), "spec.mode.task.bogus", 1), "bogus", 1)

    created = await api.create(RUNS, manifest)

    assert "bogus" not in created
    assert created["spec"] == run()["spec"] | {"cancelRequested": False}


async def test_unknown_fields_of_a_status_are_pruned(api: Api) -> None:
    await api.create(RUNS, run())

    written = (
        await api.patch(RUNS, "one", {"status": {"phase": "Running", "bogus": 1, "timings": {"bogus": 1}}}, subresource="status")
    ).ok()

    assert written["status"] == {"phase": "Running", "timings": {}}


async def test_unknown_volume_sources_are_pruned(api: Api) -> None:
    assert (await api.create(RUNTIMES, changed(runtime(), "spec.workspace", {"bogus": {}})))["spec"]["workspace"] == {}


async def test_a_template_keeps_all_that_is_written(api: Api) -> None:
    template = {
        "metadata": {"labels": {"team": "x"}, "annotations": {"note": "y"}, "creationTimestamp": None},
        "spec": {
            "containers": [
                {"name": "runtime", "image": "i", "resources": {"limits": {"cpu": 2, "memory": "2Gi"}}, "ports": [{"containerPort": 9091}]},
                {"name": "helper", "command": ["sleep", "9"], "env": [{"name": "A", "value": ""}]},
            ],
            "nodeSelector": {"disk": "ssd"},
            "tolerations": [{"operator": "Exists"}],
            "bogus": {"kept": [1, 2.5, None, True]},
        },
    }

    created = await api.create(RUNTIMES, changed(runtime(), "spec.template", template))

    del template["metadata"]["creationTimestamp"]  # type: ignore[attr-defined]
    created["spec"]["template"]["metadata"].pop("creationTimestamp", None)
    assert created["spec"]["template"] == template


async def test_an_unknown_field_is_warned_of(api: Api) -> None:
    answer = await api.post(RUNS, changed(run(), "spec.bogus", 1), fieldValidation="Warn")

    answer.ok(201)
    assert answer.headers["Warning"] == '299 - "unknown field \\"spec.bogus\\""'


async def test_an_unknown_field_is_refused_on_demand(api: Api) -> None:
    answer = await api.post(RUNS, changed(run(), "spec.mode.task.bogus", 1), fieldValidation="Strict")

    answer.refused(400, "BadRequest", mentions='strict decoding error: unknown field "spec.mode.task.bogus"')


async def test_an_unknown_field_is_passed_over_on_demand(api: Api) -> None:
    answer = await api.post(RUNS, changed(run(), "spec.bogus", 1), fieldValidation="Ignore")

    answer.ok(201)
    assert "Warning" not in answer.headers


async def test_unknown_fields_of_updates_and_patches_are_refused_on_demand(api: Api) -> None:
    created = await api.create(RUNS, run())

    put = await api.put(RUNS, changed(created, "spec.bogus", 1), fieldValidation="Strict")
    patch = await api.patch(RUNS, "one", {"spec": {"bogus": 1}}, fieldValidation="Strict")

    put.refused(400, "BadRequest", mentions="spec.bogus")
    patch.refused(422, "Invalid", mentions="spec.bogus")


async def test_a_good_object_passes_the_strictest_check(api: Api) -> None:
    await api.create(RUNS, run(), fieldValidation="Strict")
    await api.create(RUNTIMES, changed(runtime(), "spec.template.metadata", {"creationTimestamp": None}), fieldValidation="Strict")


async def test_a_key_said_twice_is_refused_on_demand(api: Api) -> None:
    body = json.dumps(run()).replace('"runtime": "bash"', '"runtime": "bash", "runtime": "python"')

    answer = await api.request("POST", api.path(RUNS), body.encode(), fieldValidation="Strict")

    answer.refused(400, "BadRequest", mentions="duplicate field")


async def test_a_pod_gets_what_our_processes_rely_on(api: Api) -> None:
    created = await api.create(PODS, pod())

    assert created["status"]["phase"] == "Pending"
    assert created["spec"]["restartPolicy"] == "Always"
    assert created["spec"]["terminationGracePeriodSeconds"] == 30


async def test_a_deployment_gets_its_replicas(api: Api) -> None:
    created = await api.create(DEPLOYMENTS, changed(deployment(), "spec.replicas", None))

    assert created["spec"]["replicas"] == 1
    assert created["spec"]["strategy"]["type"] == "RollingUpdate"


async def test_a_pod_needs_containers(api: Api) -> None:
    (await api.post(PODS, changed(pod(), "spec.containers", []))).invalid(field="spec.containers")
    (await api.post(PODS, changed(pod(), "spec.containers.0.name", REMOVE))).invalid(field="spec.containers[0].name")


async def test_a_deployment_must_select_its_own_pods(api: Api) -> None:
    manifest = changed(deployment(), "spec.selector.matchLabels", {"app": "another"})

    (await api.post(DEPLOYMENTS, manifest)).invalid(field="spec.template.metadata.labels")


async def test_a_deployments_selector_is_immutable(api: Api) -> None:
    await api.create(DEPLOYMENTS, deployment())
    labels = {"app": "another"}
    patch = {"spec": {"selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}}}}

    (await api.patch(DEPLOYMENTS, "one", patch)).invalid(field="spec.selector", mentions="immutable")
