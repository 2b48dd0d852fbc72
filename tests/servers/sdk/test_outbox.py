"""What a session is sent and in which order, without any gRPC."""

from __future__ import annotations

from krtpb.executor.v1 import stream_pb2

from servers.sdk import messages
from servers.sdk.execution import AttemptId, Execution
from servers.sdk.exits import Exit, ExitReason
from servers.sdk.limits import CHUNK_BYTES, RETAINED_BYTES
from servers.sdk.outbox import Outbox


def execution(run_uid: str = "u") -> Execution:
    return Execution(AttemptId(run_uid, attempt=0), ticket=1)


def end(of: Execution) -> None:
    of.end(Exit(ExitReason.EXITED, exit_code=0, signal=0, error_message="", micros=1))


def drain(outbox: Outbox) -> list[stream_pb2.SessionResponse]:
    sent = []
    while (message := outbox.next()) is not None:
        sent.append(message)
    return sent


def kinds(sent: list[stream_pb2.SessionResponse]) -> list[str | None]:
    return [message.WhichOneof("event") for message in sent]


def test_facts_come_before_output_and_the_end_comes_last() -> None:
    one, outbox = execution(), Outbox()
    outbox.follow(one)
    one.stdout.write(b"x" * (CHUNK_BYTES + 1))
    one.stderr.write(b"e")
    end(one)
    outbox.touch(one)
    outbox.post(messages.started_event(one))
    sent = drain(outbox)
    assert kinds(sent) == ["started", "output", "output", "output", "exited"]
    assert [(message.output.offset, len(message.output.data)) for message in sent[1:4]] == [(0, CHUNK_BYTES), (CHUNK_BYTES, 1), (0, 1)]
    assert drain(outbox) == []


def test_two_attempts_take_turns() -> None:
    one, other, outbox = execution("one"), execution("other"), Outbox()
    for each in (one, other):
        outbox.follow(each)
        each.stdout.write(b"x" * (CHUNK_BYTES * 2))
        outbox.touch(each)
    assert [message.output.key.run_uid for message in drain(outbox)] == ["one", "other", "one", "other"]


def test_truncation_is_told_once_also_when_it_is_known_only_after_the_last_byte() -> None:
    one, outbox = execution(), Outbox()
    outbox.follow(one)
    one.stdout.write(b"x" * RETAINED_BYTES)
    outbox.touch(one)
    assert not any(message.output.truncated for message in drain(outbox))
    for _ in range(2):
        one.stdout.write(b"more")
        outbox.touch(one)
    sent = drain(outbox)
    assert [(m.output.offset, m.output.data, m.output.truncated) for m in sent] == [(RETAINED_BYTES, b"", True)]


def test_one_that_is_only_held_is_told_its_end_and_after_attaching_its_output_and_end_again() -> None:
    one, outbox = execution(), Outbox()
    outbox.hold(one)
    one.stdout.write(b"0123")
    outbox.touch(one)
    assert drain(outbox) == []
    end(one)
    outbox.touch(one)
    assert kinds(drain(outbox)) == ["exited"]
    outbox.follow(one, stdout_offset=2)
    sent = drain(outbox)
    assert kinds(sent) == ["output", "exited"]
    assert (sent[0].output.offset, sent[0].output.data) == (2, b"23")


def test_nothing_is_sent_of_what_was_dropped() -> None:
    one, outbox = execution(), Outbox()
    outbox.follow(one)
    one.stdout.write(b"x")
    outbox.touch(one)
    outbox.drop(one.id)
    outbox.touch(one)
    assert drain(outbox) == []
