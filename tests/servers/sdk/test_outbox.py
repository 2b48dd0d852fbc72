"""What a session is sent and in which order, without any gRPC."""

from __future__ import annotations

from krtpb.executor.v1 import stream_pb2

from servers.sdk import messages
from servers.sdk.execution import AttemptId, Execution
from servers.sdk.exits import Exit, ExitReason
from servers.sdk.limits import CHUNK_BYTES, LAST_BYTES, RETAINED_BYTES
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


def outputs(sent: list[stream_pb2.SessionResponse]) -> list[tuple[int, int, bool]]:
    """(offset, length, truncated) of each."""
    found = [message.output for message in sent if message.WhichOneof("event") == "output"]
    return [(output.offset, len(output.data), output.truncated) for output in found]


def test_who_asks_for_more_gets_what_is_beyond_the_retained_as_it_comes() -> None:
    one, outbox = execution(), Outbox(log_bytes=1 << 30)
    outbox.follow(one)
    received = 0
    for _ in range(40):
        one.stdout.write(b"x" * CHUNK_BYTES)
        outbox.touch(one)
        for offset, length, truncated in outputs(drain(outbox)):
            assert (offset, truncated) == (received, False)
            received += length
    assert received == one.stdout.total_bytes > RETAINED_BYTES


def test_a_reader_that_is_too_slow_sees_by_the_offset_what_it_has_missed() -> None:
    one, outbox = execution(), Outbox(log_bytes=1 << 30)
    outbox.follow(one, stdout_offset=RETAINED_BYTES)
    one.stdout.write(b"x" * (4 << 20))
    end(one)
    outbox.touch(one)
    sent = drain(outbox)
    assert kinds(sent)[-1] == "exited"
    chunks = outputs(sent)
    assert chunks[0][0] > RETAINED_BYTES
    assert chunks[-1][0] + chunks[-1][1] == 4 << 20


def test_at_its_limit_a_reader_is_told_so_once_and_gets_the_end_at_the_end() -> None:
    one, outbox = execution(), Outbox(log_bytes=2 * CHUNK_BYTES)
    outbox.follow(one)
    for _ in range(10):
        one.stdout.write(b"x" * CHUNK_BYTES)
        outbox.touch(one)
    assert outputs(drain(outbox)) == [(0, CHUNK_BYTES, False), (CHUNK_BYTES, CHUNK_BYTES, False), (2 * CHUNK_BYTES, 0, True)]
    one.stdout.write(b"last")
    one.stderr.write(b"oh")
    outbox.touch(one)
    assert outputs(drain(outbox)) == [(0, 0, True)], "the limit is the attempt's, not the stream's"
    end(one)
    outbox.touch(one)
    sent = drain(outbox)
    assert kinds(sent) == ["output", "output", "exited"]
    assert outputs(sent) == [(9 * CHUNK_BYTES + 4, LAST_BYTES, False), (0, 2, False)]
