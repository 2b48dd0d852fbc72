"""Our own servers as an old runtimed knew them: the unary service alone. `python -m tests.servers.unary_only bash --port=0 ...`

Their Execute of a known id replaces it, where examples/custom-server refuses it: together they are both kinds.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import Callable

import grpc
from krtpb.executor.v1 import runtime_pb2_grpc

from servers.bash.commands import BashCommands
from servers.python.commands import PythonCommands
from servers.sdk.command import ChooseCommand
from servers.sdk.execution import AttemptId, Execution
from servers.sdk.limits import GRPC_OPTIONS
from servers.sdk.registry import Registry
from servers.sdk.unary import UnaryService

COMMANDS: dict[str, Callable[[], ChooseCommand]] = {"bash": BashCommands.find, "python": PythonCommands.find}


class Nobody:
    """No stream, so nobody to tell."""

    def on_started(self, execution: Execution) -> None: ...
    def on_output(self, execution: Execution) -> None: ...
    def on_ended(self, execution: Execution) -> None: ...
    def on_forgotten(self, attempt: AttemptId) -> None: ...


async def serve(kind: str, *, host: str, port: int, work_dir: str) -> None:
    """Until it is killed."""
    registry = Registry(choose_command=COMMANDS[kind](), work_dir=work_dir, observer=Nobody())
    server = grpc.aio.server(options=GRPC_OPTIONS)
    runtime_pb2_grpc.add_RuntimeServicer_to_server(UnaryService(registry), server)
    bound = server.add_insecure_port(f"{host}:{port}")
    registry.supervisor.open()
    await server.start()
    print(json.dumps({"port": bound}), flush=True)
    await server.wait_for_termination()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("kind", choices=COMMANDS)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--work-dir", required=True)
    arguments = parser.parse_args()
    asyncio.run(serve(arguments.kind, host=arguments.host, port=arguments.port, work_dir=arguments.work_dir))


if __name__ == "__main__":
    main()
