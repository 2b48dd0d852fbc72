"""`valueFrom` in a Run's env: fields of the Run and its Pod, and what its Runtime offers from Secrets and ConfigMaps.

Two consents are needed: an annotation of the Runtime names the object, which becomes a flag of ours, and a Role of the namespace
lets us read it. Values stay in memory, from here to the Execute frame; no message that is made here carries one.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from k8s.api.names import ENV_CONFIG_MAPS_ANNOTATION, ENV_SECRETS_ANNOTATION
from k8s.api.pod import Pod
from k8s.api.run import EnvVar, Run
from k8s.client import CONFIG_MAPS, PODS, SECRETS, Resource
from runtimed.hooks.env import Resolved
from runtimed.hooks.objects import Objects
from runtimed.hooks.refusals import SourceRefused
from runtimed.settings import Offers, PodIdentity

_KEYED: Final = re.compile(r"metadata\.(labels|annotations)\['([^']+)'\]")


@dataclass(frozen=True, slots=True)
class _Kind:
    """What can be referred to, how it is offered, and where its values are."""

    resource: Resource[dict[str, Any]]
    annotation: str
    offered: Callable[[Offers], frozenset[str]]
    text_of: Callable[[Any], str]


def _decode_secret(value: Any) -> str:
    return base64.b64decode(value, validate=True).decode("utf-8")


_KINDS: Final[Mapping[str, _Kind]] = {
    "secretKeyRef": _Kind(SECRETS, ENV_SECRETS_ANNOTATION, lambda offers: offers.env_secrets, _decode_secret),
    "configMapKeyRef": _Kind(CONFIG_MAPS, ENV_CONFIG_MAPS_ANNOTATION, lambda offers: offers.env_config_maps, str),
}
_RUN_FIELDS: Final[Mapping[str, Callable[[Run], str]]] = {
    "metadata.name": lambda run: run.metadata.name,
    "metadata.namespace": lambda run: run.metadata.namespace,
    "metadata.uid": lambda run: run.uid,
    "status.assignedPod": lambda run: run.status.assigned_pod,
}
_POD_FIELDS: Final[Mapping[str, Callable[[Pod], str]]] = {
    "spec.nodeName": lambda pod: pod.spec.node_name,
    "spec.serviceAccountName": lambda pod: pod.spec.service_account_name,
    "status.podIP": lambda pod: pod.status.pod_ip,
    "status.hostIP": lambda pod: pod.status.host_ip,
}


class References:
    """Of one Pod."""

    def __init__(self, objects: Objects, *, pod: PodIdentity, offers: Offers) -> None:
        self._objects, self._pod, self._offers = objects, pod, offers

    async def resolve(self, run: Run) -> Resolved:
        """The value of each variable that has one from elsewhere. Raises SourceRefused: field, object and remedy."""
        known: dict[tuple[str, str], dict[str, Any] | None] = {}
        found: dict[int, str | None] = {}
        for index, variable in enumerate(run.spec.env):
            if variable.value_from is not None:
                found[index] = await self._value(run, variable, field=f"spec.env[{index}].valueFrom", known=known)
        return found

    async def _value(self, run: Run, variable: EnvVar, *, field: str, known: dict[tuple[str, str], dict[str, Any] | None]) -> str | None:
        assert variable.value_from is not None
        form, reference = next(iter(variable.value_from.items()), ("", None))
        field = f"{field}.{form}"
        if not isinstance(reference, dict) or len(variable.value_from) != 1:
            raise SourceRefused(f"{field}: must be exactly one of fieldRef, secretKeyRef and configMapKeyRef")
        if form == "fieldRef":
            return await self._field(run, str(reference.get("fieldPath", "")), field=field)
        if form not in _KINDS:
            raise SourceRefused(f"{field}: is not known to Runs; use fieldRef, secretKeyRef or configMapKeyRef")
        return await self._key(_KINDS[form], reference, field=field, known=known)

    async def _field(self, run: Run, path: str, *, field: str) -> str:
        if path in _RUN_FIELDS:
            return _RUN_FIELDS[path](run)
        if keyed := _KEYED.fullmatch(path):
            return (run.metadata.labels if keyed[1] == "labels" else run.metadata.annotations).get(keyed[2], "")
        if path not in _POD_FIELDS:
            known = ", ".join([*_RUN_FIELDS, "metadata.labels['KEY']", "metadata.annotations['KEY']", *_POD_FIELDS])
            raise SourceRefused(f"{field}.fieldPath: {path[:64]!r} is no field that a Run can ask for; there are {known}")
        pod = await self._objects.read(PODS, self._pod.name, field=field)
        if pod is None:
            raise SourceRefused(f"{field}: the Pod {self._pod.name} is gone")
        return _POD_FIELDS[path](pod)

    async def _key(
        self, kind: _Kind, reference: dict[str, Any], *, field: str, known: dict[tuple[str, str], dict[str, Any] | None]
    ) -> str | None:
        name, key = str(reference.get("name", "")), str(reference.get("key", ""))
        what = f"{kind.resource.kind} {name[:253]!r}"
        if name not in kind.offered(self._offers):
            raise SourceRefused(
                f"{field}: the Runtime does not offer the {what} to its Runs; its owner adds it to the annotation {kind.annotation}"
            )
        place = (kind.resource.plural, name)
        if place not in known:
            found: dict[str, Any] | None = await self._objects.read(kind.resource, name, field=field)
            known[place] = found
        data = known[place]
        if data is None or key not in (data.get("data") or {}):
            if reference.get("optional") is True:
                return None
            missing = f"the {what} does not exist" if data is None else f"the {what} has no key {key[:253]!r}"
            raise SourceRefused(f"{field}: {missing}; create it, or say optional: true")
        try:
            return kind.text_of(data["data"][key])
        except (ValueError, TypeError, binascii.Error) as error:
            raise SourceRefused(f"{field}: key {key[:253]!r} of the {what} is not UTF-8 text; a variable is text") from error
