"""What a script sees of a Python that was held ready is what it sees of a fresh one."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import pytest

from tests.servers.fidelity.comparing import Case, Comparison, scripts_in
from tests.servers.processes import ServerProcess


def zipped(source: str) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        archive.writestr(zipfile.ZipInfo("__main__.py"), source)
        archive.writestr(zipfile.ZipInfo("inside.py"), "X = 1")
    return data.getvalue()


SCRIPTS: dict[str, str | bytes] = {
    **scripts_in("python_scripts.txt"),
    "nothing": "",
    "code beyond ASCII": "# -*- coding: latin-1 -*-\nprint('\xe4')".encode("latin-1"),
    "code with a wrong byte": b"print('\xff')\n",
    "code with a mark of byte order": b"\xef\xbb\xbfprint('bom')\n",
    "code with NUL": b"print('a')\0\n",
    "DOS line ends": "print(1)\r\nif True:\r\n    print(2)\r\n",
    "an archive": zipped("import sys, inside; print(sys.path[0], sys.argv, __file__, __name__, inside.X, __spec__)"),
}

BESIDE: dict[str, str | bytes] = {
    "other.py": "X = 1\ndef fail(n):\n    return [][n]\nif __name__ == '__main__':\n    import sys\n    print('other', sys.argv)\n",
    "broken.py": "x = 1\nimport nonexistent_module\n",
    "pkg/__init__.py": "",
    "pkg/mod.py": "",
}
SHADOWS = {f"{name}.py": "WHO = 'the user'\n" for name in ("json", "socket", "signal", "selectors", "ctypes", "servers", "gc", "struct")}

COMMANDS = {
    "nothing": ("-c", ""),
    "a line": ("-c", "import sys; print(sys.argv, sys.orig_argv, sys.path, sys.flags, __name__, '__file__' in dir())", "a", "-b", ""),
    "the interpreter": ("-c", str(SCRIPTS["the interpreter"])),
    "its streams": ("-c", str(SCRIPTS["its streams"])),
    "__main__": ("-c", str(SCRIPTS["__main__"]).replace("__file__, ", "")),
    "several lines": ("-c", "if True:\n    print(1)\n\nprint(2)"),
    "a traceback": ("-c", "def f():\n    1 / 0\nf()"),
    "a syntax error": ("-c", "print('never'\nif"),
    "an indented line": ("-c", "  print(1)"),
    "text beyond ASCII": ("-c", "print('ß€😀')"),
    "an exit": ("-c", "raise SystemExit(5)"),
    "a module beside it": ("-c", "import other, sys; print(other.X, sys.path[0])"),
    "multiprocessing": (
        "-c",
        "import multiprocessing as m; p = m.Process(target=print, args=(1,)); p.start(); p.join(); print(p.exitcode)",
    ),
    "a program as file": ("other.py", "x", "-y"),
    "a file that is not there": ("nonexistent.py",),
    "a directory that is no program": ("pkg",),
    "a package that is": ("app", "x"),
}

ENVIRONMENTS = {
    "plain": {"A": "1", "lower": "x", "a.b": "c", "=".join("c"): "d"},
    "beyond ASCII": {"U": "ß€😀", "L": "\x01\x7f\n"},
    "of the allow-list": {"PATH": "/usr/bin:/bin:/mine", "TZ": "Asia/Tokyo", "TMPDIR": "/tmp", "HOSTNAME": "me"},
    "very large": {"LARGE": "x" * 30_000},
}

ENVIRONMENTS_OF_FRESH_INTERPRETERS = {
    "PYTHONPATH": {"PYTHONPATH": "/nonexistent"},
    "PYTHONUNBUFFERED": {"PYTHONUNBUFFERED": ""},
    "PYTHONDONTWRITEBYTECODE": {"PYTHONDONTWRITEBYTECODE": "1"},
    "PYTHONHASHSEED": {"PYTHONHASHSEED": "0"},
    "PYTHONOPTIMIZE": {"PYTHONOPTIMIZE": "2"},
    "locale": {"LC_ALL": "C"},
    "HOME": {"HOME": "/mine"},
    "the loader": {"LD_LIBRARY_PATH": "/nonexistent"},
    "more than a pipe takes": {"LARGE": "x" * 70_000},
}


@pytest.fixture
def comparison(python_server: ServerProcess, cold_python_server: ServerProcess, tmp_path: Path) -> Comparison:
    return Comparison(warm=python_server, cold=cold_python_server, folder=tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", SCRIPTS)
async def test_a_script_sees_the_same(comparison: Comparison, name: str) -> None:
    files = {"script": SCRIPTS[name], **BESIDE, **(SHADOWS if name == "modules named like ours" else {})}
    await comparison.assert_equal(Case(files, args=("first", "", "-c", "ü\n")))


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
async def test_a_command_sees_the_same(comparison: Comparison, name: str) -> None:
    app = {"app/__main__.py": "import sys, inside; print(sys.argv, sys.path[0], __file__, inside.X, __package__)", "app/inside.py": "X = 1"}
    await comparison.assert_equal(Case({**BESIDE, **app}, args=COMMANDS[name]))


@pytest.mark.slow
@pytest.mark.parametrize("name", ENVIRONMENTS)
async def test_an_environment_arrives_unchanged(comparison: Comparison, name: str) -> None:
    show = "import os, subprocess, time; print(sorted(os.environ.items()), time.tzname); subprocess.run('env -0 | sort -z', shell=True)"
    await comparison.assert_equal(Case({"script": show}, env=ENVIRONMENTS[name]))


@pytest.mark.slow
@pytest.mark.parametrize("name", ENVIRONMENTS_OF_FRESH_INTERPRETERS)
async def test_an_environment_that_acts_on_the_start_gets_a_fresh_interpreter(comparison: Comparison, name: str) -> None:
    script = "import sys, site, locale, os; print(sys.flags, sys.path, site.USER_SITE, locale.setlocale(locale.LC_ALL), len(os.environ))"
    await comparison.assert_fresh(Case({"script": script}, env=ENVIRONMENTS_OF_FRESH_INTERPRETERS[name]))


@pytest.mark.slow
@pytest.mark.parametrize(
    "args",
    [("-X", "utf8", "-c", "import sys; print(sys.flags)"), ("-m", "other", "x"), ("-V",), ("-",), ("-cprint(1)",), ("-Ic", "print(1)")],
)
async def test_other_options_get_a_fresh_interpreter(comparison: Comparison, args: tuple[str, ...]) -> None:
    await comparison.assert_fresh(Case(BESIDE, args=args))


@pytest.mark.slow
@pytest.mark.parametrize("entrypoint", ["dir/x.py", "-x", "a b", "link", "ü"])
async def test_a_script_may_have_any_name_and_place(comparison: Comparison, tmp_path: Path, entrypoint: str) -> None:
    source = "import sys, os; print(sys.argv, sys.path[0], __file__); 1 / 0"
    await comparison.assert_equal(Case({entrypoint: source}, args=("x",), entrypoint=entrypoint))


@pytest.mark.slow
async def test_a_script_that_is_a_link_is_run_from_where_it_lies(comparison: Comparison, tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "other.py").write_text("X = 1")
    (tmp_path / "real" / "target").write_text("import sys, other; print(sys.argv, sys.path[0], __file__, other.X)")
    await comparison.assert_equal(Case(args=(str(tmp_path / "real" / "target"),)))
    await comparison.assert_equal(
        Case({"script": "import os, sys\nos.symlink('../real/target', 'l'); os.execv(sys.executable, ['python', 'l'])"})
    )


@pytest.mark.slow
@pytest.mark.parametrize("handler", ["m.ok", "m.fails", "m.exits", "m.missing", "pkg.mod.f"])
async def test_a_handler_sees_the_same(comparison: Comparison, handler: str) -> None:
    source = (
        "import sys, os\ndef ok(event): return [event, sys.argv, sys.path, sorted(sys.modules), os.getcwd(), __name__, __file__]\n"
        "def fails(event): raise ValueError(event)\ndef exits(event): sys.exit(3)\n"
    )
    await comparison.assert_equal(Case({**BESIDE, "m.py": source}, args=("a", "b"), handler=handler))


@pytest.mark.slow
async def test_each_run_draws_its_own_numbers(comparison: Comparison) -> None:
    case = Case(
        {"script": "import random, uuid, secrets, tempfile, os; print(random.random(), uuid.uuid4(), tempfile.mktemp(), os.urandom(4))"}
    )
    assert len({(await comparison.warm(case)).stdout for _ in range(5)}) == 5
