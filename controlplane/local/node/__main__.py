"""`python -m controlplane.local.node`: the local node as a process. Prints one JSON line on stdout when it is ready."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import click

from controlplane.local.node.host import Host
from controlplane.local.node.node import LocalNode
from controlplane.local.records import Records
from k8s.client import ApiClient, EventRecorder, load_credentials
from k8s.manager import Lifecycle, configure_logging, run_process


@click.command()
@click.option("--kubeconfig", required=True, type=click.Path(path_type=Path), help="How to reach the API server.")
@click.option("--runtimed-kubeconfig", type=click.Path(path_type=Path), help="What runtimed containers are given; default: --kubeconfig.")
@click.option("--socket", "socket_path", required=True, type=click.Path(path_type=Path), help="Unix socket on which logs are served.")
@click.option("--root", required=True, type=click.Path(path_type=Path), help="Folder for Pods and for records of their processes.")
@click.option("--node-name", default="local", show_default=True)
@click.option("-v", "verbosity", default="info", show_default=True, help="Log level.")
def main(kubeconfig: Path, runtimed_kubeconfig: Path | None, socket_path: Path, root: Path, node_name: str, verbosity: str) -> None:
    """Run the Pods of a local control plane as process groups of this machine."""
    configure_logging(verbosity)

    given = (runtimed_kubeconfig or kubeconfig).resolve()  # containers have another working directory
    root = root.resolve()
    root.mkdir(parents=True, exist_ok=True, mode=0o700)

    async def run(lifecycle: Lifecycle) -> None:
        async with _connected(str(kubeconfig), given=str(given), root=root, node_name=node_name) as host:
            ready = asyncio.Event()
            lifecycle.tasks.start(_announce(ready), name="announce")
            await LocalNode(host, tasks=lifecycle.tasks, socket_path=socket_path).run(lifecycle.stopping, on_ready=ready)

    sys.exit(run_process("krt-node", run))


@asynccontextmanager
async def _connected(kubeconfig: str, *, given: str, root: Path, node_name: str) -> AsyncIterator[Host]:
    credentials = await load_credentials(kubeconfig=kubeconfig)
    connector = aiohttp.TCPConnector(force_close=True, limit=0)  # a probe that reuses a connection asks an old process
    async with (
        await ApiClient.connect(credentials, user_agent="kruntimes-node") as client,
        aiohttp.ClientSession(connector=connector, trust_env=False) as probes,
        EventRecorder(client, component="kruntimes-node", instance=node_name) as events,
    ):
        records = Records(root / "processes")
        yield Host(client, probes=probes, root=root, kubeconfig=given, node_name=node_name, records=records, events=events)


async def _announce(ready: asyncio.Event) -> None:
    await ready.wait()
    print(json.dumps({"ready": True}), flush=True)


if __name__ == "__main__":
    main()
