"""The end of a Pod: nothing new, time for what runs, the rest handed back; and last of all the Pod says that it has drained."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable
from datetime import UTC, datetime
from typing import Final

from k8s.api.pod import Pod
from k8s.api.run import Run
from k8s.client import ApiClient, ApiError, Cache, message_of
from runtimed.shell.actors import Actors
from runtimed.shell.bound_runs import list_bound
from runtimed.shell.own_pod import say_drained

logger = logging.getLogger(__name__)

DEFAULT_GRACE_SECONDS: Final = 30
END_OF_GRACE_SECONDS: Final = 5.0
"""What is kept of the grace period for killing (2 s), and for the writes that say so."""
LATE_BINDS_SECONDS: Final = 0.7
"""For binds that were decided before the scheduler saw this Pod go: with this a Pod that holds nothing still goes within a second."""


async def drain(client: ApiClient, actors: Actors, *, cache: Cache[Run], pod: Pod) -> None:
    """Those that run may finish within the grace period, then they are ended and told so. The intake is closed already."""
    grace_seconds = pod.metadata.deletion_grace_period_seconds
    if grace_seconds is None:
        grace_seconds = pod.spec.termination_grace_period_seconds or DEFAULT_GRACE_SECONDS
    logger.info("draining: this Pod is being deleted", extra={"runs": len(actors), "grace_seconds": grace_seconds})
    if await _is_done_within(_until_nothing_comes(client, actors, cache=cache, pod=pod), max(0.0, grace_seconds - END_OF_GRACE_SECONDS)):
        await say_drained(client, pod=pod, now=datetime.now(UTC))
        return
    logger.warning("the grace period ends before the Runs do", extra={"runs": len(actors)})
    actors.end_grace()
    await _is_done_within(actors.is_empty.wait(), min(END_OF_GRACE_SECONDS - 0.5, float(grace_seconds)))


async def _until_nothing_comes(client: ApiClient, actors: Actors, *, cache: Cache[Run], pod: Pod) -> None:
    """Nothing is held, and what was bound to us as we began to go has been handed back.

    Who binds learns of a Pod's end by watch, so a bind may land after we hold nothing, and would wait for a Pod that has gone. No
    event tells that none is on its way any more, and our own watch may be as late: hence a moment, and then a consistent list.
    One that is later still is for the reaper to hand back.
    """
    is_sure = False
    while not is_sure:
        await actors.is_empty.wait()
        await asyncio.sleep(LATE_BINDS_SECONDS)
        try:
            bound = await list_bound(client, namespace=pod.metadata.namespace, pod_name=pod.metadata.name)
        except ApiError as error:
            logger.warning("what is bound to this Pod cannot be listed", extra=message_of(error))
            continue
        actors.on_changes([change for run in bound if (change := cache.take(run)) is not None])
        is_sure = actors.is_empty.is_set()


async def _is_done_within(work: Awaitable[object], seconds: float) -> bool:
    try:
        async with asyncio.timeout(seconds):
            await work
    except TimeoutError:
        return False
    return True
