"""API writes, as the API server itself counts them: its own metrics on a cluster, the audit of the embedded one.

A write is a request that may change an object, whatever became of it. The embedded server's audit has accepted ones only.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Protocol

import msgspec

from k8s.client import ApiClient, Forbidden, NotFound, Resource

_LINE = re.compile(r"^apiserver_request_total\{(.*)\} ([0-9.e+]+)$", re.MULTILINE)
_LABEL = re.compile(r'(\w+)="([^"]*)"')
_WRITES = frozenset({"POST", "PUT", "PATCH", "APPLY", "DELETE", "DELETECOLLECTION"})
_AUDIT_VERBS = {"create": "POST", "update": "PUT", "patch": "PATCH", "delete": "DELETE"}


class WriteMeter(Protocol):
    """Counts by request: `PATCH runs.kruntimes.io/status`."""

    async def read(self) -> Counter[str]:
        """So far. Empty where it may not be seen."""
        ...


class MetricsWrites:
    """`apiserver_request_total` of any Kubernetes API server. With several replicas it is that of the one that answers."""

    def __init__(self, client: ApiClient) -> None:
        self._client = client

    async def read(self) -> Counter[str]:
        try:
            return count_metrics((await self._client.request("GET", "/metrics", accept="text/plain")).decode())
        except (Forbidden, NotFound):
            return Counter()


class AuditWrites:
    """The audit file of the embedded server, started with --audit."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def read(self) -> Counter[str]:
        return count_audit(self._path.read_bytes().splitlines())


def count_metrics(exposition: str) -> Counter[str]:
    """From the Prometheus text format."""
    counts: Counter[str] = Counter()
    for labels, value in _LINE.findall(exposition):
        known = dict(_LABEL.findall(labels))
        if known["verb"] in _WRITES:
            resource = _name(known["resource"], group=known["group"])
            counts[_key(known["verb"], resource=resource, subresource=known["subresource"])] += int(float(value))
    return counts


def count_audit(lines: Iterable[bytes]) -> Counter[str]:
    """From lines of the audit."""
    counts: Counter[str] = Counter()
    for line in lines:
        entry = msgspec.json.decode(line)
        if entry["verb"] in _AUDIT_VERBS:
            counts[_key(_AUDIT_VERBS[entry["verb"]], resource=entry["resource"], subresource=entry["subresource"])] += 1
    return counts


def writes_to(counts: Counter[str] | dict[str, int], resource: Resource[Any]) -> int:
    """Those to objects of this kind, their status included."""
    name = _name(resource.plural, group=resource.group)
    return sum(count for key, count in counts.items() if key.split(" ")[1].partition("/")[0] == name)


def _name(plural: str, *, group: str) -> str:
    return f"{plural}.{group}" if group else plural


def _key(verb: str, *, resource: str, subresource: str) -> str:
    return f"{verb} {resource}/{subresource}" if subresource else f"{verb} {resource}"
