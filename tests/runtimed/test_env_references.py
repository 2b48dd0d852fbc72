"""`valueFrom` in env, through real processes: what is offered and granted is given, everything else fails with its remedy."""

from __future__ import annotations

import base64
import json
import os
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from k8s.client import CONFIG_MAPS, ROLE_BINDINGS, ROLES, SECRETS
from tests.cluster.server import ApiServer
from tests.runtimed.rig import NAMESPACE, Cluster, Rig

pytestmark = pytest.mark.slow

CANARY = "canary-93b1-do-not-leak"
SECRET, SETTINGS, ABSENT, UNGRANTED = (f"{kind}-{uuid.uuid4().hex[:6]}" for kind in ("secret", "settings", "absent", "ungranted"))


@pytest.fixture(scope="module")
def env_rig(api: ApiServer) -> Iterator[Rig]:
    with Rig(api) as rig:
        rig.runtimed_flags = (f"--env-secrets={SECRET},{ABSENT},{UNGRANTED}", f"--env-config-maps={SETTINGS}")
        rig.start_server()
        yield rig


@pytest.fixture
async def cluster(env_rig: Rig) -> AsyncIterator[Cluster]:
    cluster = await Cluster.open(env_rig)
    async with cluster.client:
        if env_rig.runtimed is None:
            await cluster.create_pod()
            await offer(cluster)
            env_rig.start_runtimed()
        yield cluster


async def offer(cluster: Cluster) -> None:
    def encode(value: bytes) -> str:
        return base64.b64encode(value).decode()

    data = {"token": encode(CANARY.encode()), "binary": encode(b"\xff\xfe")}
    await cluster.client.create(SECRETS, _object("v1", "Secret", SECRET, data=data), namespace=NAMESPACE)
    await cluster.client.create(SECRETS, _object("v1", "Secret", UNGRANTED, data=data), namespace=NAMESPACE)
    await cluster.client.create(CONFIG_MAPS, _object("v1", "ConfigMap", SETTINGS, data={"color": "green"}), namespace=NAMESPACE)
    rules = [
        {"apiGroups": [""], "resources": ["secrets"], "resourceNames": [SECRET, ABSENT], "verbs": ["get"]},
        {"apiGroups": [""], "resources": ["configmaps"], "resourceNames": [SETTINGS], "verbs": ["get"]},
    ]
    rbac = "rbac.authorization.k8s.io"
    await cluster.client.create(ROLES, _object(f"{rbac}/v1", "Role", f"grant-{SECRET}", rules=rules), namespace=NAMESPACE)
    subjects = [{"apiGroup": rbac, "kind": "User", "name": "kruntimes-runtimed"}]
    role = {"apiGroup": rbac, "kind": "Role", "name": f"grant-{SECRET}"}
    binding = _object(f"{rbac}/v1", "RoleBinding", f"grant-{SECRET}", subjects=subjects, roleRef=role)
    await cluster.client.create(ROLE_BINDINGS, binding, namespace=NAMESPACE)


def _object(api_version: str, kind: str, name: str, **content: Any) -> dict[str, Any]:
    return {"apiVersion": api_version, "kind": kind, "metadata": {"name": name, "namespace": NAMESPACE}, **content}


def secret_key(key: str, *, name: str = SECRET, **more: Any) -> dict[str, Any]:
    return {"secretKeyRef": {"name": name, "key": key, **more}}


async def test_what_is_offered_and_granted_is_given_and_found_nowhere_else(cluster: Cluster, env_rig: Rig) -> None:
    env = [
        {"name": "TOKEN", "valueFrom": secret_key("token")},
        {"name": "COLOR", "valueFrom": {"configMapKeyRef": {"name": SETTINGS, "key": "color"}}},
        {"name": "MAYBE", "valueFrom": secret_key("nothing", optional=True)},
        {"name": "GONE", "valueFrom": secret_key("x", name=ABSENT, optional=True)},
    ]
    script = f'[ "$TOKEN" = {CANARY} ] && echo "seen=$COLOR ${{MAYBE-unset}} ${{GONE-unset}}" >> $KRUNTIME_OUTPUTS'
    run = await cluster.wait(await cluster.script(script.replace(CANARY, '"canary-93b1-""do-not-leak"'), env=env))
    assert (run.phase, run.status.outputs) == ("Succeeded", {"seen": "green unset unset"})
    assert CANARY not in env_rig.log_text()
    files = [
        Path(where, name) for folder in (env_rig.state_dir, env_rig.workspace) for where, _, names in os.walk(folder) for name in names
    ]
    assert not [path for path in files if CANARY.encode() in content_of(path)]
    assert CANARY.encode() not in await cluster.client.request("GET", "/api/v1/events")


def content_of(path: Path) -> bytes:
    """Nothing of what is removed meanwhile: the Run has ended."""
    with suppress(FileNotFoundError):
        return path.read_bytes()
    return b""


async def test_fields_of_the_run_and_of_its_pod_are_given(cluster: Cluster, env_rig: Rig) -> None:
    paths = {
        "NAME": "metadata.name",
        "UID_": "metadata.uid",
        "NS": "metadata.namespace",
        "LABEL": "metadata.labels['nope']",
        "POD": "status.assignedPod",
        "NODE": "spec.nodeName",
    }
    env = [{"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}} for name, path in paths.items()]
    run = await cluster.script('echo "seen=$NAME $UID_ $NS [$LABEL] $POD $NODE" >> $KRUNTIME_OUTPUTS', env=env)
    run = await cluster.wait(run)
    expected = f"{run.metadata.name} {run.uid} {NAMESPACE} [] {env_rig.pod_name} rig"
    assert (run.phase, run.status.outputs) == ("Succeeded", {"seen": expected})


@pytest.mark.parametrize(
    ("value_from", "text"),
    [
        (secret_key("x", name="others"), "secretKeyRef: the Runtime does not offer the Secret 'others' to its Runs; its owner adds it to"),
        (secret_key("x", name=SETTINGS), "does not offer the Secret"),
        (secret_key("nothing"), f"secretKeyRef: the Secret '{SECRET}' has no key 'nothing'; create it, or say optional: true"),
        (secret_key("x", name=ABSENT), f"the Secret '{ABSENT}' does not exist; create it"),
        (secret_key("binary"), "is not UTF-8 text"),
        (
            {"fieldRef": {"fieldPath": "spec.env"}},
            "fieldRef.fieldPath: 'spec.env' is no field that a Run can ask for; there are metadata.name",
        ),
        ({"resourceFieldRef": {"resource": "limits.cpu"}}, "resourceFieldRef: is not known to Runs; use fieldRef"),
    ],
    ids=["not offered", "a ConfigMap's name", "no such key", "absent", "not text", "no such field", "no such source"],
)
async def test_what_cannot_be_given_fails_naming_field_object_and_remedy(cluster: Cluster, value_from: dict[str, Any], text: str) -> None:
    run = await cluster.wait(await cluster.script("true", env=[{"name": "A", "value": "1"}, {"name": "B", "valueFrom": value_from}]))
    assert run.phase == "Failed"
    assert run.status.message.startswith("prepare source: spec.env[1].valueFrom.")
    assert text in run.status.message


async def test_without_the_admins_grant_it_fails_naming_how_to_get_it(cluster: Cluster, env_rig: Rig) -> None:
    """Refused by the server's own RBAC; the embedded one knows none, and is told to refuse."""
    if env_rig.api.name != "real":
        answer = {"kind": "answer", "code": 403, "reason": "Forbidden", "message": CANARY}
        point = {"match": {"verbs": ["get"], "resources": ["secrets"], "user_agent": "runtimed*"}, "action": answer, "count": 1}
        await cluster.client.request("POST", "/failpoints", body=json.dumps(point).encode())
    run = await cluster.script("true", env=[{"name": "A", "valueFrom": secret_key("token", name=UNGRANTED)}])
    run = await cluster.wait(run)
    assert run.phase == "Failed"
    assert f"runtimed may not read the Secret '{UNGRANTED}'" in run.status.message
    assert "krt runtime grant" in run.status.message
    assert CANARY not in run.status.message + env_rig.log_text()
