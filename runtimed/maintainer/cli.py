"""The command line of krt-maintainer: flags of interface.md 8.3. Decides nothing."""

from __future__ import annotations

import asyncio
import os
import sys
from typing import Any, Final

import click

from k8s.api.artifact_store import FILESYSTEM, S3
from k8s.api.errors import UsageError
from k8s.api.runtime import S3Store
from k8s.client import ApiClient, load_credentials
from k8s.client.metrics import RequestMetrics
from k8s.manager import Lifecycle, ManagerSettings, StatusServer, make_registry, manager_options, run_process, take_settings
from runtimed.artifacts.settings import StoreSettings, filesystem_store, open_store, s3_store
from runtimed.maintainer.maintaining import Maintainer

PROCESS: Final = "krt-maintainer"
DEFAULT_ROOT: Final = "/var/lib/kruntimes/artifacts"


@click.command(name=PROCESS, context_settings={"show_default": True})
@click.option("--run-namespace", default="", help="Whose Runs; else POD_NAMESPACE.")
@click.option("--run-uid", default="", help="Remove the artifacts of this Run and exit.")
@click.option("--store-hash", default="", help="Of the store in the status of the Runs to look after.")
@click.option("--driver", type=click.Choice([FILESYSTEM, S3]), required=True)
@click.option("--filesystem-root", default=DEFAULT_ROOT)
@click.option("--filesystem-volume-claim", default="")
@click.option("--s3-bucket", default="")
@click.option("--s3-prefix", default="")
@click.option("--s3-region", default="")
@click.option("--s3-endpoint", default="")
@click.option("--s3-force-path-style", type=bool, default=False)
@click.option("--interval", default="10s", hidden=True, help="Taken for older manifests; nothing here waits for an interval.")
@manager_options(metrics=":9090", health=":9094", has_leader_election=False)
def main(**parameters: Any) -> None:
    """Removes the artifacts of Runs that are being deleted."""
    manager = take_settings(parameters)
    namespace = parameters["run_namespace"] or os.environ.get("POD_NAMESPACE") or "default"
    try:
        store = _take_store(parameters)
        if not parameters["run_uid"] and not parameters["store_hash"]:
            raise UsageError("--store-hash: it says which Runs to look after; or name one by --run-uid")
    except UsageError as error:
        raise click.UsageError(str(error)) from error

    async def live(lifecycle: Lifecycle) -> None:
        if parameters["run_uid"]:
            await asyncio.to_thread(open_store(store).delete_run, namespace=namespace, run_uid=parameters["run_uid"])
            return
        await _maintain(lifecycle, manager, store=store, namespace=namespace, store_hash=parameters["store_hash"])

    sys.exit(run_process(PROCESS, live, log_level=manager.log_level))


async def _maintain(lifecycle: Lifecycle, manager: ManagerSettings, *, store: StoreSettings, namespace: str, store_hash: str) -> None:
    credentials = await load_credentials(kubeconfig=manager.kubeconfig)
    registry = make_registry()
    async with await ApiClient.connect(credentials, user_agent=PROCESS) as client:
        client.on_request = RequestMetrics(registry).note
        maintainer = Maintainer(client, namespace=namespace, store_hash=store_hash, store=open_store(store), tasks=lifecycle.tasks)
        async with StatusServer(
            health_bind=manager.health_probe_bind_address, metrics_bind=manager.metrics_bind_address, checks={}, registry=registry
        ):
            lifecycle.tasks.start(maintainer.run(), name="watch Runs")
            await lifecycle.stopping.wait()


def _take_store(parameters: dict[str, Any]) -> StoreSettings:
    if parameters["driver"] == FILESYSTEM:
        flags = ("--filesystem-root", "--filesystem-volume-claim")
        claim = parameters["filesystem_volume_claim"]
        return filesystem_store(root=parameters["filesystem_root"], volume_claim=claim, flags=flags)
    spec = S3Store(
        bucket=parameters["s3_bucket"],
        prefix=parameters["s3_prefix"] or None,
        region=parameters["s3_region"] or None,
        endpoint=parameters["s3_endpoint"] or None,
        force_path_style=parameters["s3_force_path_style"],
    )
    return s3_store(spec, bucket_flag="--s3-bucket")
