"""The server without HTTP: a store on a real SQLite file, the verbs, and the collector run by hand."""

from __future__ import annotations

import json
from pathlib import Path
from types import TracebackType
from typing import Any

import msgspec

import k8s
from controlplane.local.apiserver.assembly import create_initial_objects, load_crds, new_registry, open_store
from controlplane.local.apiserver.collector import Collector
from controlplane.local.apiserver.database import Database
from controlplane.local.apiserver.definitions import Definition
from controlplane.local.apiserver.deletion import DeleteOptions, Deletion
from controlplane.local.apiserver.requests import Options, Target
from controlplane.local.apiserver.store import Stored
from controlplane.local.apiserver.verbs import Outcome, Verbs

Json = dict[str, Any]


class World:
    """All of it over one folder; leave and enter again for a restart."""

    def __init__(self, folder: Path, *, history: int = 1000) -> None:
        self._folder = folder
        self._history = history

    def __enter__(self) -> World:
        self.database = Database(self._folder / "store.db")
        self.registry = new_registry()
        self.store = open_store(self.database, registry=self.registry, history_limit=self._history)
        self.verbs = Verbs(self.store, self.registry)
        self.deletion = Deletion(self.store)
        create_initial_objects(self.verbs)
        load_crds(Path(k8s.__file__).parent / "crds", verbs=self.verbs)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.database.close()

    def definition(self, resource: str) -> Definition:
        found = self.registry.named(resource)
        assert found is not None
        return found

    def target(self, resource: str, name: str = "", *, namespace: str = "default", subresource: str = "") -> Target:
        definition = self.definition(resource)
        return Target(definition, namespace if definition.namespaced else "", name, subresource)

    def create(self, resource: str, manifest: Json, *, namespace: str = "default") -> Json:
        target = self.target(resource, namespace=namespace)
        outcome = self.verbs.create(target, body=json.dumps(manifest).encode(), content_type="application/json", options=Options())
        created: Json = msgspec.json.decode(outcome.body)
        return created

    def patch(self, resource: str, name: str, patch: Any, *, media_type: str = "application/merge-patch+json", **query: str) -> Outcome:
        target = self.target(resource, name, subresource=query.pop("subresource", ""))
        return self.verbs.patch(target, body=json.dumps(patch).encode(), content_type=media_type, options=Options(query))

    def delete(self, resource: str, name: str, *, namespace: str = "default", **wish: Any) -> Outcome:
        return self.deletion.delete(self.target(resource, name, namespace=namespace), wish=DeleteOptions(**wish))

    def find(self, resource: str, name: str, *, namespace: str = "default") -> Stored | None:
        return self.store.get(resource, key=self.target(resource, name, namespace=namespace).key)

    def collect(self, collector: Collector) -> None:
        """Lets it do all that is due now."""
        collector.collect_due(limit=10_000)

    def fill_disk(self) -> None:
        """SQLite gets no page more, and says what it says on a full disk. The same on a disk that is full: tests/fault/test_disk.py."""
        self._pages(1)

    def free_disk(self) -> None:
        self._pages(1 << 30)

    def _pages(self, count: int) -> None:
        self.database._connection.execute(f"PRAGMA max_page_count={count}")  # never below what there are
