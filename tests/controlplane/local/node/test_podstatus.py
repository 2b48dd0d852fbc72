"""A Pod's status from its containers' states."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from controlplane.local.node.podstatus import ContainerState, Termination, pod_status

NOW = datetime(2026, 8, 9, 10, 0, 0, tzinfo=UTC)
LATER = NOW + timedelta(seconds=5)
END = Termination(exit_code=137, signal=9, started_at=NOW, finished_at=LATER)


def status(*states: ContainerState, old: dict[str, Any] | None = None, now: datetime = NOW) -> dict[str, Any]:
    return pod_status(states, old=old or {}, start_time=NOW, now=now)


def test_init_containers_come_first() -> None:
    good = Termination(exit_code=0, signal=None, started_at=NOW, finished_at=LATER)
    waiting = ContainerState(name="runtime", image="i")
    at_work, done, failed = (
        ContainerState(name="init", image="i", started_at=NOW),
        ContainerState(name="init", image="i", is_finished=True, last_termination=good),
        ContainerState(name="init", image="i", is_finished=True, last_termination=END),
    )
    results = [pod_status([waiting], init_states=[init], old={}, start_time=NOW, now=NOW) for init in (at_work, done, failed)]
    assert [result["phase"] for result in results] == ["Pending", "Pending", "Failed"]
    assert [conditions(result)["Initialized"] for result in results] == ["False", "True", "False"]
    assert results[0]["initContainerStatuses"][0]["name"] == "init"


def running(name: str = "runtime", *, ready: bool = True) -> ContainerState:
    return ContainerState(name=name, image="image", started_at=NOW, is_ready=ready, container_id="id")


def conditions(of: dict[str, Any]) -> dict[str, str]:
    return {one["type"]: one["status"] for one in of["conditions"]}


def test_a_pod_is_pending_until_every_container_has_been_started() -> None:
    assert status(running(), ContainerState(name="b", image="i"))["phase"] == "Pending"
    assert status(running(), running("b"))["phase"] == "Running"


def test_a_crash_does_not_bring_pending_back() -> None:
    crashed = ContainerState(name="runtime", image="i", last_termination=END, waiting_reason="CrashLoopBackOff", restart_count=1)
    assert status(crashed)["phase"] == "Running"
    (container,) = status(crashed)["containerStatuses"]
    assert container["state"] == {"waiting": {"reason": "CrashLoopBackOff"}}
    assert container["lastState"]["terminated"]["exitCode"] == 137
    assert container["lastState"]["terminated"]["signal"] == 9
    assert (container["ready"], container["restartCount"]) == (False, 1)


def test_a_pod_is_ready_when_all_its_containers_are() -> None:
    assert conditions(status(running(), running("b", ready=False)))["Ready"] == "False"
    assert conditions(status(running(), running("b")))["Ready"] == "True"


def test_an_unready_pod_names_the_containers() -> None:
    ready = next(one for one in status(running(ready=False))["conditions"] if one["type"] == "Ready")
    assert (ready["reason"], ready["message"]) == ("ContainersNotReady", "containers with unready status: [runtime]")


def test_only_conditions_of_the_node_are_sent() -> None:
    assert set(conditions(status(running()))) == {"PodScheduled", "Initialized", "ContainersReady", "Ready"}


def test_a_transition_time_moves_only_with_the_status() -> None:
    first = status(running(ready=False))
    second = status(running(), old=first, now=LATER)
    times = {one["type"]: one["lastTransitionTime"] for one in second["conditions"]}
    assert times["PodScheduled"] == "2026-08-09T10:00:00.000000Z"
    assert times["Ready"] == "2026-08-09T10:00:05.000000Z"
    assert status(running(), old=second, now=LATER + timedelta(hours=1)) == second


def test_a_waiting_container_says_why() -> None:
    state = ContainerState(name="runtime", image="nginx", waiting_reason="ImageNotRunnableLocally", waiting_message="use another")
    result = status(state)
    assert result["phase"] == "Pending"
    assert result["containerStatuses"][0]["state"] == {"waiting": {"reason": "ImageNotRunnableLocally", "message": "use another"}}


def test_a_pod_whose_containers_have_ended_for_good_has_a_verdict() -> None:
    good = Termination(exit_code=0, signal=None, started_at=NOW, finished_at=LATER)
    done = ContainerState(name="a", image="i", is_finished=True, last_termination=good)
    failed = ContainerState(name="b", image="i", is_finished=True, last_termination=END)
    assert status(done)["phase"] == "Succeeded"
    assert status(done, failed)["phase"] == "Failed"
    assert status(done)["containerStatuses"][0]["state"]["terminated"]["reason"] == "Completed"
