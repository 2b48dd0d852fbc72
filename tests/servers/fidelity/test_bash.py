"""What a script sees of a bash that was held ready is what it sees of a fresh one."""

from __future__ import annotations

from pathlib import Path

import pytest

from servers.supervisor.placeholder import PLACEHOLDER
from tests.servers.fidelity.comparing import Case, Comparison, scripts_in
from tests.servers.processes import ServerProcess

SCRIPTS: dict[str, str | bytes] = {
    **scripts_in("bash_scripts.txt"),
    "nothing": "",
    "no newline at the end": "echo hello",
    "DOS line ends": "echo a\r\nexit 3\r\n",
    "a binary file": b"\x7fELF\x00\x00\x00\n\x00",
    "a huge here document": "cat <<X | wc -c\n" + "x" * 70_000 + "\nX\n",
}
FRESH_WITH_ARGUMENTS = {"extended debugging", "a huge here document"}

LIB: dict[str, str | bytes] = {"lib.sh": 'LIB=loaded; echo "lib $# $1 ${BASH_SOURCE[0]}"; return 4'}

COMMANDS = {
    "a word": "echo hi",
    "nothing": "",
    "names of itself": 'echo "$0 $# $- $_ $BASH_EXECUTION_STRING ${BASH_SOURCE[@]} ${FUNCNAME[@]}"; f() { caller 0; }; f',
    "its process": '[[ $$ == "$BASHPID" && $PPID -gt 1 ]] && (( $(ps -o ppid= $$) == PPID )) && echo well-formed',
    "all that is declared": str(SCRIPTS["all that is declared"]),
    "what the kernel knows": str(SCRIPTS["what the kernel knows"]),
    "several lines": "echo 1\necho $LINENO\n\nnope\necho $LINENO",
    "exit codes": "(exit 3); echo $?; exit 42",
    "the last command takes the place of the shell": "sh -c 'echo $PPID' | cat >/dev/null; exec 3<&-; readlink /proc/self/exe",
    "a single program takes the place of the shell": "readlink /proc/self/exe",
    "set -e": "set -e; echo before; false; echo never",
    "set -u": "set -u; echo $x; echo never",
    "traps": "trap 'echo bye $?' EXIT; trap 'echo term' TERM; kill -TERM $$; exit 5",
    "killed by SIGKILL": "kill -KILL $$",
    "killed by SIGTERM": "kill -TERM $$; sleep 5",
    "standard input is empty": "cat; read x; echo $?",
    "environment of a child": "env | grep -vE '^_=' | sort",
    "a child of it": "bash -c 'echo $SHLVL $0 ${BASH_EXECUTION_STRING} $BASH_ENV'",
    "a syntax error": "echo before\nif true; then (",
    "a command that does not exist": "nonexistent_command; echo $?",
    "a broken quotation": "echo 'never ended",
    "quotes and blanks": "printf '<%s>' 'a  b' \"c'd\" $'e\\nf' \\g; echo $'\\x41'",
    "text beyond ASCII": "x='äöü€'; echo \"${#x} $x\"",
    "a background child": "sleep 1000 & echo started",
    "a comment at the end": "echo a # b",
    "as long as may be": "echo " + "x" * (len(PLACEHOLDER) - 5),
    "one MiB of output": "head -c 1048576 /dev/zero",
}

ENVIRONMENTS = {
    "plain": {"A": "1", "lower": "x", "_private": "y"},
    "that a shell would act on": {
        "A": "$(touch evil) `touch evil` $HOME ; exit 3 #",
        "B": "'; touch evil; '",
        "C": "a\nb\n\n",
        "D": "\\",
        "E": "!x",
    },
    "empty and blank": {"EMPTY": "", "BLANK": "  a  b  ", "TAB": "\t"},
    "beyond ASCII": {"U": "ß€\u200d😀", "L": "\x01\x7f"},
    "of the allow-list": {"PATH": "/usr/bin:/bin:/mine", "HOME": "/mine", "TZ": "Asia/Tokyo", "TMPDIR": "/tmp/x", "HOSTNAME": "me"},
    "as kruntimes sets it": {"KRUNTIME_OUTPUTS": "/w/outputs", "KRUNTIME_ARTIFACTS_DIR": "/w/artifacts", "TRACEPARENT": "00-0-0-01"},
    "very large": {"LARGE": "x" * 40_000},
}

ENVIRONMENTS_OF_FRESH_SHELLS = {
    "BASH_ENV": {"BASH_ENV": "lib.sh"},
    "an exported function": {"BASH_FUNC_f%%": "() { echo from the environment; }"},
    "a name that is none": {"a.b": "1", "c-d": "2"},
    "locale": {"LC_ALL": "C"},
    "SHELLOPTS": {"SHELLOPTS": "noglob"},
    "what a shell keeps for itself": {
        "PWD": "/nowhere",
        "SHLVL": "7",
        "OLDPWD": "/",
        "_": "x",
        "IFS": ":",
        "PPID": "1",
        "RANDOM": "5",
        "PS4": "# ",
    },
    "the loader": {"LD_LIBRARY_PATH": "/nonexistent"},
    "more than a pipe takes": {"LARGE": "x" * 70_000},
}


@pytest.fixture
def comparison(bash_server: ServerProcess, cold_bash_server: ServerProcess, tmp_path: Path) -> Comparison:
    return Comparison(warm=bash_server, cold=cold_bash_server, folder=tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", SCRIPTS)
async def test_a_script_sees_the_same(comparison: Comparison, name: str) -> None:
    await comparison.assert_equal(Case({"script": SCRIPTS[name], **LIB}))


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in SCRIPTS if name not in FRESH_WITH_ARGUMENTS])
async def test_a_script_with_arguments_sees_the_same(comparison: Comparison, name: str) -> None:
    await comparison.assert_equal(Case({"script": SCRIPTS[name], **LIB}, args=("first", "", "a b", "'\"$x\\", "-e", "ü\n", "last")))


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
async def test_a_command_sees_the_same(comparison: Comparison, name: str) -> None:
    await comparison.assert_equal(Case(args=(COMMANDS[name],)))


@pytest.mark.slow
@pytest.mark.parametrize("name", ENVIRONMENTS)
async def test_an_environment_arrives_unchanged(comparison: Comparison, name: str) -> None:
    show = "env -0 | grep -zvE '^_=' | sort -z | tr '\\0' '|'; declare -p ${!U*} ${!EMPTY*} PATH HOME TZ; date +%Z; echo ~; ls"
    await comparison.assert_equal(Case({"script": show}, env=ENVIRONMENTS[name]))
    await comparison.assert_equal(Case(args=(show,), env=ENVIRONMENTS[name]))


@pytest.mark.slow
@pytest.mark.parametrize("name", ENVIRONMENTS_OF_FRESH_SHELLS)
async def test_an_environment_that_acts_on_the_start_of_a_shell_gets_a_fresh_one(comparison: Comparison, name: str) -> None:
    script = "env | grep -vE '^(_|LARGE)=' | sort; echo ${#LARGE}; f; set -o | grep noglob; echo $SHLVL $OLDPWD; x=a:b; echo $x; locale"
    for case in (
        Case({"script": script, **LIB}, env=ENVIRONMENTS_OF_FRESH_SHELLS[name]),
        Case(LIB, (script,), ENVIRONMENTS_OF_FRESH_SHELLS[name]),
    ):
        await comparison.assert_fresh(case)


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(Case(args=("sh", "-c", "echo $0 $1", "zero", "one")), id="sh"),
        pytest.param(Case(args=("bash", "-c", "echo $0 $1", "zero", "one")), id="a command with arguments"),
        pytest.param(Case({"x.sh": "echo $0 $1"}, entrypoint="x.sh", args=("one",)), id="an entrypoint of another name"),
        pytest.param(Case(args=("echo " + "x" * len(PLACEHOLDER),)), id="a command that is too long"),
        pytest.param(
            Case({"script": 'echo "${BASH_ARGV[0]} ${BASH_ARGC[0]}"'}, args=("one", "two")), id="a script that looks for BASH_ARGV"
        ),
        pytest.param(Case({"script": "echo $1\n" + "#" * 70_000}, args=("one",)), id="a long script with arguments"),
        pytest.param(Case({"script": "echo ${#1}"}, args=("x" * 70_000,)), id="arguments that are more than a pipe takes"),
    ],
)
@pytest.mark.slow
async def test_what_is_not_held_gets_a_fresh_shell(comparison: Comparison, case: Case) -> None:
    await comparison.assert_fresh(case)


@pytest.mark.slow
async def test_the_working_directory_may_have_any_name_and_be_a_link(
    bash_server: ServerProcess, cold_bash_server: ServerProcess, tmp_path: Path
) -> None:
    for name in ("a b", "'$(touch evil)\n", "-x", "ü"):
        (tmp_path / "real" / name).mkdir(parents=True)
        (tmp_path / f"link {name}").symlink_to(tmp_path / "real" / name)
        for folder in (tmp_path / "real" / name, tmp_path / f"link {name}"):
            comparison = Comparison(warm=bash_server, cold=cold_bash_server, folder=folder)
            await comparison.assert_equal(Case({"script": 'pwd; pwd -P; echo "$PWD"; cd ..; pwd; cd -'}))
            await comparison.assert_equal(Case(args=('pwd; pwd -P; echo "$PWD"; cd ..; pwd; cd -',)))
