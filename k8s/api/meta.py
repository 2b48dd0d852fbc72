"""Object metadata and conditions: the parts all Kubernetes objects share, typed for reading.

Typed views decode straight from bytes and skip what they do not know. They are for reading and deciding; writes send only
the keys we own (``transitions``), so a view never has to carry an object's whole truth.
"""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct, field


class View(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Base of the typed views: immutable, camelCase on the wire, unknown keys skipped."""


class OwnerReference(View, frozen=True, kw_only=True):
    """Who an object belongs to; garbage collection follows it."""

    api_version: str = ""
    kind: str = ""
    name: str = ""
    uid: str = ""
    controller: bool | None = None
    block_owner_deletion: bool | None = None


class ObjectMeta(View, frozen=True, kw_only=True):
    """metav1.ObjectMeta, as far as we read it."""

    name: str = ""
    generate_name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    generation: int = 0
    creation_timestamp: datetime | None = None
    deletion_timestamp: datetime | None = None
    deletion_grace_period_seconds: int | None = None
    labels: dict[str, str] = field(default_factory=dict)
    annotations: dict[str, str] = field(default_factory=dict)
    finalizers: list[str] = field(default_factory=list)
    owner_references: list[OwnerReference] = field(default_factory=list)


class Condition(View, frozen=True, kw_only=True):
    """metav1.Condition. `status` is "True", "False" or "Unknown"."""

    type: str
    status: str
    reason: str = ""
    message: str = ""
    last_transition_time: datetime | None = None
    observed_generation: int | None = None


class KubernetesObject(View, frozen=True, kw_only=True):
    """What every object has. Identity is the UID, never the name."""

    metadata: ObjectMeta = field(default_factory=ObjectMeta)
    api_version: str = ""
    kind: str = ""

    @property
    def key(self) -> str:
        """`namespace/name`, or the name alone for cluster-scoped kinds: for humans and logs."""
        return f"{self.metadata.namespace}/{self.metadata.name}" if self.metadata.namespace else self.metadata.name

    @property
    def uid(self) -> str:
        """The identity."""
        return self.metadata.uid
