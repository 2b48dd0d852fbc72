"""What a URL asks for: kind, namespace, name, subresource, and the options of the query, with their errors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote

from controlplane.local.apiserver.definitions import Definition, Registry
from controlplane.local.apiserver.statuses import Cause, bad_request, invalid_options


@dataclass(frozen=True, slots=True)
class Target:
    """A resource path, resolved."""

    definition: Definition
    namespace: str
    name: str
    subresource: str

    @property
    def key(self) -> tuple[str, str]:
        return self.namespace, self.name


def resolve(path: str, *, registry: Registry) -> Target | None:
    """None when the path names nothing that is served."""
    parts = [unquote(part) for part in path.strip("/").split("/")]
    if parts[0] == "api" and len(parts) > 2:
        group, version, rest = "", parts[1], parts[2:]
    elif parts[0] == "apis" and len(parts) > 3:
        group, version, rest = parts[1], parts[2], parts[3:]
    else:
        return None
    return _resolve_rest(rest, group=group, version=version, registry=registry)


def _resolve_rest(rest: list[str], *, group: str, version: str, registry: Registry) -> Target | None:
    namespace = ""
    if rest[0] == "namespaces" and len(rest) > 2 and not (len(rest) == 3 and rest[2] in ("status", "finalize")):
        namespace, rest = rest[1], rest[2:]
    definition = registry.find(group=group, version=version, plural=rest[0])
    if definition is None or len(rest) > 3 or (bool(namespace) and not definition.namespaced):
        return None
    name = rest[1] if len(rest) > 1 else ""
    if name and definition.namespaced and not namespace:
        return None
    return Target(definition, namespace, name, rest[2] if len(rest) > 2 else "")


_VALIDATIONS = ("", "Ignore", "Strict", "Warn")


@dataclass(frozen=True, slots=True)
class Options:
    """The query, as the verbs need it. Fields of other verbs keep their defaults."""

    query: Mapping[str, str] = field(default_factory=dict)
    user_agent: str = ""

    def _is_set(self, name: str) -> bool:
        return self.query.get(name, "") not in ("", "0", "false", "False")

    @property
    def is_watch(self) -> bool:
        return self._is_set("watch")

    @property
    def is_force(self) -> bool:
        return self._is_set("force")

    @property
    def wants_bookmarks(self) -> bool:
        return self._is_set("allowWatchBookmarks")

    @property
    def label_selector(self) -> str:
        return self.query.get("labelSelector", "")

    @property
    def field_selector(self) -> str:
        return self.query.get("fieldSelector", "")

    @property
    def field_manager(self) -> str:
        """As the real server: the product of the user agent when none is given."""
        return self.query.get("fieldManager", "") or self.user_agent.partition("/")[0]

    @property
    def resource_version(self) -> str:
        return self.query.get("resourceVersion", "")

    @property
    def version_match(self) -> str:
        return self.query.get("resourceVersionMatch", "")

    def number(self, name: str) -> int:
        """A whole number of the query; 0 when absent."""
        text = self.query.get(name, "") or "0"
        try:
            return int(text)
        except ValueError as error:
            raise bad_request(f'strconv.ParseInt: parsing "{text}": invalid syntax') from error

    def is_dry_run(self, *, options_kind: str) -> bool:
        value = self.query.get("dryRun", "")
        if value not in ("", "All"):
            cause = Cause("FieldValueNotSupported", f'Unsupported value: ["{value}"]: supported values: "All"', "dryRun")
            raise invalid_options(options_kind, cause=cause)
        return value == "All"

    def field_validation(self, *, options_kind: str) -> str:
        """Strict, Warn or Ignore; Warn by default."""
        value = self.query.get("fieldValidation", "")
        if value not in _VALIDATIONS:
            supported = ", ".join(f'"{name}"' for name in _VALIDATIONS)
            cause = Cause("FieldValueNotSupported", f'Unsupported value: "{value}": supported values: {supported}', "fieldValidation")
            raise invalid_options(options_kind, cause=cause)
        return value or "Warn"

    def check_list_options(self) -> None:
        """The combinations that the real server forbids, in its words."""
        match, sends = self.version_match, self.query.get("sendInitialEvents")
        if sends is not None and not self.is_watch:
            raise _forbidden_option("sendInitialEvents", "sendInitialEvents is forbidden for list")
        if sends is not None and match != "NotOlderThan":
            raise _forbidden_option("resourceVersionMatch", "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan")
        if not match or sends is not None:
            return
        if self.is_watch:
            raise _forbidden_option(
                "resourceVersionMatch", "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided"
            )
        if match not in ("Exact", "NotOlderThan"):
            supported = 'supported values: "Exact", "NotOlderThan", ""'
            cause = Cause("FieldValueNotSupported", f'Unsupported value: "{match}": {supported}', "resourceVersionMatch")
            raise invalid_options("ListOptions", cause=cause)
        if not self.resource_version:
            raise _forbidden_option("resourceVersionMatch", "resourceVersionMatch is forbidden unless resourceVersion is provided")
        if match == "Exact" and self.resource_version == "0":
            raise _forbidden_option("resourceVersionMatch", 'resourceVersionMatch "exact" is forbidden for resourceVersion "0"')


def _forbidden_option(name: str, message: str) -> Exception:
    return invalid_options("ListOptions", cause=Cause("FieldValueForbidden", f"Forbidden: {message}", name))
