"""What one session still has to be told, computed when it is ready to send: nothing is queued but small facts.

Output is read from what executions retain, at a cursor, at the pace of the reader: a slow one costs no memory and delays
nobody. Pure but for `wake`. Not here: gRPC calls.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field

from krtpb.executor.v1 import stream_pb2

from servers.sdk import messages
from servers.sdk.execution import AttemptId, Execution, StreamName
from servers.sdk.limits import CHUNK_BYTES, LAST_BYTES


@dataclass(slots=True)
class _Cursor:
    offset: int = 0
    told_truncated: bool = False


@dataclass(slots=True, eq=False)
class _Delivery:
    """`cursors` is empty for an attempt held since an older session until it is attached: its output is not sent, its end is."""

    execution: Execution
    cursors: dict[StreamName, _Cursor] = field(default_factory=dict)

    @property
    def sent_bytes(self) -> int:
        return sum(cursor.offset for cursor in self.cursors.values())


class Outbox:
    def __init__(self, *, log_bytes: int = 0) -> None:
        """`log_bytes` as in Hello."""
        self._log_bytes = log_bytes
        self._facts: deque[stream_pb2.SessionResponse] = deque()
        self._deliveries: dict[AttemptId, _Delivery] = {}
        # In order, each once: those with output or an end to send take turns.
        self._due: dict[AttemptId, None] = {}
        self.wake = asyncio.Event()

    @property
    def fact_count(self) -> int:
        return len(self._facts)

    def post(self, fact: stream_pb2.SessionResponse) -> None:
        """Sent before any output that is due."""
        self._facts.append(fact)
        self.wake.set()

    def post_in_company(self, fact: stream_pb2.SessionResponse) -> None:
        """The same, but together with what comes next; `send_what_waits` is for when that is too long in coming."""
        self._facts.append(fact)

    def send_what_waits(self) -> None:
        if self._facts:
            self.wake.set()

    def follow(self, execution: Execution, *, stdout_offset: int = 0, stderr_offset: int = 0) -> None:
        """From now on the output from these offsets on, then the end, also if either was sent before."""
        cursors = {StreamName.STDOUT: _Cursor(stdout_offset), StreamName.STDERR: _Cursor(stderr_offset)}
        self._deliveries[execution.id] = _Delivery(execution, cursors=cursors)
        if execution.is_over or execution.has_output:
            self.touch(execution)

    def hold(self, execution: Execution) -> None:
        """Its end only, until it is followed."""
        self._deliveries[execution.id] = _Delivery(execution)

    def touch(self, execution: Execution) -> None:
        """There may be more to send of it."""
        if execution.id in self._deliveries:
            self._due[execution.id] = None
            self.wake.set()

    def drop(self, attempt: AttemptId) -> None:
        self._deliveries.pop(attempt, None)
        self._due.pop(attempt, None)

    def next(self) -> stream_pb2.SessionResponse | None:
        """The next message to send, None while there is none."""
        if self._facts:
            return self._facts.popleft()
        while self._due:
            attempt = next(iter(self._due))
            del self._due[attempt]
            if message := self._next_of(self._deliveries[attempt]):
                return message
        return None

    def _next_of(self, delivery: _Delivery) -> stream_pb2.SessionResponse | None:
        for stream, cursor in delivery.cursors.items():
            if self._log_bytes:
                is_full = delivery.sent_bytes >= self._log_bytes
                message = _next_live_output(delivery.execution, stream=stream, cursor=cursor, is_full=is_full)
            else:
                message = _next_output(delivery.execution, stream=stream, cursor=cursor)
            if message:
                # At the end of the line: others send between two chunks of this one.
                self._due[delivery.execution.id] = None
                return message
        if not delivery.execution.is_over:
            return None
        delivery.cursors.clear()
        return messages.exited_event(delivery.execution)


def _next_output(execution: Execution, *, stream: StreamName, cursor: _Cursor) -> stream_pb2.SessionResponse | None:
    retained = execution.output(stream)
    data = retained.slice(cursor.offset, size=CHUNK_BYTES)
    is_last = cursor.offset + len(data) >= retained.kept_bytes
    tells_truncated = is_last and retained.is_truncated and not cursor.told_truncated
    if not data and not tells_truncated:
        return None
    offset, cursor.offset = cursor.offset, cursor.offset + len(data)
    cursor.told_truncated = cursor.told_truncated or tells_truncated
    return messages.output_event(execution.id, stream=stream, offset=offset, data=data, truncated=tells_truncated)


def _next_live_output(execution: Execution, *, stream: StreamName, cursor: _Cursor, is_full: bool) -> stream_pb2.SessionResponse | None:
    """Beyond what is retained as well. Once the follower has as much as it wanted: that there is more, and at the end the last of it."""
    retained = execution.output(stream)
    is_full = is_full or cursor.told_truncated
    if is_full and not cursor.told_truncated and retained.total_bytes > cursor.offset:
        cursor.told_truncated = True
        return messages.output_event(execution.id, stream=stream, offset=cursor.offset, data=b"", truncated=True)
    if is_full and not execution.is_over:
        return None
    if is_full:
        cursor.offset = max(cursor.offset, retained.total_bytes - LAST_BYTES)
    offset, data = retained.read_live(cursor.offset, size=CHUNK_BYTES)
    if not data:
        return None
    cursor.offset = offset + len(data)
    return messages.output_event(execution.id, stream=stream, offset=offset, data=data, truncated=False)
