"""Keeping the artifacts of an attempt that succeeded: what comes between its exit and its end (interface.md 6.7).

And the log, for a Run that asks for it, of the last attempt whether it succeeded or not: then it is all that is kept, and nothing that
happens to it changes how the attempt has ended.

The store into the status, the finalizer onto the Run, the upload, in this order: whatever crashes, whoever deletes the Run finds
out that there may be artifacts, and where. Each step follows from the newest view, so none is remembered. A Run without
artifacts never comes here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from k8s.api.artifact_store import store_hash
from k8s.api.names import ARTIFACT_CLEANUP_FINALIZER
from k8s.api.run import Run
from runtimed.core import writing
from runtimed.core.decisions import StopUpload, UploadArtifacts
from runtimed.core.events import ArtifactsRefused, ArtifactsUploaded
from runtimed.core.facts import Outcome, Timer, WriteKind
from runtimed.core.state import Progress
from runtimed.core.step import Step
from runtimed.core.verdicts import cut_message


def are_kept(step: Step, progress: Progress) -> bool:
    """True once there is nothing (left) to keep; otherwise the next step is decided."""
    if progress.artifact_store is None or progress.artifact_refs is not None:
        return True
    run = step.state.view
    assert run is not None
    if not progress.is_uploading:
        # User code has kept its time; how long the store takes is not its fault, and bounded by the upload's own patience.
        step.stop(progress, Timer.TIMEOUT)
    if not _names_store(run, progress.artifact_store):
        _write(step, WriteKind.STORE)
    elif not _has_finalizer(run):
        progress.has_made_finalizer = True
        _write(step, WriteKind.FINALIZER)
    elif not progress.is_uploading:
        progress.is_uploading = True
        step.decide(
            UploadArtifacts(
                progress.number,
                run,
                may_have_leftovers=not progress.has_made_finalizer,
                is_log_only=progress.number in step.state.outcomes,
            )
        )
    return False


def is_log_kept(step: Step, outcome: Outcome) -> bool:
    """Of an attempt that has ended. True once there is no log (left) to keep; otherwise the next step is decided."""
    progress = step.state.progress
    assert progress is not None
    if outcome.is_success or progress.log_store is None or progress.artifact_refs is not None:
        return True
    is_last = writing.is_last(step, outcome)
    if not is_last or outcome.schema_refusals or step.state.is_cancel_requested or step.state.is_grace_over:
        stop(step, progress, is_final=is_last)
        return True
    progress.artifact_store = progress.log_store
    return are_kept(step, progress)


def is_interrupted(step: Step, progress: Progress) -> bool:
    """Whether keeping ends here: nobody wants the artifacts any more, or the Pod goes and takes them with it."""
    is_keeping = progress.artifact_store is not None and progress.artifact_refs is None
    return is_keeping and (step.state.is_cancel_requested or step.state.is_grace_over)


def stop(step: Step, progress: Progress, *, is_final: bool) -> None:
    """The attempt has ended otherwise, or is another's."""
    if progress.is_uploading:
        progress.is_uploading = False
        step.decide(StopUpload(progress.number, removes_all=is_final))


def on_uploaded(step: Step, event: ArtifactsUploaded) -> None:
    progress = step.state.progress
    if progress is not None and progress.number == event.attempt and progress.is_uploading:
        progress.is_uploading = False
        progress.artifact_refs = list(event.refs)


def on_refused(step: Step, event: ArtifactsRefused) -> None:
    progress = step.state.progress
    if progress is None or progress.number != event.attempt or not progress.is_uploading:
        return
    progress.is_uploading = False
    if event.attempt in step.state.outcomes:
        writing.leave_out_log(step, progress, event.message)
        return
    progress.failure = (event.reason, cut_message(event.message))
    progress.log_store = None  # the same store would not take it either


def _names_store(run: Run, store: Mapping[str, Any]) -> bool:
    """By hash: the API server may have filled in what we left out."""
    return run.status.artifact_store is not None and store_hash(run.status.artifact_store) == store_hash(store)


def _has_finalizer(run: Run) -> bool:
    return ARTIFACT_CLEANUP_FINALIZER in run.metadata.finalizers


def _write(step: Step, kind: WriteKind) -> None:
    if step.state.writing.is_idle:
        writing.send(step, kind)
