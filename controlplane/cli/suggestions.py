"""Names for shell completion, asked from the API server or read from the kubeconfig. Any failure means no suggestions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import click

from controlplane.cli.connection import ConnectionSettings, connect, run_async, settings_of
from controlplane.cli.targets import RUN, RUNTIME, Kind

COMPLETION_TIMEOUT = "1500ms"
"""A person is waiting at the prompt."""
MAX_NAMES = 500


def _names_of(kind: Kind, *, settings: ConnectionSettings, incomplete: str) -> list[str]:
    async def ask() -> list[str]:
        async with connect(replace(settings, request_timeout=COMPLETION_TIMEOUT), spans_namespaces=True) as session:
            listing = await session.client.list(kind.resource(), namespace=session.namespace)
            return [item["metadata"]["name"] for item in listing.items]

    names = _quietly(lambda: run_async(ask(), settings=settings, is_silent=True))
    return sorted(name for name in names if name.startswith(incomplete))[:MAX_NAMES]


def complete_run(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Run names, also behind `run/` and `rn/`."""
    type_name, slash, name = incomplete.rpartition("/")
    kind = next((kind for kind in (RUN, RUNTIME) if type_name in kind.aliases), None) if slash else RUN
    if kind is None:
        return []
    return [f"{type_name}{slash}{found}" for found in _names_of(kind, settings=settings_of(ctx), incomplete=name)]


def complete_runtime(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Runtime names."""
    return _names_of(RUNTIME, settings=settings_of(ctx), incomplete=incomplete)


def namespace_names(*, settings: ConnectionSettings, incomplete: str) -> list[str]:
    async def ask() -> list[str]:
        from k8s.client import NAMESPACES

        async with connect(replace(settings, request_timeout=COMPLETION_TIMEOUT), spans_namespaces=True) as session:
            return [item["metadata"]["name"] for item in (await session.client.list(NAMESPACES)).items]

    names = _quietly(lambda: run_async(ask(), settings=settings, is_silent=True))
    return sorted(name for name in names if name.startswith(incomplete))


def kubeconfig_names(section: str, *, settings: ConnectionSettings, incomplete: str) -> list[str]:
    """The names of contexts, clusters or users."""

    def read() -> list[str]:
        import os
        from pathlib import Path

        import yaml

        paths = settings.kubeconfig or os.environ.get("KUBECONFIG") or str(Path.home() / ".kube" / "config")
        names: list[str] = []
        for path in filter(None, paths.split(os.pathsep)):
            document: Any = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
            names += [str(entry["name"]) for entry in document.get(f"{section}s") or []]
        return names

    return sorted({name for name in _quietly(read) if name.startswith(incomplete)})


def _quietly(find: Callable[[], list[str]]) -> list[str]:
    """Completion runs at the prompt: a message there is worse than no suggestion."""
    try:
        return find()
    except Exception:
        return []
