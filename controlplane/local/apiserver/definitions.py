"""What kinds the server knows: their names, scope, subresources, selectable fields and columns, and where to look them up.

Built-in kinds are in `builtins`; those of CustomResourceDefinitions come from `crds` at run time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from controlplane.local.apiserver.schema import Schema
from controlplane.local.apiserver.statuses import qualify

VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")


@dataclass(frozen=True, slots=True)
class Column:
    """A printer column: `path` is a JSONPath, `type` string, integer, number, boolean or date; priority 1 shows with -o wide."""

    name: str
    type: str
    path: str
    description: str = ""
    priority: int = 0


@dataclass(frozen=True, slots=True)
class Definition:
    """One kind in one version."""

    group: str
    version: str
    plural: str
    singular: str
    kind: str
    namespaced: bool
    list_kind: str = ""
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    subresources: frozenset[str] = frozenset()
    selectable: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Field selector name, as spec.nodeName, to the keys that lead to it."""
    columns: tuple[Column, ...] = ()
    schema: Schema | None = None
    """None for built-in kinds: metadata is checked, the rest is taken as it comes."""
    counts_generation: bool = False

    @property
    def resource(self) -> str:
        """`runs.kruntimes.io`, `pods`: unique, and how messages and the store name it."""
        return qualify(self.plural, group=self.group)

    @property
    def group_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def kind_of_list(self) -> str:
        return self.list_kind or f"{self.kind}List"

    @property
    def is_custom(self) -> bool:
        return self.schema is not None


class Registry:
    """All kinds by what a URL says. `changes` counts them, so that discovery caches know when they are old."""

    def __init__(self, definitions: tuple[Definition, ...] = ()) -> None:
        self._by_url: dict[tuple[str, str, str], Definition] = {}
        self._by_resource: dict[str, Definition] = {}
        self.changes = 0
        for definition in definitions:
            self.add(definition)

    def __iter__(self) -> Iterator[Definition]:
        return iter(list(self._by_resource.values()))

    def add(self, definition: Definition) -> None:
        self.remove(definition.resource)
        self._by_url[definition.group, definition.version, definition.plural] = definition
        self._by_resource[definition.resource] = definition
        self.changes += 1

    def remove(self, resource: str) -> None:
        gone = self._by_resource.pop(resource, None)
        if gone is not None:
            del self._by_url[gone.group, gone.version, gone.plural]
            self.changes += 1

    def find(self, *, group: str, version: str, plural: str) -> Definition | None:
        return self._by_url.get((group, version, plural))

    def named(self, resource: str) -> Definition | None:
        return self._by_resource.get(resource)

    def of_kind(self, *, group: str, kind: str) -> Definition | None:
        for definition in self._by_resource.values():
            if definition.kind == kind and definition.group == group:
                return definition
        return None

    def group_versions(self) -> dict[str, list[str]]:
        """Groups with their versions, the core group ("") first."""
        groups: dict[str, list[str]] = {}
        for definition in self._by_resource.values():
            versions = groups.setdefault(definition.group, [])
            if definition.version not in versions:
                versions.append(definition.version)
        return dict(sorted(groups.items()))
