"""How a Pod's containers become processes: commands, environments, ports and probes. Pure; `Unrunnable` says why one cannot.

The node gives ports and folders by flags after the manifest's own, because of two equal flags the last one wins.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from k8s.api import names

Json = dict[str, Any]
ARTIFACT_VOLUME = "artifact-store"
MAINTAINER = "krt-maintainer"
MAINTAINER_COMMAND = "/runtime-maintainer"
"""Where it is in its image."""
_STORE_FLAGS = {names.RUNTIMED_CONTAINER: "--artifact-store-root", MAINTAINER: "--filesystem-root"}
_SERVERS = {"bash-runtime": "krt-server-bash", "python-runtime": "krt-server-python"}
_SERVICE_ACCOUNT_FOLDER = "/var/run/secrets/kubernetes.io/serviceaccount"  # a cluster's API server mounts a token there, unasked
_REFERENCE = re.compile(r"\$(\$|\([A-Za-z_][A-Za-z0-9_.-]*\))")


class UnrunnableError(Exception):
    """This container cannot run here (yet): the reason and message of its Waiting state."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


@dataclass(frozen=True, slots=True)
class PodPorts:
    """Where the servers of a Pod listen, on 127.0.0.1."""

    runtime: int
    status: int
    health: int


@dataclass(frozen=True, slots=True)
class PodFolders:
    """Where a Pod's files are on this machine."""

    root: Path
    memory: Path | None = None
    """The same for files that are to be in memory, where this machine has a tmpfs for that."""
    claims: Path | None = None
    """PersistentVolumeClaims of its namespace: folders that outlive the Pod."""

    @property
    def workspace(self) -> Path:
        return self.volume("workspace")

    @property
    def state(self) -> Path:
        """runtimed's own, which no other container is told of."""
        return self.root / "state"

    @property
    def markers(self) -> Path:
        """Where runtimed keeps markers and records."""
        return self.memory or self.state

    def volume(self, name: str) -> Path:
        return self.root / "volumes" / name

    def of(self, volume: Json) -> Path:
        """Where a volume of the Pod's spec is."""
        claim = (volume.get("persistentVolumeClaim") or {}).get("claimName")
        if claim is None or self.claims is None:
            return self.volume(volume["name"])
        return self.claims / str(claim)

    def logs(self, container: str) -> Path:
        return self.root / "logs" / container


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the node gives the containers of one Pod."""

    ports: PodPorts
    folders: PodFolders
    kubeconfig: str
    base_environment: Mapping[str, str]
    own_environment: Mapping[str, str]
    find_program: Callable[[str], list[str]]
    references: Mapping[tuple[str, str], Mapping[str, str] | None] = field(default_factory=dict)
    """Data of the ConfigMaps and Secrets that the Pod names, by (kind, name); None is not found."""


@dataclass(frozen=True, slots=True)
class ContainerPlan:
    """One process to start."""

    command: list[str]
    environment: dict[str, str]
    directory: Path


def plan_container(pod: Json, container: Json, *, surroundings: Surroundings) -> ContainerPlan:
    """Raises UnrunnableError."""
    if container.get("restartPolicy"):
        raise UnrunnableError(
            "SidecarNotRunnableLocally", f"init container {container['name']}: local mode knows no restartPolicy of its own"
        )
    is_maintainer = container.get("command") == [MAINTAINER_COMMAND]
    program = MAINTAINER if is_maintainer else None if container.get("command") else _own_program(container)
    _check_volumes(pod, container)
    environment = {
        **(surroundings.own_environment if program else surroundings.base_environment),
        "HOSTNAME": pod["metadata"]["name"],
        "KRUNTIMES_WORK_DIR": str(surroundings.folders.workspace),
        **({"KRUNTIMES_PORT": str(surroundings.ports.runtime)} if container["name"] == names.RUNTIME_CONTAINER else {}),
        **_volume_folders(pod, container, folders=surroundings.folders),
    }
    if program == names.RUNTIMED_CONTAINER:
        environment |= {"POD_NAMESPACE": pod["metadata"]["namespace"], "POD_UID": pod["metadata"]["uid"]}
    environment |= _environment(pod, container, given=environment, references=surroundings.references)
    own_words = (container.get("command") or []) if not is_maintainer else []
    words = [expand(word, environment) for word in own_words + (container.get("args") or [])]
    if program:
        words = [*surroundings.find_program(program), *words, *_given_flags(program, surroundings=surroundings)]
        words += _artifact_flags(pod, container, program=program, folders=surroundings.folders)
    directory = Path(container["workingDir"]) if container.get("workingDir") else surroundings.folders.workspace
    return ContainerPlan(command=words, environment=environment, directory=directory)


def image_base_name(image: str) -> str:
    """`registry.example:5000/team/bash-runtime:v1@sha256:...` is `bash-runtime`; our own prefix is dropped too."""
    return image.split("@")[0].rsplit("/", 1)[-1].split(":")[0].removeprefix("kruntimes-")


def expand(text: str, environment: Mapping[str, str]) -> str:
    """`$(NAME)` as Kubernetes does: `$$` is a dollar sign, an unknown name stays as it is."""

    def replace(match: re.Match[str]) -> str:
        found = match[1]
        return "$" if found == "$" else environment.get(found[1:-1], match[0])

    return _REFERENCE.sub(replace, text)


def referenced_objects(pod: Json) -> set[tuple[str, str]]:
    """(kind, name) of every ConfigMap and Secret that the environments of its containers need."""
    found = set()
    for container in [*(pod["spec"].get("initContainers") or []), *pod["spec"]["containers"]]:
        for entry in container.get("env") or []:
            source = entry.get("valueFrom") or {}
            found |= {(kind, source[key]["name"]) for key, kind in _KEY_SOURCES.items() if key in source}
        for entry in container.get("envFrom") or []:
            found |= {(kind, entry[key]["name"]) for key, kind in _ALL_SOURCES.items() if key in entry}
    return found


_KEY_SOURCES = {"configMapKeyRef": "ConfigMap", "secretKeyRef": "Secret"}
_ALL_SOURCES = {"configMapRef": "ConfigMap", "secretRef": "Secret"}


def _own_program(container: Json) -> str:
    base = image_base_name(container.get("image", ""))
    if container["name"] == names.RUNTIMED_CONTAINER and base == "runtimed":
        return names.RUNTIMED_CONTAINER
    if base in _SERVERS:
        return _SERVERS[base]
    raise UnrunnableError(
        "ImageNotRunnableLocally",
        f"local mode cannot run the image {container.get('image', '')[:128]!r}: use an image named kruntimes-bash-runtime or "
        "kruntimes-python-runtime, or give the container a `command` of this machine",
    )


def _given_flags(program: str, *, surroundings: Surroundings) -> list[str]:
    ports, folders = surroundings.ports, surroundings.folders
    if program == MAINTAINER:
        return [f"--kubeconfig={surroundings.kubeconfig}", "--metrics-bind-address=127.0.0.1:0", "--health-probe-bind-address=127.0.0.1:0"]
    if program != names.RUNTIMED_CONTAINER:
        return [f"--port={ports.runtime}", f"--work-dir={folders.workspace}"]
    return [
        f"--runtime-endpoint=127.0.0.1:{ports.runtime}",
        f"--status-addr=127.0.0.1:{ports.status}",
        "--metrics-bind-address=127.0.0.1:0",
        f"--health-probe-bind-address=127.0.0.1:{ports.health}",
        f"--workspace={folders.workspace}",
        f"--state-dir={folders.state}",
        f"--memory-dir={folders.markers}",
        f"--kubeconfig={surroundings.kubeconfig}",
    ]


def _check_volumes(pod: Json, container: Json) -> None:
    mounts = container.get("volumeMounts") or []
    mounted = {mount["name"] for mount in mounts if mount.get("mountPath") != _SERVICE_ACCOUNT_FOLDER}
    for volume in pod["spec"].get("volumes") or []:
        kind = next((key for key in volume if key != "name"), "emptyDir")
        # runtimed gets a kubeconfig from the node, so a projected token for it is not missed.
        is_token = kind == "projected" and container["name"] == names.RUNTIMED_CONTAINER
        if volume["name"] in mounted and kind not in {"emptyDir", "persistentVolumeClaim"} and not is_token:
            raise UnrunnableError(
                "VolumeNotAvailableLocally",
                f"local mode has volumes of type emptyDir and persistentVolumeClaim only: volume {volume['name']!r} is of type {kind}",
            )


def _volume_folders(pod: Json, container: Json, *, folders: PodFolders) -> dict[str, str]:
    """Nothing is mounted at `mountPath` here: the environment says where a volume is instead."""
    return {
        f"KRUNTIMES_VOLUME_{re.sub('[^A-Z0-9]', '_', mount['name'].upper())}": str(_mounted(pod, mount, folders=folders))
        for mount in container.get("volumeMounts") or []
    }


def _mounted(pod: Json, mount: Json, *, folders: PodFolders) -> Path:
    volumes = {volume["name"]: volume for volume in pod["spec"].get("volumes") or []}
    return folders.of(volumes.get(mount["name"], {"name": mount["name"]}))


def _artifact_flags(pod: Json, container: Json, *, program: str, folders: PodFolders) -> list[str]:
    """Where the volume of a filesystem store is, for who has it mounted."""
    flag = _STORE_FLAGS.get(program)
    if flag is None:
        return []
    mounts = [mount for mount in container.get("volumeMounts") or [] if mount["name"] == ARTIFACT_VOLUME]
    return [f"{flag}={_mounted(pod, mount, folders=folders)}" for mount in mounts]


def _environment(
    pod: Json, container: Json, *, given: Mapping[str, str], references: Mapping[tuple[str, str], Mapping[str, str] | None]
) -> dict[str, str]:
    result: dict[str, str] = {}
    for source in container.get("envFrom") or []:
        prefix = source.get("prefix", "")
        for key, kind in _ALL_SOURCES.items():
            if key in source:
                data = _data(kind, source[key], references=references) or {}
                result |= {prefix + name: value for name, value in data.items()}
    for entry in container.get("env") or []:
        value = _value(pod, container, entry, known={**given, **result}, references=references)
        if value is not None:
            result[entry["name"]] = value
    return result


def _value(
    pod: Json,
    container: Json,
    entry: Json,
    *,
    known: Mapping[str, str],
    references: Mapping[tuple[str, str], Mapping[str, str] | None],
) -> str | None:
    """None: an optional reference that leads nowhere."""
    source = entry.get("valueFrom") or {}
    if not source:
        return expand(entry.get("value", ""), known)
    if "fieldRef" in source:
        return _field(pod, source["fieldRef"].get("fieldPath", ""), where=entry["name"])
    for key, kind in _KEY_SOURCES.items():
        if key in source:
            return _key(kind, source[key], references=references)
    raise _config_error(
        f"env {entry['name']} of container {container['name']}: local mode resolves fieldRef, configMapKeyRef and secretKeyRef only"
    )


def _key(kind: str, reference: Json, *, references: Mapping[tuple[str, str], Mapping[str, str] | None]) -> str | None:
    data = _data(kind, reference, references=references)
    if data is not None and reference["key"] in data:
        return data[reference["key"]]
    if reference.get("optional"):
        return None
    raise _config_error(f"{kind} {reference['name']} has no key {reference['key']}")


def _data(kind: str, reference: Json, *, references: Mapping[tuple[str, str], Mapping[str, str] | None]) -> Mapping[str, str] | None:
    data = references.get((kind, reference["name"]))
    if data is None and not reference.get("optional"):
        raise _config_error(f"{kind} {reference['name']} is not found")
    return data


def _field(pod: Json, path: str, *, where: str) -> str:
    metadata = pod["metadata"]
    simple = {
        "metadata.name": metadata["name"],
        "metadata.namespace": metadata["namespace"],
        "metadata.uid": metadata["uid"],
        "spec.nodeName": pod["spec"].get("nodeName", ""),
        "spec.serviceAccountName": pod["spec"].get("serviceAccountName", "default"),
        "status.podIP": "127.0.0.1",
        "status.podIPs": "127.0.0.1",
        "status.hostIP": "127.0.0.1",
        "status.hostIPs": "127.0.0.1",
    }
    if path in simple:
        return str(simple[path])
    if match := re.fullmatch(r"metadata\.(labels|annotations)\['(.+)'\]", path):
        return str((metadata.get(match[1]) or {}).get(match[2], ""))
    raise _config_error(f"env {where}: the node cannot resolve the field {path[:128]!r}")


def _config_error(message: str) -> UnrunnableError:
    return UnrunnableError("CreateContainerConfigError", message)
