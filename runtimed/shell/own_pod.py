"""Which Pod we are in, and whether it is being deleted."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Mapping
from datetime import datetime

from k8s.api.errors import UsageError
from k8s.api.names import DRAINED_CONDITION
from k8s.api.pod import Pod
from k8s.api.timestamps import format_timestamp
from k8s.client import PODS, ApiClient, ApiError, Backoff, NotFound, message_of, strategic_patch
from runtimed.settings import PodIdentity

logger = logging.getLogger(__name__)

ASK_SECONDS = 3.0
DRAINED_REASON = "NothingHeld"
DRAINED_MESSAGE = "runtimed has drained: nothing of this Pod is or will be started any more"


async def read_own_pod(client: ApiClient, *, environment: Mapping[str, str] = os.environ) -> Pod:
    """By HOSTNAME, POD_NAMESPACE and POD_UID; waits until the API server answers. Raises UsageError.

    At start, and consistent: when an earlier process of this Pod began to hand Runs back, this read shows why (ownership.md, rule 26).
    """
    name = environment.get("HOSTNAME") or socket.gethostname()
    namespace = environment.get("POD_NAMESPACE") or "default"
    pod = await _read(client, name=name, namespace=namespace)
    uid = environment.get("POD_UID")
    if uid and uid != pod.uid:
        raise UsageError(f"POD_UID: the Pod {namespace}/{name} has been replaced by another of its name; this one is gone")
    return pod


async def _read(client: ApiClient, *, name: str, namespace: str) -> Pod:
    backoff = Backoff()
    while True:
        try:
            return await client.get(PODS, name, namespace=namespace)
        except NotFound as error:
            raise UsageError(
                f"HOSTNAME: there is no Pod {namespace}/{name}; set HOSTNAME, POD_NAMESPACE and POD_UID by fieldRef"
            ) from error
        except ApiError as error:
            logger.warning("own Pod cannot be read yet", extra=message_of(error))
            await asyncio.sleep(backoff.next_delay(0.5))


async def read_if_deleted(client: ApiClient, *, pod: PodIdentity) -> Pod | None:
    """Our Pod, if it is being deleted. None if it is not, is another's by now, or cannot be told in time: then our container restarts."""
    try:
        async with asyncio.timeout(ASK_SECONDS):
            found = await client.get(PODS, pod.name, namespace=pod.namespace)
    except (ApiError, TimeoutError) as error:
        logger.warning("own Pod cannot be read; taken for a restart of the container", extra=message_of(error))
        return None
    return found if found.uid == pod.uid and found.metadata.deletion_timestamp is not None else None


async def say_drained(client: ApiClient, *, pod: Pod, now: datetime) -> None:
    """Of a Pod that is being deleted and holds nothing, STRICTLY last: a bind that still lands here is handed back by the reaper.

    Best effort. Where it is not said, such a Run is lost with the Pod, as one that may have been started.
    """
    told = {"type": DRAINED_CONDITION, "status": "True", "reason": DRAINED_REASON, "message": DRAINED_MESSAGE}
    condition = {**told, "lastTransitionTime": format_timestamp(now)}
    patch = strategic_patch({"metadata": {"uid": pod.uid}, "status": {"conditions": [condition]}})
    try:
        async with asyncio.timeout(ASK_SECONDS):
            await client.patch(PODS, pod.metadata.name, patch, namespace=pod.metadata.namespace, subresource="status")
    except (ApiError, TimeoutError) as error:
        logger.warning("that this Pod has drained is not written", extra=message_of(error))
