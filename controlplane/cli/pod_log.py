"""The log of the `runtimed` container of a Pod, over the API server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from controlplane.cli.answers import is_kind_missing
from controlplane.cli.run_output import LogInterrupted, LogUnavailable
from k8s.api.names import RUNTIMED_CONTAINER

if TYPE_CHECKING:
    from k8s.client import ApiClient, ApiError


@dataclass(frozen=True, slots=True)
class PodLog:
    """A `LogSource`."""

    client: ApiClient
    namespace: str
    pod: str

    @asynccontextmanager
    async def open(self, *, since: str, is_following: bool, is_previous: bool = False) -> AsyncIterator[AsyncIterator[bytes]]:
        from k8s.client import PODS, ApiError

        query = {"container": RUNTIMED_CONTAINER, "timestamps": "true"}
        query |= {"follow": "true"} if is_following else {}
        query |= {"previous": "true"} if is_previous else {}
        query |= {"sinceTime": since} if since else {}
        path = PODS.path(namespace=self.namespace, name=self.pod, subresource="log")
        try:
            async with self.client.stream(path, query=query, accept="text/plain, */*") as stream:
                # What a reader of all there is finds half-written is no line of a finished Run.
                yield stream.lines(keep_partial=not is_following)
        except ApiError as error:
            raise self._explain(error) from error

    def _explain(self, error: ApiError) -> LogUnavailable | LogInterrupted:
        from k8s.client import Forbidden, NotFound, Unauthorized

        if error.status in {405, 501} or is_kind_missing(error):
            return LogUnavailable("this API server offers no logs of Pods")
        if isinstance(error, NotFound):
            return LogUnavailable(f"the Pod {self.pod} that ran it is gone, and its log with it")
        if isinstance(error, (Forbidden, Unauthorized)):
            return LogUnavailable(f"you may not read the log of Pod {self.pod}: {error}; ask for the permission `get` on `pods/log`")
        return LogInterrupted(f"the log of Pod {self.pod} cannot be read: {error}")
