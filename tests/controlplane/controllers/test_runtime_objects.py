"""A Runtime's objects: the whole of them against a golden file, and each rule on its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from controlplane.controllers.runtime_objects import InvalidRuntime, RuntimeSettings, desired_objects
from k8s.api.runtime import Runtime
from tests.controlplane.controllers.objects import make_runtime

GOLDEN = Path(__file__).with_name("golden")
SETTINGS = RuntimeSettings()

FULL: dict[str, Any] = {
    "name": "python",
    "replicas": 3,
    "port": 9092,
    "daemonImage": "registry.example/runtimed:2",
    "capacity": {"resources": {"runs": 8, "example.com/gpu": "2", "none": 0}},
    "artifactStore": {"driver": "s3", "s3": {"bucket": "b", "prefix": "p", "forcePathStyle": True, "credentialsSecretName": "creds"}},
    "template": {
        "metadata": {"labels": {"team": "a", "app": "mine"}, "annotations": {"note": "kept"}},
        "spec": {
            "serviceAccountName": "custom",
            "nodeSelector": {"disk": "fast"},
            "initContainers": [{"name": "seed", "image": "seed", "volumeMounts": [{"name": "artifact-store", "mountPath": "/x"}]}],
            "containers": [
                {
                    "name": "runtime",
                    "image": "python-runtime",
                    "ports": [{"name": "grpc", "containerPort": 1}, {"name": "debug", "containerPort": 5678}],
                    "livenessProbe": {"exec": {"command": ["true"]}},
                    "resources": {"limits": {"memory": "128Mi"}},
                    "volumeMounts": [{"name": "runtimed-state", "mountPath": "/steal"}, {"name": "scratch", "mountPath": "/tmp"}],
                },
                {"name": "runtimed", "image": "impostor"},
                {"name": "proxy", "image": "proxy", "volumeMounts": [{"name": "runtimed-token", "mountPath": "/token"}]},
            ],
            "volumes": [{"name": "scratch", "emptyDir": {}}, {"name": "runtimed-state", "hostPath": {"path": "/"}}],
        },
    },
}


LIMITED = {"name": "runtime", "image": "x", "resources": {"limits": {"cpu": "much"}}}


@pytest.mark.parametrize(("name", "spec"), [("minimal", {}), ("full", FULL)])
def test_the_objects_are_those_of_the_golden_file(name: str, spec: dict[str, Any]) -> None:
    objects = desired_objects(make_runtime(**spec), SETTINGS)
    assert objects == list(yaml.safe_load_all((GOLDEN / f"{name}.yaml").read_text()))


def test_a_pod_finds_its_rights_and_its_isolation_when_it_starts() -> None:
    kinds = [desired["kind"] for desired in desired_objects(make_runtime(), SETTINGS)]
    assert kinds == ["ServiceAccount", "Role", "RoleBinding", "NetworkPolicy", "Deployment"]


def pod_spec(runtime: Runtime) -> dict[str, Any]:
    spec: dict[str, Any] = desired_objects(runtime, SETTINGS)[-1]["spec"]["template"]["spec"]
    return spec


def container(runtime: Runtime, name: str) -> dict[str, Any]:
    return next(each for each in pod_spec(runtime)["containers"] if each["name"] == name)


def test_a_user_container_named_runtimed_is_dropped_and_ours_comes_last() -> None:
    assert [each["name"] for each in pod_spec(make_runtime(**FULL))["containers"]] == ["runtime", "proxy", "runtimed"]


def test_token_and_state_are_mounted_into_runtimed_alone() -> None:
    spec = pod_spec(make_runtime(**FULL))
    holders = {
        each["name"]
        for each in [*spec["containers"], *spec["initContainers"]]
        for mount in each.get("volumeMounts", [])
        if mount["name"] in ("runtimed-state", "runtimed-token", "artifact-store")
    }
    assert holders == {"runtimed"}
    assert spec["automountServiceAccountToken"] is False
    assert {"name": "runtimed-state", "emptyDir": {}} in spec["volumes"]


def test_runtimed_has_a_memory_limit_and_no_cpu_limit() -> None:
    assert container(make_runtime(), "runtimed")["resources"]["limits"] == {"memory": "256Mi"}


def test_runtimed_knows_the_uid_of_its_pod() -> None:
    env = {each["name"]: each["valueFrom"]["fieldRef"]["fieldPath"] for each in container(make_runtime(), "runtimed")["env"]}
    assert env == {"HOSTNAME": "metadata.name", "POD_NAMESPACE": "metadata.namespace", "POD_UID": "metadata.uid"}


def test_runtimed_is_told_what_the_runtime_offers_to_its_runs() -> None:
    annotations = {
        "kruntimes.io/env-secrets": "db, api.v2",
        "kruntimes.io/env-config-maps": "settings",
        "kruntimes.io/git-credentials-secret": "git",
    }
    args = container(make_runtime(annotations=annotations), "runtimed")["args"]
    assert args[-3:] == ["--env-secrets=db,api.v2", "--env-config-maps=settings", "--git-credentials-secret=git"]


def test_a_filesystem_store_is_mounted_and_writable_for_our_user() -> None:
    runtime = make_runtime(artifactStore={"driver": "filesystem", "filesystem": {"volumeClaimName": "claim"}})
    spec = pod_spec(runtime)
    assert spec["securityContext"] == {"fsGroup": 65532, "fsGroupChangePolicy": "OnRootMismatch"}
    assert {"name": "artifact-store", "persistentVolumeClaim": {"claimName": "claim"}} in spec["volumes"]
    assert "--artifact-volume-claim=claim" in container(runtime, "runtimed")["args"]


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ({}, {"requests": {"cpu": "250m", "memory": "256Mi"}, "limits": {"cpu": "2", "memory": "2Gi"}}),
        ({"requests": {"cpu": "4"}}, {"requests": {"cpu": "4"}, "limits": {"cpu": "4", "memory": "2Gi"}}),
        ({"limits": {"memory": "64Mi"}}, {"requests": {"cpu": "250m", "memory": "64Mi"}, "limits": {"memory": "64Mi"}}),
    ],
)
def test_default_resources_never_contradict_the_users_own(written: dict[str, Any], expected: dict[str, Any]) -> None:
    template = {"spec": {"containers": [{"name": "runtime", "image": "x", "resources": written}]}}
    assert container(make_runtime(template=template), "runtime")["resources"] == expected


def test_names_that_would_be_too_long_for_labels_are_shortened_by_hash() -> None:
    objects = desired_objects(make_runtime("r" * 60), SETTINGS)
    label = objects[-1]["metadata"]["labels"]["app"]
    assert len(label) <= 63
    assert label.startswith("kruntimes-rrr")
    assert label != desired_objects(make_runtime("r" * 59 + "s"), SETTINGS)[-1]["metadata"]["labels"]["app"]
    assert objects[-1]["metadata"]["name"] == "runtime-" + "r" * 60


def test_a_long_service_account_name_gives_a_short_role_binding() -> None:
    template = {"spec": {"serviceAccountName": "a" * 100, "containers": [{"name": "runtime", "image": "x"}]}}
    binding = desired_objects(make_runtime(template=template), SETTINGS)[2]
    assert len(binding["metadata"]["name"]) == 63
    assert binding["subjects"][0]["name"] == "a" * 100


@pytest.mark.parametrize(
    ("runtime", "field"),
    [
        (make_runtime("r" * 64), "metadata.name"),
        (make_runtime(capacity={"resources": {"gpu": "0.5"}}), "spec.capacity.resources[gpu]"),
        (make_runtime(capacity={"resources": {"a/b": 1, "a__b": 1}}), "spec.capacity.resources[a__b]"),
        (make_runtime(port=9093), "spec.port"),
        (make_runtime(template={"spec": {"containers": [LIMITED]}}), "spec.template.spec.containers[0].resources.limits[cpu]"),
        (
            make_runtime(template={"spec": {"containers": [{"name": "runtime"}], "initContainers": [{"name": "runtimed"}]}}),
            "spec.template.spec.initContainers[0].name",
        ),
        (make_runtime(template={"spec": {"containers": [{"name": "runtime"}], "volumes": "none"}}), "spec.template"),
        (make_runtime(template={"spec": {"containers": [{"name": "runtime", "ports": {"a": 1}}]}}), "spec.template"),
        (make_runtime(annotations={"kruntimes.io/env-secrets": "a,--b"}), "metadata.annotations[kruntimes.io/env-secrets]"),
        (
            make_runtime(annotations={"kruntimes.io/git-credentials-secret": "a,b"}),
            "metadata.annotations[kruntimes.io/git-credentials-secret]",
        ),
    ],
)
def test_what_cannot_be_brought_about_names_the_field(runtime: Runtime, field: str) -> None:
    with pytest.raises(InvalidRuntime) as raised:
        desired_objects(runtime, SETTINGS)
    assert raised.value.field == field


def test_the_runtime_itself_is_not_changed() -> None:
    runtime = make_runtime(**FULL)
    first = desired_objects(runtime, SETTINGS)
    assert desired_objects(runtime, SETTINGS) == first


def network_policy(**settings: Any) -> dict[str, Any]:
    spec: dict[str, Any] = desired_objects(make_runtime(), RuntimeSettings(**settings))[3]["spec"]
    return {key: value for key, value in spec.items() if key != "podSelector"}


def test_nobody_may_connect_to_a_runtime_pod_but_to_its_metrics_where_the_operator_says_so() -> None:
    assert network_policy() == {"policyTypes": ["Ingress"], "ingress": []}
    assert network_policy(has_metrics_ingress=True)["ingress"] == [{"ports": [{"port": 9090, "protocol": "TCP"}]}]


def test_a_runtime_pod_may_connect_to_the_networks_that_the_operator_names_and_to_dns() -> None:
    ports = [{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}]
    assert network_policy(egress_cidrs=("10.0.0.0/8",)) == {
        "policyTypes": ["Ingress", "Egress"],
        "ingress": [],
        "egress": [{"to": [{"ipBlock": {"cidr": "10.0.0.0/8"}}]}, {"ports": ports}],
    }


def template(**spec: Any) -> dict[str, Any]:
    return {"spec": {"containers": [{"name": "runtime", "image": "x"}], **spec}}


def test_a_template_that_wants_a_token_for_its_own_containers_keeps_it() -> None:
    assert pod_spec(make_runtime(template=template(automountServiceAccountToken=True)))["automountServiceAccountToken"] is True


def test_a_null_in_the_template_is_as_good_as_nothing() -> None:
    """A null would have the API server fill in its own default: a token for user code, for one."""
    spec = pod_spec(make_runtime(template=template(automountServiceAccountToken=None, terminationGracePeriodSeconds=None)))
    assert (spec["automountServiceAccountToken"], spec["terminationGracePeriodSeconds"]) == (False, 600)


def test_runs_of_a_pod_that_is_to_go_have_the_time_that_the_template_gives_them() -> None:
    assert pod_spec(make_runtime(template=template(terminationGracePeriodSeconds=5)))["terminationGracePeriodSeconds"] == 5


def test_the_older_name_of_the_service_account_field_counts_too() -> None:
    objects = desired_objects(make_runtime(template=template(serviceAccount="worker")), SETTINGS)
    spec = objects[-1]["spec"]["template"]["spec"]
    assert (objects[0]["metadata"]["name"], spec["serviceAccountName"], "serviceAccount" in spec) == ("worker", "worker", False)


def test_tmp_is_writable_under_the_read_only_root() -> None:
    spec = pod_spec(make_runtime())
    assert {"name": "tmp", "mountPath": "/tmp"} in container(make_runtime(), "runtime")["volumeMounts"]
    assert {"name": "tmp", "emptyDir": {}} in spec["volumes"]


def test_a_memory_limit_below_our_request_lowers_the_request() -> None:
    runtimed = desired_objects(make_runtime(), RuntimeSettings(runtimed_memory_limit="64Mi"))[-1]["spec"]["template"]["spec"]["containers"][
        -1
    ]
    assert runtimed["resources"] == {"requests": {"cpu": "100m", "memory": "64Mi"}, "limits": {"memory": "64Mi"}}
