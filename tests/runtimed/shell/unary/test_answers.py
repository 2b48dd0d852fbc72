"""What the unary server's answers mean: ends, output by offset, pauses."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from krtpb.executor.v1 import runtime_pb2, stream_pb2

from k8s.api.phases import Reason
from runtimed.core.events import ExecutionExited
from runtimed.core.facts import Exit, ExitReason
from runtimed.core.verdicts import classify_exit
from runtimed.shell import frames
from runtimed.shell.unary import answers

KEY = stream_pb2.AttemptKey(run_uid="a")
SUCCEEDED, FAILED = runtime_pb2.EXECUTION_STATE_SUCCEEDED, runtime_pb2.EXECUTION_STATE_FAILED


def read_exit(state: runtime_pb2.ExecutionState, exit_code: int, error_message: str, *, stderr: str = "") -> Exit:
    """As the core is told it."""
    status = runtime_pb2.StatusResponse(state=state, exit_code=exit_code, error_message=error_message, stderr=stderr)
    told = frames.read_event(answers.exited(status, key=KEY, unix_micros=1))
    assert told is not None
    assert isinstance(told[1], ExecutionExited)
    return told[1].exit


@pytest.mark.parametrize(
    ("exit_code", "error_message", "expected"),
    [
        pytest.param(3, "exit status 3", (ExitReason.EXITED, 3, 0), id="ours and Go's"),
        pytest.param(7, "", (ExitReason.EXITED, 7, 0), id="Python's"),
        pytest.param(137, "signal: killed", (ExitReason.EXITED, 137, 9), id="our signal"),
        pytest.param(139, "signal: segmentation fault (core dumped)", (ExitReason.EXITED, 139, 11), id="our core dump"),
        pytest.param(-1, "signal: terminated", (ExitReason.EXITED, 143, 15), id="Go's signal"),
        pytest.param(-9, "", (ExitReason.EXITED, 137, 9), id="Python's signal"),
        pytest.param(143, "", (ExitReason.EXITED, 143, 0), id="a shell's exit code is no signal"),
        pytest.param(0, "cannot start sh", (ExitReason.NOT_STARTED, 0, 0), id="not started"),
        pytest.param(-1, "cancelled", (ExitReason.LOST, 0, 0), id="cancelled by somebody else"),
        pytest.param(-100, "", (ExitReason.NOT_STARTED, -100, 0), id="no signal has this number"),
    ],
)
def test_every_servers_way_to_say_how_a_process_ended_is_understood(
    exit_code: int, error_message: str, expected: tuple[ExitReason, int, int]
) -> None:
    exit_ = read_exit(FAILED, exit_code, error_message)
    assert (exit_.reason, exit_.exit_code, exit_.signal) == expected
    assert not exit_.is_success


def test_success_is_success_whatever_code_stands_beside_it() -> None:
    assert read_exit(SUCCEEDED, 0, "").is_success
    assert read_exit(SUCCEEDED, 5, "").exit_code == 0


@pytest.mark.parametrize(
    ("exit_code", "error_message", "stderr", "reason", "text"),
    [
        (-1, "timeout", "", Reason.TIMEOUT, "timeout"),
        (0, "timeout", "", Reason.RUNTIME_ERROR, "timeout"),
        (0, "no args or script provided", "", Reason.PREPARE_SOURCE, "no args or script provided"),
        (1, "git clone: no such host", "", Reason.PREPARE_SOURCE, "git clone: no such host"),
        (1, "git clones", "", Reason.RUNTIME_ERROR, "git clones"),
        (0, "", "boom", Reason.RUNTIME_ERROR, "runtime stderr: boom"),
        (0, "", "", Reason.RUNTIME_ERROR, "runtime execution failed"),
        (2, "", "boom", Reason.RUNTIME_ERROR, "runtime stderr: boom"),
        (-9, "", "", Reason.RUNTIME_ERROR, "killed by signal 9 (SIGKILL)"),
        (-1, "cancelled", "", Reason.EXECUTION_LOST, answers.CANCELLED_ELSEWHERE_TEXT),
    ],
)
def test_a_failure_is_classified_by_code_and_text(exit_code: int, error_message: str, stderr: str, reason: str, text: str) -> None:
    assert classify_exit(read_exit(FAILED, exit_code, error_message, stderr=stderr)) == (reason, text)


def test_the_end_of_stderr_is_at_most_a_kibibyte() -> None:
    assert read_exit(FAILED, 1, "", stderr="x" * 5000).stderr_tail == "x" * 1024


def test_only_an_end_is_an_end() -> None:
    ended = [number for number in range(-1, 6) if answers.has_ended(runtime_pb2.StatusResponse(state=number))]  # type: ignore[arg-type]
    assert ended == [SUCCEEDED, FAILED]


def test_pauses_grow_from_5_to_500_milliseconds_by_a_quarter() -> None:
    pauses = answers.Pauses()
    seconds = [pauses.next() for _ in range(40)]
    assert seconds[0] == 0.005
    assert seconds[-1] == 0.5
    assert all(later <= 1.25 * earlier for earlier, later in itertools.pairwise(seconds))
    assert sum(itertools.takewhile(lambda pause: pause < 0.5, seconds)) < 2.5


def outputs(reader: answers.OutputReader, stdout: str, *, is_final: bool = False) -> list[tuple[int, bytes]]:
    state = SUCCEEDED if is_final else runtime_pb2.EXECUTION_STATE_RUNNING
    told = reader.read(runtime_pb2.StatusResponse(state=state, stdout=stdout), key=KEY)
    return [(response.output.offset, response.output.data) for response in told]


@given(
    st.lists(st.sampled_from([b"a", b"\n", "ü".encode(), "€".encode(), "🜁".encode(), b"\xff", b"\xc3", b"\xe2\x82"]), max_size=30),
    st.data(),
)
def test_what_is_told_piece_by_piece_is_the_whole_text(parts: list[bytes], data: st.DataObject) -> None:
    """However the bytes are cut between two answers, also inside a character."""
    written = b"".join(parts)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(written)), max_size=8)))
    reader = answers.OutputReader()
    told: list[tuple[int, bytes]] = []
    for cut in cuts:
        told += outputs(reader, written[:cut].decode("utf-8", "replace"))
    told += outputs(reader, written.decode("utf-8", "replace"), is_final=True)
    assert b"".join(piece for _, piece in told) == written.decode("utf-8", "replace").encode()
    assert [offset for offset, _ in told] == [sum(len(piece) for _, piece in told[:number]) for number in range(len(told))]


def test_output_goes_on_from_an_offset() -> None:
    assert outputs(answers.OutputReader(stdout_offset=4), "a€bc") == [(4, b"bc")]


def test_a_text_that_became_shorter_brings_nothing() -> None:
    reader = answers.OutputReader()
    outputs(reader, "abc")
    assert outputs(reader, "a") == []


def test_a_request_has_everything_but_a_timeout() -> None:
    """runtimed keeps the time."""
    execute = stream_pb2.Execute(key=KEY, args=["x"], env={"A": "1"}, working_dir="/w", entrypoint="e", handler="h")
    request = runtime_pb2.ExecuteRequest(id="a", args=["x"], env={"A": "1"}, working_dir="/w", entrypoint="e", handler="h")
    assert answers.request_of(execute) == request
