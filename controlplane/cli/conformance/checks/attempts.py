"""The life of one attempt as the stream tells it."""

from __future__ import annotations

from krtpb.executor.v1 import stream_pb2

from controlplane.cli.conformance.catalogue import check
from controlplane.cli.conformance.judgement import Broken, Claim, contains, equal
from controlplane.cli.conformance.stream import Stream
from controlplane.cli.conformance.subject import Subject

STDOUT, STDERR = stream_pb2.OUTPUT_STREAM_STDOUT, stream_pb2.OUTPUT_STREAM_STDERR


def key_of(id_: str, *, attempt: int = 0) -> stream_pb2.AttemptKey:
    return stream_pb2.AttemptKey(run_uid=id_, attempt=attempt)


def attempt_of(subject: Subject, program: str, *, id_: str, attempt: int = 0, env: dict[str, str] | None = None) -> stream_pb2.Execute:
    request = subject.request(program, id_=id_, env=env)
    fields = {name: value for name, value in request.items() if name != "id"}
    return stream_pb2.Execute(key=key_of(id_, attempt=attempt), **fields)


async def begin(subject: Subject, stream: Stream, program: str, *, attempt: int = 0) -> str:
    """The id of a waiting program that says that it has started. Raises Broken."""
    id_ = subject.new_id()
    await stream.send(execute=attempt_of(subject, program, id_=id_, attempt=attempt))
    key = key_of(id_, attempt=attempt)
    if await stream.until("output", key=key, is_true=lambda output: b"started" in output.data) is None:
        raise Broken("Output of a program that prints `started`", expected="it is pushed while it runs", seen=stream.kinds(key))
    return id_


async def end(subject: Subject, stream: Stream, program: str, *, env: dict[str, str] | None = None) -> stream_pb2.Exited:
    """How it ended. Raises Broken."""
    id_ = subject.new_id()
    await stream.send(execute=attempt_of(subject, program, id_=id_, env=env))
    return await exited_of(stream, key_of(id_))


async def exited_of(stream: Stream, key: stream_pb2.AttemptKey) -> stream_pb2.Exited:
    exited: stream_pb2.Exited | None = await stream.until("exited", key=key)
    if exited is None:
        raise Broken("Exited", expected="it is pushed", seen=stream.kinds(key))
    return exited


@check("stream-order", rule="stream.proto Exited: Sent after the last Output of the attempt.", programs=["hello"])
async def order(subject: Subject) -> list[Claim]:
    stream, id_ = await subject.open_stream(), subject.new_id()
    await stream.send(execute=attempt_of(subject, "hello", id_=id_))
    exited = await exited_of(stream, key_of(id_))
    await stream.send(forget=stream_pb2.Forget(key=key_of(id_)))
    await stream.until("forgotten", key=key_of(id_))
    outputs = {
        name: b"".join(one.data for one in stream.output(key_of(id_), number)) for name, number in (("out", STDOUT), ("err", STDERR))
    }
    return [
        equal("the events", expected=["accepted", "started", "output", "exited", "forgotten"], seen=stream.kinds(key_of(id_))),
        equal("the output of both streams", expected={"out": b"hello\n", "err": b"oops\n"}, seen=outputs),
        equal("its end", expected=("EXIT_REASON_EXITED", 0, 0), seen=how(exited)),
        equal("the bytes that were written", expected=(6, 5), seen=(exited.stdout_bytes, exited.stderr_bytes)),
    ]


@check("stream-exit", rule="stream.proto exit_code: 0..255; 128+N for signal N.", programs=["exit", "kill"])
async def exit_(subject: Subject) -> list[Claim]:
    stream = await subject.open_stream()
    failed = await end(subject, stream, "exit", env={"CODE": "3"})
    killed = await end(subject, stream, "kill")
    return [
        equal("the end of `exit 3`", expected=("EXIT_REASON_EXITED", 3, 0), seen=how(failed)),
        equal("the end by signal 9", expected=("EXIT_REASON_EXITED", 137, 9), seen=how(killed)),
    ]


@check("stream-bytes", rule="stream.proto offset: Position of the first byte of data in its stream.", programs=["bytes"])
async def bytes_(subject: Subject) -> list[Claim]:
    """Bytes as they were written, valid UTF-8 or not, without gaps."""
    stream, id_ = await subject.open_stream(), subject.new_id()
    await stream.send(execute=attempt_of(subject, "bytes", id_=id_))
    await exited_of(stream, key_of(id_))
    outputs = stream.output(key_of(id_), STDOUT)
    ends = [0, *(output.offset + len(output.data) for output in outputs)]
    return [
        equal("the bytes", expected=b"a\xffb\n", seen=b"".join(output.data for output in outputs)),
        equal("the offsets", expected=ends[:-1], seen=[output.offset for output in outputs]),
    ]


@check("stream-duplicate", rule="stream.proto Execute: A key that the server knows already is not started again", programs=["wait"])
async def duplicate(subject: Subject) -> list[Claim]:
    stream = await subject.open_stream()
    id_ = await begin(subject, stream, "wait")
    await stream.send(execute=attempt_of(subject, "wait", id_=id_))
    again = await stream.until("accepted", key=key_of(id_), is_true=lambda accepted: accepted.duplicate)
    alive = await subject.alive_of(id_, expected=1)
    return [
        equal("whether Accepted says that the key is known", expected=True, seen=again is not None),
        equal("starts and processes", expected=(1, 1), seen=(subject.starts_of(id_), alive)),
    ]


@check("stream-attempts", rule="stream.proto AttemptKey: What is executed at most once: a Run's attempt.", programs=["exit", "hello"])
async def attempts(subject: Subject) -> list[Claim]:
    """The end of one attempt is not that of another."""
    stream, id_ = await subject.open_stream(), subject.new_id()
    await stream.send(execute=attempt_of(subject, "exit", id_=id_, env={"CODE": "1"}))
    first = await exited_of(stream, key_of(id_))
    await stream.send(execute=attempt_of(subject, "hello", id_=id_, attempt=2))
    second = await exited_of(stream, key_of(id_, attempt=2))
    return [equal("the exit codes of attempts 0 and 2", expected=(1, 0), seen=(first.exit_code, second.exit_code))]


@check("stream-cancel", rule="stream.proto Cancel: Exited tells when all of it is gone.", programs=["tree"])
async def cancel(subject: Subject) -> list[Claim]:
    stream = await subject.open_stream()
    id_ = await begin(subject, stream, "tree")
    for key in (key_of(id_), key_of(id_), key_of("conformance-nobody")):
        await stream.send(cancel=stream_pb2.Cancel(key=key))
    exited = await exited_of(stream, key_of(id_))
    unknown = await stream.until("forgotten", key=key_of("conformance-nobody"))
    return [
        equal("the reason", expected="EXIT_REASON_CANCELLED", seen=how(exited)[0]),
        equal("processes that live on after Exited", expected=0, seen=await subject.alive_of(id_)),
        equal("whether an unknown key is answered by Forgotten", expected=True, seen=unknown is not None),
    ]


@check(
    "stream-forget",
    rule="stream.proto Forget: an attempt that still runs is killed first. Always answered by Forgotten.",
    programs=["wait"],
)
async def forget(subject: Subject) -> list[Claim]:
    stream = await subject.open_stream()
    id_ = await begin(subject, stream, "wait")
    for key in (key_of(id_), key_of("conformance-nobody")):
        await stream.send(forget=stream_pb2.Forget(key=key))
    told = [await stream.until("forgotten", key=key) is not None for key in (key_of(id_), key_of("conformance-nobody"))]
    held = [entry.key.run_uid for entry in (await subject.open_stream()).welcome.held]
    return [
        equal("whether Forgotten comes, for what runs and for an unknown key", expected=[True, True], seen=told),
        equal("processes that live on", expected=0, seen=await subject.alive_of(id_)),
        equal("whether the next Welcome names it", expected=False, seen=id_ in held),
    ]


@check("stream-and-status", rule="stream.proto Session: What it starts is seen by Status, List, Cancel and Forget", programs=["wait"])
async def and_status(subject: Subject) -> list[Claim]:
    """Old clients read by Status what the stream has started."""
    stream = await subject.open_stream()
    id_ = await begin(subject, stream, "wait")
    status = await subject.status(id_)
    listed = await subject.listed()
    return [
        contains("stdout by Status", expected="started", seen=status.stdout),
        equal("whether List has it", expected=True, seen=id_ in listed),
    ]


def how(exited: stream_pb2.Exited) -> tuple[str, int, int]:
    return stream_pb2.ExitReason.Name(exited.reason), exited.exit_code, exited.signal
