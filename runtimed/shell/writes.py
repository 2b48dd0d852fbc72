"""The two requests that a Run's actor makes: its fenced status write, and the read after one that went wrong."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from k8s.api.names import ARTIFACT_CLEANUP_FINALIZER, ARTIFACTS_LABEL
from k8s.api.run import Run
from k8s.client import RUNS, ApiClient, ApiError, BadRequest, Cache, Deleted, Invalid, NotFound, fenced_finalizer, fenced_status
from runtimed.core import events
from runtimed.core.decisions import SendStatus
from runtimed.core.facts import WriteKind
from runtimed.core.ledger import status_change

PAYLOAD_TOO_LARGE = 413


class StatusWriter:
    """Feeds every answer to the cache before the core hears of it (rule 9)."""

    def __init__(self, client: ApiClient, *, cache: Cache[Run], pod_uid: str, now: Callable[[], datetime]) -> None:
        self._client, self._cache, self._pod_uid, self._now = client, cache, pod_uid, now

    async def write(self, decision: SendStatus) -> events.Event:
        """One attempt at it; never repeated here."""
        run = decision.run
        try:
            answer = await self._send(decision)
        except ApiError as error:
            return _judge(error)
        self._take(answer)
        return events.WriteAnswered(self._cache.get(run.uid))

    async def _send(self, decision: SendStatus) -> Run:
        run = decision.run
        name, namespace = run.metadata.name, run.metadata.namespace
        if decision.kind is WriteKind.FINALIZER:
            patch = fenced_finalizer(ARTIFACT_CLEANUP_FINALIZER, label=ARTIFACTS_LABEL, run=run, expected_phase=run.phase)
            return await self._client.patch(RUNS, name, patch, namespace=namespace)
        patch = fenced_status(status_change(decision, now=self._now()), run=run, expected_phase=run.phase)
        return await self._client.patch(RUNS, name, patch, namespace=namespace, subresource="status")

    async def read(self, run: Run) -> events.Event:
        """A consistent read."""
        try:
            answer = await self._client.get(RUNS, run.metadata.name, namespace=run.metadata.namespace)
        except NotFound:
            self._cache.drop(run.uid)
            return events.RunRead(None)
        except ApiError as error:
            return events.RunReadFailed(error.retry_after_seconds or 0.0)
        if answer.uid != run.uid:  # another Run of the same name: this one is gone
            self._cache.drop(run.uid)
            return events.RunRead(None)
        self._take(answer)
        return events.RunRead(self._cache.get(run.uid))

    def _take(self, answer: Run) -> None:
        self._cache.take(answer)
        if answer.status.assigned_pod_uid != self._pod_uid or answer.is_terminal:
            # Not in our selection any more: the watch will not tell of its end, so it must not stay.
            self._cache.feed(Deleted(answer))


def _judge(error: ApiError) -> events.Event:
    retry_after_seconds = error.retry_after_seconds or 0.0
    if not error.is_answered:
        return events.WriteUnanswered(retry_after_seconds)
    is_invalid = isinstance(error, (Invalid, BadRequest)) or error.status == PAYLOAD_TOO_LARGE
    cause = error.causes[0] if error.causes else None
    return events.WriteRefused(
        is_invalid=is_invalid,
        field=cause.field if cause else "",
        detail=cause.message if cause else str(error),
        retry_after_seconds=retry_after_seconds,
    )
