"""What a user does with kubectl, done by our own client: `make test` has Python and nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import yaml

from k8s.client import (
    CONFIG_MAPS,
    DEPLOYMENTS,
    NODES,
    PODS,
    RUNS,
    RUNTIMES,
    SECRETS,
    ApiClient,
    Changed,
    Listed,
    Resource,
    apply_patch,
    list_and_watch,
    load_credentials,
    merge_patch,
)

Json = dict[str, Any]
T = TypeVar("T")
NAMESPACE = "default"
PATIENCE_SECONDS = 60.0
_RESOURCES: tuple[Resource[Any], ...] = (CONFIG_MAPS, DEPLOYMENTS, NODES, PODS, RUNS, RUNTIMES, SECRETS)
_KINDS: dict[str, Resource[Json]] = {resource.kind: replace(resource, type=dict[str, Any]) for resource in _RESOURCES}


class Hands:
    """A user with a kubeconfig. Each call is a connection of its own, so that it outlives restarts of the server."""

    def __init__(self, kubeconfig: Path) -> None:
        self._kubeconfig = kubeconfig

    def create(self, manifest: Json) -> Json:
        resource = _KINDS[manifest["kind"]]
        return self._do(lambda client: client.create(resource, manifest, namespace=NAMESPACE))

    def apply(self, folder: Path) -> None:
        """Every manifest in it, server-side."""
        for path in sorted(folder.glob("*.yaml")):
            manifest = yaml.safe_load(path.read_text())
            self._patch(manifest["kind"], manifest["metadata"]["name"], apply_patch(manifest), force=True)

    def get(self, kind: str, name: str) -> Json:
        return self._do(lambda client: client.get(_KINDS[kind], name, namespace=self._namespace(kind)))

    def list(self, kind: str) -> list[Json]:
        return self._do(lambda client: client.list(_KINDS[kind], namespace=self._namespace(kind))).items

    def merge(self, kind: str, name: str, body: Json) -> None:
        self._patch(kind, name, merge_patch(body))

    def delete(self, kind: str, name: str) -> None:
        self._do(lambda client: client.delete(_KINDS[kind], name, namespace=NAMESPACE))

    def wait(self, kind: str, name: str, *, until: Callable[[Json], bool]) -> Json:
        """By watch, and through restarts of the server: the first state of the object for which `until` holds."""
        return self._do(lambda client: _until(client, kind, lambda found: _first(found, name, until)))

    def wait_for_deletion(self, kind: str, name: str) -> None:
        self._do(lambda client: _until(client, kind, lambda found: True if name not in found else None))

    def _patch(self, kind: str, name: str, patch: Any, *, force: bool = False) -> None:
        self._do(lambda client: client.patch(_KINDS[kind], name, patch, namespace=NAMESPACE, field_manager="test", force=force))

    def _namespace(self, kind: str) -> str | None:
        return NAMESPACE if _KINDS[kind].namespaced else None

    def _do(self, act: Callable[[ApiClient], Coroutine[Any, Any, T]]) -> T:
        async def connected() -> T:
            credentials = await load_credentials(kubeconfig=str(self._kubeconfig))
            async with await ApiClient.connect(credentials, user_agent="test") as client, asyncio.timeout(PATIENCE_SECONDS):
                return await act(client)

        return asyncio.run(connected())


def _first(found: dict[str, Json], name: str, until: Callable[[Json], bool]) -> Json | None:
    return found[name] if name in found and until(found[name]) else None


async def _until(client: ApiClient, kind: str, answer: Callable[[dict[str, Json]], T | None]) -> T:
    """Follows all objects of the kind, by name, until `answer` has one."""
    found: dict[str, Json] = {}
    async with aclosing(list_and_watch(client, _KINDS[kind], namespace=NAMESPACE)) as notices:
        async for notice in notices:
            if isinstance(notice, Listed):
                found = {item["metadata"]["name"]: item for item in notice.items}
            elif isinstance(notice, Changed):
                found[notice.object["metadata"]["name"]] = notice.object
            else:
                found.pop(notice.object["metadata"]["name"], None)
            result = answer(found)
            if result is not None:
                return result
    raise AssertionError("a watch has no end")
