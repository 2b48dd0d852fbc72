"""The part of kubectl's JSONPath templates that people use: text, fields, indexes, wildcards, simple filters, range/end.

`{.status.phase}`, `{.items[*].metadata.name}`, `{.status.conditions[?(@.type=="Ready")].status}`, `{range .items[*]}…{"\\n"}{end}`,
`{.metadata.labels['a\\.b']}` and `{.metadata.labels.a\\.b}`. Anything else is refused by name, never half-understood.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from k8s.api.errors import UsageError

_STEP = re.compile(
    r"""\.(?P<field>(?:[^.\[\]\\\s]|\\.)+)"""
    r"""|\[(?P<index>-?\d+)\]|\[(?P<quoted>'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")\]|(?P<all>\[\*\])"""
    r"""|\[\?\(@(?P<path>[.\w\[\]'-]+)\s*(?P<operator>==|!=)\s*(?P<value>"[^"]*"|'[^']*'|-?\d+|true|false)\)\]"""
)
_ACTION = re.compile(r"""\{((?:[^{}"']|"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')*)\}""")

_Step = Callable[[Any], Iterable[Any]]


@dataclass(frozen=True, slots=True)
class _Range:
    """`{range PATH}` BODY `{end}`."""

    steps: tuple[_Step, ...]
    body: tuple[Any, ...]


def compile_jsonpath(expression: str) -> Callable[[Any], str]:
    """A function from a document to text. Raises UsageError that names what is not understood."""
    template = expression if "{" in expression else "{" + (expression if expression.startswith((".", "[", "$")) else f".{expression}") + "}"
    tokens = list(_tokens(template))
    nodes, rest = _parse(tokens)
    if rest:
        raise _refusal("{end} without {range}")
    return lambda document: _render(nodes, document)


def _tokens(template: str) -> Iterable[tuple[bool, str]]:
    """(is_action, text) in order."""
    position = 0
    for match in _ACTION.finditer(template):
        if match.start() > position:
            yield False, template[position : match.start()]
        yield True, match[1].strip()
        position = match.end()
    if position < len(template):
        yield False, template[position:]


def _parse(tokens: Sequence[tuple[bool, str]]) -> tuple[tuple[Any, ...], Sequence[tuple[bool, str]]]:
    """Nodes up to an `end` (which stays the first of the rest) or to the end."""
    nodes: list[Any] = []
    while tokens:
        (is_action, text), tokens = tokens[0], tokens[1:]
        if not is_action:
            if "{" in text or "}" in text:
                raise _refusal(text)
            nodes.append(text)
        elif text == "end":
            return tuple(nodes), [(True, text), *tokens]
        elif text.startswith("range "):
            body, tokens = _parse(tokens)
            if not tokens:
                raise _refusal("{range} without {end}")
            nodes.append(_Range(_compile_path(text.removeprefix("range ").strip()), body))
            tokens = tokens[1:]
        else:
            nodes.append(_unquote(text) if text[:1] in {'"', "'"} else _compile_path(text))
    return tuple(nodes), ()


def _compile_path(text: str) -> tuple[_Step, ...]:
    position = 1 if text[:1] in {"$", "@"} else 0
    steps: list[_Step] = []
    if text[position:] == ".":
        return ()
    while position < len(text):
        match = _STEP.match(text, position)
        if match is None:
            raise _refusal(text[position:])
        steps.append(_step(match))
        position = match.end()
    return tuple(steps)


def _step(match: re.Match[str]) -> _Step:
    if match["field"] == "*" or match["all"]:
        return _children
    if match["field"]:
        return _field(re.sub(r"\\(.)", r"\1", match["field"]))
    if match["quoted"]:
        return _field(re.sub(r"\\(.)", r"\1", match["quoted"][1:-1]))
    if match["index"]:
        return _index(int(match["index"]))
    path, wanted = _compile_path(match["path"]), _literal(match["value"])
    is_equal = match["operator"] == "=="
    return lambda value: [child for child in _children(value) if (wanted in list(_walk(path, child))) is is_equal]


def _children(value: Any) -> Iterable[Any]:
    return value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()


def _field(name: str) -> _Step:
    return lambda value: (value[name],) if isinstance(value, dict) and name in value else ()


def _index(index: int) -> _Step:
    return lambda value: (value[index],) if isinstance(value, list) and -len(value) <= index < len(value) else ()


def _literal(text: str) -> Any:
    return text[1:-1] if text[0] in "\"'" else json.loads(text)


def _unquote(text: str) -> str:
    if len(text) < 2 or text[-1] != text[0]:
        raise _refusal(text)
    return text[1:-1].replace("\\n", "\n").replace("\\t", "\t").replace('\\"', '"').replace("\\\\", "\\")


def _walk(steps: Sequence[_Step], value: Any) -> Iterable[Any]:
    values: Iterable[Any] = (value,)
    for step in steps:
        values = [found for current in values for found in step(current)]
    return values


def _render(nodes: Sequence[Any], document: Any) -> str:
    parts: list[str] = []
    for node in nodes:
        if isinstance(node, str):
            parts.append(node)
        elif isinstance(node, _Range):
            parts += [_render(node.body, item) for item in _walk(node.steps, document)]
        else:
            parts.append(" ".join(_show(value) for value in _walk(node, document)))
    return "".join(parts)


def _show(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _refusal(text: str) -> UsageError:
    return UsageError(f"-o jsonpath: cannot read {text[:64]!r}; write it as in {{.status.phase}} or {{.items[*].metadata.name}}")
