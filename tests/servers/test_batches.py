"""Several facts in one message: what is gathered and what is not, and that a client hears of each attempt in the same order."""

from __future__ import annotations

from collections import deque

from krtpb.executor.v1 import stream_pb2

from servers.sdk import batches
from tests.servers.processes import ServerProcess
from tests.servers.sessions import key, new_uid, open_session


def forgotten(uid: str) -> stream_pb2.SessionResponse:
    return stream_pb2.SessionResponse(forgotten=stream_pb2.Forgotten(key=key(uid)))


def gather(first: stream_pb2.SessionResponse, *others: stream_pb2.SessionResponse) -> tuple[stream_pb2.SessionResponse, int]:
    """The message, and how many are left for the next."""
    due = deque(others)
    return batches.gather(first, following=lambda: due.popleft() if due else None), len(due)


def test_a_fact_alone_is_no_batch_and_welcome_always_travels_alone() -> None:
    assert gather(forgotten("a")) == (forgotten("a"), 0)
    welcome = stream_pb2.SessionResponse(welcome=stream_pb2.Welcome(boot_id="b"))
    assert gather(welcome, forgotten("a")) == (welcome, 1)


def test_facts_that_are_due_together_go_together_until_it_is_enough() -> None:
    message, left = gather(*(forgotten(uid) for uid in "abc"))
    assert (list(message.batch.responses), left) == ([forgotten(uid) for uid in "abc"], 0)
    chunk = stream_pb2.SessionResponse(output=stream_pb2.Output(data=b"x" * batches.BATCH_BYTES))
    message, left = gather(forgotten("a"), chunk, forgotten("b"))
    assert (len(message.batch.responses), left) == (2, 1)


async def test_each_attempt_of_a_batch_is_told_in_order(bash_server: ServerProcess) -> None:
    uids = [new_uid() for _ in range(20)]
    async with open_session(bash_server.port, takes_batches=True) as session:
        assert session.welcome.takes_batches
        executes = [stream_pb2.SessionRequest(execute=stream_pb2.Execute(key=key(uid), args=["echo out"])) for uid in uids]
        await session.send(batch=stream_pb2.RequestBatch(requests=executes))
        for uid in uids:
            heard = await session.until_exited(uid)
            assert (heard.events, heard.stdout) == (["accepted", "started", "output", "exited"], b"out\n")
        forgets = [stream_pb2.SessionRequest(forget=stream_pb2.Forget(key=key(uid))) for uid in uids]
        await session.send(batch=stream_pb2.RequestBatch(requests=forgets))
        await session.until(lambda: all(session.heard(uid).is_forgotten for uid in uids))
        assert session.batches, "twenty answers to one message are not twenty messages"


async def test_a_client_that_does_not_take_batches_gets_none(bash_server: ServerProcess) -> None:
    async with open_session(bash_server.port) as session:
        executes = [stream_pb2.SessionRequest(execute=stream_pb2.Execute(key=key(new_uid()), args=["true"])) for _ in range(10)]
        await session.send(batch=stream_pb2.RequestBatch(requests=executes))
        for request in executes:
            await session.until_exited(request.execute.key.run_uid)
        assert not session.batches
