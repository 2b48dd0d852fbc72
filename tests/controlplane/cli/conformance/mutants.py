"""The example of a custom server, each time with one thing broken, and which check has to find it.

A mutant is the file's own text with one or two places changed: what is shown is all there is to it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import grpc
from krtpb.executor.v1 import runtime_pb2_grpc

from tests.servers.example import PATH

Change = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Mutant:
    check: str
    what: str
    changes: Sequence[Change]


def mutant(check: str, what: str, *changes: Change) -> Mutant:
    return Mutant(check, what, changes)


NEVER_TWICE = (
    ("self._executions: dict[str, Execution] = {}", "self._executions: dict[str, Execution] = {}\n        self._seen: set[str] = set()"),
    ("if request.id in self._executions:", "if request.id in self._seen or self._seen.add(request.id):"),
)
WITH_A_LOCK = ("self._executions: dict[str, Execution] = {}", "self._executions = {}\n        self._lock = asyncio.Lock()")

MUTANTS = [
    mutant("health", "it says that it is ill", ("HealthResponse(healthy=True)", "HealthResponse(healthy=False)")),
    mutant("execute", "stderr is told as stdout", ("stdout=self.stdout.text()", "stdout=self.stderr.text()")),
    mutant(
        "execute-at-once",
        "Execute takes longer than two seconds",
        ("self._start(execution, request, directory)\n", "self._start(execution, request, directory)\n        await asyncio.sleep(2.5)\n"),
    ),
    mutant("states", "everything has succeeded", ("state=self.state", "state=SUCCEEDED")),
    mutant("exit-codes", "every failure is 1", ("exit_code=self.exit_code", "exit_code=min(self.exit_code, 1)")),
    mutant("signal", "a signal is an exit code of 1", ('128 - code, f"signal: ', '1, f"killed: ')),
    mutant("nothing-to-run", "it never ends", ('execution.fail("no args or script provided")', "execution.state = RUNNING")),
    mutant(
        "timeout",
        "it has the exit code 0, as old Python servers had",
        ("_end(FAILED, -1, self.why_stopped)", "_end(FAILED, 0, self.why_stopped)"),
    ),
    mutant(
        "no-timeout",
        "0 is no time at all",
        ("request.timeout_seconds if request.timeout_seconds > 0 else None", "float(request.timeout_seconds)"),
    ),
    mutant("args", "they are joined and split", ("*request.args]\n        elif", '*" ".join(request.args).split()]\n        elif')),
    mutant("env", "that of the server wins", ("**request.env}", '**request.env, "HOME": "/"}')),
    mutant("working-dir", "it is always /", ("cwd=directory", 'cwd="/"')),
    mutant("entrypoint", "it is always `script`", ('(request.entrypoint or "script")', '"script"')),
    mutant("stdin", "it is open for ever", ("stdin=asyncio.subprocess.DEVNULL", "stdin=asyncio.subprocess.PIPE")),
    mutant(
        "output-so-far",
        "output is told at the end only",
        ("stdout=self.stdout.text()", 'stdout=self.stdout.text() if self.has_ended else ""'),
    ),
    mutant(
        "output-retained",
        "output is told once",
        (
            "        return (await self._find(request.id, context)).status()",
            "        execution = await self._find(request.id, context)\n        answer = execution.status()\n"
            "        if execution.has_ended:\n            execution.stdout.kept.clear()\n        return answer",
        ),
    ),
    mutant("invalid-utf8", "what is no text is an error", ('self.kept.decode("utf-8", "replace")', "self.kept.decode()")),
    mutant(
        "split-character",
        "each piece is decoded for itself",
        ("self.kept += data[:room]", 'self.kept += data[:room].decode("utf-8", "replace").encode()'),
    ),
    mutant("output-bound", "3 MiB of each stream are kept", ("OUTPUT_LIMIT_BYTES = 1 << 20", "OUTPUT_LIMIT_BYTES = 3 << 20")),
    mutant(
        "list-of-large-output",
        "large entries are left out",
        ("self._executions.values()])", "self._executions.values() if len(execution.stdout.kept) < 1000])"),
    ),
    mutant("cancel-tree", "only the main process is signalled", ("os.killpg(", "os.kill(")),
    mutant(
        "cancel-stubborn",
        "there is no SIGKILL",
        ("        self._signal(signal.SIGKILL)\n        await self.process.wait()", "        await self.process.wait()"),
    ),
    mutant("cancel-escaped", "nothing is broken: a process group is not all"),
    mutant(
        "cancel-repeated",
        "Cancel of what has ended is an error",
        (
            "        if execution.cancelling is None:",
            '        if execution.has_ended:\n            await context.abort(grpc.StatusCode.INTERNAL, "it is over")\n'
            "        if execution.cancelling is None:",
        ),
    ),
    mutant(
        "forget-running",
        "Forget drops what runs",
        ("if not (await self._find(request.id, context)).has_ended:", "if await self._find(request.id, context) is None:"),
    ),
    mutant(
        "forget-ended",
        "Forget keeps the entry",
        ("        del self._executions[request.id]\n        return messages.ForgetResponse()", "        return messages.ForgetResponse()"),
    ),
    mutant(
        "left-behind",
        "children stay",
        ("        self._signal(signal.SIGKILL)\n        with", "        with"),
    ),
    mutant("unknown-ids", "an unknown id is an error like any other", ("grpc.StatusCode.NOT_FOUND", "grpc.StatusCode.UNKNOWN")),
    mutant("list", "List has what runs only", ("self._executions.values()])", "self._executions.values() if not execution.has_ended])")),
    mutant("same-id-while-running", "it is started beside the first", ("if request.id in self._executions:", "if False:")),
    mutant(
        "same-id-after-end",
        "the output of the second is added",
        ("if request.id in self._executions:", "if request.id in self._executions and not self._executions[request.id].has_ended:"),
        (
            "execution = self._executions[request.id] = Execution(request.id)",
            "execution = self._executions.setdefault(request.id, Execution(request.id))",
        ),
    ),
    mutant("id-anew-after-forget", "an id is taken once, as by old Python servers", *NEVER_TWICE),
    mutant("id-anew-after-cancel", "an id is taken once", *NEVER_TWICE),
    mutant(
        "many-at-once",
        "one after the other",
        WITH_A_LOCK,
        (
            "        execution.task = asyncio.create_task(running)",
            "        async def wait_and_run():\n            async with self._lock:\n                await running\n"
            "        execution.task = asyncio.create_task(wait_and_run())",
        ),
    ),
    mutant(
        "slow-cancel",
        "a lock is held while one is stopped, as by old Bash servers",
        WITH_A_LOCK,
        ("        if not request.id:", "        async with self._lock:\n            pass\n        if not request.id:"),
        (
            "        await asyncio.shield(execution.cancelling)",
            "        async with self._lock:\n            await asyncio.shield(execution.cancelling)",
        ),
    ),
]


def build(mutant: Mutant) -> ModuleType:
    """The example with its changes. Each place must be there, once."""
    text = PATH.read_text()
    for old, new in mutant.changes:
        assert text.count(old) == 1, f"{mutant.check}: {text.count(old)} places have {old!r}"
        text = text.replace(old, new)
    module = ModuleType(f"mutant_{mutant.check}")
    exec(compile(text, f"mutant {mutant.check}", "exec"), module.__dict__)
    return module


async def serve(mutant: Mutant, work_dir: Path) -> int:
    """For as long as the process lives. Gives the port."""
    server = grpc.aio.server()
    runtime_pb2_grpc.add_RuntimeServicer_to_server(build(mutant).ShellRuntime(work_dir), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    SERVERS.append(server)
    return int(port)


SERVERS: list[grpc.aio.Server] = []
"""What nobody refers to is ended."""
