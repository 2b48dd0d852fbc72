"""Reads single objects of our namespace for a Run, and says in the Run's terms why one cannot be had."""

from __future__ import annotations

import asyncio
from typing import Final, TypeVar

from k8s.client import ApiClient, ApiError, Backoff, Forbidden, NotFound, Resource
from runtimed.hooks.refusals import SourceRefused

T = TypeVar("T")
READ_SECONDS: Final = 10.0
"""An API server that is away for longer fails the attempt, which a retry policy may try again."""


class Objects:
    """Nothing is kept: what was changed is read as it is now."""

    def __init__(self, client: ApiClient, *, namespace: str, read_seconds: float = READ_SECONDS) -> None:
        self._client, self._namespace, self._read_seconds = client, namespace, read_seconds

    async def read(self, resource: Resource[T], name: str, *, field: str) -> T | None:
        """None if there is none. Whatever can pass by itself is tried again, for a while. Raises SourceRefused."""
        what = f"{resource.kind} {name[:253]!r}"
        loop, backoff = asyncio.get_running_loop(), Backoff()
        deadline = loop.time() + self._read_seconds
        while True:
            try:
                return await self._client.get(resource, name, namespace=self._namespace)
            except NotFound:
                return None
            except Forbidden as error:
                remedy = "the admin of the namespace grants it with: krt runtime grant RUNTIME | kubectl apply -f -"
                raise SourceRefused(f"{field}: runtimed may not read the {what}; {remedy}") from error
            except ApiError as error:
                if not error.retryable or loop.time() >= deadline:
                    raise SourceRefused(f"{field}: the {what} cannot be read: {error.reason}") from error
                await asyncio.sleep(backoff.next_delay(0.5))
