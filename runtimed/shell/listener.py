"""Who is told what the Runtime Server says, whichever protocol it speaks."""

from __future__ import annotations

from typing import Protocol

from krtpb.executor.v1 import stream_pb2

from runtimed.shell.frames import HeldRuns


class Listener(Protocol):
    """Is told synchronously, in order."""

    def on_welcome(self, boot_id: str, held: HeldRuns) -> None: ...
    def on_lost(self) -> None: ...
    def on_response(self, response: stream_pb2.SessionResponse) -> None: ...
