"""The scheduler: assigns Pending Runs to Runtime Pods with room. `core` decides, `shell` watches and writes; `main` is krt-scheduler."""

from __future__ import annotations

import sys
from typing import Any

import click

from controlplane.process import serve
from controlplane.scheduler.metrics import SchedulerMetrics
from controlplane.scheduler.shell import SchedulerShell
from k8s.api.names import SCHEDULER_LEASE
from k8s.client import RUNS, ApiClient
from k8s.manager import Lifecycle, ManagerSettings, make_registry, manager_options, run_process, take_settings

PROCESS = "krt-scheduler"
MAX_CONNECTIONS = 256
"""Made when they are needed. Binds that hang each keep one, up to 32 a queue: those of others must not wait for it."""


@click.command(name=PROCESS, context_settings={"help_option_names": ["-h", "--help"]})
@manager_options(metrics=":8080", health=":8081")
def main(**parameters: Any) -> None:
    """Assigns Runs to Runtime Pods."""
    settings = take_settings(parameters)
    sys.exit(run_process(PROCESS, lambda lifecycle: schedule(lifecycle, settings), log_level=settings.log_level))


async def schedule(lifecycle: Lifecycle, settings: ManagerSettings) -> None:
    """The process, until it is asked to stop."""
    registry = make_registry()
    metrics = SchedulerMetrics(registry)

    async def lead(client: ApiClient) -> None:
        await SchedulerShell(client, metrics=metrics).run()

    await serve(
        lifecycle,
        settings,
        name=PROCESS,
        lease_name=SCHEDULER_LEASE,
        probed=RUNS,
        registry=registry,
        work=lead,
        max_connections=MAX_CONNECTIONS,
    )
