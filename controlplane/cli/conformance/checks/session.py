"""The stream as such: how a session begins, what it is told of older ones, and that older ones have no say any more."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import grpc
from krtpb.executor.v1 import stream_pb2

from controlplane.cli.conformance.catalogue import check
from controlplane.cli.conformance.checks.attempts import attempt_of, begin, key_of
from controlplane.cli.conformance.judgement import Claim, equal, that
from controlplane.cli.conformance.subject import LIFE_SIGN_SECONDS, Subject

FENCE = "stream.proto Session: One session at a time holds."


@check("stream-welcome", rule="stream.proto boot_id: New at each start of the server process")
async def welcome(subject: Subject) -> list[Claim]:
    first, second = await subject.open_stream(), await subject.open_stream()
    kinds = [stream.heard[0].WhichOneof("event") if stream.heard else None for stream in (first, second)]
    return [
        equal("the first response of two sessions", expected=["welcome", "welcome"], seen=kinds),
        that("boot_id", bool(first.welcome.boot_id), expected="not empty", seen=first.welcome.boot_id),
        equal("boot_id in the next session", expected=first.welcome.boot_id, seen=second.welcome.boot_id),
    ]


@check("stream-fence", rule=FENCE, programs=["wait"])
async def fence(subject: Subject) -> list[Claim]:
    """runtimed died with an Execute on its way; its successor has judged it. It must not be executed any more."""
    old = await subject.open_stream()
    new = await subject.open_stream()
    id_ = subject.new_id()
    with suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):  # the server may have ended it already
        await old.send(execute=attempt_of(subject, "wait", id_=id_))
    is_ended = await old.is_ended()
    await asyncio.sleep(LIFE_SIGN_SECONDS)
    await new.send(forget=stream_pb2.Forget(key=key_of(id_)))
    await new.until("forgotten", key=key_of(id_))
    return [
        equal("starts of what an older session asked for", expected=0, seen=subject.starts_of(id_)),
        equal("whether the older session is ended", expected=True, seen=is_ended),
    ]


@check("stream-held", rule="stream.proto held: Everything the server holds, running or ended, without its output.", programs=["wait"])
async def held(subject: Subject) -> list[Claim]:
    stream = await subject.open_stream()
    running, ended = [await begin(subject, stream, "wait") for _ in range(2)]
    subject.open_gate(ended)
    await stream.until("exited", key=key_of(ended))
    entries = {entry.key.run_uid: entry for entry in (await subject.open_stream()).welcome.held}
    claims = [equal("missing in Welcome", expected=[], seen=[id_ for id_ in (running, ended) if id_ not in entries])]
    if running in entries and ended in entries:
        claims += [
            equal("whether what runs has an exit", expected=False, seen=entries[running].HasField("exited")),
            equal("whether what has ended has one", expected=True, seen=entries[ended].HasField("exited")),
            that(
                "started_unix_micros", entries[running].started_unix_micros > 0, expected="not 0", seen=entries[running].started_unix_micros
            ),
        ]
    return claims


@check("stream-attach", rule="stream.proto Attach: Asks for the output of an attempt held since an older session", programs=["wait"])
async def attach(subject: Subject) -> list[Claim]:
    """Its output from the offset on, no byte twice, and then its end."""
    id_ = await begin(subject, await subject.open_stream(), "wait")
    stream = await subject.open_stream()
    key = key_of(id_)
    await stream.send(attach=stream_pb2.Attach(key=key, stdout_offset=4))
    subject.open_gate(id_)
    exited = await stream.until("exited", key=key)
    outputs = stream.output(key, stream_pb2.OUTPUT_STREAM_STDOUT)
    return [
        equal("the offset of the first output", expected=4, seen=outputs[0].offset if outputs else None),
        equal("the output from there on", expected=b"ted\nended\n", seen=b"".join(output.data for output in outputs)),
        equal("whether its end is told", expected=True, seen=exited is not None),
    ]


@check("stream-hello-first", rule="stream.proto Session: The first request is Hello")
async def hello_first(subject: Subject) -> list[Claim]:
    """A session that begins otherwise is refused, and begins nothing."""
    await subject.open_stream()  # offered at all?
    unnamed = subject.bare_stream()
    id_ = subject.new_id()
    await unnamed.send(cancel=stream_pb2.Cancel(key=key_of(id_)))
    return [equal("whether a session without Hello is ended", expected=True, seen=await unnamed.is_ended())]
