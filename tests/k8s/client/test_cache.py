"""The cache against what really happened: it never goes back, never revives the dead, and in the end is right."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, multiple, rule

from k8s.api.meta import ObjectMeta
from k8s.api.run import Run
from k8s.client import Cache, Change, Changed, Deleted, JsonObject, Listed


def run(uid: str, version: int, *, name: str = "") -> Run:
    return Run(metadata=ObjectMeta(uid=uid, name=name or uid, namespace="default", resource_version=str(version)))


def known(cache: Cache[Run]) -> dict[str, int]:
    return {item.uid: int(item.metadata.resource_version) for item in cache}


@pytest.fixture
def cache() -> Cache[Run]:
    cache = Cache[Run]()
    cache.feed(Listed([run("a", 5), run("b", 9)], "10"))
    return cache


def test_a_list_yields_the_differences(cache: Cache[Run]) -> None:
    assert cache.is_synced
    changes = cache.feed(Listed([run("b", 12), run("c", 11)], "20"))
    assert changes == [
        Change(run("a", 5), None),
        Change(run("b", 9), run("b", 12)),
        Change(None, run("c", 11)),
    ]
    assert cache.feed(Listed([run("b", 12), run("c", 11)], "21")) == []


def test_versions_are_compared_as_numbers(cache: Cache[Run]) -> None:
    cache.feed(Changed(run("b", 10)))
    assert known(cache)["b"] == 10


def test_old_and_repeated_events_change_nothing(cache: Cache[Run]) -> None:
    assert cache.feed(Changed(run("b", 9))) == []
    assert cache.feed(Changed(run("b", 8))) == []
    assert cache.feed(Deleted(run("b", 8))) == []
    assert known(cache)["b"] == 9


def test_the_answer_of_our_own_write_counts_before_its_event(cache: Cache[Run]) -> None:
    assert cache.take(run("a", 15)) == Change(run("a", 5), run("a", 15))
    assert cache.feed(Changed(run("a", 15))) == []
    assert cache.feed(Changed(run("a", 12))) == []


def test_a_late_answer_is_ignored(cache: Cache[Run]) -> None:
    cache.feed(Changed(run("a", 15)))
    assert cache.take(run("a", 14)) is None


def test_a_late_answer_does_not_undo_a_deletion(cache: Cache[Run]) -> None:
    cache.feed(Deleted(run("a", 20)))
    assert cache.take(run("a", 15)) is None
    assert cache.take(run("a", 20)) is None
    assert cache.get("a") is None


def test_a_late_answer_does_not_undo_a_deletion_that_only_a_list_showed(cache: Cache[Run]) -> None:
    cache.feed(Listed([], "30"))
    assert cache.take(run("a", 25)) is None
    assert cache.take(run("never-seen", 29)) is None


def test_a_replayed_event_does_not_revive_the_dead(cache: Cache[Run]) -> None:
    cache.feed(Deleted(run("a", 20)))
    assert cache.feed(Changed(run("a", 15))) == []
    assert "a" not in known(cache)
    cache.feed(Listed([run("b", 9), run("old", 7)], "9"))
    assert "old" not in cache


def test_a_replayed_event_about_what_came_and_went_before_the_list_is_ignored(cache: Cache[Run]) -> None:
    assert cache.feed(Changed(run("unseen", 8))) == []


def test_events_out_of_order_all_count(cache: Cache[Run]) -> None:
    cache.feed(Changed(run("d", 12)))
    assert cache.feed(Changed(run("c", 11))) == [Change(None, run("c", 11))]


def test_what_left_the_selection_may_come_back(cache: Cache[Run]) -> None:
    cache.feed(Deleted(run("a", 20)))
    assert cache.feed(Changed(run("a", 21))) == [Change(None, run("a", 21))]


def test_our_own_create_survives_a_list_that_is_older(cache: Cache[Run]) -> None:
    cache.take(run("mine", 30))
    cache.feed(Listed([run("a", 5), run("b", 9)], "20"))
    assert "mine" in cache
    cache.feed(Listed([run("a", 5), run("b", 9)], "40"))
    assert "mine" not in cache


def test_a_stale_list_takes_nothing_back(cache: Cache[Run]) -> None:
    cache.feed(Changed(run("a", 25)))
    assert cache.feed(Listed([run("a", 5)], "7")) == []
    assert known(cache) == {"a": 25, "b": 9}


def test_what_a_get_did_not_find_is_gone_for_good(cache: Cache[Run]) -> None:
    assert cache.drop("a") == Change(run("a", 5), None)
    assert cache.feed(Changed(run("a", 99))) == []
    assert cache.drop("a") is None


def test_a_name_means_its_newest_object(cache: Cache[Run]) -> None:
    cache.feed(Changed(run("new", 20, name="a")))
    assert cache.by_name("default", "a") == run("new", 20, name="a")
    cache.take(run("a", 6))
    assert cache.by_name("default", "a") == run("new", 20, name="a")
    cache.feed(Deleted(run("a", 21)))
    assert cache.by_name("default", "a") == run("new", 20, name="a")
    assert cache.by_name("default", "nobody") is None


def test_it_may_change_while_it_is_iterated(cache: Cache[Run]) -> None:
    for item in cache:
        cache.drop(item.uid)
    assert len(cache) == 0


def test_deletions_are_remembered_to_a_limit() -> None:
    cache = Cache[Run](max_remembered_deletions=2)
    for index in range(5):
        cache.feed(Deleted(run(str(index), index)))
    assert len(cache._deletions) == 2


def test_plain_objects_are_cached_as_well() -> None:
    cache = Cache[JsonObject]()
    cache.feed(Changed({"metadata": {"uid": "u", "name": "n", "namespace": "x", "resourceVersion": "2"}}))
    assert cache.by_name("x", "n") is cache.get("u") is not None


class Model(RuleBasedStateMachine):
    """A server with a history; its watch is delivered in order, and answers to reads and writes arrive whenever they like."""

    answers = Bundle("answers")

    def __init__(self) -> None:
        super().__init__()
        self.cache = Cache[Run]()
        self.version = 0
        self.living: dict[str, Run] = {}
        self.events: list[Changed[Run] | Deleted[Run]] = []
        self.delivered = 0
        self.highest: dict[str, int] = {}
        self.seen_dead: set[str] = set()

    @initialize()
    def list_first(self) -> None:
        self.cache.feed(Listed([], "0"))

    def _write(self, uid: str) -> Run:
        self.version += 1
        self.living[uid] = run(uid, self.version)
        self.events.append(Changed(self.living[uid]))
        return self.living[uid]

    @rule(target=answers)
    def create(self) -> Run:
        return self._write(f"uid-{self.version}")

    @rule(target=answers, data=st.data())
    def update_or_read(self, data: st.DataObject) -> object:
        if not self.living:
            return multiple()
        uid = data.draw(st.sampled_from(sorted(self.living)))
        return self._write(uid) if data.draw(st.booleans()) else self.living[uid]

    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        if self.living:
            uid = data.draw(st.sampled_from(sorted(self.living)))
            self.version += 1
            del self.living[uid]
            self.events.append(Deleted(run(uid, self.version)))

    @rule(count=st.integers(1, 4))
    def deliver(self, count: int) -> None:
        for event in self.events[self.delivered : self.delivered + count]:
            self._feed(event)
        self.delivered = min(len(self.events), self.delivered + count)

    @rule(data=st.data())
    def deliver_one_again(self, data: st.DataObject) -> None:
        if self.delivered:
            self._feed(self.events[data.draw(st.integers(0, self.delivered - 1))])

    @rule()
    def list_anew(self) -> None:
        self.cache.feed(Listed(list(self.living.values()), str(self.version)))
        self.delivered = len(self.events)
        self.seen_dead |= {event.object.uid for event in self.events} - set(self.living)

    @rule(answer=consumes(answers))
    def take(self, answer: Run) -> None:
        self.cache.take(answer)

    @rule(data=st.data())
    def get_finds_nothing(self, data: st.DataObject) -> None:
        dead = sorted({event.object.uid for event in self.events} - set(self.living))
        if dead:
            uid = data.draw(st.sampled_from(dead))
            self.cache.drop(uid)
            self.seen_dead.add(uid)

    def _feed(self, event: Changed[Run] | Deleted[Run]) -> None:
        self.cache.feed(event)
        if isinstance(event, Deleted):
            self.seen_dead.add(event.object.uid)

    @invariant()
    def nothing_goes_back(self) -> None:
        for uid, version in known(self.cache).items():
            assert version >= self.highest.get(uid, 0)
            self.highest[uid] = version

    @invariant()
    def the_dead_stay_dead(self) -> None:
        assert not self.seen_dead & set(known(self.cache))

    @invariant()
    def once_all_is_delivered_it_is_right(self) -> None:
        if self.delivered == len(self.events):
            assert known(self.cache) == {uid: int(item.metadata.resource_version) for uid, item in self.living.items()}


TestCacheAgainstTheModel = pytest.mark.slow(Model.TestCase)
TestCacheAgainstTheModel.settings = settings(max_examples=150, stateful_step_count=30, deadline=None, derandomize=True)
