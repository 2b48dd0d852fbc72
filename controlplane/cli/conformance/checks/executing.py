"""Execute, and what Status says from then on."""

from __future__ import annotations

import time

from krtpb.executor.v1 import runtime_pb2, stream_pb2

from controlplane.cli.conformance.catalogue import check
from controlplane.cli.conformance.judgement import Broken, Claim, among, at_most, equal, that
from controlplane.cli.conformance.subject import ENDED, Subject
from runtimed.core.events import ExecutionExited
from runtimed.core.facts import Exit
from runtimed.shell import frames
from runtimed.shell.unary import answers

AT_ONCE_SECONDS = 2.0
GOING_ON = ("PENDING", "RUNNING")


@check("health", rule="runtime.proto Health: Whether it can execute.")
async def health(subject: Subject) -> list[Claim]:
    answer = await subject.call("Health")
    return [equal("Health.healthy", expected=True, seen=answer.healthy)]


@check("execute", rule="runtime.proto Execute: Returns quickly; the work goes on in the background.", programs=["hello"])
async def execute(subject: Subject) -> list[Claim]:
    """The first that executes anything: what fails here fails everywhere."""
    status = await subject.run("hello")
    seen = f"{state_of(status)}, stdout {status.stdout[:80]!r}, stderr {status.stderr[:80]!r}, {status.error_message[:80]!r}"
    is_good = (state_of(status), status.stdout, status.stderr) == ("SUCCEEDED", "hello\n", "oops\n")
    return [that("a first script", is_good, expected=r"SUCCEEDED, stdout 'hello\n', stderr 'oops\n'", seen=seen)]


@check("execute-at-once", rule="runtime.proto Execute: Returns quickly; the work goes on in the background.", programs=["wait"])
async def execute_at_once(subject: Subject) -> list[Claim]:
    request = subject.request("wait")
    before = time.monotonic()
    answer = await subject.call("Execute", **request)
    seconds = time.monotonic() - before
    return [
        at_most("the time that Execute takes", limit=AT_ONCE_SECONDS, seen=seconds, unit="s"),
        equal("ExecuteResponse.id", expected=request["id"], seen=answer.id),
    ]


@check("states", rule="runtime.proto Status: State and all output so far, until Forget or Cancel.", programs=["wait"])
async def states(subject: Subject) -> list[Claim]:
    id_ = await subject.started("wait")
    while_it_waits = state_of(await subject.status(id_))
    subject.open_gate(id_)
    ended = state_of(await subject.end_of(id_))
    later = await subject.status(id_)
    return [
        among("the state while it runs", expected=GOING_ON, seen=while_it_waits),
        equal("the state after its end", expected="SUCCEEDED", seen=ended),
        equal("the state a moment later", expected="SUCCEEDED", seen=state_of(later)),
        equal("StatusResponse.id", expected=id_, seen=later.id),
    ]


@check("exit-codes", rule="runtime.proto exit_code: Of the main process; its end is the end.", programs=["exit"])
async def exit_codes(subject: Subject) -> list[Claim]:
    ends = {code: await subject.run("exit", env={"CODE": str(code)}) for code in (0, 1, 3, 255)}
    return [
        equal(f"the end of a process that exits with {code}", expected=("FAILED" if code else "SUCCEEDED", code), seen=end_of(status))
        for code, status in ends.items()
    ]


@check("signal", rule='runtime.proto exit_code: Killed by signal N: 128+N, or -N, or -1 and "signal: " with its name.', programs=["kill"])
async def signal(subject: Subject) -> list[Claim]:
    status = await subject.run("kill")
    return [equal("the state of what was killed", expected="FAILED", seen=state_of(status)), judge_signal(status)]


def judge_signal(status: runtime_pb2.StatusResponse) -> Claim:
    """As runtimed reads it, or as a shell puts it."""
    read = read_exit(status)
    is_told = read.signal == 9 or read.exit_code == 128 + 9
    seen = f"exit_code {status.exit_code}, error_message {status.error_message[:80]!r}"
    return that("how it is told", is_told, expected="exit_code 137 or -9, or -1 and error_message 'signal: killed'", seen=seen)


@check("nothing-to-run", rule='runtime.proto error_message: "timeout" and "no args or script provided" have a meaning.')
async def nothing_to_run(subject: Subject) -> list[Claim]:
    """It has to fail, by whatever words: what never ends holds its Run up for ever."""
    id_ = subject.new_id()
    _, there = subject.workspace.folder(id_)
    code = await subject.code_of("Execute", id=id_, working_dir=there, entrypoint="script")
    if code != "OK":
        return [that("Execute without script and args", code not in ("UNAVAILABLE", "DEADLINE_EXCEEDED"), expected="an error", seen=code)]
    status = await subject.end_of(id_)
    return [
        equal("the state without script and args", expected="FAILED", seen=state_of(status)),
        that("error_message", bool(status.error_message), expected="it says why", seen=status.error_message),
    ]


@check("timeout", rule='runtime.proto timeout_seconds: FAILED, exit_code -1, error_message exactly "timeout".', programs=["wait"])
async def timeout(subject: Subject) -> list[Claim]:
    id_ = await subject.started("wait", timeout_seconds=1)
    status = await subject.end_of(id_)
    return [
        equal("the end after the timeout", expected=("FAILED", -1, "timeout"), seen=(*end_of(status), status.error_message)),
        that("stdout", "started" in status.stdout, expected="what was written before is kept", seen=status.stdout),
        equal("processes that live on", expected=0, seen=await subject.alive_of(id_)),
    ]


@check("no-timeout", rule="runtime.proto timeout_seconds: 0 or less: no limit.", programs=["wait"])
async def no_timeout(subject: Subject) -> list[Claim]:
    """Nor is one that is far away one of now."""
    claims = []
    for seconds in (0, -5, 2**62):
        id_ = await subject.execute("wait", timeout_seconds=seconds)
        try:
            await subject.until_printed(id_, "started")
        except Broken as broken:
            return [broken.claim]
        subject.open_gate(id_)
        claims.append(equal(f"the end with timeout_seconds {seconds}", expected=("SUCCEEDED", 0), seen=end_of(await subject.end_of(id_))))
    return claims


def state_of(status: runtime_pb2.StatusResponse) -> str:
    return str(runtime_pb2.ExecutionState.Name(status.state)).removeprefix("EXECUTION_STATE_")


def end_of(status: runtime_pb2.StatusResponse) -> tuple[str, int]:
    return state_of(status), status.exit_code


def read_exit(status: runtime_pb2.StatusResponse) -> Exit:
    """What runtimed makes of it."""
    assert status.state in ENDED
    told = frames.read_event(answers.exited(status, key=stream_pb2.AttemptKey(), unix_micros=0))
    assert told is not None
    assert isinstance(told[1], ExecutionExited)
    return told[1].exit
