"""The Node object `local`, by which `kubectl get nodes` and `kubectl describe pod` know this machine."""

from __future__ import annotations

import logging
import os
import platform
from contextlib import suppress
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import psutil

from k8s.api.timestamps import format_timestamp
from k8s.client import NODES, AlreadyExists, ApiClient, ApiError, strategic_patch

Json = dict[str, Any]
MAX_PODS = 110
"""A kubelet's default; nothing here counts them."""
_log = logging.getLogger(__name__)


async def register_node(client: ApiClient, *, name: str, now: datetime) -> None:
    """Create it or bring it up to date. Best effort: Pods run without it."""
    labels = {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "kubernetes.io/arch": _architecture()}
    try:
        with suppress(AlreadyExists):
            await client.create(NODES, {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels}})
        await client.patch(NODES, name, strategic_patch({"status": _status(name, now=now)}), subresource="status")
    except ApiError as error:
        _log.warning("Node object cannot be written", extra={"node": name, "error": str(error)})


async def report_stopping(client: ApiClient, *, name: str, now: datetime) -> None:
    condition = _ready(is_ready=False, reason="NodeStopping", message="local mode is being stopped", now=now)
    try:
        await client.patch(NODES, name, strategic_patch({"status": {"conditions": [condition]}}), subresource="status")
    except ApiError as error:
        _log.warning("Node object cannot be written", extra={"node": name, "error": str(error)})


def _status(name: str, *, now: datetime) -> Json:
    size = {
        "cpu": str(os.cpu_count() or 1),
        "memory": f"{psutil.virtual_memory().total // 1024}Ki",
        "pods": str(MAX_PODS),
    }
    return {
        "conditions": [_ready(is_ready=True, reason="NodeReady", message="containers run as process groups of this machine", now=now)],
        "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}, {"type": "Hostname", "address": name}],
        "capacity": size,
        "allocatable": size,
        "nodeInfo": {
            "kubeletVersion": f"kruntimes-{_own_version()}",
            "kubeProxyVersion": "",
            "containerRuntimeVersion": "processes://1",
            "operatingSystem": "linux",
            "architecture": _architecture(),
            "kernelVersion": platform.release(),
            "osImage": platform.freedesktop_os_release().get("PRETTY_NAME", "Linux") if os.path.exists("/etc/os-release") else "Linux",
            "machineID": "",
            "systemUUID": "",
            "bootID": "",
        },
    }


def _ready(*, is_ready: bool, reason: str, message: str, now: datetime) -> Json:
    stamp = format_timestamp(now)
    return {
        "type": "Ready",
        "status": str(is_ready),
        "reason": reason,
        "message": message,
        "lastHeartbeatTime": stamp,
        "lastTransitionTime": stamp,
    }


def _architecture() -> str:
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())


def _own_version() -> str:
    try:
        return version("kruntimes")
    except PackageNotFoundError:
        return "checkout"
