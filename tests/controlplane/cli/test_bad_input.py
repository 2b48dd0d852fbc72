"""Bad input and broken surroundings: one clear message that names the field and the remedy, the documented exit code, no traceback."""

from __future__ import annotations

from pathlib import Path

import pytest
from aiohttp import web
from click.testing import CliRunner

from controlplane.cli.app import krt as krt_group
from controlplane.cli.app import run_krt
from tests.controlplane.cli.conftest import KrtHere
from tests.controlplane.cli.fake_apiserver import FakeApiServer, status_answer, write_kubeconfig


@pytest.fixture(autouse=True)
def nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Refusals come before any API server is asked: there is none."""
    monkeypatch.setenv("KUBECONFIG", str(write_kubeconfig(tmp_path / "kubeconfig", url="http://127.0.0.1:9")))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)


def complaint(capfd: pytest.CaptureFixture[str], *arguments: str, code: int = 2) -> str:
    """What krt says on stderr; nothing may come on stdout."""
    assert run_krt(arguments) == code
    stdout, stderr = capfd.readouterr()
    assert stdout == ""
    assert "Traceback" not in stderr
    assert stderr.startswith("error: ")
    return stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("run",), "nothing to run: give a command after `--`, a script with -f, or a repository with --repo-url"),
        (
            ("run", "--env", "KRUNTIME_OUTPUTS=/x", "--", "x"),
            "spec.env[0].name: KRUNTIME_OUTPUTS is set by kruntimes for every Run; choose another",
        ),
        (("run", "--env", "A=1", "--env", "KRUNTIME_ARTIFACTS_DIR=x", "--", "x"), "spec.env[1].name: KRUNTIME_ARTIFACTS_DIR"),
        (("run", "--env", "NOVALUE", "--", "x"), "spec.env[0]: --env 'NOVALUE' has no `=`; write --env NAME=VALUE"),
        (("run", "--env", "s3cr3t", "--", "x"), "spec.env[0]: --env has no `=`; write --env NAME=VALUE"),
        (("run", "--env", "=x", "--", "x"), "spec.env[0].name: the name is empty"),
        (("run", *(f"--env=A{number}=1" for number in range(257)), "--", "x"), "spec.env: has 257 items, the limit is 256"),
        (("run", "-r", "other", "--", *["a"] * 257), "spec.mode.task.args: has 257 items, the limit is 256"),
        (("run", "--", "a" * 8193), "spec.mode.task.args[0]: has 8193 characters, the limit is 8192; pass a script"),
        (("run", "--timeout", "soon", "--", "x"), "--timeout: 'soon' is not a duration; write it as in 1m30s"),
        (("run", "--retry-attempts", "many", "--", "x"), "'many' is not a valid integer"),
        (("run", "--name", "", "--", "x"), "--name is empty; give a value or leave the flag out"),
        (("run", "-f", "missing.sh"), "--file missing.sh: No such file or directory; give a readable file, or - for stdin"),
        (("run", "-f", "."), "--file .: Is a directory"),
        (("run", "--wait", "-o", "json", "--", "x"), "-o json and --wait exclude each other"),
        (("run", "-o", "xml", "--", "x"), "-o xml: unknown format; use one of table, wide, json, yaml, name, jsonpath=EXPRESSION"),
        (("run", "--bogus"), "No such option '--bogus'"),
        (("run", "--name", "a/b", "--", "x"), "metadata.name: 'a/b' is not a name; use lower-case letters, digits, `-` and `.`"),
        (("run", "--name", "n" * 254, "--", "x"), "metadata.name"),
        (("get",), "Missing argument 'NAME...'"),
        (("get", "pod/x"), "unknown type 'pod'; the types are run (rn), runtime (rt)"),
        (("get", "-A", "x"), "-A: this command works in one namespace; name it with -n"),
        (("-A", "run", "--", "x"), "-A: this command works in one namespace"),
        (("get", "-w", "x", "y"), "--watch: name exactly one object"),
        (("list", "--phase", "Done"), "'Done' is not one of"),
        (("cancel", "rt/bash"), "runtime/bash is a Runtime; this command is for Runs"),
        (("logs", "rt/bash"), "names a Runtime; this command takes a Run"),
        (("logs", "x", "--tail", "-1"), "-1 is not in the range x>=0"),
        (("wait", "x", "--timeout", "soon"), "--timeout: 'soon' is not a duration"),
        (("list", "--request-timeout", "soon"), "--request-timeout: 'soon' is not a duration"),
        (("list", "--request-timeout", "-1s"), "--request-timeout: -1s is negative"),
        (("frobnicate",), "No such command 'frobnicate'"),
        (("completion", "csh"), "'csh' is not one of 'bash', 'zsh', 'fish', 'powershell'"),
        (("list", "--context", "nowhere"), "nowhere"),
        (("list", "--certificate-authority", "missing.pem", "-s", "https://127.0.0.1:9"), "missing.pem"),
    ],
)
def test_wrong_usage_exits_2(capfd: pytest.CaptureFixture[str], arguments: tuple[str, ...], words: str) -> None:
    assert words in complaint(capfd, *arguments)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"x" * 262_145, "spec.source.inline: has 262145 characters, the limit is 262144; keep large sources in git"),
        (b"x" * 5_000_000, "spec.source.inline: --file big.sh is larger than 262144 characters, the limit"),
        (b"ok\n\xff\xfe", "--file big.sh: byte 3 is not UTF-8; a source is text"),
        (b"", "--file is empty: there is nothing to run"),
    ],
)
def test_bad_sources_are_refused_before_anything_is_sent(
    capfd: pytest.CaptureFixture[str], tmp_path: Path, content: bytes, words: str
) -> None:
    (tmp_path / "big.sh").write_bytes(content)
    assert words in complaint(capfd, "run", "-f", "big.sh")


def test_the_longest_source_that_fits_counts_characters_not_bytes(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "big.sh").write_text("ü" * 262_144)
    assert "cannot reach the API server" in complaint(capfd, "run", "-f", "big.sh", code=125)


def test_an_unreachable_api_server_is_a_platform_failure_that_names_its_address(capfd: pytest.CaptureFixture[str]) -> None:
    for arguments in (
        ("list",),
        ("get", "x"),
        ("run", "--", "x"),
        ("run", "--wait", "--", "x"),
        ("logs", "x"),
        ("cancel", "x"),
        ("list", "-w"),
    ):
        stderr = complaint(capfd, *arguments, code=125)
        assert "cannot reach the API server at http://127.0.0.1:9" in stderr
        assert "or start local mode with: krt local up" in stderr


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{not yaml", "kubeconfig"),
        ("apiVersion: v1\nkind: Config\n", "current-context"),
        ("- a list", "kubeconfig"),
        ('{"current-context": "x", "contexts": []}', "x"),
    ],
)
def test_a_broken_kubeconfig_is_named_with_its_path(capfd: pytest.CaptureFixture[str], tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "kubeconfig").write_text(text)
    stderr = complaint(capfd, "list")
    assert words in stderr
    assert str(tmp_path / "kubeconfig") in stderr


def test_a_kubeconfig_that_does_not_exist_is_named(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert "/nonexistent/kubeconfig" in complaint(capfd, "--kubeconfig", "/nonexistent/kubeconfig", "list")


RUN, LIST, GET = ("run", "--name", "a", "--", "x"), ("list",), ("get", "x")
NO_KIND = status_answer(404, "NotFound", "the server could not find the requested resource")
NO_PAGE = web.Response(text="404 page not found\n", status=404)
NO_NAMESPACE = status_answer(404, "NotFound", 'namespaces "default" not found')
FORBIDDEN = status_answer(403, "Forbidden", "User me cannot")
UNAUTHORIZED = status_answer(401, "Unauthorized", "Unauthorized")
TAKEN = status_answer(409, "AlreadyExists", "it exists")
NO_FIELD = status_answer(400, "BadRequest", "field label not supported: x")
INVALID = status_answer(422, "Invalid", "bad", causes=[{"field": "spec.mode.task.entrypoint", "message": "must be relative"}])


@pytest.mark.parametrize(
    ("arguments", "refused", "answer", "code", "words"),
    [
        (LIST, "GET runs", FORBIDDEN, 125, "ask for the permission `list` on `runs.kruntimes.io`"),
        (RUN, "POST runs", FORBIDDEN, 125, "you may not create runs in namespace default: User me cannot"),
        (("list", "-w"), "GET runs", FORBIDDEN, 125, "you may not watch runs in namespace default"),
        (GET, "GET runs", UNAUTHORIZED, 125, "check the user of your kubeconfig, or --token"),
        (LIST, "GET runs", NO_KIND, 125, "does not know runs.kruntimes.io: the CRDs are not installed"),
        (RUN, "POST runs", NO_PAGE, 125, "the CRDs are not installed"),
        (GET, "GET runs", NO_PAGE, 125, "the CRDs are not installed"),
        (RUN, "POST runs", NO_NAMESPACE, 125, 'namespace "default" does not exist; create it with: kubectl create namespace default'),
        (RUN, "POST runs", TAKEN, 125, 'Run "a" already exists in namespace default; choose another --name'),
        (RUN, "POST runs", INVALID, 2, "spec.mode.task.entrypoint: the API server refuses it: must be relative"),
        (LIST, "GET runs", status_answer(500, "InternalError", "etcd is sad"), 125, "etcd is sad"),
        (LIST, "GET runs", web.Response(text="<html>proxy</html>"), 125, "the answer is not the JSON of a list"),
        (("list", "--field-selector", "x=y"), "GET runs", NO_FIELD, 125, "field label not supported"),
    ],
)
async def test_what_the_api_server_refuses_is_explained(
    server: FakeApiServer, krt_here: KrtHere, arguments: tuple[str, ...], refused: str, answer: web.Response, code: int, words: str
) -> None:
    server.refuse[refused] = answer
    ended, stdout, stderr = await krt_here(*arguments)
    assert words in stderr
    assert (ended, stdout) == (code, "")
    assert stderr.splitlines()[-1].startswith("error: ")


def test_a_bug_of_ours_is_called_one_and_shows_details_only_when_asked(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> None:
        raise ZeroDivisionError("division by zero")

    from controlplane.cli.version import version

    monkeypatch.setattr(version, "callback", broken)
    assert run_krt(["version"]) == 125
    stderr = capfd.readouterr().err
    assert stderr.startswith("error: this is a bug in krt, not your mistake: ZeroDivisionError: division by zero\n")
    assert "with -v" in stderr
    assert "Traceback" not in stderr
    assert run_krt(["version", "-v"]) == 125
    assert "test_bad_input.py" in capfd.readouterr().err


@pytest.mark.parametrize("flag", ["-v=6", "--v=4"])
def test_kubectl_s_way_of_asking_for_details_works(capfd: pytest.CaptureFixture[str], flag: str) -> None:
    assert run_krt([flag, "version"]) == 0
    assert run_krt(["version", flag]) == 0
    assert run_krt(["run", "--env", "A", "--", "x", flag]) == 2
    assert "Traceback" not in capfd.readouterr().err, "what comes after -- is not ours"


@pytest.mark.parametrize("arguments", [(), ("runtime",)])
def test_a_group_alone_shows_its_help_and_is_wrong_usage(capfd: pytest.CaptureFixture[str], arguments: tuple[str, ...]) -> None:
    assert run_krt(arguments) == 2
    stdout, stderr = capfd.readouterr()
    assert stdout == ""
    assert stderr.startswith("Usage: krt")


def test_help_exists_for_every_command() -> None:
    runner = CliRunner()
    for name in krt_group.list_commands(None):  # type: ignore[arg-type]
        result = runner.invoke(krt_group, [name, "--help"])
        assert result.exit_code == 0, name
        assert result.output.startswith(f"Usage: krt {name}"), name


def test_local_mode_without_its_packages_says_what_to_install(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    from controlplane.cli import app

    monkeypatch.setattr(app, "_LOCAL_EXTRA", ("cel", "no_such_package"))
    stderr = complaint(capfd, "local", "up", "--whatever", code=125)
    assert stderr == "error: krt local needs packages that are not installed (no_such_package); run: pip install 'kruntimes[local]'\n"
