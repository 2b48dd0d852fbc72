"""Several frames or events in one message of the stream: under load a message costs more than what is in it. Pure.

A batch holds what was due at the same time: nobody waits for it to fill.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Final

from krtpb.executor.v1 import stream_pb2

BATCH_BYTES: Final = 256 << 10
"""A batch that has reached this takes no more. With one Execute above it, 2.5 MB at most, it is below gRPC's limit of 4 MiB."""


def gather(first: stream_pb2.SessionRequest, *, queued: asyncio.Queue[stream_pb2.SessionRequest]) -> stream_pb2.SessionRequest:
    """`first` with what waits behind it, taken out of the queue in order."""
    requests, size = [first], first.ByteSize()
    while size < BATCH_BYTES and not queued.empty():
        requests.append(queued.get_nowait())
        size += requests[-1].ByteSize()
    return first if len(requests) == 1 else stream_pb2.SessionRequest(batch=stream_pb2.RequestBatch(requests=requests))


def spread(response: stream_pb2.SessionResponse) -> Iterable[stream_pb2.SessionResponse]:
    """The events of a response, in order."""
    return response.batch.responses if response.HasField("batch") else (response,)
