"""What Status and List carry of what was written."""

from __future__ import annotations

import asyncio

from controlplane.cli.conformance.catalogue import check
from controlplane.cli.conformance.checks.executing import state_of
from controlplane.cli.conformance.judgement import Claim, at_most, contains, equal, that
from controlplane.cli.conformance.programs import FLOOD_BYTES
from controlplane.cli.conformance.subject import Subject

MESSAGE_BYTES = 4 << 20
"""gRPC's default limit, which clients other than runtimed have."""
FLOODS = 4
START = "x" * 1000


@check("output-so-far", rule="runtime.proto Status: State and all output so far, until Forget or Cancel.", programs=["wait"])
async def output_so_far(subject: Subject) -> list[Claim]:
    """`until_printed` is the check: it breaks where the output comes with the end only."""
    id_ = await subject.started("wait")
    subject.open_gate(id_)
    return [equal("stdout at the end", expected="started\nended\n", seen=(await subject.end_of(id_)).stdout)]


@check("output-retained", rule="runtime.proto Status: State and all output so far, until Forget or Cancel.", programs=["hello"])
async def output_retained(subject: Subject) -> list[Claim]:
    id_ = await subject.execute("hello")
    first = await subject.end_of(id_)
    listed = (await subject.listed()).get(id_)
    later = await subject.status(id_)
    return [
        equal("the second answer of Status", expected=first, seen=later),
        equal("the entry in List", expected=first, seen=listed),
    ]


@check("invalid-utf8", rule="runtime.proto stdout: valid whatever was written", programs=["bytes"])
async def invalid_utf8(subject: Subject) -> list[Claim]:
    """A proto3 string must be valid: raw bytes in it make the whole answer fail, of List for everybody."""
    id_ = await subject.execute("bytes")
    text = (await subject.end_of(id_)).stdout
    is_in_list = id_ in await subject.listed()
    is_kept = text.startswith("a") and text.endswith("b\n")
    return [
        that("stdout of the bytes a ff b", is_kept, expected="a, something for the byte, b", seen=text),
        equal("whether List answers with it", expected=True, seen=is_in_list),
    ]


@check("split-character", rule="runtime.proto stdout: valid whatever was written", programs=["halves"])
async def split_character(subject: Subject) -> list[Claim]:
    """What was half of a character in one answer must not stay so."""
    id_ = await subject.execute("halves")
    for _ in range(20):
        await subject.status(id_)
        await asyncio.sleep(0.01)
    subject.open_gate(id_)
    return [equal("stdout at the end", expected="€", seen=(await subject.end_of(id_)).stdout)]


@check("output-bound", rule="runtime.proto stdout: bounded: both together fit a message of 4 MiB.", programs=["flood"])
async def output_bound(subject: Subject) -> list[Claim]:
    status = await subject.run("flood")
    what = f"of {FLOOD_BYTES} bytes to each stream"
    return [
        equal(f"the state of a process that writes {FLOOD_BYTES} bytes to each stream", expected="SUCCEEDED", seen=state_of(status)),
        at_most(f"StatusResponse {what}", limit=MESSAGE_BYTES, seen=status.ByteSize(), unit="bytes"),
        that(f"stdout {what}", status.stdout.startswith(START), expected="its start is kept", seen=status.stdout),
        that(f"stderr {what}", status.stderr.startswith(START), expected="its start is kept", seen=status.stderr),
    ]


@check("list-of-large-output", rule="runtime.proto List: Every retained execution, with its output.", programs=["flood"])
async def list_of_large_output(subject: Subject) -> list[Claim]:
    """It is how runtimed finds what it has to end, when it starts."""
    ids = [await subject.execute("flood") for _ in range(FLOODS)]
    for id_ in ids:
        await subject.end_of(id_)
    listed = await subject.listed()
    missing = [id_ for id_ in ids if id_ not in listed]
    return [
        equal(f"missing in List of {FLOODS} that wrote {FLOOD_BYTES} bytes to each stream", expected=[], seen=missing),
        *[contains("stdout in List", expected=START, seen=listed[id_].stdout) for id_ in ids if id_ in listed],
    ]
