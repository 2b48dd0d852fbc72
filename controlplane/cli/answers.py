"""What the API server's refusals mean to the person at the keyboard: which object, why, and what to do."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from controlplane.cli.failures import CommandFailed
from k8s.api.errors import InvalidRun

if TYPE_CHECKING:
    from controlplane.cli.targets import Kind
    from k8s.client import ApiError


@asynccontextmanager
async def explained(kind: Kind, *, namespace: str | None, verb: str, name: str | None = None) -> AsyncIterator[None]:
    """Turns the ApiErrors of one request into errors that name the object and the remedy."""
    from k8s.client import ApiError

    try:
        yield
    except ApiError as error:
        raise explain(error, kind=kind, namespace=namespace, verb=verb, name=name) from error


def explain(error: ApiError, *, kind: Kind, namespace: str | None, verb: str, name: str | None = None) -> Exception:
    """The error to raise instead of `error`."""
    from k8s.client import AlreadyExists, BadRequest, Forbidden, Invalid, NotFound, Unauthorized, Unreachable

    text = plain_text(error)
    where = f" in namespace {namespace}" if namespace else ""
    match error:
        case NotFound():
            return CommandFailed(_explain_not_found(error, kind=kind, namespace=namespace, name=name))
        case AlreadyExists():
            return CommandFailed(f'{kind.title} "{name}" already exists{where}; choose another --name')
        case Invalid() if error.causes:
            field, message = error.causes[0].field, "; ".join(cause.message for cause in error.causes[:3])
            return InvalidRun(field=field or "spec", message=f"the API server refuses it: {message}")
        case Forbidden():
            return CommandFailed(
                f"you may not {verb} {kind.plural}{where}: {text}; ask for the permission `{verb}` on `{kind.plural}.kruntimes.io`"
            )
        case Unauthorized():
            return CommandFailed(f"the API server does not accept your credentials: {text}; check the user of your kubeconfig, or --token")
        case Unreachable():
            return CommandFailed(f"{text}, or start local mode with: krt local up")
        case BadRequest() if verb in {"list", "watch"}:
            return CommandFailed(f"the API server cannot read the question: {text}; check --selector and --field-selector")
    return CommandFailed(text)


def _explain_not_found(error: ApiError, *, kind: Kind, namespace: str | None, name: str | None) -> str:
    text = str(error)
    if namespace and f'namespaces "{namespace}" not found' in text:
        return f'namespace "{namespace}" does not exist; create it with: kubectl create namespace {namespace}'
    if is_kind_missing(error) or name is None:
        return (
            f"the API server does not know {kind.plural}.kruntimes.io: the CRDs are not installed; apply k8s/crds, or use another --context"
        )
    return f'{kind.title} "{name}" not found' + (f" in namespace {namespace}" if namespace else "")


def plain_text(error: ApiError) -> str:
    """Without the request it begins with: that is for logs."""
    return re.sub(r"^[A-Z]+ /\S*: ", "", str(error))


def is_kind_missing(error: ApiError) -> bool:
    """A 404 for the kind, not for an object: Kubernetes then has no `details`, only one of these texts."""
    text = str(error)
    return "could not find the requested resource" in text or "404 page not found" in text
