"""Leader election in fake time: never two leaders, a standby at once after a clean end, and a leader that steps down in time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from itertools import pairwise

import pytest

from k8s.api.errors import InternalError
from k8s.client import LEASES, LeaderElector
from k8s.client.leases import LeaseTimes, Observation, record_of
from tests.k8s.client.fake_store import FakeStore

pytestmark = pytest.mark.looptime
PATH = "/apis/coordination.k8s.io/v1/namespaces/system/leases/one"


def now() -> float:
    return asyncio.get_running_loop().time()


class Candidate:
    """A process that leads, and notes from when to when it did."""

    def __init__(self, store: FakeStore, name: str) -> None:
        self.terms: list[list[float]] = []
        self.leads = asyncio.Event()
        self.stopped = asyncio.Event()
        self.may_end = asyncio.Event()
        self.client = store.client()
        self.on_stop: Callable[[], object] = lambda: None
        self.elector = LeaderElector(self.client, lease_name="one", namespace="system", identity=name, clock=now)

    async def lead(self) -> None:
        self.terms.append([now(), float("inf")])
        self.leads.set()
        try:
            await self.may_end.wait()
        finally:
            self.on_stop()
            await asyncio.sleep(0)
            self.leads.clear()
            self.stopped.set()
            self.terms[-1][1] = now()


@asynccontextmanager
async def campaigning(candidate: Candidate) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(candidate.elector.run(candidate.lead))
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.wait({task})


def holder(store: FakeStore) -> str:
    return str(store.objects[PATH]["spec"]["holderIdentity"])


@pytest.fixture
def store() -> FakeStore:
    return FakeStore()


@pytest.fixture
def candidate(store: FakeStore) -> Callable[[str], Candidate]:
    return lambda name: Candidate(store, name)


async def test_the_first_leads_at_once_and_renews(store: FakeStore, candidate: Callable[[str], Candidate]) -> None:
    first = candidate("first")
    async with campaigning(first):
        await first.leads.wait()
        assert now() == 0
        assert first.elector.is_leading
        await asyncio.sleep(60)
        assert first.elector.is_leading
    spec = store.writes[0][2]["spec"]
    assert spec["holderIdentity"] == first.elector.identity
    assert spec["leaseDurationSeconds"] == 15
    assert len(spec["renewTime"]) == len("2026-08-09T10:00:01.000250Z")
    assert 30 <= len(store.writes) <= 33


async def test_a_standby_takes_over_at_once_after_a_clean_end(store: FakeStore, candidate: Callable[[str], Candidate]) -> None:
    first, second = candidate("first"), candidate("second")
    async with campaigning(first) as leading:
        await first.leads.wait()
        async with campaigning(second):
            await asyncio.sleep(31)
            leading.cancel()
            await second.leads.wait()
            assert now() == pytest.approx(31, abs=0.1)
            assert store.objects[PATH]["spec"]["leaseTransitions"] == 1


async def test_after_a_crash_a_standby_takes_over_when_the_lease_ends(store: FakeStore, candidate: Callable[[str], Candidate]) -> None:
    first, second = candidate("first"), candidate("second")
    async with campaigning(first) as crashing:
        await first.leads.wait()
        async with campaigning(second):
            await asyncio.sleep(9)
            last_renewal = store.writes[-1][0]
            first.elector._release = nothing  # type: ignore[method-assign]
            crashing.cancel()
            await second.leads.wait()
            assert now() == pytest.approx(last_renewal + 15, abs=0.3)


async def test_a_leader_whose_write_may_still_land_does_not_give_the_lease_back(
    store: FakeStore, candidate: Callable[[str], Candidate]
) -> None:
    first, second = candidate("first"), candidate("second")
    async with campaigning(first) as leading:
        await first.leads.wait()
        async with campaigning(second):
            await asyncio.sleep(9)
            last_renewal = store.writes[-1][0]
            store.is_hanging = True
            writing = asyncio.create_task(first.client.create(LEASES, {"metadata": {"name": "other"}}, namespace="system"))
            await asyncio.sleep(0.1)
            store.is_hanging = False
            first.on_stop = writing.cancel
            leading.cancel()
            await second.leads.wait()
            assert now() == pytest.approx(last_renewal + 15, abs=0.3)


async def nothing() -> None:
    """A crashed process releases nothing."""


async def test_a_standby_does_not_poll(store: FakeStore, candidate: Callable[[str], Candidate]) -> None:
    first, second = candidate("first"), candidate("second")
    async with campaigning(first):
        await first.leads.wait()
        async with campaigning(second):
            await asyncio.sleep(1)
            before = store.reads
            await asyncio.sleep(120)
            assert store.reads - before <= 1


async def test_a_leader_that_gets_no_answer_stops_before_the_lease_can_end(store: FakeStore, candidate: Callable[[str], Candidate]) -> None:
    first = candidate("first")
    async with campaigning(first):
        await first.leads.wait()
        await asyncio.sleep(5)
        last_renewal = store.writes[-1][0]
        store.is_hanging = True
        await first.stopped.wait()
        assert first.terms[0][1] <= last_renewal + 10.1
        assert not first.elector.is_leading
        store.is_hanging = False
        await first.leads.wait()


@pytest.mark.parametrize("outage_seconds", [3, 8])
async def test_a_short_outage_changes_no_leader(store: FakeStore, candidate: Callable[[str], Candidate], outage_seconds: int) -> None:
    first, second = candidate("first"), candidate("second")
    async with campaigning(first):
        await first.leads.wait()
        async with campaigning(second):
            await asyncio.sleep(10)
            store.is_down = True
            await asyncio.sleep(outage_seconds - 2)
            store.is_down = False
            await asyncio.sleep(60)
            assert first.leads.is_set()
    assert len(first.terms) == 1


async def test_renewals_whose_answers_are_lost_are_found_by_reading(store: FakeStore, candidate: Callable[[str], Candidate]) -> None:
    first = candidate("first")
    async with campaigning(first):
        await first.leads.wait()
        for _ in range(10):
            store.loses_answers = True
            await asyncio.sleep(3)
            store.loses_answers = False
            await asyncio.sleep(3)
        assert len(first.terms) == 1


async def test_a_lease_that_another_took_ends_the_term_at_once(store: FakeStore, candidate: Callable[[str], Candidate]) -> None:
    first = candidate("first")
    async with campaigning(first):
        await first.leads.wait()
        body = {**store.objects[PATH], "spec": {**store.objects[PATH]["spec"], "holderIdentity": "thief"}}
        store.put(PATH, body, kind="MODIFIED")
        await asyncio.sleep(2.5)
        assert not first.leads.is_set()
        assert holder(store) == "thief"


async def test_a_deleted_lease_is_made_again(store: FakeStore, candidate: Callable[[str], Candidate]) -> None:
    first = candidate("first")
    async with campaigning(first):
        await first.leads.wait()
        store.remove(PATH)
        await asyncio.sleep(5)
        assert first.leads.is_set()
        assert holder(store) == first.elector.identity


async def test_two_standbys_never_lead_together_through_outages(store: FakeStore, candidate: Callable[[str], Candidate]) -> None:
    candidates = [candidate(name) for name in ("a", "b", "c")]
    async with campaigning(candidates[0]), campaigning(candidates[1]), campaigning(candidates[2]):
        for outage_seconds in (5, 12, 20, 40):
            await asyncio.sleep(20)
            store.is_hanging = True
            await asyncio.sleep(outage_seconds)
            store.is_hanging = False
        await asyncio.sleep(20)
        assert sum(each.elector.is_leading for each in candidates) == 1
    terms = sorted(term for each in candidates for term in each.terms)
    for (_, ended_at), (started_at, _) in pairwise(terms):
        assert ended_at <= started_at


async def test_the_end_of_the_work_is_the_end_of_the_campaign(store: FakeStore, candidate: Callable[[str], Candidate]) -> None:
    first = candidate("first")
    first.may_end.set()
    await first.elector.run(first.lead)
    assert holder(store) == ""


async def test_an_error_of_the_work_is_passed_on_and_the_lease_released(store: FakeStore, candidate: Callable[[str], Candidate]) -> None:
    async def break_down() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await candidate("first").elector.run(break_down)
    assert holder(store) == ""


async def test_work_that_ignores_its_cancellation_ends_the_process(store: FakeStore, candidate: Callable[[str], Candidate]) -> None:
    may_end = asyncio.Event()

    async def go_on() -> None:
        while not may_end.is_set():
            try:
                await may_end.wait()
            except asyncio.CancelledError:
                continue

    campaign = asyncio.create_task(candidate("first").elector.run(go_on))
    await asyncio.sleep(1)
    store.is_hanging = True
    with pytest.raises(InternalError, match="did not stop"):
        await campaign
    assert holder(store) != ""
    may_end.set()
    await asyncio.sleep(0)


async def test_two_processes_of_the_same_name_are_not_the_same(candidate: Callable[[str], Candidate]) -> None:
    assert candidate("same").elector.identity != candidate("same").elector.identity


def test_a_lease_is_judged_by_when_it_was_seen_not_by_what_it_says() -> None:
    observation = Observation()
    lease = {
        "metadata": {"resourceVersion": "5"},
        "spec": {"holderIdentity": "x", "leaseDurationSeconds": 15, "renewTime": "1999-01-01T00:00:00.000000Z"},
    }
    observation.see(lease, now=100.0)
    observation.see(lease, now=110.0)
    assert observation.free_at(default_seconds=1) == 115.0


def test_times_that_cannot_be_safe_are_refused() -> None:
    with pytest.raises(ValueError, match="renew_deadline_seconds < lease_seconds"):
        LeaseTimes(lease_seconds=10, renew_deadline_seconds=10)


def test_a_takeover_counts_as_a_transition_and_a_renewal_does_not() -> None:
    at = datetime(2026, 8, 9, tzinfo=UTC)
    observation = Observation()
    taken = record_of("a", observation=observation, times=LeaseTimes(), now=at)
    assert taken["leaseTransitions"] == 0
    observation.see({"metadata": {"resourceVersion": "1"}, "spec": taken}, now=0)
    assert record_of("a", observation=observation, times=LeaseTimes(), now=at)["leaseTransitions"] == 0
    assert record_of("b", observation=observation, times=LeaseTimes(), now=at)["leaseTransitions"] == 1
