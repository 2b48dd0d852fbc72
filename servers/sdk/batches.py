"""Several facts in one message of the stream: under load a message costs more than what is in it. Both ways, and pure.

A batch holds what was due at the same time: nobody waits for it to fill. Welcome and Hello travel alone, for they say whether the
other side takes batches at all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from krtpb.executor.v1 import stream_pb2

BATCH_BYTES = 256 * 1024
"""A batch that has reached this takes no more: four chunks of output at the most, beside the flow control of the stream."""


def gather(first: stream_pb2.SessionResponse, *, following: Callable[[], stream_pb2.SessionResponse | None]) -> stream_pb2.SessionResponse:
    """`first` alone where nothing else is due."""
    if first.HasField("welcome"):
        return first
    responses, size = [first], first.ByteSize()
    while size < BATCH_BYTES and (more := following()) is not None:
        responses.append(more)
        size += more.ByteSize()
    return first if len(responses) == 1 else stream_pb2.SessionResponse(batch=stream_pb2.ResponseBatch(responses=responses))


def spread(request: stream_pb2.SessionRequest) -> Iterable[stream_pb2.SessionRequest]:
    """The frames of a request, in order. A batch within a batch stays one, and is nothing that a server acts on."""
    return request.batch.requests if request.HasField("batch") else (request,)
