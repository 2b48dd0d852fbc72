"""What a Run is started as: command choice, environment, working directory, a clean process; and starts that fail."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from krtpb.executor.v1 import stream_pb2

from tests.servers.conftest import CANARY, SERVER_ENV
from tests.servers.processes import ServerProcess
from tests.servers.sessions import Heard, Session, new_uid


async def environment_of(session: Session, **fields: Any) -> dict[str, str]:
    heard = await session.run("sh", "-c", "exec cat /proc/self/environ", **fields)
    pairs = (entry.split("=", 1) for entry in heard.stdout.decode().rstrip("\0").split("\0"))
    return {name: value for name, value in pairs if name not in {"_", "SHLVL", "PWD", "OLDPWD"}}


async def test_a_run_sees_the_allow_list_and_its_own_env_only(session: Session) -> None:
    env = await environment_of(session, env={"MINE": "1"})
    allowed = {name: SERVER_ENV[name] for name in ("LC_TIME", "TZ", "HOME", "HOSTNAME")}
    # The server's interpreter sets LC_CTYPE for itself where the container says nothing (PEP 538).
    assert env == {"PATH": os.environ["PATH"], "MINE": "1", "LC_CTYPE": "C.UTF-8", **allowed}


async def test_the_runs_env_wins_in_both_servers(session: Session, python_session: Session) -> None:
    ours = {"TZ": "UTC", "HOME": "/mine", "PATH": "/usr/bin:/bin:/mine", "EMPTY": "", "MULTI": "a\nb=c", "UNICODE": "ß"}
    code = "import os, json; print(json.dumps(dict(os.environ)))"
    python_env = json.loads((await python_session.run("-X", "utf8", "-c", code, env=ours)).stdout)
    bash_env = await environment_of(session, env=ours)
    for env in (python_env, bash_env):
        assert {name: env[name] for name in ours} == ours
        assert CANARY not in str(env)


async def test_no_process_of_ours_carries_the_servers_environment(session: Session, bash_server: ServerProcess) -> None:
    heard = await session.run("cat /proc/$PPID/environ; cat /proc/$PPID/cmdline")
    assert CANARY.encode() not in heard.stdout
    heard = await session.run(f"cat /proc/{bash_server.supervisor_pid}/environ")
    assert heard.stdout
    assert CANARY.encode() not in heard.stdout


@pytest.mark.parametrize(
    ("env", "named"),
    [({"": "x"}, "env"), ({"A=B": "x"}, "'A=B'"), ({"A\0": "x"}, "NUL"), ({"GOOD": "a\0secret"}, "GOOD")],
)
async def test_env_that_no_process_can_have_is_not_started_and_named(session: Session, env: dict[str, str], named: str) -> None:
    outcome = (await session.run("exit 0", env=env)).outcome
    assert outcome.reason == stream_pb2.EXIT_REASON_NOT_STARTED
    assert named in outcome.error_message
    assert "secret" not in outcome.error_message


async def test_a_process_starts_clean(session: Session) -> None:
    script = r"""
        echo "$(umask)"; readlink /proc/self/fd/0; ls /proc/$$/fd > fds; tr '\n' ' ' < fds; echo
        grep -E '^Sig(Blk|Ign)' /proc/self/status; trap; [ "$(ps -o sid= -p $$ | tr -d ' ')" = $$ ] && echo leader
    """
    lines = (await session.run(script)).stdout.decode().splitlines()
    assert lines[:2] == ["0022", "/dev/null"]
    # 255 is bash's own.
    assert set(lines[2].split()) <= {"0", "1", "2", "255"}
    # 32 and 33 are the C library's own: it lets nobody change them, so what the test run inherited, stays.
    own = 1 << 31 | 1 << 32
    assert [int(line.split()[1], 16) & ~own for line in lines[3:5]] == [0, 0]
    assert lines[5:] == ["leader"]


async def test_the_working_directory_is_the_requests_or_one_named_by_the_id_and_made(
    session: Session, bash_server: ServerProcess, tmp_path: Path
) -> None:
    assert (await session.run("pwd", working_dir=str(tmp_path / "new" / "ü"))).stdout.decode() == f"{tmp_path}/new/ü\n"
    run_uid = new_uid()
    assert (await session.run("pwd", run_uid=run_uid)).stdout.decode() == f"{bash_server.work_dir}/{run_uid}\n"


@pytest.mark.parametrize("run_uid", ["../escape", "a/b", ".."])
async def test_an_id_that_is_no_name_makes_no_directory(session: Session, run_uid: str) -> None:
    outcome = (await session.run("pwd", run_uid=run_uid)).outcome
    assert outcome.reason == stream_pb2.EXIT_REASON_NOT_STARTED
    assert "working_dir" in outcome.error_message


async def test_a_working_directory_that_cannot_be_made_says_mkdir(session: Session, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    outcome = (await session.run("pwd", working_dir=str(tmp_path / "file" / "below"))).outcome
    assert outcome.reason == stream_pb2.EXIT_REASON_NOT_STARTED
    assert outcome.error_message.startswith(f"mkdir: {tmp_path}/file/below: ")


async def test_arguments_that_are_too_large_are_not_started_and_say_so(session: Session) -> None:
    outcome = (await session.run("x" * 200_000)).outcome
    assert outcome.reason == stream_pb2.EXIT_REASON_NOT_STARTED
    assert "E2BIG" in outcome.error_message


async def test_an_argument_with_nul_is_not_started_and_named(session: Session) -> None:
    outcome = (await session.run("echo", "a\0b")).outcome
    assert outcome.reason == stream_pb2.EXIT_REASON_NOT_STARTED
    assert "args[1]" in outcome.error_message


def script_folder(tmp_path: Path, files: dict[str, str]) -> str:
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return str(tmp_path)


SHOW = 'echo "$0" "$#" "$@"'


@pytest.mark.parametrize(
    ("files", "entrypoint", "args", "expected"),
    [
        pytest.param({"script": SHOW}, "", ["a", "b c"], "script 2 a b c", id="default script with args"),
        pytest.param({"dir/x.sh": SHOW}, "./dir/../dir/x.sh", [], "dir/x.sh 0", id="entrypoint"),
        pytest.param({"-c": SHOW}, "-c", ["echo evil"], "./-c 1 echo evil", id="a name like an option"),
        pytest.param({"a b;$(x)": SHOW}, "a b;$(x)", [], "a b;$(x) 0", id="a name that a shell would act on"),
        pytest.param({}, "", ["echo one"], "one", id="one arg"),
        pytest.param({}, "", ["echo a", "echo b"], "a\nb", id="several args are lines"),
        pytest.param({}, "", ["sh", "-c", SHOW, "zero", "one"], "zero 1 one", id="sh -c as given"),
        pytest.param({}, "", ["bash", "-c", "echo $BASH_VERSION | cut -c1"], "5", id="bash -c as given"),
        pytest.param({}, "", ["echo sh", "-c() { echo called; }", "-c"], "sh\ncalled", id="three args that are no shell"),
        pytest.param({}, "missing.sh", ["echo fallback"], "fallback", id="no such file, but args"),
    ],
)
async def test_bash_runs_the_file_or_the_args(
    session: Session, tmp_path: Path, files: dict[str, str], entrypoint: str, args: list[str], expected: str
) -> None:
    heard = await session.run(*args, entrypoint=entrypoint, working_dir=script_folder(tmp_path, files))
    assert (heard.stdout.decode(), heard.stderr) == (expected + "\n", b"")


async def test_a_run_that_sets_path_still_gets_its_shell(session: Session) -> None:
    assert (await session.run("echo $PATH", env={"PATH": "/nowhere"})).stdout == b"/nowhere\n"


@pytest.mark.parametrize("entrypoint", ["/etc/passwd", "..", "../x", "a/../../x", ".", "a\0b"])
async def test_an_entrypoint_outside_the_working_directory_is_refused_and_named(session: Session, entrypoint: str) -> None:
    outcome = (await session.run("echo no", entrypoint=entrypoint)).outcome
    assert (outcome.reason, outcome.exit_code) == (stream_pb2.EXIT_REASON_NOT_STARTED, 0)
    assert "entrypoint" in outcome.error_message


async def test_nothing_to_run_is_said_in_the_words_that_runtimed_knows(session: Session, python_session: Session) -> None:
    assert (await session.run()).outcome.error_message == "no args or script provided"
    assert (await python_session.run()).outcome.error_message == "no script or args provided"


# Python


async def python_run(session: Session, tmp_path: Path, files: dict[str, str], *args: str, **fields: Any) -> Heard:
    return await session.run(*args, working_dir=script_folder(tmp_path, files), **fields)


async def test_python_runs_a_script_with_its_arguments(python_session: Session, tmp_path: Path) -> None:
    script = "import sys, other; print(sys.argv, other.X, __name__, sys.path[0])"
    heard = await python_run(python_session, tmp_path, {"script": script, "other.py": "X = 1"}, "a", "-b")
    assert heard.stdout.decode() == f"['script', 'a', '-b'] 1 __main__ {tmp_path}\n"


async def test_python_runs_its_arguments(python_session: Session) -> None:
    assert (await python_session.run("-c", "import sys; print(sys.argv)", "x")).stdout == b"['-c', 'x']\n"


async def test_python_calls_a_handler_and_prints_the_json_of_what_it_returns(python_session: Session, tmp_path: Path) -> None:
    files = {"pkg/__init__.py": "", "pkg/mod.py": "def go(event):\n    print('hi')\n    return {'got': event, 'ü': None}\n"}
    heard = await python_run(python_session, tmp_path, files, "a", handler="pkg.mod.go")
    printed, result = heard.stdout.decode().splitlines()
    assert printed == "hi"
    assert json.loads(result) == {"got": {"args": ["a"]}, "ü": None}


async def test_a_handler_is_found_in_the_working_directory_whatever_python_is_told(python_session: Session, tmp_path: Path) -> None:
    files = {"m.py": "import sys\ndef f(event): return [sys.path[0], any('servers/python' in path for path in sys.path)]"}
    for env in ({}, {"PYTHONSAFEPATH": "1"}):
        heard = await python_run(python_session, tmp_path, files, handler="m.f", env=env)
        assert json.loads(heard.stdout) == [str(tmp_path), False]


async def test_a_handler_that_returns_none_prints_nothing(python_session: Session, tmp_path: Path) -> None:
    heard = await python_run(python_session, tmp_path, {"m.py": "def f(event): pass"}, handler="m.f")
    assert (heard.stdout, heard.outcome.exit_code) == (b"", 0)


@pytest.mark.parametrize(("handler", "stderr"), [("m.boom", "ZeroDivisionError"), ("m.missing", "missing"), ("nope.f", "nope")])
async def test_a_handler_that_fails_leaves_a_traceback_and_exit_1(
    python_session: Session, tmp_path: Path, handler: str, stderr: str
) -> None:
    heard = await python_run(python_session, tmp_path, {"m.py": "def boom(event): 1 / 0"}, handler=handler)
    assert heard.outcome.exit_code == 1
    assert stderr in heard.stderr.decode()


@pytest.mark.parametrize("handler", ["f", "m.", ".f", "m.f()", "m;x.f", "m f.g"])
async def test_a_handler_that_is_no_dotted_name_is_refused_and_named(python_session: Session, handler: str) -> None:
    outcome = (await python_session.run(handler=handler)).outcome
    assert outcome.reason == stream_pb2.EXIT_REASON_NOT_STARTED
    assert "handler" in outcome.error_message


async def test_python_output_is_not_buffered_unless_the_run_says_so(python_session: Session) -> None:
    code = "import os; print('printed'); os._exit(0)"
    assert (await python_session.run("-c", code)).stdout == b"printed\n"
    assert (await python_session.run("-c", code, env={"PYTHONUNBUFFERED": ""})).stdout == b""
