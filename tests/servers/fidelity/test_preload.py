"""What is imported once for all Runs is there, works as if each had imported it, and is named when it cannot be had."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.servers.conftest import SERVER_ENV
from tests.servers.fidelity.comparing import Case, Comparison, scripts_in
from tests.servers.processes import ServerProcess, running_server, server_command, server_environment

SCRIPTS = scripts_in("preload_scripts.txt")


@pytest.fixture
def comparison(preloaded_server: ServerProcess, cold_python_server: ServerProcess, tmp_path: Path) -> Comparison:
    return Comparison(warm=preloaded_server, cold=cold_python_server, folder=tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", SCRIPTS)
async def test_a_preloaded_module_works_as_one_that_was_imported(comparison: Comparison, name: str) -> None:
    await comparison.assert_equal(Case({"script": SCRIPTS[name]}))


@pytest.mark.slow
async def test_it_is_there_before_it_is_imported_and_nothing_of_ours_is(comparison: Comparison) -> None:
    script = "import sys\nprint([name in sys.modules for name in ('numpy', 'numpy.linalg', 'msgspec', 'yaml', 'servers', 'krtpb', 'grpc')])"
    observed = await comparison.warm(Case({"script": script}))
    assert observed.stdout == b"[True, True, True, True, False, False, False]\n"


@pytest.mark.slow
async def test_each_run_draws_its_own_numbers(comparison: Comparison) -> None:
    case = Case({"script": "import numpy as np, random\nprint(np.random.random(), np.random.default_rng().random(), random.random())"})
    drawn = [(await comparison.warm(case)).stdout.split() for _ in range(4)]
    assert all(len(set(numbers)) == 4 for numbers in zip(*drawn, strict=True))


@pytest.mark.slow
async def test_an_environment_that_such_modules_read_at_import_gets_a_fresh_interpreter(comparison: Comparison) -> None:
    await comparison.assert_fresh(Case({"script": "import numpy; print(numpy.ones(1))"}, env={"OMP_NUM_THREADS": "1"}))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("module", "text"),
    [
        ("nonexistent_module", "--preload nonexistent_module: ModuleNotFoundError: No module named 'nonexistent_module'"),
        ("json.nothing", "--preload json.nothing: ModuleNotFoundError"),
        ("antigravity_x,json", "--preload antigravity_x: "),
        ("broken", "--preload broken: ZeroDivisionError: division by zero"),
        ("leaves", "--preload leaves: SystemExit: 3"),
        ("vanishes", "--preload vanishes: the Python to fork from ended before it was ready"),
        ("a-b", "'a-b' is not the name of a module"),
    ],
)
def test_a_module_that_cannot_be_imported_is_named_and_the_server_does_not_start(tmp_path: Path, module: str, text: str) -> None:
    """In the interpreter's own folder of packages: the server's PYTHONPATH is not the Runs'."""
    made = {"broken": "1 / 0", "leaves": "raise SystemExit(3)", "vanishes": "import os; os._exit(0)"}
    site = tmp_path / "site"
    site.mkdir()
    for name, source in made.items():
        (site / f"{name}.py").write_text(source)
    interpreter = a_python_with(site, folder=tmp_path)
    command = server_command("python", work_dir=tmp_path, flags=("--preload", module), interpreter=interpreter)
    ended = subprocess.run(command, env=server_environment(SERVER_ENV), capture_output=True, text=True, timeout=30, check=False)
    assert ended.returncode != 0
    assert text in ended.stderr
    assert ended.stdout == ""


def a_python_with(site: Path, *, folder: Path) -> str:
    """This interpreter in a virtual environment of its own, which finds `site` and what this one finds."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "venv"], check=True)
    (packages,) = (folder / "venv" / "lib").glob("python*/site-packages")
    (packages / "more.pth").write_text("\n".join([str(site), *(path for path in sys.path if path.endswith("site-packages"))]))
    return str(folder / "venv" / "bin" / "python")


@pytest.mark.slow
async def test_what_a_module_prints_at_import_is_in_the_servers_log_and_in_no_run(tmp_path: Path) -> None:
    (tmp_path / "talks.py").write_text("import sys; print('to stdout'); print('to stderr', file=sys.stderr)")
    interpreter = a_python_with(tmp_path, folder=tmp_path)
    with running_server("python", work_dir=tmp_path, flags=("-v", "--preload", "talks"), interpreter=interpreter) as server:
        comparison = Comparison(warm=server, cold=server, folder=tmp_path / "run")
        observed = await comparison.warm(Case({"script": "import talks; print('mine')"}))
        log = server.log.read_text()
    assert (observed.stdout, observed.stderr) == (b"mine\n", b"")
    assert "to stdout\n" in log
    assert "to stderr\n" in log


@pytest.mark.slow
async def test_what_a_module_made_at_import_belongs_to_all_runs_and_is_finalized_by_none(tmp_path: Path) -> None:
    source = f"""
class Lasting:
    def __del__(self): print('finalized')
LASTING = Lasting()
FILE = open({str(tmp_path / "file")!r}, 'w')
FILE.write('written at import, once')
"""
    (tmp_path / "lasts.py").write_text(source)
    interpreter = a_python_with(tmp_path, folder=tmp_path)
    with running_server("python", work_dir=tmp_path, flags=("-v", "--preload", "lasts"), interpreter=interpreter) as server:
        comparison = Comparison(warm=server, cold=server, folder=tmp_path / "run")
        for _ in range(3):
            # A fresh interpreter would import it by itself.
            server.until_held(2)
            observed = await comparison.warm(Case({"script": "import lasts, atexit; atexit.register(print, 'bye')"}))
            assert (observed.stdout, observed.stderr, observed.exit_code) == (b"bye\n", b"", 0)
        assert (tmp_path / "file").read_text() == ""
