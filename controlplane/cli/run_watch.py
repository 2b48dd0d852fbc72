"""The states of one Run, by watch on its name: the first as it is now, then every change, until it is terminal."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import TYPE_CHECKING

from controlplane.cli.failures import CommandFailed
from k8s.api.run import Run

if TYPE_CHECKING:
    from controlplane.cli.connection import Session


async def watch_run(session: Session, name: str, *, uid: str | None = None) -> AsyncGenerator[Run, None]:
    """Ends after the terminal state. Raises CommandFailed when the Run is deleted, or replaced by another of its name."""
    from k8s.client import RUNS, Deleted, Listed, list_and_watch

    resource_version = ""
    notices = list_and_watch(session.client, RUNS, namespace=session.namespace, field_selector=f"metadata.name={name}")
    async with aclosing(notices):
        async for notice in notices:
            match notice:
                case Listed(items=[run, *_]):
                    pass
                case Deleted(object=run) if run.is_terminal and run.uid == uid:
                    pass  # Ended and collected before the watch could tell: its last state is what counts.
                case Listed() | Deleted():
                    raise CommandFailed(f"Run {name} in namespace {session.namespace} was deleted")
                case _:
                    run = notice.object
            if uid is not None and run.uid != uid:
                raise CommandFailed(f"Run {name} in namespace {session.namespace} was deleted, and another one has its name now")
            uid = run.uid
            if run.metadata.resource_version == resource_version:
                continue  # A list after a broken watch repeats what is known.
            resource_version = run.metadata.resource_version
            yield run
            if run.is_terminal:
                return
