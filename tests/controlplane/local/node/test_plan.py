"""How containers become commands, environments and folders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from controlplane.local.node.plan import (
    ContainerPlan,
    PodFolders,
    PodPorts,
    Surroundings,
    UnrunnableError,
    expand,
    image_base_name,
    plan_container,
    referenced_objects,
)

Json = dict[str, Any]
FOLDERS = PodFolders(Path("/pods/uid-1"), claims=Path("/claims/team"))


def surroundings(references: Any = None) -> Surroundings:
    return Surroundings(
        ports=PodPorts(runtime=20001, status=20002, health=20003),
        folders=FOLDERS,
        kubeconfig="/state/kubeconfig",
        base_environment={"PATH": "/bin"},
        own_environment={"PATH": "/bin", "PYTHONPATH": "/packages"},
        find_program=lambda name: [f"/venv/{name}"],
        references=references or {},
    )


def pod(*containers: Json, volumes: list[Json] | None = None) -> Json:
    metadata = {"name": "web-1", "namespace": "team", "uid": "uid-1", "labels": {"app": "web"}, "annotations": {"note": "a b"}}
    return {"metadata": metadata, "spec": {"nodeName": "local", "containers": list(containers), "volumes": volumes or []}}


def plan(container: Json, *, volumes: list[Json] | None = None, references: Any = None) -> ContainerPlan:
    manifest = {"name": "runtime", **container}
    return plan_container(pod(manifest, volumes=volumes), manifest, surroundings=surroundings(references))


@pytest.mark.parametrize(
    ("image", "base"),
    [
        ("kruntimes-bash-runtime", "bash-runtime"),
        ("registry.example:5000/team/bash-runtime:v1", "bash-runtime"),
        ("bash-runtime@sha256:abc", "bash-runtime"),
        ("example/python-runtime:3@sha256:abc", "python-runtime"),
    ],
)
def test_an_image_is_known_by_its_base_name(image: str, base: str) -> None:
    assert image_base_name(image) == base


def test_a_built_in_server_gets_its_port_and_folder_after_the_manifests_own_flags() -> None:
    result = plan({"image": "kruntimes-bash-runtime:latest", "args": ["--port=9091", "--work-dir=/workspace"]})
    assert result.command == [
        "/venv/krt-server-bash",
        "--port=9091",
        "--work-dir=/workspace",
        "--port=20001",
        "--work-dir=/pods/uid-1/volumes/workspace",
    ]
    assert result.environment["PYTHONPATH"] == "/packages"


def test_runtimed_is_told_everything_it_needs() -> None:
    result = plan({"name": "runtimed", "image": "kruntimes-runtimed:latest", "args": ["--runtime-name=bash"]})
    assert result.command[:2] == ["/venv/runtimed", "--runtime-name=bash"]
    assert set(result.command[2:]) == {
        "--runtime-endpoint=127.0.0.1:20001",
        "--status-addr=127.0.0.1:20002",
        "--metrics-bind-address=127.0.0.1:0",
        "--health-probe-bind-address=127.0.0.1:20003",
        "--workspace=/pods/uid-1/volumes/workspace",
        "--state-dir=/pods/uid-1/state",
        "--memory-dir=/pods/uid-1/state",
        "--kubeconfig=/state/kubeconfig",
    }
    assert {name: result.environment[name] for name in ("HOSTNAME", "POD_NAMESPACE", "POD_UID")} == {
        "HOSTNAME": "web-1",
        "POD_NAMESPACE": "team",
        "POD_UID": "uid-1",
    }


def test_a_command_runs_as_it_is_and_finds_its_port_in_the_environment() -> None:
    result = plan({"image": "anything", "command": ["serve", "--listen=$(KRUNTIMES_PORT)"], "args": ["$(KRUNTIMES_WORK_DIR)", "$$(HOME)"]})
    assert result.command == ["serve", "--listen=20001", "/pods/uid-1/volumes/workspace", "$(HOME)"]
    assert "PYTHONPATH" not in result.environment


@pytest.mark.parametrize("name", ["runtime", "runtimed", "helper"])
def test_any_other_image_says_what_works(name: str) -> None:
    with pytest.raises(UnrunnableError, match=r"kruntimes-bash-runtime .* `command`") as caught:
        plan({"name": name, "image": "nginx:latest"})
    assert caught.value.reason == "ImageNotRunnableLocally"


def test_only_the_container_of_that_name_is_runtimed() -> None:
    with pytest.raises(UnrunnableError):
        plan({"name": "helper", "image": "kruntimes-runtimed"})


@pytest.mark.parametrize(
    ("text", "expanded"),
    [("$(A)-$(B)", "1-$(B)"), ("$$(A)", "$(A)"), ("$A", "$A"), ("$$$(A)", "$1"), ("$(A", "$(A"), ("", "")],
)
def test_references_expand_as_in_kubernetes(text: str, expanded: str) -> None:
    assert expand(text, {"A": "1"}) == expanded


def test_the_environment_is_the_allow_list_and_the_manifests_own() -> None:
    env: list[Json] = [{"name": "FIRST", "value": "1"}, {"name": "SECOND", "value": "$(FIRST)2"}, {"name": "PATH", "value": "/mine"}]
    environment = plan({"command": ["x"], "env": env}).environment
    assert environment == {
        "PATH": "/mine",
        "HOSTNAME": "web-1",
        "KRUNTIMES_PORT": "20001",
        "KRUNTIMES_WORK_DIR": "/pods/uid-1/volumes/workspace",
        "FIRST": "1",
        "SECOND": "12",
    }


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("metadata.name", "web-1"),
        ("metadata.namespace", "team"),
        ("metadata.uid", "uid-1"),
        ("metadata.labels['app']", "web"),
        ("metadata.annotations['note']", "a b"),
        ("metadata.labels['none']", ""),
        ("spec.nodeName", "local"),
        ("spec.serviceAccountName", "default"),
        ("status.podIP", "127.0.0.1"),
    ],
)
def test_a_field_of_the_pod_is_resolved(path: str, value: str) -> None:
    assert plan({"command": ["x"], "env": [{"name": "IT", "valueFrom": {"fieldRef": {"fieldPath": path}}}]}).environment["IT"] == value


def test_an_unknown_field_is_a_config_error_that_names_it() -> None:
    with pytest.raises(UnrunnableError, match=r"env IT: .*spec\.hostname") as caught:
        plan({"command": ["x"], "env": [{"name": "IT", "valueFrom": {"fieldRef": {"fieldPath": "spec.hostname"}}}]})
    assert caught.value.reason == "CreateContainerConfigError"


REFERENCES = {("ConfigMap", "settings"): {"level": "info"}, ("Secret", "token"): {"value": "s3"}, ("Secret", "missing"): None}


def reference(kind: str, name: str, key: str, *, optional: bool = False) -> Json:
    return {"name": "IT", "valueFrom": {kind: {"name": name, "key": key, "optional": optional}}}


def test_config_maps_and_secrets_are_read() -> None:
    assert (
        plan({"command": ["x"], "env": [reference("configMapKeyRef", "settings", "level")]}, references=REFERENCES).environment["IT"]
        == "info"
    )
    assert plan({"command": ["x"], "env": [reference("secretKeyRef", "token", "value")]}, references=REFERENCES).environment["IT"] == "s3"
    env_from = [{"prefix": "P_", "configMapRef": {"name": "settings"}}, {"secretRef": {"name": "token"}}]
    environment = plan({"command": ["x"], "envFrom": env_from}, references=REFERENCES).environment
    assert (environment["P_level"], environment["value"]) == ("info", "s3")


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (reference("secretKeyRef", "missing", "value"), "Secret missing is not found"),
        (reference("configMapKeyRef", "settings", "none"), "ConfigMap settings has no key none"),
        ({"name": "IT", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}}, "env IT"),
    ],
)
def test_a_reference_that_leads_nowhere_is_a_config_error(entry: Json, message: str) -> None:
    with pytest.raises(UnrunnableError, match=message) as caught:
        plan({"command": ["x"], "env": [entry]}, references=REFERENCES)
    assert caught.value.reason == "CreateContainerConfigError"


def test_an_optional_reference_that_leads_nowhere_is_left_out() -> None:
    env = [reference("secretKeyRef", "missing", "value", optional=True)]
    assert "IT" not in plan({"command": ["x"], "env": env}, references=REFERENCES).environment


def test_what_must_be_read_is_found_in_all_containers() -> None:
    first = {"name": "a", "env": [reference("secretKeyRef", "token", "value")]}
    second = {"name": "b", "envFrom": [{"configMapRef": {"name": "settings"}}]}
    assert referenced_objects(pod(first, second)) == {("Secret", "token"), ("ConfigMap", "settings")}


def test_an_empty_dir_is_a_folder_named_in_the_environment() -> None:
    container = {"command": ["x"], "volumeMounts": [{"name": "big-cache", "mountPath": "/cache"}]}
    environment = plan(container, volumes=[{"name": "big-cache", "emptyDir": {}}]).environment
    assert environment["KRUNTIMES_VOLUME_BIG_CACHE"] == "/pods/uid-1/volumes/big-cache"


CLAIM = [{"name": "artifact-store", "persistentVolumeClaim": {"claimName": "results"}}]
MOUNT = {"volumeMounts": [{"name": "artifact-store", "mountPath": "/var/lib/kruntimes/artifacts"}]}


def test_a_claim_is_a_folder_of_its_namespace_that_outlives_the_pod() -> None:
    environment = plan({"command": ["x"], **MOUNT}, volumes=CLAIM).environment
    assert environment["KRUNTIMES_VOLUME_ARTIFACT_STORE"] == "/claims/team/results"


def test_runtimed_and_the_maintainer_are_told_where_the_store_is() -> None:
    runtimed = plan({"name": "runtimed", "image": "kruntimes-runtimed", **MOUNT}, volumes=CLAIM)
    assert runtimed.command[-1] == "--artifact-store-root=/claims/team/results"
    cleaner = plan({"name": "cleaner", "image": "kruntimes-controller", "command": ["/runtime-maintainer"], **MOUNT}, volumes=CLAIM)
    assert cleaner.command[0] == "/venv/krt-maintainer"
    assert cleaner.command[-1] == "--filesystem-root=/claims/team/results"
    assert "--kubeconfig=/state/kubeconfig" in cleaner.command


def test_a_volume_of_another_type_says_so() -> None:
    container = {"command": ["x"], "volumeMounts": [{"name": "data", "mountPath": "/data"}]}
    volumes = [{"name": "data", "hostPath": {"path": "/data"}}]
    with pytest.raises(UnrunnableError, match="'data' is of type hostPath") as caught:
        plan(container, volumes=volumes)
    assert caught.value.reason == "VolumeNotAvailableLocally"


def test_a_volume_that_nobody_mounts_is_no_obstacle() -> None:
    assert plan({"command": ["x"]}, volumes=[{"name": "data", "hostPath": {"path": "/data"}}]).command == ["x"]


def test_runtimeds_token_is_not_missed() -> None:
    container = {"name": "runtimed", "image": "kruntimes-runtimed", "volumeMounts": [{"name": "token", "mountPath": "/token"}]}
    volumes = [{"name": "token", "projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]}}]
    assert plan(container, volumes=volumes).command[0] == "/venv/runtimed"
