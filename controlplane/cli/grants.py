"""`krt runtime grant`: the manifest by which a namespace's admin lets a Runtime's Pods read what the Runtime offers to its Runs.

It only prints. Whoever applies it must be allowed to: that is the consent.
"""

from __future__ import annotations

from typing import Any

import click
import yaml

from controlplane.cli.connection import Session, connect, connection_options, run_async, settings_of
from controlplane.cli.failures import CommandFailed
from controlplane.cli.show import fetch
from controlplane.cli.suggestions import complete_runtime
from controlplane.cli.targets import RUNTIME, Target, parse_target
from k8s.api.grants import Grants, read_grants
from k8s.api.names import ENV_CONFIG_MAPS_ANNOTATION, ENV_SECRETS_ANNOTATION, GIT_CREDENTIALS_ANNOTATION
from k8s.api.runtime import Runtime

Json = dict[str, Any]
DEFAULT_ACCOUNT = "kruntimes-runtimed"
_RBAC = "rbac.authorization.k8s.io"


@click.command()
@click.argument("word", metavar="NAME", shell_complete=complete_runtime)
@click.option("--service-account", metavar="NAME", help="Of the Runtime's Pods; by default the one that they have.")
@connection_options(hidden=True)
@click.pass_context
def grant(ctx: click.Context, *, word: str, service_account: str | None) -> None:
    """Print the Role with which Runs may use the Secrets and ConfigMaps that a Runtime offers."""
    settings = settings_of(ctx)
    target = Target(RUNTIME, parse_target(word, kind=RUNTIME))

    async def show() -> None:
        import msgspec

        async with connect(settings) as session:
            runtime = msgspec.convert(await fetch(session, target), Runtime)
            account = service_account or await _account(session, runtime)
        click.echo(yaml.safe_dump_all(grant_objects(runtime, account=account), sort_keys=False), nl=False)

    run_async(show(), settings=settings)


async def _account(session: Session, runtime: Runtime) -> str:
    """The operator may have chosen another default than ours; the Deployment knows, if we may look at it."""
    from k8s.client import DEPLOYMENTS, Forbidden, NotFound

    written = runtime.spec.template.get("spec", {}).get("serviceAccountName")
    if written:
        return str(written)
    try:
        deployment = await session.client.get(DEPLOYMENTS, f"runtime-{runtime.metadata.name}", namespace=runtime.metadata.namespace)
    except (Forbidden, NotFound):
        return DEFAULT_ACCOUNT
    return str(deployment["spec"]["template"]["spec"].get("serviceAccountName") or DEFAULT_ACCOUNT)


def grant_objects(runtime: Runtime, *, account: str) -> list[Json]:
    """Raises CommandFailed: what is wrong with the annotations, or that there are none."""
    try:
        grants = read_grants(runtime)
    except ValueError as error:
        raise CommandFailed(f"Runtime {runtime.metadata.name}: {error}") from error
    if grants == Grants():
        annotations = ", ".join((ENV_SECRETS_ANNOTATION, ENV_CONFIG_MAPS_ANNOTATION, GIT_CREDENTIALS_ANNOTATION))
        raise CommandFailed(f"Runtime {runtime.metadata.name} offers nothing to its Runs; it does with the annotations {annotations}")
    name, namespace = f"kruntimes-grant-{runtime.metadata.name}", runtime.metadata.namespace
    rules = [_rule("secrets", grants.secrets), _rule("configmaps", grants.env_config_maps)]
    return [
        {**_object("Role", name=name, namespace=namespace), "rules": [rule for rule in rules if rule["resourceNames"]]},
        {
            **_object("RoleBinding", name=name, namespace=namespace),
            "roleRef": {"apiGroup": _RBAC, "kind": "Role", "name": name},
            "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": namespace}],
        },
    ]


def _rule(resource: str, names: tuple[str, ...]) -> Json:
    """By name, and to read only: nobody can list what else there is."""
    return {"apiGroups": [""], "resources": [resource], "resourceNames": list(names), "verbs": ["get"]}


def _object(kind: str, *, name: str, namespace: str) -> Json:
    return {"apiVersion": f"{_RBAC}/v1", "kind": kind, "metadata": {"name": name, "namespace": namespace}}
