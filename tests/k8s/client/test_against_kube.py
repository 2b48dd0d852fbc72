"""The client against a real etcd and kube-apiserver: what the fake cannot promise. Runs with `make test-kube`."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from typing import Any

import pytest

from k8s.api.phases import NOT_TERMINAL_SELECTOR
from k8s.api.run import Run
from k8s.client import (
    EVENTS,
    LEASES,
    RUNS,
    ApiClient,
    Cache,
    Conflict,
    EventRecorder,
    Forbidden,
    Gone,
    Invalid,
    JsonObject,
    LeaderElector,
    Listed,
    NotFound,
    Wider,
    conditional_status,
    fenced_status,
    list_and_watch,
    load_credentials,
)
from tests.cluster.fixtures import need_binaries
from tests.cluster.real import RealApiServer

pytestmark = [pytest.mark.kube, pytest.mark.slow]
DEADLINE_SECONDS = 20.0
NS = "default"


@pytest.fixture(scope="module")
def server() -> Iterator[RealApiServer]:
    need_binaries()
    with RealApiServer() as server:
        yield server


@pytest.fixture
async def client(server: RealApiServer) -> AsyncIterator[ApiClient]:
    credentials = await load_credentials(kubeconfig=str(server.kubeconfig))
    async with await ApiClient.connect(credentials, user_agent="test") as client:
        yield client


def body(prefix: str = "run-", **spec: Any) -> JsonObject:
    metadata = {"generateName": prefix, "namespace": NS}
    spec = {"runtime": "bash", "source": {"inline": "true"}, "mode": {"task": {}}, **spec}
    return {"apiVersion": RUNS.api_version, "kind": "Run", "metadata": metadata, "spec": spec}


async def bound(client: ApiClient) -> Run:
    run = await client.create(RUNS, body(), namespace=NS)
    change = {"phase": "Scheduled", "assignedPod": "p", "assignedPodUID": "u1", "attempt": 0}
    patch = conditional_status(change, resource_version=run.metadata.resource_version)
    return await client.patch(RUNS, run.metadata.name, patch, namespace=NS, subresource="status")


async def test_a_conditional_write_is_refused_once_the_object_has_changed(client: ApiClient) -> None:
    run = await bound(client)
    old = conditional_status({"phase": "Running"}, resource_version=str(int(run.metadata.resource_version) - 1))
    with pytest.raises(Conflict):
        await client.patch(RUNS, run.metadata.name, old, namespace=NS, subresource="status")


async def test_a_fenced_write_lands_once_and_is_refused_after_its_phase(client: ApiClient) -> None:
    run = await bound(client)
    patch = fenced_status({"phase": "Running", "message": None}, run=run, expected_phase="Scheduled")
    written = await client.patch(RUNS, run.metadata.name, patch, namespace=NS, subresource="status")
    assert written.phase == "Running"
    with pytest.raises(Invalid) as caught:
        await client.patch(RUNS, run.metadata.name, patch, namespace=NS, subresource="status")
    assert caught.value.is_answered


async def test_a_run_bound_without_attempt_is_fenced_on_its_absence(client: ApiClient) -> None:
    run = await client.create(RUNS, body(), namespace=NS)
    change = {"phase": "Scheduled", "assignedPod": "p", "assignedPodUID": "u1"}
    patch = conditional_status(change, resource_version=run.metadata.resource_version)
    run = await client.patch(RUNS, run.metadata.name, patch, namespace=NS, subresource="status")
    assert run.status.attempt is None
    fenced = fenced_status({"phase": "Running"}, run=run, expected_phase="Scheduled")
    assert (await client.patch(RUNS, run.metadata.name, fenced, namespace=NS, subresource="status")).phase == "Running"


async def test_a_refused_object_names_its_field(client: ApiClient) -> None:
    with pytest.raises(Invalid) as caught:
        await client.create(RUNS, body(runtime=""), namespace=NS)
    assert any("runtime" in cause.field for cause in caught.value.causes)


async def test_a_deletion_with_another_uid_is_refused(client: ApiClient) -> None:
    run = await client.create(RUNS, body(), namespace=NS)
    with pytest.raises(Conflict):
        await client.delete(RUNS, run.metadata.name, namespace=NS, uid="other")
    await client.delete(RUNS, run.metadata.name, namespace=NS, uid=run.uid)
    with pytest.raises(NotFound):
        await client.get(RUNS, run.metadata.name, namespace=NS)


async def test_a_watched_cache_follows_our_writes_and_those_of_others(client: ApiClient) -> None:
    cache = Cache[Run]()
    selector = "status.phase!=Succeeded"
    async with aclosing(list_and_watch(client, RUNS, namespace=NS, field_selector=selector)) as notices:

        async def follow() -> None:
            async for notice in notices:
                cache.feed(notice)
                wake.set()

        wake = asyncio.Event()
        following = asyncio.create_task(follow())
        async with asyncio.timeout(DEADLINE_SECONDS):
            await wake.wait()
            run = await bound(client)
            cache.take(run)
            assert cache.by_name(NS, run.metadata.name) == run
            done = fenced_status({"phase": "Succeeded"}, run=run, expected_phase="Scheduled")
            answer = await client.patch(RUNS, run.metadata.name, done, namespace=NS, subresource="status")
            cache.take(answer)
            while run.uid in cache:
                wake.clear()
                await wake.wait()
        assert cache.take(answer) is None
        following.cancel()
        await asyncio.wait({following})


async def test_what_is_over_leaves_a_wider_watch_too(client: ApiClient) -> None:
    runs: Cache[Run] = Cache()
    run = await bound(client)
    wider: Wider[Run] = Wider("status.assignedPod=p", keeps=lambda run: not run.is_terminal)
    watching = list_and_watch(client, RUNS, namespace=NS, field_selector=f"status.assignedPod=p,{NOT_TERMINAL_SELECTOR}", wider=wider)
    changes = []
    async with asyncio.timeout(DEADLINE_SECONDS), aclosing(watching) as notices:
        async for notice in notices:
            changes += [change for change in runs.feed(notice) if run.uid in {seen.uid for seen in (change.old, change.new) if seen}]
            if isinstance(notice, Listed):
                ended = fenced_status({"phase": "Succeeded"}, run=run, expected_phase="Scheduled")
                await client.patch(RUNS, run.metadata.name, ended, namespace=NS, subresource="status")
            elif len(changes) == 2:
                break
    assert [change.new is not None for change in changes] == [True, False]
    listed = await client.list(RUNS, namespace=NS, field_selector=f"status.assignedPod=p,{NOT_TERMINAL_SELECTOR}")
    assert run.uid not in {left.uid for left in listed.items}


async def test_lists_come_in_pages_of_one_state(client: ApiClient) -> None:
    for _ in range(5):
        await client.create(RUNS, body("page-"), namespace=NS)
    paged = await client.list(RUNS, namespace=NS, page_size=2)
    whole = await client.list(RUNS, namespace=NS)
    assert [run.uid for run in paged.items] == [run.uid for run in whole.items]


async def test_a_history_that_is_gone_is_told_as_gone(server: RealApiServer, client: ApiClient) -> None:
    for _ in range(2):
        await client.create(RUNS, body("gone-"), namespace=NS)
    page = json.loads(await client.request("GET", RUNS.path(namespace=NS), query={"limit": "1"}))
    await client.create(RUNS, body("gone-"), namespace=NS)
    server.compact()
    # It still has recent lists in memory, and would go on from there.
    server.restart()
    with pytest.raises(Gone) as caught:
        await client.request("GET", RUNS.path(namespace=NS), query={"limit": "1", "continue": page["metadata"]["continue"]})
    assert caught.value.api_reason == "Expired"


async def test_a_watcher_survives_the_death_of_the_api_server(server: RealApiServer, client: ApiClient) -> None:
    async with asyncio.timeout(2 * DEADLINE_SECONDS), aclosing(list_and_watch(client, RUNS, namespace=NS)) as notices:
        cache = Cache[Run]()
        cache.feed(await anext(notices))
        server.restart(kill=True)
        # A read may be repeated on a new connection; a write that met the dead one would be its author's to decide.
        await client.list(RUNS, namespace=NS)
        run = await client.create(RUNS, body("late-"), namespace=NS)
        async for notice in notices:
            cache.feed(notice)
            if run.uid in cache:
                break
    listing = await client.list(RUNS, namespace=NS)
    assert {item.uid for item in cache} == {item.uid for item in listing.items}


async def test_a_role_without_the_right_is_forbidden(server: RealApiServer) -> None:
    credentials = await load_credentials(kubeconfig=str(server.kubeconfig_of("kruntimes-scheduler")))
    async with await ApiClient.connect(credentials, user_agent="test") as client:
        with pytest.raises(Forbidden, match="cannot delete"):
            await client.delete(RUNS, "any", namespace=NS)


async def test_a_lease_is_taken_released_and_taken_over_at_once(client: ApiClient) -> None:
    def elector(name: str) -> LeaderElector:
        return LeaderElector(client, lease_name="test", namespace=NS, identity=name)

    leading, may_end = [asyncio.Event(), asyncio.Event()], [asyncio.Event(), asyncio.Event()]

    async def lead(index: int) -> None:
        leading[index].set()
        await may_end[index].wait()

    async with asyncio.timeout(DEADLINE_SECONDS):
        first = asyncio.create_task(elector("first").run(lambda: lead(0)))
        await leading[0].wait()
        second = asyncio.create_task(elector("second").run(lambda: lead(1)))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(leading[1].wait(), timeout=0.5)
        released_at = asyncio.get_running_loop().time()
        may_end[0].set()
        await leading[1].wait()
        assert asyncio.get_running_loop().time() - released_at < 2.0
        may_end[1].set()
        await asyncio.gather(first, second)
    lease = await client.get(LEASES, "test", namespace=NS)
    assert lease["spec"]["holderIdentity"] == ""
    assert lease["spec"]["leaseTransitions"] == 1


async def test_events_are_accepted_and_counted(client: ApiClient) -> None:
    run = await client.create(RUNS, body(), namespace=NS)
    async with asyncio.timeout(DEADLINE_SECONDS), EventRecorder(client, component="krt-test", instance="here") as recorder:
        for number in range(3):
            recorder.record(run, type="Normal", reason="Retrying", message=str(number))
            await recorder.flush()
    events = await client.list(EVENTS, namespace=NS, field_selector=f"involvedObject.uid={run.uid}")
    assert [(event["count"], event["message"]) for event in events.items] == [(3, "2")]


async def test_a_plain_list_starts_with_everything(client: ApiClient) -> None:
    async with asyncio.timeout(DEADLINE_SECONDS), aclosing(list_and_watch(client, LEASES, namespace=NS)) as notices:
        assert isinstance(await anext(notices), Listed)
