"""Field paths as Kubernetes writes them: spec.terms[0].key, and the values at them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

MISSING: Any = object()


def field_path(steps: Iterable[str | int]) -> str:
    """`<nil>` for the object itself, as the real API server says it."""
    path = ""
    for step in steps:
        if isinstance(step, int):
            path += f"[{step}]"
        else:
            path += f".{step}" if path else step
    return path or "<nil>"


def value_at(document: Any, *, steps: Iterable[str | int]) -> Any:
    """The value at the path, or MISSING."""
    for step in steps:
        if isinstance(step, int):
            if not isinstance(document, list) or step >= len(document):
                return MISSING
            document = document[step]
        elif isinstance(document, dict) and step in document:
            document = document[step]
        else:
            return MISSING
    return document


def scalar_text(document: Mapping[str, Any], *, keys: Iterable[str]) -> str:
    """A selectable field as text: "" when absent, true and false in lower case."""
    value: Any = document
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    if value is None or isinstance(value, (dict, list)):
        return ""
    return value if isinstance(value, str) else json.dumps(value)


def quoted(value: Any) -> str:
    """A value in a message: texts in double quotes, numbers plain."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
