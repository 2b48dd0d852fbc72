"""Every rule of a Runtime, with accepted and refused manifests."""

from __future__ import annotations

from typing import Any

import pytest

from tests.contract.http import RUNTIMES, Api
from tests.contract.objects import REMOVE, at, condition, runtime
from tests.contract.rules import Rule, accepted, refused
from tests.contract.test_run_status_rules import store_rules

TYPE_ERROR = ""
CONTAINERS = "spec.template.spec.containers"
SERVER = {"name": "runtime", "image": "i"}
VOLUME_SOURCES = [
    "awsElasticBlockStore", "azureDisk", "azureFile", "cephfs", "cinder", "configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "fc",
    "flexVolume", "flocker", "gcePersistentDisk", "gitRepo", "glusterfs", "hostPath", "image", "iscsi", "nfs", "persistentVolumeClaim",
    "photonPersistentDisk", "portworxVolume", "projected", "quobyte", "rbd", "scaleIO", "secret", "storageos", "vsphereVolume",
]  # fmt: skip

TEMPLATE = [
    Rule("spec.template", refuses=[REMOVE]),
    Rule("spec.template", refuses=[{}, {"metadata": {}}], names=CONTAINERS),
    Rule("spec.template.spec", refuses=[{}], names=CONTAINERS),
    Rule("spec.template", refuses=["bash"], names=TYPE_ERROR),
    Rule(CONTAINERS, [[SERVER], [SERVER, {"name": "other"}]], [[], [{"name": "other", "image": "i"}, SERVER], [{"name": "runtime"}]]),
    Rule(CONTAINERS, refuses=[[{"image": "i"}]], names=f"{CONTAINERS}.0.name"),
    Rule(f"{CONTAINERS}.0.image", ["i", "i" * 2048], ["", "i" * 2049, REMOVE], names=CONTAINERS),
    Rule(f"{CONTAINERS}.0.image", refuses=[1], names=TYPE_ERROR),
    Rule("spec.template.spec.restartPolicy", ["Always"], ["Never", "OnFailure", ""]),
    Rule("spec.template.spec.ephemeralContainers", [[]], [[{"name": "debug"}]]),
    Rule("spec.template.spec.serviceAccountName", ["a", "a-b.c9", "a" * 253], ["", "A", "-a", "a.", "a_b", "a" * 254]),
    Rule("spec.template.metadata", [{"labels": {"team": "x"}, "annotations": {"note": "y"}}, {}]),
    Rule("spec.template.metadata.labels", refuses=[{"team": 1}], names=TYPE_ERROR),
    Rule("spec.template.metadata.annotations", refuses=[{"note": True}], names=TYPE_ERROR),
]
PLAIN = [
    Rule("spec.port", [1, 9091, 65535], [0, -1]),
    Rule("spec.port", refuses=["9091", 2**31], names=TYPE_ERROR),
    Rule("spec.replicas", [1, 100], [0, -1]),
    Rule("spec.replicas", refuses=["1", 1.5], names=TYPE_ERROR),
    Rule("spec.daemonImage", ["", "i" * 2048], ["i" * 2049]),
    Rule("spec.capacity", [{}]),
    Rule("spec.capacity.resources", [{}, {"runs": 4}, {"runs": "4", "example.com/gpu": "1"}]),
    Rule("spec.capacity.resources", refuses=[{"runs": "four"}, {"runs": ""}], names="spec.capacity.resources.runs"),
    Rule("spec.capacity.resources", refuses=[{"runs": False}], names=TYPE_ERROR),
    Rule("spec", [REMOVE]),
]
WORKSPACE = [
    Rule("spec.workspace", [{}, {"emptyDir": {"sizeLimit": "1Gi", "medium": "Memory"}}, {"persistentVolumeClaim": {"claimName": "c"}}]),
    *(Rule("spec.workspace", [{source: {}}], [{source: {}, other: {}}], note=source)
      for source, other in zip(VOLUME_SOURCES, VOLUME_SOURCES[1:] + VOLUME_SOURCES[:1], strict=True)),
    Rule("spec.workspace", refuses=["emptyDir"], names=TYPE_ERROR),
]  # fmt: skip
RULES = [*TEMPLATE, *PLAIN, *store_rules("spec.artifactStore"), *WORKSPACE]
STATUS_RULES = [
    Rule("status.readyReplicas", [0, 3]),
    Rule("status.readyReplicas", refuses=["3", 2**31], names=TYPE_ERROR),
    Rule("status.observedGeneration", [0, 3], [-1]),
    Rule("status.conditions", [[condition(type="Ready")]], [[condition(type=f"T{number}") for number in range(17)]]),
    Rule("status.conditions.0.status", refuses=["yes"], given={"status.conditions": [condition()]}),
    Rule("status.conditions.0.reason", refuses=["", REMOVE], given={"status.conditions": [condition()]}),
]


@pytest.mark.parametrize(("rule", "value"), accepted(RULES))
async def test_a_runtime_is_accepted_and_kept_as_written(api: Api, rule: Rule, value: Any) -> None:
    created = await api.create(RUNTIMES, rule.apply(runtime(), value))

    if value is not REMOVE:
        assert at(created, rule.path) == value


@pytest.mark.parametrize(("rule", "value"), refused(RULES))
async def test_a_runtime_is_refused_naming_the_field(api: Api, rule: Rule, value: Any) -> None:
    answer = await api.post(RUNTIMES, rule.apply(runtime(), value))

    answer.invalid(field=rule.named_field, mentions=rule.path.rsplit(".", 1)[-1] if rule.names == TYPE_ERROR else "")


@pytest.mark.parametrize(("rule", "value"), accepted(STATUS_RULES))
async def test_a_runtime_status_is_accepted(api: Api, rule: Rule, value: Any) -> None:
    created = await api.create(RUNTIMES, runtime())

    written = (await api.put(RUNTIMES, rule.apply(created, value), subresource="status")).ok()

    assert at(written, rule.path) == value


@pytest.mark.parametrize(("rule", "value"), refused(STATUS_RULES))
async def test_a_runtime_status_is_refused(api: Api, rule: Rule, value: Any) -> None:
    created = await api.create(RUNTIMES, runtime())

    answer = await api.put(RUNTIMES, rule.apply(created, value), subresource="status")

    answer.invalid(field=rule.named_field, mentions=rule.path.rsplit(".", 1)[-1] if rule.names == TYPE_ERROR else "")


async def test_nothing_of_a_runtime_is_immutable(api: Api) -> None:
    created = await api.create(RUNTIMES, runtime())
    spec = runtime()["spec"] | {
        "port": 9092,
        "replicas": 3,
        "daemonImage": "d",
        "capacity": {"resources": {"runs": 8}},
        "workspace": {"emptyDir": {}},
    }

    written = (await api.put(RUNTIMES, created | {"spec": spec})).ok()
    again = (await api.put(RUNTIMES, written | {"spec": runtime()["spec"]})).ok()

    assert written["spec"] == spec
    assert again["spec"]["port"] == 9091
    assert again["metadata"]["generation"] == 3
