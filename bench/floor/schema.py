"""The floor's kind: the Run's CRD under another group, word for word otherwise."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import Any

import yaml

from bench.subjects import FLOOR_GROUP, FLOOR_RUNS
from k8s.client import CRDS, AlreadyExists, ApiClient, Deleted, Listed, NotFound, list_and_watch

RUN_CRD = Path(__file__).parents[2] / "k8s" / "crds" / "run.yaml"
NAME = f"{FLOOR_RUNS.plural}.{FLOOR_GROUP}"
SERVED_SECONDS = 30
GONE_SECONDS = 60
"""The API server deletes all Runs of the kind first: thousands after a long benchmark."""
_PAUSE_SECONDS = 0.05


def floor_crd(run_crd: dict[str, Any]) -> dict[str, Any]:
    """Same schema, rules, fields and subresource."""
    return {
        **run_crd,
        "metadata": {"name": NAME},
        "spec": {**run_crd["spec"], "group": FLOOR_GROUP},
    }


async def install(client: ApiClient, *, namespace: str) -> None:
    """Returns when Runs of the floor can be created. Whoever may not create CRDs cannot have a floor: Forbidden says so."""
    with contextlib.suppress(AlreadyExists):
        await client.create(CRDS, floor_crd(yaml.safe_load(RUN_CRD.read_text())))
    async with asyncio.timeout(SERVED_SECONDS):
        # An API server tells nobody when it begins to serve a kind.
        while not await _is_served(client, namespace=namespace):  # noqa: ASYNC110
            await asyncio.sleep(_PAUSE_SECONDS)


async def remove(client: ApiClient) -> None:
    """The kind, and with it all its Runs. Returns when it is gone: until then nobody could make it anew."""
    with contextlib.suppress(NotFound):
        await client.delete(CRDS, NAME)
    async with (
        asyncio.timeout(GONE_SECONDS),
        contextlib.aclosing(list_and_watch(client, CRDS, field_selector=f"metadata.name={NAME}")) as notices,
    ):
        async for notice in notices:
            if isinstance(notice, Deleted) or (isinstance(notice, Listed) and not notice.items):
                return


async def _is_served(client: ApiClient, *, namespace: str) -> bool:
    try:
        await client.list(FLOOR_RUNS, namespace=namespace)
    except NotFound:
        return False
    return True
