"""The example of a custom server, but with moods: files beside its work directory that tell it to misbehave.

`ill`: Health says no. `hang`: Execute begins and never answers; `refuse`: it answers an error.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import grpc
from krtpb.executor.v1 import runtime_pb2

from tests.servers.example import load_example

example: Any = load_example()


class MoodyRuntime(example.ShellRuntime):
    def _is(self, mood: str) -> bool:
        work_dir: Path = self._work_dir
        return (work_dir.parent / mood).exists()

    async def Execute(self, request: Any, context: Any) -> Any:  # noqa: N802
        if self._is("refuse"):
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "no room")
        answer = await super().Execute(request, context)
        if self._is("hang"):
            await asyncio.Event().wait()
        return answer

    async def Health(self, request: Any, context: Any) -> Any:  # noqa: N802
        return runtime_pb2.HealthResponse(healthy=not self._is("ill"), message="in a mood" if self._is("ill") else "")


if __name__ == "__main__":
    example.ShellRuntime = MoodyRuntime
    example.main()
