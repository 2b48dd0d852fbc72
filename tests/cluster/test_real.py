"""The harness itself: what it starts it ends, what it restarts comes back, and each identity may do its own work and no more."""

from __future__ import annotations

import os
import stat
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import pytest

from tests.cluster.binaries import binaries_folder
from tests.cluster.fixtures import need_binaries
from tests.cluster.processes import ServerFailed
from tests.cluster.real import RealApiServer
from tests.contract.http import CONFIG_MAPS, DEPLOYMENTS, EVENTS, LEASES, MERGE, PODS, RUNS, RUNTIMES, STRATEGIC, Api
from tests.contract.objects import deployment, pod, run, runtime

pytestmark = [pytest.mark.kube, pytest.mark.slow]

LEASE: dict[str, Any] = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "spec": {"holderIdentity": "me"}}


@pytest.fixture(scope="module")
def server() -> Iterator[RealApiServer]:
    need_binaries()
    with RealApiServer() as server:
        yield server


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.fixture
async def admin(server: RealApiServer, session: aiohttp.ClientSession) -> AsyncIterator[Api]:
    """With a Run `one`, a Runtime `bash` and a Pod `one`, for a while."""
    api = Api(session, access=server.admin)
    await api.create(RUNS, run())
    await api.create(RUNTIMES, runtime())
    await api.create(PODS, pod())
    yield api
    for resource in (RUNS, RUNTIMES, PODS, CONFIG_MAPS, DEPLOYMENTS, LEASES, EVENTS):
        (await api.delete(resource)).ok()


def identity(server: RealApiServer, session: aiohttp.ClientSession, user: str) -> Api:
    return Api(session, access=server.access(user))


async def may_write_status(api: Api, resource: str = RUNS, name: str = "one") -> bool:
    return (await api.patch(resource, name, {"metadata": {}}, kind=MERGE, subresource="status")).status == 200


async def test_the_scheduler_binds_and_leads(server: RealApiServer, session: aiohttp.ClientSession, admin: Api) -> None:
    scheduler = identity(server, session, "kruntimes-scheduler")

    assert await scheduler.names(RUNS) == ["one"]
    assert await scheduler.names(PODS) == ["one"]
    assert await may_write_status(scheduler)
    await scheduler.create(LEASES, LEASE | {"metadata": {"name": "kruntimes-scheduler.kruntimes.com"}})


async def test_the_scheduler_may_do_no_more(server: RealApiServer, session: aiohttp.ClientSession, admin: Api) -> None:
    scheduler = identity(server, session, "kruntimes-scheduler")

    (await scheduler.patch(RUNS, "one", {"spec": {"cancelRequested": True}})).refused(403, "Forbidden")
    (await scheduler.delete(RUNS, "one")).refused(403, "Forbidden")
    (await scheduler.post(RUNS, run("two"))).refused(403, "Forbidden")
    (await scheduler.get(RUNTIMES)).refused(403, "Forbidden")
    (await scheduler.get(CONFIG_MAPS)).refused(403, "Forbidden")
    assert not await may_write_status(scheduler, PODS)


async def test_the_controllers_make_deployments_and_reap(server: RealApiServer, session: aiohttp.ClientSession, admin: Api) -> None:
    controller = identity(server, session, "kruntimes-controller")

    await controller.create(DEPLOYMENTS, deployment())
    assert await may_write_status(controller, RUNTIMES, "bash")
    assert await may_write_status(controller)
    (await controller.delete(RUNS, "one")).ok()
    (await controller.patch(RUNTIMES, "bash", {"spec": {"replicas": 2}})).refused(403, "Forbidden")
    (await controller.get("/api/v1/namespaces/{namespace}/secrets")).refused(403, "Forbidden")


async def test_the_controllers_can_grant_what_runtimed_needs_and_take_it_back(
    server: RealApiServer, session: aiohttp.ClientSession, admin: Api
) -> None:
    """An API server lets nobody grant more than they have themselves."""
    controller = identity(server, session, "kruntimes-controller")
    rules = [
        {"apiGroups": ["kruntimes.io"], "resources": ["runs"], "verbs": ["get", "list", "watch", "update", "patch"]},
        {"apiGroups": ["kruntimes.io"], "resources": ["runs/status"], "verbs": ["get", "update", "patch"]},
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]},
        {"apiGroups": [""], "resources": ["pods/status"], "verbs": ["get", "patch"]},
        {"apiGroups": [""], "resources": ["events"], "verbs": ["create", "patch"]},
    ]
    roles = "/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}/roles"
    role = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "kruntimes-runtimed"}, "rules": rules}

    await controller.create(roles, role)

    more = role | {"metadata": {"name": "more"}, "rules": [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}]}
    (await controller.post(roles, more)).refused(403, "Forbidden")
    (await controller.delete(roles, "kruntimes-runtimed")).ok()


async def test_runtimed_runs_and_beats(server: RealApiServer, session: aiohttp.ClientSession, admin: Api) -> None:
    runtimed = identity(server, session, "kruntimes-runtimed")
    beat = {"status": {"conditions": [{"type": "kruntimes.io/RuntimedReady", "status": "True"}]}}

    assert await runtimed.names(RUNS, fieldSelector="status.assignedPod=one") == []
    assert await may_write_status(runtimed)
    (await runtimed.patch(RUNS, "one", {"metadata": {"finalizers": ["kruntimes.io/artifact-cleanup"]}})).ok()
    (await runtimed.patch(PODS, "one", beat, kind=STRATEGIC, subresource="status")).ok()
    (await admin.patch(RUNS, "one", {"metadata": {"finalizers": None}})).ok()


async def test_runtimed_may_do_no_more_and_nowhere_else(server: RealApiServer, session: aiohttp.ClientSession, admin: Api) -> None:
    runtimed = identity(server, session, "kruntimes-runtimed")

    (await runtimed.delete(RUNS, "one")).refused(403, "Forbidden")
    (await runtimed.get(PODS)).refused(403, "Forbidden")
    (await runtimed.get(CONFIG_MAPS)).refused(403, "Forbidden")
    (await runtimed.get("/api/v1/namespaces/{namespace}/secrets", "any")).refused(403, "Forbidden")
    runtimed.namespace = "kube-system"
    (await runtimed.get(RUNS)).refused(403, "Forbidden")
    server.bind_runtimed("kube-system")
    assert await runtimed.names(RUNS) == []


async def test_a_restart_keeps_objects_and_address(server: RealApiServer, admin: Api) -> None:
    url, pid = server.url, server.processes["kube-apiserver"]
    before = await admin.read(RUNS, "one")

    server.restart(kill=True)

    assert (server.url, await admin.read(RUNS, "one")) == (url, before)
    assert server.processes["kube-apiserver"] != pid


def test_credentials_are_private(server: RealApiServer) -> None:
    for path in (server.kubeconfig, server.kubeconfig_of("kruntimes-scheduler"), server.folder / "tokens.csv"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path


def test_the_server_listens_on_loopback_only(server: RealApiServer) -> None:
    for pid in server.processes.values():
        listening = {connection.laddr.ip for connection in psutil.Process(pid).net_connections() if connection.status == "LISTEN"}
        assert listening == {"127.0.0.1"}


def test_a_stopped_server_leaves_nothing(server: RealApiServer) -> None:
    other = RealApiServer()
    other.start()
    pids = list(other.processes.values())

    other.stop()
    other.stop()

    assert not other.folder.exists()
    assert not any(psutil.pid_exists(pid) for pid in pids)


def test_a_server_that_cannot_start_says_why_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("etcd", "kube-apiserver", "kubectl"):
        program = tmp_path / name
        program.write_text("#!/bin/sh\necho no such luck >&2\nexit 3\n")
        program.chmod(0o700)
    binaries_folder.cache_clear()
    monkeypatch.setitem(os.environ, "KUBEBUILDER_ASSETS", str(tmp_path))
    server = RealApiServer()
    try:
        with pytest.raises(ServerFailed, match=r"etcd ended with 3:\nno such luck"):
            server.start()
    finally:
        binaries_folder.cache_clear()

    assert not server.folder.exists()
