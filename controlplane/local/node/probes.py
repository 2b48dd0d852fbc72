"""Probes of a container: what to ask where, what the answers mean, and when to ask again.

Readiness is asked often until the first yes, so that a Pod is ready as soon as its servers are; from then on with the
manifest's period. Initial delays are left out for the same reason, but for liveness, which must not kill a slow start.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from controlplane.local.node.plan import PodPorts, UnrunnableError
from k8s.api import names

Json = dict[str, Any]
FIRST_INTERVAL_SECONDS = 0.02
"""Between the first two questions to a container that is not ready yet; doubles up to the manifest's period."""


@dataclass(frozen=True, slots=True)
class Probe:
    """What to ask, and how many equal answers count. `path` is None for a mere connection."""

    port: int
    path: str | None = None
    scheme: str = "http"
    headers: Mapping[str, str] = field(default_factory=dict)
    initial_delay_seconds: float = 0.0
    period_seconds: float = 10.0
    timeout_seconds: float = 1.0
    success_threshold: int = 1
    failure_threshold: int = 3


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a probe's answers so far amount to. `is_passing` is None until there is one."""

    is_passing: bool | None = None
    successes: int = 0
    failures: int = 0
    ever_passed: bool = False


def judge(verdict: Verdict, *, is_success: bool, probe: Probe) -> Verdict:
    """The verdict after one more answer: it changes only after enough equal ones in a row."""
    successes = verdict.successes + 1 if is_success else 0
    failures = 0 if is_success else verdict.failures + 1
    is_passing = verdict.is_passing
    if successes >= probe.success_threshold:
        is_passing = True
    elif failures >= probe.failure_threshold:
        is_passing = False
    return Verdict(is_passing, successes, failures, verdict.ever_passed or is_passing is True)


def readiness_interval(verdict: Verdict, *, probe: Probe, asked: int) -> float:
    """Seconds until the next question after `asked` of them."""
    if verdict.ever_passed:
        return probe.period_seconds
    return min(probe.period_seconds, FIRST_INTERVAL_SECONDS * (1 << min(asked, 16)))


def read_probe(container: Json, kind: str, *, ports: PodPorts) -> Probe | None:
    """The probe `kind` (`readinessProbe`, ...) of a container, aimed at the port the node gave. Raises UnrunnableError."""
    manifest = container.get(kind)
    if not manifest:
        return None
    action = next((key for key in ("tcpSocket", "httpGet", "grpc") if key in manifest), None)
    if action is None:
        raise UnrunnableError(
            "ProbeNotRunnableLocally", f"{kind} of container {container['name']}: local mode asks tcpSocket, httpGet and grpc ports only"
        )
    target = manifest[action]
    return Probe(
        port=_given_port(container, target.get("port"), ports=ports),
        path=target.get("path", "/") if action == "httpGet" else None,
        scheme=target.get("scheme", "HTTP").lower(),
        headers={header["name"]: header["value"] for header in target.get("httpHeaders") or []},
        initial_delay_seconds=manifest.get("initialDelaySeconds") or 0,
        period_seconds=manifest.get("periodSeconds") or 10,
        timeout_seconds=manifest.get("timeoutSeconds") or 1,
        success_threshold=manifest.get("successThreshold") or 1,
        failure_threshold=manifest.get("failureThreshold") or 3,
    )


async def ask(probe: Probe, *, session: aiohttp.ClientSession) -> bool:
    """One question: a connection, or an answer from 200 to 399. A server that does not answer in time has failed it."""
    try:
        async with asyncio.timeout(probe.timeout_seconds):
            if probe.path is None:
                _, writer = await asyncio.open_connection("127.0.0.1", probe.port)
                writer.close()
                return True
            url = f"{probe.scheme}://127.0.0.1:{probe.port}/{probe.path.removeprefix('/')}"
            async with session.get(url, headers=dict(probe.headers), ssl=False, allow_redirects=False) as answer:
                return 200 <= answer.status < 400
    except (OSError, TimeoutError, aiohttp.ClientError):
        return False


def _given_port(container: Json, port: int | str | None, *, ports: PodPorts) -> int:
    """A container's own port as the manifest numbers it becomes the one it really listens on."""
    declared = {entry.get("name"): entry.get("containerPort") for entry in container.get("ports") or []}
    number = declared.get(port, port)
    if container["name"] != names.RUNTIMED_CONTAINER:
        return ports.runtime
    return {names.RUNTIMED_STATUS_PORT: ports.status, names.RUNTIMED_HEALTH_PORT: ports.health}.get(_as_number(number), ports.health)


def _as_number(port: int | str | None) -> int:
    return int(port) if isinstance(port, int) or (isinstance(port, str) and port.isdigit()) else 0
