"""What this process asks of the API server, counted for Prometheus: by verb, resource and answer, and how long it took.

Not imported by the package itself: krt has no metrics. Labels are bounded: verbs, the resources of `resources` with their
subresources, and status codes or the reasons of our own errors.
"""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Histogram

SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
"""A write on an idle API server takes 4 ms; above 10 s there is the deadline of a request."""


class RequestMetrics:
    """One process's: `client.on_request = RequestMetrics(registry).note`."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._requests = Counter(
            "kruntimes_api_requests", "Requests to the API server, by answer.", ["verb", "resource", "code"], registry=registry
        )
        self._seconds = Histogram(
            "kruntimes_api_request_duration_seconds",
            "From asking to the answer, the wait for a connection included.",
            ["verb", "resource"],
            buckets=SECONDS,
            registry=registry,
        )
        # `labels` takes a lock and builds a key: half of what counting costs, and the same few come again and again.
        self._counters: dict[tuple[str, str, str], Counter] = {}
        self._histograms: dict[tuple[str, str], Histogram] = {}

    def note(self, verb: str, resource: str, code: str, seconds: float) -> None:
        """An `OnRequest`."""
        counter = self._counters.get((verb, resource, code))
        if counter is None:
            counter = self._counters[verb, resource, code] = self._requests.labels(verb, resource, code)
        counter.inc()
        histogram = self._histograms.get((verb, resource))
        if histogram is None:
            histogram = self._histograms[verb, resource] = self._seconds.labels(verb, resource)
        histogram.observe(seconds)
