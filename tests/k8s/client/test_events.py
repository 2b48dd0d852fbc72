"""Events: aggregated, bounded, and never in anybody's way."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp import web

from k8s.api.meta import ObjectMeta
from k8s.api.run import Run
from k8s.client import ApiClient, EventRecorder
from k8s.client.events import MAX_PENDING
from tests.k8s.client.fake_api import FakeApi

DEADLINE_SECONDS = 5.0
RUN = Run(metadata=ObjectMeta(uid="u1", name="hello", namespace="team", resource_version="7"))


async def sent(recorder: EventRecorder) -> None:
    async with asyncio.timeout(DEADLINE_SECONDS):
        await recorder.flush()


@pytest.fixture
async def accepting(api: FakeApi) -> FakeApi:
    async def accept(request: web.Request) -> web.StreamResponse:
        api.answer_by(accept)
        return web.json_response({"kind": "Event"})

    api.answer_by(accept)
    return api


async def test_an_event_tells_about_its_object(accepting: FakeApi, client: ApiClient) -> None:
    async with EventRecorder(client, component="krt-scheduler", instance="pod-1") as recorder:
        recorder.record(RUN, type="Normal", reason="Scheduled", message="assigned to p")
    event = accepting.seen[0].json
    assert accepting.seen[0].path == "/api/v1/namespaces/team/events"
    assert event["involvedObject"] == {
        "apiVersion": "kruntimes.io/v1alpha1",
        "kind": "Run",
        "namespace": "team",
        "name": "hello",
        "uid": "u1",
        "resourceVersion": "7",
    }
    assert (event["type"], event["reason"], event["message"], event["count"]) == ("Normal", "Scheduled", "assigned to p", 1)
    assert event["source"] == {"component": "krt-scheduler", "host": "pod-1"}
    assert event["metadata"]["name"].startswith("hello.")


async def test_the_same_again_raises_a_counter(accepting: FakeApi, client: ApiClient) -> None:
    async with EventRecorder(client, component="c", instance="i") as recorder:
        recorder.record(RUN, type="Normal", reason="Retrying", message="1")
        await sent(recorder)
        for number in range(2, 6):
            recorder.record(RUN, type="Normal", reason="Retrying", message=str(number))
    created, raised = accepting.seen
    assert (created.method, raised.method) == ("POST", "PATCH")
    assert raised.path == f"/api/v1/namespaces/team/events/{created.json['metadata']['name']}"
    assert (raised.json["count"], raised.json["message"]) == (5, "5")


async def test_an_event_that_the_server_has_forgotten_is_made_anew(api: FakeApi, client: ApiClient) -> None:
    for _ in range(2):
        api.answer({"kind": "Event"})
        api.refuse(404)
    api.answer({"kind": "Event"})
    async with EventRecorder(client, component="c", instance="i") as recorder:
        recorder.record(RUN, type="Normal", reason="Retrying", message="1")
        await sent(recorder)
        recorder.record(RUN, type="Normal", reason="Retrying", message="2")
    assert [seen.method for seen in api.seen] == ["POST", "PATCH", "POST"]


async def test_a_full_queue_drops_and_counts(client: ApiClient) -> None:
    recorder = EventRecorder(client, component="c", instance="i")
    for number in range(MAX_PENDING + 7):
        recorder.record(RUN, type="Normal", reason=f"R{number}", message="")
    assert recorder.dropped_total == 7


async def test_nothing_that_goes_wrong_is_raised(api: FakeApi, client: ApiClient) -> None:
    api.refuse(403)
    api.cut_next()
    async with EventRecorder(client, component="c", instance="i") as recorder:
        recorder.record(RUN, type="Normal", reason="A", message="")
        recorder.record(RUN, type="Normal", reason="B", message="")
        recorder.record(42, type="Normal", reason="C", message="")
    assert recorder.dropped_total == 3


async def test_a_long_message_is_cut(accepting: FakeApi, client: ApiClient) -> None:
    async with EventRecorder(client, component="c", instance="i") as recorder:
        recorder.record(RUN, type="Warning", reason="Failed", message="x" * 5000)
    assert len(accepting.seen[0].json["message"]) == 1024
