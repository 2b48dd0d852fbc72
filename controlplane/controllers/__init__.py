"""The controllers: Runtimes, stale Runs, Runs past their time to live, artifacts of deleted Runs. One reconciler a file.

`main` is krt-controller.
"""

from __future__ import annotations

import os
import socket
import sys
from typing import Any

import click

from controlplane.controllers import artifact_cleanup
from controlplane.controllers.access_removal import AccessRemoval
from controlplane.controllers.doubtful_runs import DoubtfulRuns
from controlplane.controllers.maintainer_objects import MaintainerSettings
from controlplane.controllers.options import CidrsType, QuantityType
from controlplane.controllers.pod_troubles import RUNTIME_PODS
from controlplane.controllers.reaper import COMPONENT, StaleRunReaper
from controlplane.controllers.reconciling import Informer
from controlplane.controllers.runtime import RuntimeController
from controlplane.controllers.runtime_access import SERVICE_ACCOUNT
from controlplane.controllers.runtime_objects import DAEMON_IMAGE, DAEMON_MEMORY, RuntimeSettings
from controlplane.controllers.runtime_watches import RuntimeWatches
from controlplane.controllers.ttl import ExpiringRuns, FinishedRunCollector
from controlplane.process import serve
from k8s.api.names import CONTROLLER_LEASE, RUNTIME_LABEL
from k8s.client import RUNTIMES, ApiClient, EventRecorder
from k8s.manager import Lifecycle, ManagerSettings, SecondsType, Tasks, make_registry, manager_options, run_process, take_settings

PROCESS = "krt-controller"


@click.command(name=PROCESS, context_settings={"help_option_names": ["-h", "--help"]})
@manager_options(metrics=":8082", health=":8083")
@click.option(
    "--stale-threshold", type=SecondsType(), default="30s", show_default=True, help="How long a Pod may be silent before it loses its Runs."
)
@click.option("--default-daemon-image", default="", help="Image of runtimed for Runtimes that name none.")
@click.option("--runtimed-service-account-name", default="", help="ServiceAccount of Runtime Pods whose template names none.")
@click.option(
    "--runtimed-memory-limit",
    type=QuantityType(),
    default=DAEMON_MEMORY,
    show_default=True,
    help="Memory limit of each runtimed container.",
)
@click.option("--runtime-metrics-ingress", is_flag=True, help="Let anybody connect to the metrics port of Runtime Pods.")
@click.option(
    "--runtime-egress-cidrs",
    type=CidrsType(),
    default="",
    help="Where Runtime Pods may connect to beside DNS, separated by commas; the API server must be in it. By default everywhere.",
)
@click.option("--runtime-maintainer-image", default="", help="Image of the artifact maintainer.")
@click.option("--runtime-maintainer-image-pull-secrets", default="", help="Its pull secrets, separated by commas.")
@click.option(
    "--artifact-give-up", type=SecondsType(), default="1h", show_default=True, help="How long a deleted Run waits for its artifacts' store."
)
def main(
    stale_threshold: float,
    default_daemon_image: str,
    runtimed_service_account_name: str,
    runtimed_memory_limit: str,
    runtime_metrics_ingress: bool,
    runtime_egress_cidrs: tuple[str, ...],
    artifact_give_up: float,
    **parameters: Any,
) -> None:
    """Keeps Runtimes, Runs and their Pods consistent."""
    secrets = parameters.pop("runtime_maintainer_image_pull_secrets").split(",")
    maintainer_settings = MaintainerSettings(
        image=parameters.pop("runtime_maintainer_image"), pull_secrets=tuple(name.strip() for name in secrets if name.strip())
    )
    settings = take_settings(parameters)
    runtime_settings = RuntimeSettings(
        default_daemon_image=default_daemon_image or DAEMON_IMAGE,
        service_account_name=runtimed_service_account_name or SERVICE_ACCOUNT,
        runtimed_memory_limit=runtimed_memory_limit,
        has_metrics_ingress=runtime_metrics_ingress,
        egress_cidrs=runtime_egress_cidrs,
    )

    async def run(lifecycle: Lifecycle) -> None:
        await control(
            lifecycle,
            settings,
            runtime_settings=runtime_settings,
            maintainer_settings=maintainer_settings,
            stale_threshold_seconds=stale_threshold,
            artifact_give_up_seconds=artifact_give_up,
        )

    sys.exit(run_process(PROCESS, run, log_level=settings.log_level))


async def control(
    lifecycle: Lifecycle,
    settings: ManagerSettings,
    *,
    runtime_settings: RuntimeSettings,
    maintainer_settings: MaintainerSettings,
    stale_threshold_seconds: float,
    artifact_give_up_seconds: float,
) -> None:
    """The process, until it is asked to stop."""

    async def lead(client: ApiClient) -> None:
        instance = f"{socket.gethostname()}_{os.getpid()}"
        async with (
            EventRecorder(client, component=COMPONENT, instance=instance) as events,
            EventRecorder(client, component=artifact_cleanup.COMPONENT, instance=instance) as cleanup_events,
            Tasks() as tasks,
        ):
            pods = Informer(client, RUNTIME_PODS, label_selector=RUNTIME_LABEL)
            watches = RuntimeWatches(client, pods=pods)
            runtimes = RuntimeController(client, watches=watches, settings=runtime_settings)
            removal = AccessRemoval(client, watches=watches, settings=runtime_settings)
            # What a watch shows is paid at every write, by the API server and here: neither of these shows anything of a Run that ends well
            # on a Pod that is well and is to be kept.
            doubtful = DoubtfulRuns(client)
            expiring = ExpiringRuns(client)
            reaper = StaleRunReaper(client, runs=doubtful, pods=pods, threshold_seconds=stale_threshold_seconds, events=events)
            collector = FinishedRunCollector(client, runs=expiring)
            # STRICTLY AFTER all of them have said what they want to be told.
            tasks.start(pods.run(), name=pods.name)
            tasks.start(doubtful.run(), name="follow doubtful runs")
            tasks.start(expiring.run(), name="follow expiring runs")
            watches.start(tasks)
            tasks.start(runtimes.run(), name="runtime controller")
            tasks.start(removal.run(), name="access removal")
            tasks.start(reaper.run(), name="reaper")
            tasks.start(collector.run(), name="finished run collector")
            cleanup = artifact_cleanup.ArtifactCleanup(
                client, settings=maintainer_settings, events=cleanup_events, give_up_seconds=artifact_give_up_seconds
            )
            tasks.start(cleanup.run(), name="artifact cleanup")
            await lifecycle.stopping.wait()

    await serve(lifecycle, settings, name=PROCESS, lease_name=CONTROLLER_LEASE, probed=RUNTIMES, registry=make_registry(), work=lead)
