"""How objects are shown: tables, key/value lines, JSON, YAML, names, JSONPath. Pure text; who prints decides where to."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import click

from controlplane.cli.ages import NONE
from k8s.api.errors import UsageError

Json = Mapping[str, Any]
GAP = "   "
OUTPUT_FORMATS = ("table", "wide", "json", "yaml", "name", "jsonpath=")


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table; wide ones appear with `-o wide` only."""

    title: str
    cell: Callable[[Json], object]
    is_wide: bool = False


class Table:
    """Left-aligned columns. Widths only grow, so that rows added by a watch stay aligned with what is on the screen."""

    def __init__(self, columns: Sequence[Column], *, is_wide: bool = False) -> None:
        self._columns = [column for column in columns if is_wide or not column.is_wide]
        self._widths = [len(column.title) for column in self._columns]

    def header(self) -> str:
        return self._line([column.title for column in self._columns])

    def rows(self, objects: Iterable[Json]) -> list[str]:
        cells = [[_one_line(column.cell(item)) for column in self._columns] for item in objects]
        for row in cells:
            self._widths = [max(width, len(cell)) for width, cell in zip(self._widths, row, strict=True)]
        return [self._line(row) for row in cells]

    def render(self, objects: Iterable[Json]) -> list[str]:
        """Header and rows; the rows first, as they decide the widths."""
        rows = self.rows(objects)
        return [self.header(), *rows]

    def _line(self, cells: Sequence[str]) -> str:
        return GAP.join(cell.ljust(width) for cell, width in zip(cells, self._widths, strict=True)).rstrip()


def key_values(pairs: Iterable[tuple[str, object]]) -> list[str]:
    """`Name:   value` lines, values aligned; further lines of a value are indented under its first."""
    rows = [(f"{key}:", _text(value).split("\n")) for key, value in pairs]
    width = max((len(key) for key, _ in rows), default=0)
    return [
        f"{(key if number == 0 else '').ljust(width)}{GAP}{_visible(line)}".rstrip()
        for key, lines in rows
        for number, line in enumerate(lines)
    ]


@dataclass(frozen=True, slots=True)
class Output:
    """What `-o` asked for."""

    format: str = "table"
    expression: str = field(default="")
    """Of jsonpath."""

    @property
    def is_table(self) -> bool:
        return self.format in {"table", "wide"}

    @property
    def is_wide(self) -> bool:
        return self.format == "wide"


def parse_output(text: str) -> Output:
    """Raises UsageError naming the formats."""
    name, _, expression = text.partition("=")
    if text in {"table", "wide", "json", "yaml", "name"}:
        return Output(text)
    if name == "jsonpath" and expression:
        from controlplane.cli.jsonpath import compile_jsonpath

        compile_jsonpath(expression)
        return Output(name, expression)
    raise UsageError(f"-o {text}: unknown format; use one of table, wide, json, yaml, name, jsonpath=EXPRESSION")


def encode(objects: Sequence[Json], *, output: Output, is_list: bool) -> str:
    """The text of `objects` in a machine's format. Several objects, or the answer to a list, are one `List` with `items`."""
    if output.format == "name":
        return "".join(f"{qualified_name(item)}\n" for item in objects)
    document: Json = {"apiVersion": "v1", "kind": "List", "metadata": {"resourceVersion": ""}, "items": list(objects)}
    if not is_list and len(objects) == 1:
        document = objects[0]
    if output.format == "jsonpath":
        from controlplane.cli.jsonpath import compile_jsonpath

        return compile_jsonpath(output.expression)(document) + "\n"
    return _as_yaml(document) if output.format == "yaml" else json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def qualified_name(item: Json) -> str:
    """`run.kruntimes.io/NAME`, as kubectl's `-o name`."""
    group, slash, _ = str(item.get("apiVersion", "")).partition("/")
    kind = str(item.get("kind", "")).lower()
    return f"{kind}.{group}/{item['metadata']['name']}" if slash else f"{kind}/{item['metadata']['name']}"


def output_option(*, default: str = "table") -> Callable[[Any], Any]:
    """`-o`, passed on as an `Output`."""

    def parse(ctx: click.Context, param: click.Parameter, value: str) -> Output:
        return parse_output(value)

    def complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
        return [name for name in OUTPUT_FORMATS if name.startswith(incomplete)]

    return click.option(
        "-o", "--output", metavar="FORMAT", default=default, callback=parse, shell_complete=complete,
        help="table, wide, json, yaml, name or jsonpath=EXPRESSION.",
    )  # fmt: skip


def _as_yaml(document: Json) -> str:
    import yaml

    text: str = yaml.dump(document, Dumper=_block_text_dumper(), sort_keys=False, allow_unicode=True, default_flow_style=False, width=10**6)
    return text


def _block_text_dumper() -> Any:
    """Scripts of several lines as `|` blocks: that is what people open a Run's YAML for."""
    import yaml

    class Dumper(yaml.SafeDumper):
        pass

    def represent_text(dumper: Any, text: str) -> Any:
        return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)

    Dumper.add_representer(str, represent_text)
    return Dumper


def _text(value: object) -> str:
    return NONE if value is None or value == "" else str(value)


def _one_line(value: object) -> str:
    """A cell never breaks the table."""
    return _visible(_text(value))


def _visible(text: str) -> str:
    """Messages and sources come from workloads: their control characters are shown, never sent to the terminal."""
    return text if text.isprintable() else "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)
