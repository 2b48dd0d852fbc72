"""Each failpoint as a client meets it, against the server as a process."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import aiohttp
import pytest

from tests.contract.http import CONFIG_MAPS, DEADLINE_SECONDS, MERGE, RUNS, Answer, Api, Json
from tests.contract.objects import config_map, run

CONFIG = "configmaps"


async def arm(api: Api, action: Json, *, match: Json | None = None, **more: Any) -> str:
    armed = (await api.request("POST", "/failpoints", {"action": action, "match": match or {}, **more})).ok(201)
    return str(armed["id"])


async def hits(api: Api, uid: str, *, wanted: int = 0) -> int:
    return int((await api.request("GET", f"/failpoints/{uid}", hits=wanted)).ok()["hits"])


async def version(api: Api) -> str:
    return str((await api.get(CONFIG_MAPS)).ok()["metadata"]["resourceVersion"])


@pytest.mark.parametrize(("when", "is_written"), [("before", False), ("after", True)])
async def test_a_dropped_write_was_applied_or_not_as_asked(api: Api, when: str, is_written: bool) -> None:
    await arm(api, {"kind": "drop", "when": when}, match={"verbs": ["create"], "resources": [CONFIG]}, count=1)

    with pytest.raises(aiohttp.ClientError):
        await api.post(CONFIG_MAPS, config_map())

    assert (await api.names(CONFIG_MAPS) == ["one"]) is is_written


async def test_an_answer_comes_with_its_status_and_retry_after(api: Api) -> None:
    action = {"kind": "answer", "code": 429, "reason": "TooManyRequests", "message": "slow down", "retry_after_seconds": 3}
    uid = await arm(api, action, match={"verbs": ["create"]}, count=1)

    refused = await api.post(CONFIG_MAPS, config_map())

    refused.refused(429, "TooManyRequests", mentions="slow down")
    assert refused.headers["Retry-After"] == "3"
    await api.create(CONFIG_MAPS, config_map())
    assert await hits(api, uid) == 1


async def test_a_hanging_request_goes_on_when_it_is_released(api: Api) -> None:
    uid = await arm(api, {"kind": "hang"}, match={"verbs": ["create"]})
    waiting = asyncio.create_task(api.create(CONFIG_MAPS, config_map()))
    await hits(api, uid, wanted=1)
    assert await api.names(CONFIG_MAPS) == []

    await api.request("POST", f"/failpoints/{uid}/release")

    assert (await waiting)["metadata"]["name"] == "one"


async def test_a_delay_after_the_write_holds_only_the_answer(api: Api) -> None:
    uid = await arm(api, {"kind": "delay", "when": "after", "until_released": True}, match={"verbs": ["create"]})
    waiting = asyncio.create_task(api.create(CONFIG_MAPS, config_map()))
    await hits(api, uid, wanted=1)

    assert await api.names(CONFIG_MAPS) == ["one"]
    assert not waiting.done()
    await api.request("DELETE", f"/failpoints/{uid}")
    await waiting


async def test_a_failpoint_matches_by_name_agent_and_subresource(api: Api) -> None:
    await api.create(RUNS, run("one"))
    match = {"user_agent": "runtimed/*", "name": "o*", "subresources": ["status"], "verbs": ["patch"]}
    await arm(api, {"kind": "answer", "code": 409, "reason": "Conflict"}, match=match)
    patch = {"status": {"phase": "Running"}}

    async def status(agent: str) -> int:
        path = api.path(RUNS, "one", subresource="status")
        return (await api.request("PATCH", path, patch, content_type=MERGE, headers={"User-Agent": agent})).status

    assert [await status("runtimed/1"), await status("scheduler/1")] == [409, 200]
    assert (await api.patch(RUNS, "one", {"metadata": {"labels": {"a": "b"}}})).status == 200


async def test_chance_is_the_same_with_the_same_seed(api: Api) -> None:
    async def outcomes() -> list[int]:
        uid = await arm(api, {"kind": "answer", "code": 503}, match={"verbs": ["get"]}, probability=0.5, seed=7)
        found = [(await api.get(CONFIG_MAPS, "none")).status for _ in range(12)]
        await api.request("DELETE", f"/failpoints/{uid}")
        return found

    first = await outcomes()
    assert first == await outcomes()
    assert set(first) == {404, 503}


async def test_skip_and_count_choose_which_requests(api: Api) -> None:
    await arm(api, {"kind": "answer", "code": 500}, match={"verbs": ["get"]}, skip=1, count=2)

    assert [(await api.get(CONFIG_MAPS, "none")).status for _ in range(4)] == [404, 500, 500, 404]


async def test_a_stale_read_shows_an_older_state(api: Api) -> None:
    await api.create(CONFIG_MAPS, config_map("old"))
    await api.create(CONFIG_MAPS, config_map("new"))
    await arm(api, {"kind": "stale", "writes": 1}, match={"verbs": ["list", "get"]}, count=2)

    assert await api.names(CONFIG_MAPS) == ["old"]
    assert (await api.get(CONFIG_MAPS, "new")).status == 404
    assert await api.names(CONFIG_MAPS) == ["new", "old"]


async def test_a_compacted_history_expires_watches(api: Api) -> None:
    start = await version(api)
    await api.create(CONFIG_MAPS, config_map())
    await api.request("POST", "/failpoints/compact", {})

    async with api.watch(CONFIG_MAPS, resourceVersion=start) as watch:
        kind, status = await watch.next()
        await watch.ends()

    assert (kind, status["code"]) == ("ERROR", 410)


async def test_lines_are_suppressed_doubled_and_turned_around(api: Api) -> None:
    async with api.watch(CONFIG_MAPS, resourceVersion=await version(api)) as watch:
        for kind in ("suppress", "duplicate", "reorder"):
            await arm(api, {"kind": kind}, match={"name": kind}, count=1)
        for name in ("suppress", "duplicate", "reorder", "last"):
            await api.create(CONFIG_MAPS, config_map(name))

        names = [name for _, name in await watch.next_names(4)]

    assert names == ["duplicate", "duplicate", "last", "reorder"]


async def test_a_truncated_line_ends_in_its_middle(api: Api) -> None:
    url, query = api.access.url + api.path(CONFIG_MAPS), {"watch": "1", "resourceVersion": await version(api)}
    await arm(api, {"kind": "truncate"}, match={"resources": [CONFIG]}, count=1)
    async with aiohttp.ClientSession() as session, session.get(url, headers=api.access.headers, params=query) as response:
        await api.create(CONFIG_MAPS, config_map())
        received = await read_until_cut(response)

    assert received.startswith(b'{"type":"ADDED"')
    assert not received.endswith(b"\n")


async def read_until_cut(response: aiohttp.ClientResponse) -> bytes:
    received = b""
    async with asyncio.timeout(DEADLINE_SECONDS):
        while True:
            try:
                received += await response.content.readany()
            except aiohttp.ClientError:
                return received


async def test_watches_are_cut_now_and_after_a_time(api: Api) -> None:
    url, query = api.access.url + api.path(CONFIG_MAPS), {"watch": "1", "resourceVersion": await version(api)}

    async with aiohttp.ClientSession() as session:
        async with session.get(url, headers=api.access.headers, params=query) as response:
            assert (await api.request("POST", "/failpoints/cut", {"match": {"resources": [CONFIG]}})).ok()["cut"] == 1
            assert await read_until_cut(response) == b""
        await arm(api, {"kind": "cut", "seconds": 0.02}, match={"verbs": ["watch"]})
        async with session.get(url, headers=api.access.headers, params=query) as response:
            assert await read_until_cut(response) == b""


@pytest.mark.parametrize("body", [{}, {"action": {"kind": "explode"}}, {"action": {"kind": "drop"}, "match": {"verb": ["get"]}}])
async def test_a_failpoint_with_a_mistake_is_refused(api: Api, body: Json) -> None:
    (await api.request("POST", "/failpoints", body)).refused(400, "BadRequest", mentions="failpoint")


async def test_failpoints_are_listed_and_need_the_token(api: Api) -> None:
    uid = await arm(api, {"kind": "hang"}, match={"name": "nothing"})
    listed = (await api.request("GET", "/failpoints")).ok()["failpoints"]

    assert [(armed["id"], armed["action"]["kind"], armed["hits"]) for armed in listed] == [(uid, "hang", 0)]
    assert (await api.request("GET", "/failpoints", headers={"Authorization": "Bearer wrong"})).status == 401
    answer: Answer = await api.request("GET", "/failpoints/999")
    answer.refused(404, "NotFound")


async def test_a_recorder_reads_every_write_of_the_audit(api: Api, process: Any) -> None:
    created = await api.create(RUNS, run("audited"))
    await api.patch(RUNS, "audited", {"status": {"phase": "Running"}}, subresource="status")
    await api.patch(RUNS, "audited", {"spec": {"runtime": "other"}})
    await api.delete(RUNS, "audited")

    lines = [json.loads(line) for line in (process.folder / "audit.jsonl").read_text().splitlines()]
    told = [line for line in lines if line["name"] == "audited"]
    versions = [int(created["metadata"]["resourceVersion"])]

    assert [(line["verb"], line["code"], line["phase"]) for line in told] == [
        ("create", 201, ""),
        ("patch", 200, "Running"),
        ("patch", 422, ""),
        ("delete", 200, "Running"),
    ]
    assert [(line["before"], line["after"]) for line in told] == [
        (None, versions[0]),
        (versions[0], versions[0] + 1),
        (None, None),
        (versions[0] + 1, versions[0] + 2),
    ]
    assert {line["uid"] for line in told} == {created["metadata"]["uid"], ""}
    assert [line["monotonic"] for line in told] == sorted(line["monotonic"] for line in told)


async def test_the_audit_tells_what_a_write_was_conditional_on_and_what_came_of_it(api: Api, process: Any) -> None:
    created = await api.create(RUNS, run("fenced"))
    version = created["metadata"]["resourceVersion"]
    bound = {"metadata": {"resourceVersion": version}, "status": {"phase": "Scheduled", "attempt": 0}}
    await api.patch(RUNS, "fenced", bound, subresource="status")
    ended = [
        {"op": "test", "path": "/status/attempt", "value": 0},
        {"op": "add", "path": "/status/phase", "value": "Failed"},
    ]
    await api.patch(RUNS, "fenced", ended, kind="application/json-patch+json", subresource="status")

    lines = [json.loads(line) for line in (process.folder / "audit.jsonl").read_text().splitlines()]
    told = [line for line in lines if line["name"] == "fenced"]
    assert [line["preconditions"] for line in told] == [[], ["/metadata/resourceVersion"], ["/status/attempt"]]
    assert [(line["status"] or {}).get("phase") for line in told] == [None, "Scheduled", "Failed"]
    assert "echo hello" not in str(told)
