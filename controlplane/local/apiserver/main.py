"""The process: flags, start, the line that says where it listens, and an end within a second."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
import sys
from collections.abc import AsyncIterator, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import uvloop
from aiohttp import web

import k8s
from controlplane.local.apiserver import private
from controlplane.local.apiserver.assembly import create_initial_objects, load_crds, new_registry, open_store
from controlplane.local.apiserver.audit import Audit
from controlplane.local.apiserver.collector import Collector
from controlplane.local.apiserver.database import Database, DiskFull
from controlplane.local.apiserver.failpoints import Failpoints
from controlplane.local.apiserver.logs import LogProxy
from controlplane.local.apiserver.server import Parts, Server, request_factory
from controlplane.local.apiserver.store import Store
from controlplane.local.apiserver.verbs import Verbs
from controlplane.local.apiserver.watching import Hub
from k8s.api.errors import KrtError

_CHECKPOINT_WRITES = 2000
"""About 10 MB of log: the file is brought up to date in a thread, since an fsync in the loop would stop everybody."""

_CHECKPOINT_SECONDS = 5.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Settings:
    """What the process is told."""

    data_dir: Path
    listen: str = "127.0.0.1:0"
    crds: Path | None = None
    """None: those that the package ships."""
    node_socket: Path | None = None
    token_file: Path | None = None
    """None: `token` in the data folder."""
    history: int = 10_000
    """Writes that watches can resume from and lists can look back to."""
    audit: bool = False
    bookmark_seconds: float = 30.0


@contextlib.asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[str]:
    """Serves while the context is open; gives the URL."""
    private.require_linux()
    host, port = private.parse_listen(settings.listen)
    private.make_private_folder(settings.data_dir)
    lock = private.lock_folder(settings.data_dir)
    token = private.load_or_make_token(settings.token_file or settings.data_dir / "token")
    async with contextlib.AsyncExitStack() as stack:
        stack.callback(os.close, lock)
        store = _open(settings, stack=stack)
        server, hub = _assemble(settings, store=store, token=token, stack=stack)
        bound = await _listen(server, host=host, port=port, stack=stack)
        stack.callback(hub.close_all)
        url = f"http://{f'[{host}]' if ':' in host else host}:{bound}"
        private.write_private_file(settings.data_dir / "kubeconfig", text=private.kubeconfig(url=url, token=token))
        yield url


def _open(settings: Settings, *, stack: contextlib.AsyncExitStack) -> tuple[Verbs, Database]:
    path = settings.data_dir / "store.db"
    path.touch(mode=0o600)
    path.chmod(0o600)
    database = Database(path)
    stack.callback(database.close)
    registry = new_registry()
    store = open_store(database, registry=registry, history_limit=settings.history)
    verbs = Verbs(store, registry)
    create_initial_objects(verbs)
    load_crds(settings.crds or Path(k8s.__file__).parent / "crds", verbs=verbs)
    return verbs, database


def _assemble(settings: Settings, *, store: tuple[Verbs, Database], token: str, stack: contextlib.AsyncExitStack) -> tuple[Server, Hub]:
    verbs, database = store
    audit = Audit(settings.data_dir / "audit.jsonl") if settings.audit else None
    if audit is not None:
        stack.callback(audit.close)
    hub = Hub(verbs.store)
    logs = LogProxy(settings.node_socket)
    stack.push_async_callback(logs.close)
    collector = Collector(verbs.store, registry=verbs.registry, audit=audit)
    collector.scan()
    _start(collector.run(), name="collector", stack=stack)
    _start(_checkpoint(verbs.store, database=database), name="checkpoint", stack=stack)
    parts = Parts(verbs.store, verbs.registry, hub, token, Failpoints(), logs, audit, settings.bookmark_seconds)
    return Server(parts), hub


def _start(coroutine: Coroutine[Any, Any, None], *, name: str, stack: contextlib.AsyncExitStack) -> None:
    """A task that lives as long as the server; its death by an error is the server's."""
    task = asyncio.create_task(coroutine, name=name)
    task.add_done_callback(_report_death)

    async def stop() -> None:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    stack.push_async_callback(stop)


def _report_death(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and task.exception() is not None:
        _log.critical("a background task died; the server stops", extra={"task": task.get_name()}, exc_info=task.exception())
        signal.raise_signal(signal.SIGTERM)


async def _checkpoint(store: Store, *, database: Database) -> None:
    done = 0
    while True:
        await asyncio.sleep(_CHECKPOINT_SECONDS)
        if store.writes_total - done >= _CHECKPOINT_WRITES:
            with contextlib.suppress(DiskFull):  # the log has it all; tried again
                await asyncio.to_thread(database.checkpoint)
                done = store.writes_total


async def _listen(server: Server, *, host: str, port: int, stack: contextlib.AsyncExitStack) -> int:
    """Starts to accept; returns the port."""
    http = web.Server(server.handle, request_factory=request_factory, access_log=None, keepalive_timeout=3600)
    runner = web.ServerRunner(http, shutdown_timeout=0.3)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    site = web.TCPSite(runner, host, port)
    await site.start()
    bound: int = runner.addresses[0][1]
    return bound


async def _serve(settings: Settings) -> None:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    async with running(settings) as url:
        print(json.dumps({"url": url}), flush=True)
        await stopping.wait()


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--data-dir", required=True, type=click.Path(path_type=Path, file_okay=False), help="Folder of the store, made private (0700)."
)
@click.option("--listen", default="127.0.0.1:0", show_default=True, help="Loopback address and port; 0 takes a free one.")
@click.option(
    "--crds", type=click.Path(path_type=Path, exists=True, file_okay=False), help="Folder of CRDs in YAML [default: the packaged ones]."
)
@click.option("--node-socket", type=click.Path(path_type=Path), help="Unix socket of the node, for logs.")
@click.option(
    "--token-file", type=click.Path(path_type=Path, dir_okay=False), help="Bearer token; made if absent [default: DATA_DIR/token]."
)
@click.option("--history", default=10_000, show_default=True, type=click.IntRange(min=1), help="Writes kept for watches to resume from.")
@click.option("--audit", is_flag=True, help="Record every write in DATA_DIR/audit.jsonl.")
@click.option("--bookmark-seconds", default=30.0, show_default=True, type=click.FloatRange(min=0.05), help="Pause between watch bookmarks.")
def main(**flags: object) -> None:
    """The embedded Kubernetes API server of local mode. Prints {"url": ...} when it is ready."""
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    settings = Settings(**flags)  # type: ignore[arg-type]
    try:
        uvloop.run(_serve(settings))
    except KrtError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(error.exit_code)
    except OSError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(125)
