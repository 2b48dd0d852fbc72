"""What the scheduler and the controllers share as processes: client, endpoints, leadership, an orderly end. No work of its own."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Awaitable, Callable
from typing import Any

from prometheus_client import CollectorRegistry

from k8s.client import ApiClient, LeaderElector, Resource, load_credentials
from k8s.client.metrics import RequestMetrics
from k8s.manager import Lifecycle, ManagerSettings, StatusServer

logger = logging.getLogger(__name__)

Work = Callable[[ApiClient], Awaitable[None]]
"""Runs until it is cancelled."""


async def serve(
    lifecycle: Lifecycle,
    settings: ManagerSettings,
    *,
    name: str,
    lease_name: str,
    probed: Resource[Any],
    registry: CollectorRegistry,
    work: Work,
    max_connections: int = 64,
) -> None:
    """Does `work` until the process is asked to stop; with --leader-elect only while it holds the Lease.

    /readyz asks the API server for one object of the kind `probed`.
    """
    credentials = await load_credentials(kubeconfig=settings.kubeconfig)
    # The pid tells replicas apart in the API server's log.
    agent = f"{name} ({socket.gethostname()}_{os.getpid()})"
    client = await ApiClient.connect(credentials, user_agent=agent, max_connections=max_connections)
    client.on_request = RequestMetrics(registry).note

    async def api_answers() -> None:
        await client.request("GET", probed.path(), query={"limit": "1"})

    endpoints = StatusServer(
        health_bind=settings.health_probe_bind_address,
        metrics_bind=settings.metrics_bind_address,
        checks={"kubernetes-api": api_answers},
        registry=registry,
    )
    async with client, endpoints:
        ports = endpoints.ports
        logger.info("endpoints are served", extra={"program": name, "health_port": ports.health, "metrics_port": ports.metrics})
        working = lifecycle.tasks.start(_lead(client, settings, name=name, lease_name=lease_name, work=work), name=name)
        await lifecycle.stopping.wait()
        # STRICTLY BEFORE the client closes: leaving gives the Lease back.
        working.cancel()
        await asyncio.wait({working})


async def _lead(client: ApiClient, settings: ManagerSettings, *, name: str, lease_name: str, work: Work) -> None:
    if not settings.leader_elect:
        await work(client)
        return
    times = settings.lease_times
    elector = LeaderElector(
        client,
        lease_name=lease_name,
        namespace=os.environ.get("POD_NAMESPACE") or "default",
        identity=f"{name}_{socket.gethostname()}_{os.getpid()}",
        lease_seconds=times.lease_seconds,
        renew_deadline_seconds=times.renew_deadline_seconds,
        retry_seconds=times.retry_seconds,
    )
    await elector.run(lambda: work(client))
