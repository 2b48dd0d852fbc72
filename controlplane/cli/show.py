"""Getting, listing and watching objects of one kind, and printing them. What the nouns share."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

import click

from controlplane.cli import console
from controlplane.cli.answers import explain, explained
from controlplane.cli.connection import Session
from controlplane.cli.printers import Column, Json, Output, Table, encode, key_values
from controlplane.cli.targets import RUN, RUNTIME, Kind, Target
from controlplane.cli.views import RUN_COLUMNS, RUNTIME_COLUMNS, run_lines, runtime_lines

Found = tuple[Target, dict[str, Any]]
COLUMNS: Mapping[Kind, Sequence[Column]] = {RUN: RUN_COLUMNS, RUNTIME: RUNTIME_COLUMNS}


@dataclass(frozen=True, slots=True)
class Query:
    """Which objects of a kind. `namespace` None means all."""

    kind: Kind
    namespace: str | None
    label_selector: str = ""
    field_selector: str = ""

    def selectors(self) -> dict[str, Any]:
        return {"namespace": self.namespace, "label_selector": self.label_selector, "field_selector": self.field_selector}


async def fetch(session: Session, target: Target) -> dict[str, Any]:
    """One object as the server has it."""
    async with explained(target.kind, namespace=session.namespace, name=target.name, verb="get"):
        return _typed(await session.client.get(target.kind.resource(), target.name, namespace=session.namespace), kind=target.kind)


async def fetch_all(session: Session, targets: Sequence[Target], *, on_error: Callable[[Exception], None]) -> list[Found]:
    """All that can be had, in order; each failure is told, as kubectl does, and the rest is shown."""
    answers = await asyncio.gather(*(fetch(session, target) for target in targets), return_exceptions=True)
    found: list[Found] = []
    for target, answer in zip(targets, answers, strict=True):
        if isinstance(answer, dict):
            found.append((target, answer))
        elif isinstance(answer, Exception):
            on_error(answer)
        else:
            raise answer
    return found


def print_objects(found: Sequence[Found], *, output: Output, is_list: bool) -> None:
    """`krt get`: key/value lines for people, documents for machines."""
    if not output.is_table:
        click.echo(encode([item for _, item in found], output=output, is_list=is_list), nl=False)
        return
    blocks = [key_values(run_lines(item, is_wide=output.is_wide) if target.kind is RUN else runtime_lines(item)) for target, item in found]
    click.echo("\n\n".join("\n".join(lines) for lines in blocks))


async def list_once(session: Session, query: Query, *, output: Output) -> None:
    """A table, or one document."""
    async with explained(query.kind, namespace=query.namespace, verb="list"):
        listing = await session.client.list(query.kind.resource(), **query.selectors())
    items = sorted((_typed(item, kind=query.kind) for item in listing.items), key=_place)
    if not output.is_table:
        click.echo(encode(items, output=output, is_list=True), nl=False)
    elif items:
        click.echo("\n".join(Table(COLUMNS[query.kind], is_wide=output.is_wide).render(items)))
    else:
        console.note(f"No {query.kind.plural} found" + (f" in namespace {query.namespace}." if query.namespace else "."))


@dataclass(slots=True)
class WatchPrinter:
    """Prints what a watch brings: rows of one table, or one document for each change."""

    kind: Kind
    output: Output
    _table: Table = field(init=False)
    _has_header: bool = False
    _printed: dict[str, str] = field(default_factory=dict)
    """resourceVersion by UID: a list after a broken watch repeats what is on the screen."""

    def __post_init__(self) -> None:
        self._table = Table(COLUMNS[self.kind], is_wide=self.output.is_wide)

    def show(self, items: Sequence[Json]) -> None:
        new = [item for item in items if self._is_news(item)]
        if not new:
            return
        if not self.output.is_table:
            click.echo("".join(encode([item], output=self.output, is_list=False) for item in new), nl=False)
            return
        lines = self._table.rows(new) if self._has_header else self._table.render(new)
        self._has_header = True
        click.echo("\n".join(lines))

    def _is_news(self, item: Json) -> bool:
        uid, version = item["metadata"]["uid"], item["metadata"].get("resourceVersion", "")
        is_news = bool(self._printed.get(uid) != version)
        self._printed[uid] = version
        return is_news

    def forget(self, item: Json) -> None:
        self._printed.pop(item["metadata"]["uid"], None)


async def watch(session: Session, query: Query, *, output: Output) -> None:
    """For ever. What is wrong from the start (no permission, no such kind) is told by a first, small list."""
    from k8s.client import ApiError, Deleted, Listed, list_and_watch

    try:
        await session.client.request("GET", query.kind.resource().path(namespace=query.namespace), query=_first_of(query))
    except ApiError as error:
        raise explain(error, kind=query.kind, namespace=query.namespace, verb="watch") from error
    printer = WatchPrinter(query.kind, output)
    notices = list_and_watch(session.client, query.kind.resource(), **query.selectors())
    async with aclosing(notices):
        async for notice in notices:
            match notice:
                case Listed():
                    printer.show(sorted((_typed(item, kind=query.kind) for item in notice.items), key=_place))
                case Deleted():
                    printer.show([_typed(notice.object, kind=query.kind)])
                    printer.forget(notice.object)
                case _:
                    printer.show([_typed(notice.object, kind=query.kind)])


def _first_of(query: Query) -> dict[str, str]:
    selectors = {"labelSelector": query.label_selector, "fieldSelector": query.field_selector}
    return {"limit": "1", **{key: text for key, text in selectors.items() if text}}


def _typed(item: dict[str, Any], *, kind: Kind) -> dict[str, Any]:
    """With apiVersion and kind, which some servers leave out of the items of a list."""
    return {"apiVersion": kind.resource().api_version, "kind": kind.title, **item}


def _place(item: Json) -> tuple[str, str]:
    return item["metadata"].get("namespace", ""), item["metadata"]["name"]
