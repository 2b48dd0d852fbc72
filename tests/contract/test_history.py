"""Lists in pages, and what happens when history is forgotten: 410, so that a client lists anew."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.cluster.server import ApiServer
from tests.contract.http import CONFIG_MAPS, RUNS, Api, Json
from tests.contract.objects import config_map, run

NAMES = [f"run-{number}" for number in range(7)]


@pytest.fixture
async def seven(api: Api) -> Api:
    for name in NAMES:
        await api.create(RUNS, run(name, labels={"odd": str(int(name[-1]) % 2)}))
    return api


async def page(api: Api, **query: Any) -> Json:
    return (await api.get(RUNS, **query)).ok()


def names(listing: Json) -> list[str]:
    return [item["metadata"]["name"] for item in listing["items"]]


async def test_a_page_has_no_more_than_its_limit(seven: Api) -> None:
    first = await page(seven, limit=3)

    assert names(first) == NAMES[:3]
    assert first["metadata"]["continue"]
    assert first["metadata"]["remainingItemCount"] == 4


async def test_pages_add_up_to_the_list(seven: Api) -> None:
    pages = [await page(seven, limit=3)]
    while token := pages[-1]["metadata"].get("continue"):
        pages.append(await page(seven, limit=3, **{"continue": token}))

    assert [names(one) for one in pages] == [NAMES[:3], NAMES[3:6], NAMES[6:]]
    assert "remainingItemCount" not in pages[-1]["metadata"]


async def test_the_pages_of_a_list_are_of_one_moment(seven: Api) -> None:
    first = await page(seven, limit=3)
    await seven.create(RUNS, run("run-55"))
    (await seven.delete(RUNS, "run-6")).ok()

    rest = await page(seven, limit=10, **{"continue": first["metadata"]["continue"]})

    assert names(rest) == NAMES[3:]
    assert rest["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]


async def test_a_limit_that_suffices_leaves_nothing_to_continue(seven: Api) -> None:
    whole = await page(seven, limit=7)

    assert names(whole) == NAMES
    assert not whole["metadata"].get("continue")
    assert "remainingItemCount" not in whole["metadata"]


async def test_pages_of_a_selection_hold_what_is_selected(seven: Api) -> None:
    first = await page(seven, limit=2, labelSelector="odd=1")
    rest = await page(seven, limit=2, labelSelector="odd=1", **{"continue": first["metadata"]["continue"]})

    assert [names(first), names(rest)] == [["run-1", "run-3"], ["run-5"]]
    # It is not known without looking at the rest, and so not said.
    assert "remainingItemCount" not in first["metadata"]


async def test_a_bad_continue_token_is_refused(api: Api) -> None:
    (await api.get(RUNS, limit=2, **{"continue": "nonsense"})).refused(400, "BadRequest", mentions="continue")


async def test_a_continued_list_takes_no_resource_version(seven: Api) -> None:
    first = await page(seven, limit=3)

    answer = await seven.get(RUNS, limit=3, resourceVersion="5", **{"continue": first["metadata"]["continue"]})

    assert answer.status == 400


async def test_a_list_at_an_exact_version_shows_that_version(seven: Api) -> None:
    before = await page(seven)
    (await seven.delete(RUNS, "run-0")).ok()

    exact = await page(seven, resourceVersion=before["metadata"]["resourceVersion"], resourceVersionMatch="Exact")

    assert names(exact) == NAMES
    assert exact["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"]


async def test_a_list_may_not_be_older_than_asked(seven: Api) -> None:
    last = await seven.create(RUNS, run("run-7"))

    listing = await page(seven, resourceVersion=last["metadata"]["resourceVersion"], resourceVersionMatch="NotOlderThan")

    assert "run-7" in names(listing)


@pytest.mark.parametrize(
    "query",
    [
        {"resourceVersionMatch": "Exact"},
        {"resourceVersionMatch": "Exact", "resourceVersion": "0"},
        {"resourceVersionMatch": "Sometimes", "resourceVersion": "1"},
    ],
    ids=["without-version", "zero", "unknown"],
)
async def test_a_version_match_that_makes_no_sense_is_refused(api: Api, query: Json) -> None:
    (await api.get(RUNS, **query)).refused(422, "Invalid")


@pytest.mark.slow
async def test_a_continue_token_outlives_no_compaction(server: ApiServer, seven: Api) -> None:
    first = await page(seven, limit=3)
    await forget_history(server, seven)
    # The real server still has recent lists in memory, and would go on from there.
    server.restart()

    expired = (await seven.get(RUNS, limit=3, **{"continue": first["metadata"]["continue"]})).refused(410, "Expired")

    # It comes with a token to go on at the newest version, for a client that can live with that.
    rest = await page(seven, limit=3, **{"continue": expired["metadata"]["continue"]})
    assert names(rest) == NAMES[3:6]


async def test_a_watch_from_a_forgotten_version_expires(server: ApiServer, seven: Api) -> None:
    await forget_history(server, seven)

    async with seven.watch(RUNS, resourceVersion="1") as watch:
        kind, status = await watch.next()
        await watch.ends()

    facts = {key: status[key] for key in ("kind", "apiVersion", "status", "reason", "code")}
    assert (kind, facts) == ("ERROR", {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Expired", "code": 410})
    assert "too old resource version" in status["message"]


async def test_after_an_expired_watch_a_list_and_a_watch_go_on(server: ApiServer, seven: Api) -> None:
    await forget_history(server, seven)
    listing = await page(seven)

    async with seven.watch(RUNS, resourceVersion=listing["metadata"]["resourceVersion"]) as watch:
        await seven.create(RUNS, run("next"))

        assert await watch.next_names(1) == [("ADDED", "next")]


async def test_compaction_does_not_break_a_running_watch(server: ApiServer, api: Api) -> None:
    start = (await page(api))["metadata"]["resourceVersion"]
    async with api.watch(RUNS, resourceVersion=start) as watch:
        await api.create(RUNS, run("before"))
        await forget_history(server, api)
        await api.create(RUNS, run("after"))

        assert await watch.next_names(2) == [("ADDED", "before"), ("ADDED", "after")]


@pytest.mark.slow
async def test_a_version_of_the_future_is_refused_in_the_end(api: Api) -> None:
    """The server may wait a moment for that version to come about; it does not answer as if it had."""
    newest = (await page(api))["metadata"]["resourceVersion"]

    answer = await api.get(RUNS, resourceVersion=str(int(newest) + 1_000_000), resourceVersionMatch="NotOlderThan")

    answer.refused(504, "Timeout", mentions="Too large resource version")


async def forget_history(server: ApiServer, api: Api) -> None:
    """Compacts, after a write that makes all that came before it old."""
    await api.create(CONFIG_MAPS, config_map(f"newer-{asyncio.get_running_loop().time()}"))
    await asyncio.to_thread(server.compact)
