"""Which execution an id means, and that it never means two."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from controlplane.cli.conformance.catalogue import check
from controlplane.cli.conformance.checks.executing import end_of, state_of
from controlplane.cli.conformance.judgement import Claim, equal, that
from controlplane.cli.conformance.subject import LIFE_SIGN_SECONDS, Subject

TWICE = "runtime.proto Execute: The same id twice never means two processes"
ANEW = "runtime.proto id: After Forget or Cancel the same id may be executed anew"


@check("unknown-ids", rule="runtime.proto Status: NOT_FOUND: the execution is lost.")
async def unknown_ids(subject: Subject) -> list[Claim]:
    codes = {method: await subject.code_of(method, id="conformance-nobody") for method in ("Status", "Cancel", "Forget")}
    return [equal(f"{method} of an unknown id", expected="NOT_FOUND", seen=code) for method, code in codes.items()]


@check("list", rule="runtime.proto List: Every retained execution, with its output.", programs=["hello", "wait"])
async def list_(subject: Subject) -> list[Claim]:
    ended = await subject.execute("hello")
    running = await subject.started("wait")
    await subject.end_of(ended)
    listed = await subject.listed()
    claims = [
        equal(f"missing in List: what {what}", expected=False, seen=id_ not in listed)
        for what, id_ in (("has ended", ended), ("runs", running))
    ]
    if ended in listed and running in listed:
        claims += [
            equal("what has ended, in List", expected=("SUCCEEDED", "hello\n"), seen=(state_of(listed[ended]), listed[ended].stdout)),
            # Some write the line end a moment later.
            equal("what runs, in List", expected=("RUNNING", "started"), seen=(state_of(listed[running]), listed[running].stdout.strip())),
        ]
    return claims


@dataclass(frozen=True, slots=True)
class Repetition:
    """What a second Execute of one id came to."""

    code: str
    starts: int
    alive: int

    @property
    def kind(self) -> str:
        """One of the three that are allowed; empty for none."""
        kept = {True: "refused", False: "kept"}[self.code != "OK"]
        by_count = {(1, 1): kept, (2, 1): "replaced" if self.code == "OK" else ""}
        return by_count.get((self.starts, self.alive), "")


@check("same-id-while-running", rule=TWICE, programs=["wait"])
async def same_id_while_running(subject: Subject) -> list[Claim]:
    seen = [await _repeat(subject) for _ in range(2)]
    return judge_repetitions(seen)


async def _repeat(subject: Subject) -> Repetition:
    id_ = await subject.started("wait")
    code = await subject.code_of("Execute", **subject.request("wait", id_=id_))
    await subject.until_printed(id_, "started")
    alive = await subject.alive_of(id_, expected=1)
    return Repetition(code, starts=subject.starts_of(id_), alive=alive)


def judge_repetitions(seen: list[Repetition]) -> list[Claim]:
    kinds = [one.kind for one in seen]
    first = seen[0]
    text = f"{first.code}, {first.starts} starts, {first.alive} alive"
    expected = "refused or ignored with one start, or replaced with one alive"
    return [
        that("a second Execute of what runs", all(kinds), expected=expected, seen=text),
        that(
            "the same again with another id", len(set(kinds)) == 1, expected=f"{kinds[0] or 'one of them'} again", seen=kinds[-1] or "none"
        ),
    ]


@check("same-id-after-end", rule=TWICE, programs=["hello"])
async def same_id_after_end(subject: Subject) -> list[Claim]:
    """Refused, kept or replaced: afterwards there is one end, and its output once."""
    id_ = await subject.execute("hello")
    await subject.end_of(id_)
    await subject.code_of("Execute", **subject.request("hello", id_=id_))
    await asyncio.sleep(LIFE_SIGN_SECONDS)  # the end that is seen at once is the first one's
    status = await subject.end_of(id_)
    return [equal("its end and output afterwards", expected=("SUCCEEDED", "hello\n"), seen=(state_of(status), status.stdout))]


@check("id-anew-after-forget", rule=ANEW, programs=["exit", "hello"])
async def id_anew_after_forget(subject: Subject) -> list[Claim]:
    """A retry."""
    id_ = await subject.execute("exit", env={"CODE": "1"})
    await subject.end_of(id_)
    await subject.call("Forget", id=id_)
    return await _execute_anew(subject, id_)


@check("id-anew-after-cancel", rule=ANEW, programs=["wait", "hello"])
async def id_anew_after_cancel(subject: Subject) -> list[Claim]:
    """A retry after a timeout."""
    id_ = await subject.started("wait")
    await subject.call("Cancel", id=id_)
    return await _execute_anew(subject, id_)


async def _execute_anew(subject: Subject, id_: str) -> list[Claim]:
    code = await subject.code_of("Execute", **subject.request("hello", id_=id_))
    if code != "OK":
        return [equal("Execute of the id again", expected="OK", seen=code)]
    status = await subject.end_of(id_)
    return [equal("its end and output", expected=("SUCCEEDED", 0, "hello\n"), seen=(*end_of(status), status.stdout))]
