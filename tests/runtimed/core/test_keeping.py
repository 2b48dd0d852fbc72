"""Artifacts between the exit of an attempt and its end: store, finalizer, upload, end, in this order, whatever happens between."""

from __future__ import annotations

from typing import Any

import pytest

from k8s.api.names import ARTIFACT_CLEANUP_FINALIZER
from k8s.api.phases import Reason
from k8s.api.run import Run
from runtimed.core import WriteKind, decisions, events
from runtimed.core.facts import Timer
from tests.runtimed.core.test_ownership_rules import hear, listen, see, started
from tests.runtimed.world import CANCELLED, FAILURE, SUCCESS, PodWorld, World, artifact_ref, performed, run_body, writes

STORE = {"driver": "filesystem", "filesystem": {"volumeClaimName": "artifacts"}}
KEPT = [WriteKind.STORE, WriteKind.FINALIZER, WriteKind.TERMINAL]


@pytest.fixture
def world() -> World:
    return World(run_body(max_attempts=2, timeout="60s"))


@pytest.fixture
def pod(world: World) -> PodWorld:
    world.pods["a"].artifact_store = STORE
    return world.pods["a"]


def answer(world: World, pod: PodWorld) -> None:
    for request in list(world.requests):
        world.answer(request)
    see(pod)
    hear(pod)


def uploading(world: World, pod: PodWorld) -> None:
    """Everything before the upload has been written, and its answer is the test's."""
    pod.slow_upload = True
    started(world, pod)
    pod.end(0, SUCCESS)
    hear(pod)
    answer(world, pod)
    answer(world, pod)
    assert performed(pod, decisions.UploadArtifacts)


def the_run(world: World) -> Run:
    run = world.api.run
    assert run is not None
    return run


def test_a_run_without_artifacts_takes_no_step_more(world: World, pod: PodWorld) -> None:
    pod.artifact_store = None
    started(world, pod)
    pod.end(0, SUCCESS)
    world.settle()
    assert writes(pod) == [WriteKind.TERMINAL]
    assert performed(pod, decisions.UploadArtifacts) == performed(pod, decisions.StopUpload) == []


def test_the_store_is_named_then_the_finalizer_set_then_uploaded_and_all_of_it_told_at_once(world: World, pod: PodWorld) -> None:
    started(world, pod)
    pod.end(0, SUCCESS)
    hear(pod)
    assert writes(pod) == KEPT[:1]
    answer(world, pod)
    assert the_run(world).status.artifact_store == STORE
    assert the_run(world).phase == "Running"
    assert writes(pod) == KEPT[:2]
    assert not performed(pod, decisions.UploadArtifacts)
    answer(world, pod)
    [upload] = performed(pod, decisions.UploadArtifacts)
    assert not upload.may_have_leftovers
    world.settle()
    run = the_run(world)
    assert (run.phase, run.metadata.finalizers) == ("Succeeded", [ARTIFACT_CLEANUP_FINALIZER])
    assert run.status.artifact_refs == [artifact_ref()]
    assert writes(pod) == KEPT
    world.check_rest()


def test_a_run_that_failed_keeps_no_artifacts(world: World, pod: PodWorld) -> None:
    started(world, pod)
    pod.end(0, FAILURE)
    world.settle(exit_=FAILURE)
    assert not performed(pod, decisions.UploadArtifacts)
    assert the_run(world).metadata.finalizers == []


@pytest.fixture
def logging_pod(world: World, pod: PodWorld) -> PodWorld:
    """Of a Run that asks for its log, and is tried once."""
    pod.keeps_log = True
    return pod


def failing(world: World, pod: PodWorld) -> None:
    """The second, last attempt has failed, and its log is on its way; the answer is the test's."""
    pod.slow_upload = True
    started(world, pod)
    world.settle(exit_=FAILURE, may_end=True)
    assert the_run(world).phase == "Running"


def test_of_the_last_attempt_that_failed_the_log_alone_is_kept_and_it_ends_as_it_would_have(world: World, logging_pod: PodWorld) -> None:
    started(world, logging_pod)
    world.settle(exit_=FAILURE)
    [upload] = performed(logging_pod, decisions.UploadArtifacts)
    assert (upload.attempt, upload.is_log_only, upload.may_have_leftovers) == (2, True, False)
    run = the_run(world)
    assert (run.phase, run.status.attempt, run.status.conditions[-1].reason) == ("Failed", 2, Reason.RUNTIME_ERROR)
    assert (run.metadata.finalizers, run.status.artifact_refs) == ([ARTIFACT_CLEANUP_FINALIZER], [artifact_ref()])
    assert [kind for kind in writes(logging_pod) if kind is not WriteKind.RESUMED][-4:] == [WriteKind.RETRY, *KEPT]
    world.check_rest()


def test_a_log_that_the_store_does_not_take_changes_nothing_else(world: World, logging_pod: PodWorld) -> None:
    failing(world, logging_pod)
    logging_pod.tell(events.ArtifactsRefused(2, Reason.RUNTIME_ERROR, "artifact store: given up"))
    world.settle()
    run = the_run(world)
    assert (run.phase, run.status.conditions[-1].reason, run.status.artifact_refs) == ("Failed", Reason.RUNTIME_ERROR, [])
    world.check_rest()


def test_a_cancel_while_the_log_is_kept_ends_the_run_at_once(world: World, logging_pod: PodWorld) -> None:
    failing(world, logging_pod)
    world.cancel()
    see(logging_pod)
    [stopped] = performed(logging_pod, decisions.StopUpload)
    assert stopped.removes_all
    world.settle()
    assert (the_run(world).phase, the_run(world).status.artifact_refs) == ("Failed", [])


def test_a_log_for_which_the_api_server_refuses_the_store_is_left_out(world: World, logging_pod: PodWorld) -> None:
    started(world, logging_pod)
    world.api.invalid_keys = {"artifactStore"}
    world.settle(exit_=FAILURE)
    run = the_run(world)
    assert (run.phase, run.status.conditions[-1].reason, run.status.artifact_refs) == ("Failed", Reason.RUNTIME_ERROR, [])
    assert not performed(logging_pod, decisions.UploadArtifacts)


def test_the_store_that_the_api_server_completed_is_not_written_again(world: World, pod: PodWorld) -> None:
    pod.artifact_store = {"driver": "s3", "s3": {"bucket": "b"}}
    started(world, pod)
    world.api.change({"artifactStore": {"driver": "s3", "s3": {"bucket": "b", "forcePathStyle": False}}})
    see(pod)
    pod.end(0, SUCCESS)
    world.settle()
    assert writes(pod) == KEPT[1:]


@pytest.mark.parametrize("event", ["refused", "given up"])
def test_what_cannot_be_kept_fails_the_run_with_its_reason_and_exit_code(world: World, pod: PodWorld, event: str) -> None:
    uploading(world, pod)
    reason = Reason.ARTIFACT_INVALID if event == "refused" else Reason.RUNTIME_ERROR
    pod.tell(events.ArtifactsRefused(0, reason, "artifact 'x': why"))
    pod.artifact_store = None
    world.settle(exit_=FAILURE)
    run = the_run(world)
    assert run.phase == "Failed"
    if event == "refused":
        assert (run.status.attempt, run.status.message, run.status.exit_code) == (1, "artifact 'x': why", 0)
    else:  # it is retried as any RuntimeError
        assert run.status.attempt == 2
    assert run.status.artifact_refs == []


def test_the_timeout_of_user_code_does_not_end_an_upload(world: World, pod: PodWorld) -> None:
    uploading(world, pod)
    assert Timer.TIMEOUT not in pod.timers


def test_a_cancel_stops_the_upload_and_all_of_it_is_removed(world: World, pod: PodWorld) -> None:
    uploading(world, pod)
    world.cancel()
    see(pod)
    assert performed(pod, decisions.StopUpload) == [decisions.StopUpload(0, removes_all=True)]
    world.settle(exit_=CANCELLED)
    assert (the_run(world).phase, the_run(world).status.artifact_refs) == ("Cancelled", [])
    world.check_rest()


def test_an_upload_of_what_is_not_ours_any_more_is_stopped_and_leaves_alone_what_the_next_may_write(world: World, pod: PodWorld) -> None:
    uploading(world, pod)
    world.reap()
    see(pod)
    assert performed(pod, decisions.StopUpload) == [decisions.StopUpload(0, removes_all=False)]
    pod.tell(events.ArtifactsUploaded(0, [artifact_ref()]))
    pod.slow_upload = False
    world.settle()
    assert the_run(world).status.attempt == 2


def test_the_end_of_the_grace_period_ends_an_upload(world: World, pod: PodWorld) -> None:
    uploading(world, pod)
    pod.tell(events.IntakeStopped())
    assert not performed(pod, decisions.StopUpload)
    pod.tell(events.GraceOver())
    assert performed(pod, decisions.StopUpload) == [decisions.StopUpload(0, removes_all=False)]
    assert writes(pod)[-1] is WriteKind.TAKEN_AWAY


def test_a_successor_uploads_again_and_knows_that_something_may_be_there(world: World, pod: PodWorld) -> None:
    uploading(world, pod)
    pod.crash()
    pod.slow_upload = False
    world.settle()
    assert [upload.may_have_leftovers for upload in performed(pod, decisions.UploadArtifacts)] == [False, True]
    assert the_run(world).phase == "Succeeded"
    world.check_rest()


@pytest.mark.parametrize("lost", [0, 1])
def test_a_write_before_the_upload_whose_answer_was_lost_is_found_by_reading(world: World, pod: PodWorld, lost: int) -> None:
    started(world, pod)
    pod.end(0, SUCCESS)
    hear(pod)
    for _ in range(lost):
        answer(world, pod)
    [request] = world.requests
    world.answer(request, is_lost=True)
    world.settle()
    assert writes(pod) == KEPT
    assert the_run(world).phase == "Succeeded"


def test_a_finalizer_that_another_adds_meanwhile_is_kept(world: World, pod: PodWorld) -> None:
    started(world, pod)
    pod.end(0, SUCCESS)
    hear(pod)
    answer(world, pod)
    body = world.api.body
    assert body is not None
    world.api.put({**body, "metadata": {**body["metadata"], "finalizers": ["example.org/theirs"]}})
    world.settle()
    assert the_run(world).phase == "Succeeded"
    assert the_run(world).metadata.finalizers == ["example.org/theirs", ARTIFACT_CLEANUP_FINALIZER]


def test_a_store_that_the_schema_never_admits_fails_the_run(world: World, pod: PodWorld) -> None:
    world.api.invalid_keys = {"artifactStore"}
    started(world, pod)
    pod.end(0, SUCCESS)
    world.settle(exit_=FAILURE)
    run = the_run(world)
    assert (run.phase, run.status.attempt) == ("Failed", 2)
    assert run.status.message.startswith("runtime") or "the API server refused status.artifactStore" in run.status.message
    assert not performed(pod, decisions.UploadArtifacts)


def deleted(world: World) -> None:
    body: dict[str, Any] | None = world.api.body
    assert body is not None
    world.api.put({**body, "metadata": {**body["metadata"], "deletionTimestamp": "2026-08-09T10:00:00Z"}})


def test_a_run_that_is_being_deleted_keeps_nothing(world: World, pod: PodWorld) -> None:
    uploading(world, pod)
    deleted(world)
    see(pod)
    assert performed(pod, decisions.StopUpload) == [decisions.StopUpload(0, removes_all=True)]
    listen(pod)
    world.settle(exit_=CANCELLED)
    assert the_run(world).phase == "Cancelled"
