from __future__ import annotations

import asyncio

from krtpb.executor.v1 import stream_pb2

from runtimed.shell import batches, frames


def queue_of(*requests: stream_pb2.SessionRequest) -> asyncio.Queue[stream_pb2.SessionRequest]:
    queue: asyncio.Queue[stream_pb2.SessionRequest] = asyncio.Queue()
    for request in requests:
        queue.put_nowait(request)
    return queue


def test_a_frame_that_nobody_waits_behind_travels_alone() -> None:
    frame = frames.forget("a", 0)
    assert batches.gather(frame, queued=queue_of()) is frame


def test_what_waits_goes_along_in_order() -> None:
    waiting = [frames.forget(uid, 2) for uid in "bcd"]
    queue = queue_of(*waiting)
    together = batches.gather(frames.forget("a", 0), queued=queue)
    assert list(together.batch.requests) == [frames.forget("a", 0), *waiting]
    assert queue.empty()


def test_a_batch_ends_with_the_frame_that_fills_it() -> None:
    big = stream_pb2.SessionRequest(execute=stream_pb2.Execute(args=["x" * batches.BATCH_BYTES]))
    queue = queue_of(big, frames.forget("b", 0))
    assert len(batches.gather(frames.forget("a", 0), queued=queue).batch.requests) == 2
    assert queue.qsize() == 1


def test_a_batch_is_spread_and_a_single_event_is_itself() -> None:
    events = [stream_pb2.SessionResponse(forgotten=stream_pb2.Forgotten(key=stream_pb2.AttemptKey(run_uid=uid))) for uid in "ab"]
    assert list(batches.spread(stream_pb2.SessionResponse(batch=stream_pb2.ResponseBatch(responses=events)))) == events
    assert list(batches.spread(events[0])) == events[:1]
