"""What a Runtime offers to its Runs from the Secrets and ConfigMaps of its namespace: annotations, read and checked. Pure.

The annotation is half of it: nothing can be read before the namespace's admin grants it by a Role (`krt runtime grant`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from k8s.api.names import ENV_CONFIG_MAPS_ANNOTATION, ENV_SECRETS_ANNOTATION, GIT_CREDENTIALS_ANNOTATION
from k8s.api.runtime import Runtime

_OBJECT_NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")


@dataclass(frozen=True, slots=True)
class Grants:
    """Names of objects in the Runtime's namespace."""

    env_secrets: tuple[str, ...] = ()
    env_config_maps: tuple[str, ...] = ()
    git_credentials: str = ""

    @property
    def secrets(self) -> tuple[str, ...]:
        """All Secrets that runtimed reads."""
        return tuple(sorted({*self.env_secrets, *filter(None, [self.git_credentials])}))


def read_grants(runtime: Runtime) -> Grants:
    """Raises ValueError("field: what is wrong")."""
    credentials = _names(runtime, GIT_CREDENTIALS_ANNOTATION)
    if len(credentials) > 1:
        raise ValueError(f"metadata.annotations[{GIT_CREDENTIALS_ANNOTATION}]: names {len(credentials)} Secrets; one is used")
    return Grants(_names(runtime, ENV_SECRETS_ANNOTATION), _names(runtime, ENV_CONFIG_MAPS_ANNOTATION), "".join(credentials))


def _names(runtime: Runtime, annotation: str) -> tuple[str, ...]:
    found = tuple(name for part in runtime.metadata.annotations.get(annotation, "").split(",") if (name := part.strip()))
    for name in found:
        if not _OBJECT_NAME.fullmatch(name):
            raise ValueError(
                f"metadata.annotations[{annotation}]: {name[:64]!r} is no name of an object; write names with commas between them"
            )
    return found
