"""One attempt as the server holds it: what is known of it and what it wrote. No I/O here."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from enum import Enum

from servers.sdk.exits import Exit
from servers.sdk.retained import RetainedOutput


@dataclass(frozen=True, slots=True, order=True)
class AttemptId:
    """At most once is what an attempt is executed. Unary requests, which know no attempts, use attempt 0."""

    run_uid: str
    attempt: int


class StreamName(Enum):
    STDOUT = 1
    STDERR = 2


@dataclass(slots=True, eq=False)
class Execution:
    id: AttemptId
    ticket: int
    """The supervisor's name for it; 0 if it was never handed over."""
    received_micros: int = 0
    """When this server was asked for it."""
    stdout: RetainedOutput = field(default_factory=RetainedOutput)
    stderr: RetainedOutput = field(default_factory=RetainedOutput)
    pid: int = 0
    started_micros: int = 0
    stop_reason: str = ""
    """Why we asked it to stop, "" while we did not."""
    is_forgotten: bool = False
    """To be dropped as soon as it has ended."""
    exit: Exit | None = None
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def is_over(self) -> bool:
        return self.exit is not None

    @property
    def has_started(self) -> bool:
        return self.started_micros > 0

    @property
    def has_output(self) -> bool:
        return self.stdout.total_bytes + self.stderr.total_bytes > 0

    def output(self, stream: StreamName) -> RetainedOutput:
        return self.stdout if stream is StreamName.STDOUT else self.stderr

    def end(self, outcome: Exit) -> None:
        assert self.exit is None, "an attempt ends once"
        self.exit = outcome
        self.ended.set()
