"""From checks to results: one after the other, each with what it began ended before the next."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

import grpc

from controlplane.cli.conformance.catalogue import Check
from controlplane.cli.conformance.judgement import Broken, NotApplicable, Outcome, Verdict, judge
from controlplane.cli.conformance.subject import Subject

FIRST = "execute"
"""What fails here fails everywhere: the rest is not asked."""


@dataclass(frozen=True, slots=True)
class Result:
    check: Check
    verdict: Verdict
    seconds: float


async def run_checks(subject: Subject, checks: Sequence[Check]) -> AsyncIterator[Result]:
    is_hopeless = False
    for check in checks:
        if is_hopeless:
            yield Result(
                check, Verdict(Outcome.SKIPPED, reason="the server does not execute a first script: see --language, --workspace"), 0.0
            )
            continue
        before = time.monotonic()
        verdict = await run_check(subject, check)
        yield Result(check, verdict, time.monotonic() - before)
        is_hopeless = check.name == FIRST and verdict.outcome is Outcome.FAILED


async def run_check(subject: Subject, check: Check) -> Verdict:
    try:
        async with subject.for_one_check():
            return judge(await check.ask(subject), is_advice=check.is_advice)
    except NotApplicable as why:
        return Verdict(Outcome.SKIPPED, reason=str(why))
    except Broken as broken:
        return judge([broken.claim], is_advice=check.is_advice)
    except grpc.aio.AioRpcError as error:
        return judge([_broken_call(f"{error.code().name}: {error.details()}").claim], is_advice=check.is_advice)
    except (TimeoutError, asyncio.InvalidStateError) as error:
        return judge([_broken_call(str(error) or "nothing in time").claim], is_advice=check.is_advice)


def _broken_call(seen: str) -> Broken:
    return Broken("a call", expected="an answer", seen=seen)
