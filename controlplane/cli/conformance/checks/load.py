"""Many at once, and that nobody waits for anybody else."""

from __future__ import annotations

import asyncio
import time

from controlplane.cli.conformance.catalogue import check
from controlplane.cli.conformance.judgement import Claim, equal, that
from controlplane.cli.conformance.subject import LIFE_SIGN_SECONDS, Subject

QUICKLY_SECONDS = 0.5
"""It did not wait for anything, whatever the Cancel took."""


@check("many-at-once", rule="runtime.proto Execute: Returns quickly; the work goes on in the background.", programs=["wait"])
async def many_at_once(subject: Subject) -> list[Claim]:
    """All of them run at the same time, and each has its own output."""
    ids = await asyncio.gather(*(subject.execute("wait") for _ in range(subject.parallel)))
    await asyncio.gather(*(subject.until_printed(id_, "started") for id_ in ids))
    alive = sum(await asyncio.gather(*(subject.alive_of(id_, expected=1) for id_ in ids)))
    for id_ in ids:
        subject.open_gate(id_)
    ends = await asyncio.gather(*map(subject.end_of, ids))
    good = sum(end.stdout == "started\nended\n" and end.exit_code == 0 for end in ends)
    return [
        equal(f"processes of {subject.parallel} executions that run at once", expected=subject.parallel, seen=alive),
        equal("executions with a good end", expected=subject.parallel, seen=good),
    ]


@check("slow-cancel", rule="runtime.proto Execute: Returns quickly; the work goes on in the background.", programs=["stubborn", "hello"])
async def slow_cancel(subject: Subject) -> list[Claim]:
    """While one that ignores SIGTERM is being stopped, others start and end."""
    slow = await subject.started("stubborn")
    cancelling = asyncio.create_task(subject.code_of("Cancel", id=slow))
    try:
        await asyncio.sleep(LIFE_SIGN_SECONDS / 2)  # it is being stopped by now, and is not yet killed
        before = time.monotonic()
        await subject.run("hello")
        seconds = time.monotonic() - before
        is_first = not cancelling.done() or seconds < QUICKLY_SECONDS
    finally:
        await cancelling
    return [that("another execution meanwhile", is_first, expected="it ends before the Cancel does", seen=f"it took {seconds:.1f} s")]
