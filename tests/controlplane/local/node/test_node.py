"""The node as a process, against the embedded API server as a process: Deployments in, processes out."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from controlplane.local.node.host import NODE_PODS
from controlplane.local.processes import identify
from k8s.api.names import RUNTIMED_READY_CONDITION
from k8s.client import (
    CONFIG_MAPS,
    DEPLOYMENTS,
    EVENTS,
    NODES,
    SECRETS,
    ApiClient,
    Cache,
    NotFound,
    Resource,
    list_and_watch,
    load_credentials,
    merge_patch,
    strategic_patch,
)
from tests.cluster.embedded import EmbeddedApiServer
from tests.cluster.processes import Child
from tests.controlplane.local.waiting import gone

Json = dict[str, Any]
pytestmark = pytest.mark.slow
DEADLINE_SECONDS = 20.0

SERVER = """
import http.server, os, sys
print(os.getpid(), flush=True)
print("on stderr", file=sys.stderr, flush=True)
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers()
    def log_message(self, *_): pass
http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["KRUNTIMES_PORT"])), Handler).serve_forever()
"""


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedApiServer]:
    with EmbeddedApiServer() as server:
        yield server


class Cluster:
    """A node process and a client beside it."""

    def __init__(self, server: EmbeddedApiServer, *, client: ApiClient, folder: Path) -> None:
        self._server = server
        self.client = client
        self.folder = folder
        self.node = self.start_node()

    def start_node(self) -> Child:
        arguments = [f"--kubeconfig={self._server.kubeconfig}", f"--socket={self.folder / 'node.sock'}", f"--root={self.folder / 'root'}"]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "CANARY": "s3cret"}
        self.node = Child([sys.executable, "-m", "controlplane.local.node", *arguments], log=self.folder / "node.log", env=environment)
        return self.node

    async def deploy(self, name: str, *containers: Json, replicas: int = 1, **pod_spec: Any) -> Json:
        labels = {"app": name}
        template = {"metadata": {"labels": labels}, "spec": {"containers": list(containers), **pod_spec}}
        body = {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": name},
            "spec": {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template},
        }
        return await self.client.create(DEPLOYMENTS, body, namespace="default")

    async def until(self, resource: Resource[Json], condition: Callable[[list[Json]], bool], *, label: str = "") -> list[Json]:
        """The objects, once they are as wanted: by watching, never by asking again."""
        cache: Cache[Json] = Cache()
        try:
            async with (
                asyncio.timeout(DEADLINE_SECONDS),
                contextlib.aclosing(list_and_watch(self.client, resource, label_selector=label)) as events,
            ):
                async for event in events:
                    cache.feed(event)
                    if condition(list(cache)):
                        return list(cache)
        except TimeoutError:
            pytest.fail(f"{resource.plural} are {json.dumps(list(cache), indent=1)[:6000]}\n{self.node.log_tail()}")
        raise AssertionError

    async def pods(self, name: str, condition: Callable[[list[Json]], bool]) -> list[Json]:
        return await self.until(NODE_PODS, condition, label=f"app={name}")

    async def ready_pods(self, name: str, *, count: int = 1) -> list[Json]:
        return await self.pods(name, lambda pods: len(pods) == count and all(is_ready(pod) for pod in pods))

    async def ready_pod(self, name: str) -> Json:
        (pod,) = await self.ready_pods(name)
        return pod

    async def first_line(self, pod: Json) -> str:
        """What its container prints first, however late."""
        async with asyncio.timeout(DEADLINE_SECONDS), self._log_stream(pod, container="runtime", follow="true") as answer:
            return (await answer.content.readline()).decode().strip()

    async def logs(self, pod: Json, *, container: str = "runtime", **query: Any) -> tuple[int, str]:
        async with self._log_stream(pod, container=container, **query) as answer:
            return answer.status, await answer.text()

    @contextlib.asynccontextmanager
    async def _log_stream(self, pod: Json, *, container: str, **query: Any) -> AsyncIterator[aiohttp.ClientResponse]:
        metadata = pod["metadata"]
        connector = aiohttp.UnixConnector(str(self.folder / "node.sock"))
        path = f"/containerLogs/{metadata['namespace']}/{metadata['name']}/{container}"
        async with aiohttp.ClientSession("http://node", connector=connector) as session, session.get(path, params=query) as answer:
            yield answer


@pytest.fixture
async def cluster(server: EmbeddedApiServer) -> AsyncIterator[Cluster]:
    credentials = await load_credentials(kubeconfig=str(server.kubeconfig))
    # pytest's own folders are too deep for a unix socket
    with tempfile.TemporaryDirectory(prefix="krt-node-", ignore_cleanup_errors=True) as folder:
        async with await ApiClient.connect(credentials, user_agent="test") as client:
            cluster = Cluster(server, client=client, folder=Path(folder))
            yield cluster
            for deployment in (await client.list(DEPLOYMENTS)).items:
                await client.delete(DEPLOYMENTS, deployment["metadata"]["name"], namespace="default")
            for pod in (await client.list(NODE_PODS)).items:
                with contextlib.suppress(NotFound):
                    await client.delete(NODE_PODS, pod["metadata"]["name"], namespace="default", grace_period_seconds=0)
            await asyncio.to_thread(cluster.node.stop)
            assert not list((Path(folder) / "root" / "processes").iterdir())


def container(script: str = SERVER, *, name: str = "runtime", **fields: Any) -> Json:
    return {"name": name, "image": "none", "command": [sys.executable, "-c", script], **fields}


def shell(script: str, *, name: str = "runtime", **fields: Any) -> Json:
    return {"name": name, "image": "none", "command": ["bash", "-c", script], **fields}


def probed(script: str = SERVER) -> Json:
    return container(script, readinessProbe={"tcpSocket": {"port": 9091}})


def is_ready(pod: Json) -> bool:
    return condition_of(pod, "Ready") == "True"


def condition_of(pod: Json, type_: str) -> str | None:
    return next((one["status"] for one in pod.get("status", {}).get("conditions", []) if one["type"] == type_), None)


def status_of(pod: Json, name: str = "runtime") -> Json:
    statuses = pod.get("status", {}).get("containerStatuses", [])
    return next((one for one in statuses if one["name"] == name), {"state": {}, "restartCount": 0})


async def test_a_deployment_becomes_ready_pods_and_says_so(cluster: Cluster) -> None:
    await cluster.deploy("web", probed(), replicas=2)
    pods = await cluster.ready_pods("web", count=2)
    for pod in pods:
        assert pod["status"]["phase"] == "Running"
        assert pod["status"]["podIP"] == "127.0.0.1"
        assert pod["spec"]["nodeName"] == "local"
        assert pod["metadata"]["ownerReferences"][0]["kind"] == "Deployment"
        assert "running" in status_of(pod)["state"]
    (deployment,) = await cluster.until(DEPLOYMENTS, lambda found: found[0].get("status", {}).get("availableReplicas") == 2)
    assert deployment["status"]["observedGeneration"] == deployment["metadata"]["generation"]
    (node,) = await cluster.until(NODES, lambda found: bool(found and found[0].get("status")))
    assert condition_of(node, "Ready") == "True"


async def test_logs_of_both_streams_are_served(cluster: Cluster) -> None:
    await cluster.deploy("logs", probed())
    pod = await cluster.ready_pod("logs")
    status, text = await cluster.logs(pod)
    assert status == 200
    assert len(text.splitlines()) == 2
    assert "on stderr" in text.splitlines()
    assert (await cluster.logs(pod, container="other"))[0] == 404
    assert (await cluster.logs(pod, previous="true"))[0] == 404


async def test_a_changed_template_replaces_the_pods_without_a_gap(cluster: Cluster) -> None:
    await cluster.deploy("roll", probed())
    old = await cluster.ready_pod("roll")
    change = {"spec": {"template": {"spec": {"containers": [{**probed(), "env": [{"name": "A", "value": "b"}]}]}}}}
    await cluster.client.patch(DEPLOYMENTS, "roll", merge_patch(change), namespace="default")
    seen: list[int] = []

    def replaced(pods: list[Json]) -> bool:
        seen.append(sum(is_ready(pod) for pod in pods))
        return len(pods) == 1 and is_ready(pods[0]) and pods[0]["metadata"]["uid"] != old["metadata"]["uid"]

    await cluster.pods("roll", replaced)
    assert min(seen) >= 1
    await cluster.until(DEPLOYMENTS, lambda found: found[0]["status"].get("updatedReplicas") == 1 and found[0]["status"]["replicas"] == 1)


async def test_scaling_up_and_down(cluster: Cluster) -> None:
    await cluster.deploy("scale", probed())
    first = await cluster.ready_pod("scale")
    await cluster.client.patch(DEPLOYMENTS, "scale", merge_patch({"spec": {"replicas": 3}}), namespace="default")
    await cluster.ready_pods("scale", count=3)
    await cluster.client.patch(DEPLOYMENTS, "scale", merge_patch({"spec": {"replicas": 1}}), namespace="default")
    (left,) = await cluster.ready_pods("scale")
    assert left["metadata"]["uid"] == first["metadata"]["uid"], "the oldest stays"
    await cluster.client.patch(DEPLOYMENTS, "scale", merge_patch({"spec": {"replicas": 0}}), namespace="default")
    await cluster.pods("scale", lambda pods: not pods)


async def test_a_deleted_pod_ends_in_order_and_is_replaced(cluster: Cluster) -> None:
    script = f"trap 'echo asked >> {cluster.folder}/end; exit 0' TERM; echo $BASHPID; while :; do sleep 0.01; done"
    await cluster.deploy("replace", shell(script))
    pod = await cluster.ready_pod("replace")
    await cluster.first_line(pod)
    await cluster.client.delete(NODE_PODS, pod["metadata"]["name"], namespace="default")
    await cluster.pods(
        "replace", lambda pods: len(pods) == 1 and pods[0]["metadata"]["uid"] != pod["metadata"]["uid"] and is_ready(pods[0])
    )
    assert (cluster.folder / "end").read_text() == "asked\n"
    assert not (cluster.folder / "root" / "pods" / pod["metadata"]["uid"]).exists()


async def test_who_ignores_sigterm_is_killed_after_the_grace_period(cluster: Cluster) -> None:
    await cluster.deploy("stubborn", shell("trap '' TERM; echo $BASHPID; while :; do sleep 0.01; done"), terminationGracePeriodSeconds=1)
    pid = int(await cluster.first_line(await cluster.ready_pod("stubborn")))
    await cluster.client.delete(DEPLOYMENTS, "stubborn", namespace="default")
    await cluster.pods("stubborn", lambda pods: not pods)
    assert identify(pid) is None


async def test_a_pod_deleted_by_force_leaves_no_process(cluster: Cluster) -> None:
    await cluster.deploy("force", shell("echo $BASHPID; exec sleep 1000"))
    pod = await cluster.ready_pod("force")
    pid = int(await cluster.first_line(pod))
    await cluster.client.delete(NODE_PODS, pod["metadata"]["name"], namespace="default", grace_period_seconds=0)
    await gone(pid)


async def test_a_container_that_is_killed_starts_again(cluster: Cluster) -> None:
    await cluster.deploy("crash", probed())
    os.kill(int(await cluster.first_line(await cluster.ready_pod("crash"))), signal.SIGKILL)
    (pod,) = await cluster.pods("crash", lambda pods: status_of(pods[0])["restartCount"] == 1 and is_ready(pods[0]))
    assert status_of(pod)["lastState"]["terminated"]["exitCode"] == 137
    assert (await cluster.logs(pod, previous="true"))[0] == 200


async def test_a_container_that_keeps_ending_backs_off(cluster: Cluster) -> None:
    await cluster.deploy("loop", shell("echo start; exit 3"))
    waiting = {"reason": "CrashLoopBackOff", "message": "the container ended and is started again"}
    (pod,) = await cluster.pods("loop", lambda pods: bool(pods) and status_of(pods[0])["restartCount"] >= 2)
    (pod,) = await cluster.pods("loop", lambda pods: status_of(pods[0])["state"] == {"waiting": waiting})
    assert status_of(pod)["lastState"]["terminated"]["exitCode"] == 3
    assert not is_ready(pod)


async def test_liveness_restarts_a_container_that_hangs(cluster: Cluster) -> None:
    probe = {"tcpSocket": {"port": 9091}, "initialDelaySeconds": 0, "periodSeconds": 1, "failureThreshold": 1}
    await cluster.deploy("hang", shell("sleep 1000", livenessProbe=probe))
    await cluster.pods("hang", lambda pods: bool(pods) and status_of(pods[0])["restartCount"] >= 1)


async def test_a_pod_with_restart_policy_never_ends_with_a_verdict(cluster: Cluster) -> None:
    for name, code in (("good", 0), ("bad", 4)):
        body = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "labels": {"app": name}},
            "spec": {"restartPolicy": "Never", "containers": [shell(f"echo done; exit {code}")]},
        }
        await cluster.client.create(NODE_PODS, body, namespace="default")
    await cluster.pods("good", lambda pods: pods[0].get("status", {}).get("phase") == "Succeeded")
    (bad,) = await cluster.pods("bad", lambda pods: pods[0].get("status", {}).get("phase") == "Failed")
    assert status_of(bad)["state"]["terminated"]["exitCode"] == 4
    assert await cluster.logs(bad) == (200, "done\n")


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"name": "runtime", "image": "nginx:latest"}, "ImageNotRunnableLocally"),
        ({"name": "runtime", "image": "none", "command": ["/no/such/program"]}, "RunContainerError"),
        (
            shell("sleep 1", env=[{"name": "A", "valueFrom": {"secretKeyRef": {"name": "none", "key": "k"}}}]),
            "CreateContainerConfigError",
        ),
    ],
    ids=["image", "program", "secret"],
)
async def test_what_cannot_run_here_waits_and_says_why(cluster: Cluster, fields: Json, reason: str) -> None:
    await cluster.deploy("cannot", fields)
    (pod,) = await cluster.pods(
        "cannot", lambda pods: bool(pods) and "waiting" in status_of(pods[0])["state"] and is_ready(pods[0]) is False
    )
    (pod,) = await cluster.pods("cannot", lambda pods: status_of(pods[0])["state"].get("waiting", {}).get("reason") == reason)
    assert status_of(pod)["state"]["waiting"]["message"]
    assert pod["status"]["phase"] == "Pending"
    status, text = await cluster.logs(pod)
    assert status == 400
    assert "waiting to start" in text


async def test_init_containers_run_before_and_in_order(cluster: Cluster) -> None:
    inits = [shell(f"echo {name} >> {cluster.folder}/order", name=name) for name in ("first", "second")]
    await cluster.deploy("init", shell(f"echo main >> {cluster.folder}/order; echo ready; exec sleep 1000"), initContainers=inits)
    pod = await cluster.ready_pod("init")
    await cluster.first_line(pod)
    assert (cluster.folder / "order").read_text().split() == ["first", "second", "main"]
    assert [one["state"]["terminated"]["exitCode"] for one in pod["status"]["initContainerStatuses"]] == [0, 0]


async def test_an_init_container_that_fails_is_tried_again(cluster: Cluster) -> None:
    init = shell(f"[ -e {cluster.folder}/go ]", name="init")
    await cluster.deploy("again", shell("sleep 1000"), initContainers=[init])
    await cluster.pods(
        "again", lambda pods: bool(pods) and pods[0].get("status", {}).get("initContainerStatuses", [{}])[0].get("restartCount", 0) > 0
    )
    (cluster.folder / "go").touch()
    await cluster.ready_pod("again")


async def test_a_server_that_finds_its_port_taken_gets_another(cluster: Cluster) -> None:
    await cluster.deploy(
        "port", shell(f"echo $KRUNTIMES_PORT; until [ -e {cluster.folder}/go ]; do sleep 0.01; done; sleep $(cat {cluster.folder}/go)")
    )
    first = int(await cluster.first_line(await cluster.ready_pod("port")))
    with socket.create_server(("127.0.0.1", first)):
        (cluster.folder / "go").write_text("0")
        (pod,) = await cluster.pods("port", lambda pods: status_of(pods[0])["restartCount"] > 0 and is_ready(pods[0]))
        assert int(await cluster.first_line(pod)) != first


async def test_events_say_what_went_wrong(cluster: Cluster) -> None:
    await cluster.deploy("events", {"name": "runtime", "image": "nginx:latest"})
    (pod,) = await cluster.pods("events", bool)
    found = await cluster.until(EVENTS, lambda events: any(one["involvedObject"]["uid"] == pod["metadata"]["uid"] for one in events))
    event = next(one for one in found if one["involvedObject"]["uid"] == pod["metadata"]["uid"])
    assert (event["type"], event["reason"]) == ("Warning", "ImageNotRunnableLocally")


async def test_the_environment_comes_from_the_manifest_alone(cluster: Cluster) -> None:
    await cluster.client.create(CONFIG_MAPS, {"metadata": {"name": "settings"}, "data": {"level": "info"}}, namespace="default")
    await cluster.client.create(SECRETS, {"metadata": {"name": "token"}, "data": {"value": "czNjcmV0"}}, namespace="default")
    env = [
        {"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        {"name": "LEVEL", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "level"}}},
        {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "token", "key": "value"}}},
        {"name": "BOTH", "value": "$(POD)/$(LEVEL)"},
    ]
    await cluster.deploy("env", shell("env | tr '\\n' '\\001'; echo; exec sleep 1000", env=env))
    pod = await cluster.ready_pod("env")
    lines = dict(line.split("=", 1) for line in (await cluster.first_line(pod)).split("\x01") if line)
    assert lines["BOTH"] == f"{pod['metadata']['name']}/info"
    assert lines["TOKEN"] == "s3cret"
    assert "CANARY" not in lines


async def test_conditions_of_others_are_left_alone(cluster: Cluster) -> None:
    await cluster.deploy("beat", probed())
    pod = await cluster.ready_pod("beat")
    beat = {"type": RUNTIMED_READY_CONDITION, "status": "True", "lastProbeTime": "2026-08-09T10:00:00Z"}
    await cluster.client.patch(
        NODE_PODS, pod["metadata"]["name"], strategic_patch({"status": {"conditions": [beat]}}), namespace="default", subresource="status"
    )
    os.kill(int(await cluster.first_line(pod)), signal.SIGKILL)
    (pod,) = await cluster.pods("beat", lambda pods: status_of(pods[0])["restartCount"] == 1 and is_ready(pods[0]))
    assert condition_of(pod, RUNTIMED_READY_CONDITION) == "True"


async def test_a_killed_node_leaves_no_process_and_its_successor_makes_new_pods(cluster: Cluster) -> None:
    await cluster.deploy("boot", shell("sleep 1000 & echo $BASHPID $!; wait"))
    old = await cluster.ready_pod("boot")
    pid, child = map(int, (await cluster.first_line(old)).split())
    await asyncio.to_thread(cluster.node.stop, kill=True)
    await gone(pid)
    cluster.start_node()
    await cluster.pods("boot", lambda pods: len(pods) == 1 and pods[0]["metadata"]["uid"] != old["metadata"]["uid"] and is_ready(pods[0]))
    assert identify(child) is None


async def test_a_node_that_stops_takes_its_pods_along(cluster: Cluster) -> None:
    await cluster.deploy("stop", shell("echo $BASHPID; exec sleep 1000"))
    pid = int(await cluster.first_line(await cluster.ready_pod("stop")))
    await asyncio.to_thread(cluster.node.stop)
    assert identify(pid) is None
    assert (await cluster.client.list(NODE_PODS, label_selector="app=stop")).items == []
    (node,) = (await cluster.client.list(NODES)).items
    assert condition_of(node, "Ready") == "False"


async def test_containers_live_through_an_outage_of_the_api_server(cluster: Cluster, server: EmbeddedApiServer) -> None:
    await cluster.deploy("outage", probed())
    before = await cluster.ready_pod("outage")
    server.restart(kill=True)  # in the main thread: servers die with the thread that started them
    await cluster.client.list(NODE_PODS)  # finds out that the old connection is gone; writes are never resent
    await cluster.client.patch(DEPLOYMENTS, "outage", merge_patch({"spec": {"replicas": 2}}), namespace="default")
    after = await cluster.ready_pods("outage", count=2)
    same = next(pod for pod in after if pod["metadata"]["uid"] == before["metadata"]["uid"])
    assert status_of(same)["restartCount"] == 0
