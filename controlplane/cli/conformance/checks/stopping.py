"""Cancel, Forget, and what a main process leaves behind."""

from __future__ import annotations

import time

from controlplane.cli.conformance.catalogue import check
from controlplane.cli.conformance.checks.executing import end_of
from controlplane.cli.conformance.judgement import Claim, among, at_most, equal
from controlplane.cli.conformance.subject import Subject
from runtimed.shell.unary.calls import CANCEL_SECONDS

STOPS = "runtime.proto Cancel: Stops the process tree and drops the entry; answers when that is done."
DROPS = "runtime.proto Forget: Drops a finished entry."
GONE = ("OK", "NOT_FOUND")


@check("cancel-tree", rule=STOPS, programs=["tree"])
async def cancel_tree(subject: Subject) -> list[Claim]:
    return await _cancel(subject, "tree")


@check("cancel-stubborn", rule=STOPS, programs=["stubborn"])
async def cancel_stubborn(subject: Subject) -> list[Claim]:
    """One that ignores SIGTERM, within the deadline that runtimed gives."""
    return await _cancel(subject, "stubborn")


@check("cancel-escaped", rule=STOPS, programs=["escape"], is_advice=True)
async def cancel_escaped(subject: Subject) -> list[Claim]:
    """A process group is not the whole tree. Only the container's end stops the rest."""
    return await _cancel(subject, "escape")


async def _cancel(subject: Subject, program: str) -> list[Claim]:
    id_ = await subject.started(program)
    before = time.monotonic()
    code = await subject.code_of("Cancel", id=id_)
    seconds = time.monotonic() - before
    return [
        equal("Cancel", expected="OK", seen=code),
        at_most("the time that Cancel takes", limit=CANCEL_SECONDS, seen=seconds, unit="s"),
        equal("processes that live on after it", expected=0, seen=await subject.alive_of(id_)),
        equal("Status after Cancel", expected="NOT_FOUND", seen=await subject.code_of("Status", id=id_)),
        equal("whether List still has it", expected=False, seen=id_ in await subject.listed()),
    ]


@check("cancel-repeated", rule="runtime.proto Cancel: May be repeated.", programs=["wait"])
async def cancel_repeated(subject: Subject) -> list[Claim]:
    """runtimed does so when it does not see that it helped; and a Run may end in the same moment."""
    running, ended = await subject.started("wait"), await subject.execute("wait")
    subject.open_gate(ended)
    await subject.end_of(ended)
    codes = [await subject.code_of("Cancel", id=id_) for id_ in (running, running, ended, ended)]
    return [
        equal("the first Cancel", expected="OK", seen=codes[0]),
        among("the second Cancel", expected=GONE, seen=codes[1]),
        among("Cancel of what has ended", expected=GONE, seen=codes[2]),
        among("the second Cancel of what has ended", expected=GONE, seen=codes[3]),
    ]


@check("forget-running", rule="runtime.proto Forget: FAILED_PRECONDITION while it runs", programs=["wait"])
async def forget_running(subject: Subject) -> list[Claim]:
    id_ = await subject.started("wait")
    code = await subject.code_of("Forget", id=id_)
    alive = await subject.alive_of(id_, expected=1)
    return [
        equal("Forget of what runs", expected="FAILED_PRECONDITION", seen=code),
        equal("processes after it", expected=1, seen=alive),
        equal("Status after it", expected="OK", seen=await subject.code_of("Status", id=id_)),
    ]


@check("forget-ended", rule=DROPS, programs=["hello"])
async def forget_ended(subject: Subject) -> list[Claim]:
    id_ = await subject.execute("hello")
    await subject.end_of(id_)
    return [
        equal("Forget of what has ended", expected="OK", seen=await subject.code_of("Forget", id=id_)),
        equal("Status after it", expected="NOT_FOUND", seen=await subject.code_of("Status", id=id_)),
        equal("whether List still has it", expected=False, seen=id_ in await subject.listed()),
    ]


@check("left-behind", rule="runtime.proto exit_code: Of the main process; its end is the end.", programs=["leave"], is_advice=True)
async def left_behind(subject: Subject) -> list[Claim]:
    """A child in the background, with the output still open: it delays nothing and does not stay."""
    id_ = await subject.execute("leave")
    status = await subject.end_of(id_)
    return [
        equal("the end of a process that leaves a child behind", expected=("SUCCEEDED", 0), seen=end_of(status)),
        equal("children that live on", expected=0, seen=await subject.alive_of(id_)),
    ]
