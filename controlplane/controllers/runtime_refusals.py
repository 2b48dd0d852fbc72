"""What an API server's refusal of one of a Runtime's objects means to whoever wrote the Runtime: which field, and what to do. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from controlplane.controllers.runtime_status import Stall
from k8s.client import ApiError, BadRequest, Forbidden, Invalid, ServerError

_TEMPLATE = "spec.template"
_UNTYPED = ("failed to create typed patch object", "failed to convert new object")
"""How an apply of something that fits no schema is refused: with status 500 and no reason (kubernetes/kubernetes#139253)."""
_OBJECT = re.compile(r"Kind=\w+\)?: ")
_END = re.compile(r" \(HTTP \d+\)$")
_FIELD = re.compile(r"^\s*\.(?P<field>\S+): (?P<what>.+)$", re.MULTILINE)
_VALUE = re.compile(r", got &\{.*")
"""The value that was found instead: it may be anybody's secret."""


def stall_of(error: ApiError, *, desired: Mapping[str, Any]) -> Stall | None:
    """Why nothing more will happen by itself; None for what passes, so is to be tried again."""
    if isinstance(error, (Invalid, BadRequest)):
        return _stall(desired, complaints=_causes(error) or [str(error)])
    if isinstance(error, ServerError) and any(text in str(error) for text in _UNTYPED):
        return _stall(desired, complaints=_untyped(str(error)))
    if isinstance(error, Forbidden):
        return Stall("Forbidden", f"{_name(desired)} may not be written: {error}; ask whoever administers the cluster")
    return None


def _causes(error: ApiError) -> list[str]:
    return [f"{cause.field}: {cause.message}" if cause.field else cause.message for cause in error.causes]


def _untyped(text: str) -> list[str]:
    """After the object come `.field: what`, or one such line a field below `errors:`, or words about no field."""
    complaint = _END.sub("", _OBJECT.split(text)[-1])
    found = [f"{match['field']}: {_VALUE.sub(', got something else', match['what'])}" for match in _FIELD.finditer(complaint)]
    return found or [f"{_TEMPLATE}: {_VALUE.sub('', complaint)}"]


def _stall(desired: Mapping[str, Any], *, complaints: list[str]) -> Stall:
    message = "; ".join(complaints)
    if any(complaint.startswith(_TEMPLATE) for complaint in complaints):
        # The Deployment's template is the Runtime's, path by path.
        return Stall("InvalidTemplate", f"{message}; change it in this Runtime")
    return Stall("Refused", f"{_name(desired)}: {message}; if it is not of kruntimes, rename this Runtime or delete the object")


def _name(desired: Mapping[str, Any]) -> str:
    return f"{desired['kind']} {desired['metadata']['name']}"
