"""The part of kubectl's JSONPath that printer columns use: .a.b, ['a'], [0], [*], [?(@.type=='Ready')]."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

Step = Callable[[Any], Iterator[Any]]

_STEP = re.compile(
    r"""\.(?P<name>(?:[A-Za-z0-9_/-]|\\\.)+)          # .name, with \. for a dot inside
      | \[\s*'(?P<quoted>[^']*)'\s*\]                 # ['name']
      | \[(?P<index>-?\d+)\]
      | (?P<all>\[\*\]|\.\*)
      | \[\?\(\s*@(?P<path>[^=!]*?)\s*(?P<operator>==|!=)\s*(?P<value>"[^"]*"|'[^']*'|[^)]*?)\s*\)\]
    """,
    re.VERBOSE,
)


def first_match(path: str, *, document: Any) -> Any:
    """What a column shows: the first value at the path, or None."""
    return next(iter(find(path, document=document)), None)


def find(path: str, *, document: Any) -> list[Any]:
    found = [document]
    for step in _compile(path):
        found = [below for value in found for below in step(value)]
    return found


@lru_cache(maxsize=512)
def _compile(path: str) -> tuple[Step, ...]:
    text, position, steps = path.strip().strip("{}"), 0, []
    while position < len(text):
        match = _STEP.match(text, position)
        if match is None:
            raise ValueError(f"JSONPath {path!r} cannot be read from {text[position:]!r}")
        steps.append(_step(match))
        position = match.end()
    return tuple(steps)


def _step(match: re.Match[str]) -> Step:
    if match["index"] is not None:
        return _at(int(match["index"]))
    if match["all"] is not None:
        return _each
    if match["operator"] is not None:
        return _filter(match["path"], value=match["value"].strip("\"'"), wanted=match["operator"] == "==")
    return _member(match["quoted"] if match["quoted"] is not None else match["name"].replace("\\.", "."))


def _member(name: str) -> Step:
    def step(value: Any) -> Iterator[Any]:
        if isinstance(value, dict) and name in value:
            yield value[name]

    return step


def _at(index: int) -> Step:
    def step(value: Any) -> Iterator[Any]:
        if isinstance(value, list) and -len(value) <= index < len(value):
            yield value[index]

    return step


def _each(value: Any) -> Iterator[Any]:
    yield from value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()


def _filter(path: str, *, value: str, wanted: bool) -> Step:
    def step(items: Any) -> Iterator[Any]:
        for item in items if isinstance(items, list) else ():
            if (str(first_match(path, document=item)) == value) == wanted:
                yield item

    return step
