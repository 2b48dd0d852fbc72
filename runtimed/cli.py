"""The command line of runtimed: flags of interface.md 6.1 and ours. Decides nothing."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from k8s.api.errors import UsageError
from k8s.manager import BindAddressType, Lifecycle, manager_options, run_process, take_settings
from runtimed.artifacts.flags import artifact_options, take_limits, take_store
from runtimed.settings import Offers, RuntimedSettings


def _names(text: str) -> frozenset[str]:
    return frozenset(filter(None, text.split(",")))


@click.command(name="runtimed", context_settings={"show_default": True, "auto_envvar_prefix": None})
@click.option("--runtime-endpoint", default="localhost:9091", help="The Runtime Server of this Pod.")
@click.option("--runtime-name", default="", help="The Runtime that this Pod serves; a label of metrics.")
@click.option("--workers", type=int, default=2, help="How many Runs may be at it at a time; 0 and less mean 1.")
@click.option(
    "--status-addr", type=BindAddressType(), default=":9093", help="gRPC status for old clients, on 127.0.0.1 unless a host is given."
)
@click.option("--workspace", type=click.Path(path_type=Path), default=Path("/workspace"), help="Shared with the Runtime Server.")
@click.option("--state-dir", type=click.Path(path_type=Path), default=Path("/var/run/kruntimes/state"), help="Of this container alone.")
@click.option("--memory-dir", type=click.Path(path_type=Path), help="A tmpfs of this container alone for the files of --state-dir.")
@click.option(
    "--max-log-bytes",
    type=click.IntRange(min=64 << 10),
    default=64 << 20,
    help="Of the log, for the output of one attempt; the rest is counted.",
)
@click.option("--env-secrets", metavar="NAME,…", default="", help="Secrets that the env of Runs may refer to.")
@click.option("--env-config-maps", metavar="NAME,…", default="", help="ConfigMaps that the env of Runs may refer to.")
@click.option("--git-credentials-secret", metavar="NAME", default="", help="The Secret with which repositories are fetched.")
@manager_options(metrics=":9090", health=":9094", has_leader_election=False)
@artifact_options
def main(**parameters: Any) -> None:
    """Owns the Runs of one Runtime Pod: takes what is bound to it, has it executed, and reports."""
    manager = take_settings(parameters)
    try:
        store = take_store(parameters)
    except UsageError as error:
        raise click.UsageError(str(error)) from error
    if store is not None and not parameters["runtime_name"]:
        raise click.UsageError("--runtime-name: an artifact store needs the name of the Runtime, for it serves no other's artifacts")
    settings = RuntimedSettings(
        runtime_endpoint=parameters["runtime_endpoint"],
        runtime_name=parameters["runtime_name"],
        workers=max(1, parameters["workers"]),
        status_addr=parameters["status_addr"],
        workspace=parameters["workspace"].absolute(),
        artifact_store=store,
        artifact_limits=take_limits(parameters),
        artifact_patience_seconds=parameters["artifact_store_patience"],
        state_dir=parameters["state_dir"].absolute(),
        memory_dir=parameters["memory_dir"].absolute() if parameters["memory_dir"] else None,
        max_log_bytes=parameters["max_log_bytes"],
        offers=Offers(
            env_secrets=_names(parameters["env_secrets"]),
            env_config_maps=_names(parameters["env_config_maps"]),
            git_credentials_secret=parameters["git_credentials_secret"],
        ),
    )

    async def live(lifecycle: Lifecycle) -> None:
        from runtimed.shell.daemon import Daemon  # grpc costs 27 MiB and a quarter of a second: not for --help

        await Daemon(settings, manager=manager, lifecycle=lifecycle).run()

    sys.exit(run_process("runtimed", live, log_level=manager.log_level))
