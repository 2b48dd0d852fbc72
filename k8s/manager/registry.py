"""The Prometheus registry of one process, with its own CPU, memory and descriptors in it."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, PlatformCollector, ProcessCollector


def make_registry() -> CollectorRegistry:
    """Never the global one: tests make many, and nothing of a library's may slip in."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    return registry
