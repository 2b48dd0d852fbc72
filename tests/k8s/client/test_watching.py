"""List and watch over real sockets: nothing missed, nothing doubled, nothing half read, and never faster than allowed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from typing import Any

import pytest

from k8s.api.run import Run
from k8s.client import RUNS, ApiClient, Changed, Credentials, Deleted, Listed, Notice, Pace, WatchSettings, Wider, list_and_watch
from tests.k8s.client.fake_api import FakeApi, run_body, status_body

DEADLINE_SECONDS = 5.0


class FakeTime:
    """A clock that moves only when somebody sleeps on it."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds
        await asyncio.sleep(0)

    @property
    def pace(self) -> Pace:
        return Pace(clock=lambda: self.now, sleep=self.sleep, chance=lambda: 0.0)


@pytest.fixture
def time() -> FakeTime:
    return FakeTime()


@asynccontextmanager
async def watching(client: ApiClient, time: FakeTime, **options: Any) -> AsyncIterator[Callable[[], Any]]:
    """The next notice, within a deadline."""
    async with aclosing(list_and_watch(client, RUNS, namespace="default", pace=time.pace, **options)) as notices:

        async def take() -> Notice[Run]:
            async with asyncio.timeout(DEADLINE_SECONDS):
                return await anext(notices)

        yield take


async def test_first_everything_then_each_change(api: FakeApi, client: ApiClient, time: FakeTime) -> None:
    api.answer_list(run_body("a", version=3), version=10)
    async with watching(client, time, field_selector="status.phase!=Failed") as take:
        listed = await take()
        assert isinstance(listed, Listed)
        assert ([run.key for run in listed.items], listed.resource_version) == (["default/a"], "10")
        following = asyncio.ensure_future(take())
        watch = await api.next_watch()
        assert watch.query["resourceVersion"] == "10"
        assert watch.query["fieldSelector"] == "status.phase!=Failed"
        assert watch.query["allowWatchBookmarks"] == "true"
        assert int(watch.query["timeoutSeconds"]) == 290
        await watch.send("ADDED", run_body("b", version=11))
        await watch.send("MODIFIED", run_body("a", version=12, phase="Running"))
        await watch.send("DELETED", run_body("b", version=13))
        notices = [await following, await take(), await take()]
    assert [type(notice) for notice in notices] == [Changed, Changed, Deleted]
    assert [notice.object.metadata.resource_version for notice in notices] == ["11", "12", "13"]


async def test_a_wider_watch_tells_of_nothing_but_the_selection(api: FakeApi, client: ApiClient, time: FakeTime) -> None:
    api.answer_list(run_body("a", version=3), version=10)
    wider: Wider[Run] = Wider("status.assignedPod=p", keeps=lambda run: not run.is_terminal)
    async with watching(client, time, field_selector="status.phase!=Failed", wider=wider) as take:
        await take()
        following = asyncio.ensure_future(take())
        watch = await api.next_watch()
        assert (api.seen[0].query["fieldSelector"], watch.query["fieldSelector"]) == ("status.phase!=Failed", "status.assignedPod=p")
        await watch.send("MODIFIED", run_body("a", version=11, phase="Running"))
        await watch.send("MODIFIED", run_body("a", version=12, phase="Failed"))
        await watch.send("ADDED", run_body("b", version=13, phase="Failed"))
        notices = [await following, await take(), await take()]
    assert [type(notice) for notice in notices] == [Changed, Deleted, Deleted]
    assert [notice.object.metadata.resource_version for notice in notices] == ["11", "12", "13"]


async def test_the_first_list_is_a_consistent_one(api: FakeApi, client: ApiClient, time: FakeTime) -> None:
    """Ownership rule 10: with a resourceVersion, even 0, the API server may answer from a cache that is behind."""
    api.answer_list(version=10)
    async with watching(client, time) as take:
        assert isinstance(await take(), Listed)
    [listed] = api.seen
    assert "resourceVersion" not in listed.query
    assert "resourceVersionMatch" not in listed.query


async def test_a_watch_goes_on_from_the_last_version_seen_bookmarks_included(api: FakeApi, client: ApiClient, time: FakeTime) -> None:
    api.answer_list(version=10)
    async with watching(client, time) as take:
        await take()
        following = asyncio.ensure_future(take())
        first = await api.next_watch()
        await first.send("ADDED", run_body("a", version=11))
        await following
        following = asyncio.ensure_future(take())
        await first.send("BOOKMARK", {"kind": "Run", "metadata": {"resourceVersion": "99"}})
        first.end()
        second = await api.next_watch()
        assert second.query["resourceVersion"] == "99"
        await second.send("ADDED", run_body("b", version=100))
        assert (await following).object.metadata.name == "b"
    assert sum("watch" not in seen.query for seen in api.seen) == 1


@pytest.mark.parametrize("is_cut_inside_a_line", [False, True])
async def test_a_broken_connection_is_resumed_without_a_new_list(
    api: FakeApi, client: ApiClient, time: FakeTime, *, is_cut_inside_a_line: bool
) -> None:
    api.answer_list(version=10)
    async with watching(client, time) as take:
        await take()
        following = asyncio.ensure_future(take())
        first = await api.next_watch()
        if is_cut_inside_a_line:
            line = json.dumps({"type": "ADDED", "object": run_body("a", version=11)}).encode()
            await first.send_raw(line[: len(line) // 2])
            first.end()
        else:
            first.cut()
        second = await api.next_watch()
        assert second.query["resourceVersion"] == "10"
        await second.send("ADDED", run_body("a", version=11))
        assert (await following).object.metadata.resource_version == "11"


async def test_now_and_then_a_watch_that_ended_is_followed_by_a_list(api: FakeApi, client: ApiClient, time: FakeTime) -> None:
    """An event that no watch ever told must be found out some day."""
    api.answer_list(version=10)
    async with watching(client, time, settings=WatchSettings(relist_seconds=600.0)) as take:
        await take()
        following = asyncio.ensure_future(take())
        first = await api.next_watch()
        time.now += 599.0
        first.end()
        second = await api.next_watch()
        time.now += 2.0
        api.answer_list(run_body("missed", version=11), version=12)
        second.end()
        listed = await following
    assert isinstance(listed, Listed)
    assert [run.metadata.name for run in listed.items] == ["missed"]


async def test_an_event_in_small_pieces_is_one_event(api: FakeApi, client: ApiClient, time: FakeTime) -> None:
    api.answer_list(version=10)
    async with watching(client, time) as take:
        await take()
        following = asyncio.ensure_future(take())
        watch = await api.next_watch()
        data = json.dumps({"type": "ADDED", "object": run_body("ä", version=11, source={"inline": "x" * 100})}, ensure_ascii=False).encode()
        for start in range(0, len(data), 7):
            await watch.send_raw(data[start : start + 7])
        await watch.send_raw(b"\n")
        assert (await following).object.spec.source.inline == "x" * 100


@pytest.mark.parametrize("as_event", [True, False])
async def test_lost_history_means_a_new_list(api: FakeApi, client: ApiClient, time: FakeTime, *, as_event: bool) -> None:
    api.answer_list(version=10)
    async with watching(client, time) as take:
        await take()
        if not as_event:
            api.refuse(410, reason="Expired")
            api.answer_list(run_body("a", version=50), version=60)
        following = asyncio.ensure_future(take())
        if as_event:
            watch = await api.next_watch()
            api.answer_list(run_body("a", version=50), version=60)
            await watch.send("ERROR", status_body(410, reason="Expired", message="too old resource version"))
        listed = await following
        assert isinstance(listed, Listed)
        assert listed.resource_version == "60"


async def test_a_storm_of_410_makes_one_list_a_second(api: FakeApi, client: ApiClient, time: FakeTime) -> None:
    started_at = time.now
    for version in range(5):
        api.answer_list(version=version)
        api.refuse(410, reason="Expired")
    async with watching(client, time) as take:
        for _ in range(5):
            assert isinstance(await take(), Listed)
    assert time.now - started_at >= 4.0


async def test_a_server_that_cannot_be_reached_is_tried_again_more_and_more_slowly(api: FakeApi, client: ApiClient, time: FakeTime) -> None:
    for _ in range(20):
        api.refuse(500)
    api.answer_list(version=10)
    async with watching(client, time) as take:
        assert isinstance(await take(), Listed)
    delays = [seconds for seconds in time.slept if seconds > 0]
    assert max(delays) <= 4.0
    assert delays[0] < 0.2
    assert sum(delays) > 20


async def test_missing_rights_are_waited_out(api: FakeApi, client: ApiClient, time: FakeTime, caplog: pytest.LogCaptureFixture) -> None:
    for status in (401, 403, 404):
        api.refuse(status, message="may not list runs")
    api.answer_list(version=10)
    async with watching(client, time) as take:
        assert isinstance(await take(), Listed)
    assert {record.__dict__["reason"] for record in caplog.records} <= {"Unauthorized", "Forbidden", "NotFound"}
    assert "may not list runs" in caplog.records[0].__dict__["error"]


async def test_a_watch_that_ends_at_once_again_and_again_is_slowed_down(api: FakeApi, client: ApiClient, time: FakeTime) -> None:
    api.answer_list(version=10)
    async with watching(client, time) as take:
        await take()
        following = asyncio.ensure_future(take())
        for _ in range(10):
            (await api.next_watch()).end()
        last = await api.next_watch()
        await last.send("ADDED", run_body("a", version=11))
        await following
    assert sum(time.slept) > 5.0


async def test_a_silent_watch_is_replaced(api: FakeApi, client: ApiClient, time: FakeTime) -> None:
    api.answer_list(version=10)
    async with watching(client, time, settings=WatchSettings(inactivity_seconds=0.02)) as take:
        await take()
        following = asyncio.ensure_future(take())
        await api.next_watch()
        second = await api.next_watch()
        await second.send("ADDED", run_body("a", version=11))
        assert (await following).object.metadata.name == "a"


async def test_a_line_that_is_no_event_leads_to_a_new_list(api: FakeApi, client: ApiClient, time: FakeTime) -> None:
    api.answer_list(version=10)
    async with watching(client, time) as take:
        await take()
        following = asyncio.ensure_future(take())
        watch = await api.next_watch()
        api.answer_list(version=20)
        await watch.send_raw(b"<html>\n")
        assert isinstance(await following, Listed)


async def test_an_object_that_cannot_be_read_is_left_out_and_the_rest_goes_on(api: FakeApi, client: ApiClient, time: FakeTime) -> None:
    api.answer_list(version=10)
    async with watching(client, time) as take:
        await take()
        following = asyncio.ensure_future(take())
        watch = await api.next_watch()
        await watch.send("ADDED", run_body("bad", version=11, source="text"))
        await watch.send("ADDED", run_body("good", version=12))
        assert (await following).object.metadata.name == "good"


async def test_an_error_event_that_is_not_410_resumes(api: FakeApi, client: ApiClient, time: FakeTime) -> None:
    api.answer_list(version=10)
    async with watching(client, time) as take:
        await take()
        following = asyncio.ensure_future(take())
        watch = await api.next_watch()
        await watch.send("ERROR", status_body(500, reason="InternalError", message="etcd is away"))
        second = await api.next_watch()
        assert second.query["resourceVersion"] == "10"
        await second.send("ADDED", run_body("a", version=11))
        await following


async def test_leaving_closes_the_connection(api: FakeApi, client: ApiClient, time: FakeTime) -> None:
    api.answer_list(version=10)
    async with watching(client, time) as take:
        await take()
        following = asyncio.ensure_future(take())
        watch = await api.next_watch()
        following.cancel()
        await asyncio.wait({following})
    async with asyncio.timeout(DEADLINE_SECONDS):
        while True:
            try:
                await watch.send("ADDED", run_body("a", version=11))
            except (ConnectionError, OSError):
                break
            await asyncio.sleep(0)


async def test_a_thousand_events_in_one_burst_all_arrive_in_order(api: FakeApi, time: FakeTime) -> None:
    async with await ApiClient.connect(Credentials(api.url), user_agent="test") as client:
        api.answer_list(version=10)
        async with watching(client, time) as take:
            await take()
            following = asyncio.ensure_future(take())
            watch = await api.next_watch()
            events = [{"type": "MODIFIED", "object": run_body("a", version=11 + index)} for index in range(1000)]
            sending = asyncio.ensure_future(watch.send_raw(b"".join(json.dumps(event).encode() + b"\n" for event in events)))
            versions = [int((await following).object.metadata.resource_version)]
            versions += [int((await take()).object.metadata.resource_version) for _ in range(999)]
            await sending
    assert versions == list(range(11, 1011))
