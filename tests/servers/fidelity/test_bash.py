"""What a script sees of a bash that was held ready is what it sees of a fresh one."""

from __future__ import annotations

from pathlib import Path

import pytest

from servers.supervisor.placeholder import PLACEHOLDER
from tests.servers.fidelity.comparing import Case, Comparison
from tests.servers.processes import ServerProcess

# What every shell has for itself, and PIPESTATUS, BASH_ARGC and SECONDS, which are documented differences before they are used.
DUMP = r"""
    declare -p | grep -vE '^declare -[a-zA-Z-]+ (BASHPID|EPOCH[A-Z]*|PPID|S?RANDOM|SECONDS|PIPESTATUS|BASH.ARG[CV]|_)(=|$)'
    set -o; shopt; trap; alias; hash; jobs; declare -F; umask; ulimit -a; enable; dirs; pwd; pwd -P; times | wc -l
"""
STATUS = r"""
    echo "$(</proc/$$/comm)"; tr '\0' ' ' </proc/$$/cmdline | head -c 11; echo
    # Two signals are the C library's own: a spawned process ignores them.
    while read -r name value; do case $name in
        Sig[BIC]*) echo $name $((16#$value & ~0x180000000));; Umask*|NoNewPrivs*|Seccomp*|Threads*) echo $name $value;;
    esac; done </proc/$$/status
    cat /proc/$$/limits /proc/$$/oom_score_adj; ls -l /proc/$$/fd > fds; sed 's/.* \([0-9]* -> [a-z/]*\).*/\1/' fds; rm fds
    read -r pid _ _ ppid group leader tty _ </proc/$$/stat; echo $((pid == $$)) $((ppid == PPID)) $((group == $$)) $((leader == $$)) $tty
"""

SCRIPTS = {
    "nothing": "",
    "no newline at the end": "echo hello",
    "exit codes": "(exit 3); echo $?; false; echo $?; exit 42",
    "the code of the last command": "true\nfalse",
    "names of itself": 'echo "$0" "${BASH_SOURCE[@]}" "${FUNCNAME[@]}" "$BASH_SUBSHELL" "$-" "$_" "$BASH"\nf() { caller 0; }\nf',
    "arguments": 'echo $# "$*"; printf "<%s>" "$@"; shift; echo "$1"; set -- "${@: -1}"; echo "$@"',
    "its process": '[[ $$ == "$BASHPID" && $PPID -gt 1 ]] && (( $(ps -o ppid= $$) == PPID )) && echo "well-formed $(($$ > 1))"',
    "all that is declared": DUMP,
    "what the kernel knows": STATUS,
    "the first status": 'echo "$? $_ $! $SECONDS ${#DIRSTACK[@]} $OLDPWD $OPTIND $SHLVL $IFS|"',
    "standard input is empty": 'read -r line; echo "$? <$line>"; readlink /proc/self/fd/0; cat; wc -c',
    "working directory": "pwd; echo $PWD; cd /; cd -; cd ..; echo $OLDPWD; ls -id . >/dev/null && echo here",
    "cd - has nowhere to go at first": "cd -; echo $?; echo ${OLDPWD-unset}; env | grep -c OLDPWD",
    "environment of a child": "env | grep -vE '^_=' | sort; export A=1; env | grep ^A=; env | grep ^_=",
    "SHLVL and a nested shell": "echo $SHLVL; bash -c 'echo $SHLVL $0 $_'; (echo $SHLVL); exec bash -c 'echo $SHLVL'",
    "BASH_ENV": "echo ${BASH_ENV-unset}; bash -c 'echo ${BASH_ENV-unset}'; declare -p BASH_ENV",
    "set -e": "set -e; echo before; if false; then :; fi; false || true; echo middle; false; echo never",
    "set -e in a function and a subshell": "set -eE; trap 'echo err $? $LINENO' ERR; f() { false; echo never; }; (f); echo never",
    "set -u": 'set -u; echo "${x-}"; echo $x; echo never',
    "set -x": "set -x; echo a b; x=1; PS4='> '; : \"$x\"",
    "pipefail": "set -o pipefail; false | true; echo $? ${PIPESTATUS[@]}; true | false | true; echo ${PIPESTATUS[@]}",
    "traps at exit": "trap 'echo bye $?' EXIT; trap -p; (trap; exit 3); exit 5",
    "traps of signals": "trap 'echo usr1' USR1; trap 'echo term; exit 9' TERM; kill -USR1 $$; kill -TERM $$; sleep 5",
    "traps of debug and return": "set -T; trap 'echo d:$BASH_COMMAND' DEBUG; f() { :; }; trap 'echo r' RETURN; f; echo end",
    "a trap that ignores": "trap '' TERM INT; trap -p; kill -TERM $$; kill -INT $$; bash -c 'kill -TERM $$; echo inherited'; echo lives",
    "killed by SIGKILL": "echo before; kill -KILL $$; echo never",
    "killed by SIGTERM": "kill -TERM $$; sleep 5; echo never",
    "killed by SIGINT": "kill -INT $$; sleep 5; echo never",
    "killed by SIGHUP": "kill -HUP $$; sleep 5; echo never",
    "killed by SIGPIPE": "kill -PIPE $$; sleep 5; echo never",
    "a broken pipe": "yes | head -1; echo ${PIPESTATUS[@]}",
    "an exit trap and a signal": "trap 'echo exit trap' EXIT; kill -TERM $$; sleep 5",
    "subshells": "x=1; (x=2; echo $x $BASH_SUBSHELL $(($$ != BASHPID))); echo $x; echo $(echo nested; (exit 7)) $?",
    "background children": "sleep 0.01 & a=$!; (exit 3) & wait $!; echo $?; wait $a; echo $?; wait; jobs; echo ${#a}",
    "a background child that outlives it": "sleep 1000 & echo started",
    "a coproc": 'coproc cat; echo hi >&"${COPROC[1]}"; read -r line <&"${COPROC[0]}"; echo $line',
    "process substitution": "diff <(echo 1) <(echo 1); echo $?; cat < <(echo in); echo out > >(cat); wait $!",
    "redirections": "exec 3>file 4<&0; echo out >&3; exec 3>&-; cat file; echo err >&2; { echo both; echo two >&2; } >f2 2>&1; cat f2; ls",
    "open descriptors": "ls -l /proc/self/fd >l; sed 's/.* \\([0-9]* -> [a-z/]*\\).*/\\1/' l | grep -v '^total'; rm l",
    "exec of a program": "echo before; exec printf '%s\\n' replaced; echo never",
    "exec of nothing": "exec /nonexistent; echo never",
    "a command that does not exist": "nonexistent_command a b; echo $?; ./nope; echo $?; . ./nope; echo $?; type nonexistent_command",
    "a file that may not be run": "echo x > f; ./f; echo $?; mkdir d; ./d; echo $?",
    "a syntax error": "echo before\nif true; then\necho never (",
    "an error in a here document": "cat <<X\nnever ended",
    "return outside of a function": "return 3; echo $?",
    "line numbers": "echo $LINENO\n\n\nf() {\necho $LINENO\n}\nf; eval 'echo $LINENO'\nnope\necho ${LINENO}",
    "the hash table": "ls >/dev/null; hash | grep -c ls; hash -r; hash",
    "functions and exports": "f() { echo f $1; }; export -f f; bash -c 'f 1'; unset -f f; bash -c 'f 2'; echo $?",
    "arrays and arithmetic": "a=(1 2 3); declare -A m=([x]=1); echo ${a[@]:1} ${m[x]} $((2**10)); let x=0; echo $?",
    "globs and braces": "touch a1 a2; echo a? {1..3} ~ *; shopt -s nullglob; echo none*",
    "locale": 'x=äöü; echo ${#x} ${x^^}; printf "%s\\n" b a ä | sort; locale 2>/dev/null | head -3',
    "time zone": "date -d @0 +%H%Z; printf '%(%H%Z)T\\n' 0",
    "ulimit of its own": "ulimit -n 64; ulimit -n; ulimit -Sn; bash -c 'ulimit -n'; ulimit -c 0; ulimit -c",
    "umask of its own": "umask; touch a; stat -c %a a; umask 077; touch b; stat -c %a b; umask -S",
    "getopts": 'while getopts "ab:" o -a -b x; do echo $o ${OPTARG-}; done; echo $OPTIND',
    "read": 'read -r a b <<<"1 2 3"; echo $b; echo ${REPLY-unset}; read <<<x; echo $REPLY; mapfile -t l < <(seq 3); echo ${l[@]}',
    "numbers that are drawn": "a=$RANDOM$RANDOM; [[ $a != $RANDOM$RANDOM && $SRANDOM != $SRANDOM ]]; echo $?; RANDOM=1; echo $RANDOM",
    "one MiB of output": "head -c 1048576 /dev/zero | tr '\\0' x; head -c 1048577 /dev/zero | tr '\\0' y >&2",
    "binary output": r"printf '\x00\xff\n'; printf '\x80' >&2",
    "closed standard streams": "exec >&- 2>&-; echo lost; exit 3",
    "a sourced file": '. ./lib.sh x y; echo "$LIB" "$@"; source lib.sh; echo $?',
    "a change of itself while it runs": "echo one\nsleep 0.01; printf 'echo appended\\n' >> script\necho two\n",
    "DOS line ends": "echo a\r\nexit 3\r\n",
    "a binary file": b"\x7fELF\x00\x00\x00\n\x00",
    "another shebang": "#!/usr/bin/python3\necho bash all the same",
    "extended debugging": 'shopt -s extdebug; f() { echo "${BASH_ARGC[@]}" "${BASH_ARGV[@]}"; }; f a b',
    "a huge here document": "cat <<X | wc -c\n" + "x" * 70_000 + "\nX\n",
    "its own name in ps": "ps -o args= $$ | cut -c-11; ps -o comm= $$",
    "nice, priority and threads": "nice; ls /proc/$$/task | wc -l; ps -o pri= $$",
}

FRESH_WITH_ARGUMENTS = {"extended debugging", "a huge here document"}

LIB = {"lib.sh": 'LIB=loaded; echo "lib $# $1 ${BASH_SOURCE[0]}"; return 4'}

COMMANDS = {
    "a word": "echo hi",
    "nothing": "",
    "names of itself": 'echo "$0 $# $- $_ $BASH_EXECUTION_STRING ${BASH_SOURCE[@]} ${FUNCNAME[@]}"; f() { caller 0; }; f',
    "its process": '[[ $$ == "$BASHPID" && $PPID -gt 1 ]] && (( $(ps -o ppid= $$) == PPID )) && echo well-formed',
    "all that is declared": DUMP,
    "what the kernel knows": STATUS,
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
