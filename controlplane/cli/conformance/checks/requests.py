"""What of a request reaches the process."""

from __future__ import annotations

import os

from controlplane.cli.conformance.catalogue import check
from controlplane.cli.conformance.judgement import Claim, NotApplicable, equal
from controlplane.cli.conformance.subject import Subject

ARGUMENTS = ("plain", "two words", "", "-x", "--", "$HOME `id` 'q' \"q\"", "ünïcode", "*")
VALUE = "a=b 'c' \"d\" $HOME\nsecond line, ünïcode"
HOME = "/conformance/home"


@check("args", rule="runtime.proto args: Arguments of the script.", programs=["args"])
async def args(subject: Subject) -> list[Claim]:
    _need_files(subject)
    status = await subject.run("args", args=ARGUMENTS)
    return [equal("the arguments, in brackets", expected=[f"[{word}]" for word in ARGUMENTS], seen=status.stdout.splitlines())]


@check("env", rule="runtime.proto env: Wins over the environment of the server.", programs=["env"])
async def env(subject: Subject) -> list[Claim]:
    """HOME is what a server is likely to have itself."""
    status = await subject.run("env", env={"VALUE": VALUE, "HOME": HOME})
    return [equal("$VALUE and $HOME, in brackets", expected=f"[{VALUE}]\n[{HOME}]\n", seen=status.stdout)]


@check("working-dir", rule="runtime.proto working_dir: Where the process starts.", programs=["folder"])
async def working_dir(subject: Subject) -> list[Claim]:
    request = subject.request("folder")
    await subject.call("Execute", **request)
    status = await subject.end_of(request["id"])
    return [
        equal("the working directory", expected=os.path.basename(request["working_dir"]), seen=os.path.basename(status.stdout.rstrip("\n")))
    ]


@check("entrypoint", rule="runtime.proto entrypoint: The script's path in working_dir.", programs=["hello"])
async def entrypoint(subject: Subject) -> list[Claim]:
    _need_files(subject)
    texts = [(await subject.run("hello", entrypoint=path)).stdout for path in ("other.name", "folder/script")]
    request = subject.request("hello")
    request["entrypoint"] = ""
    await subject.call("Execute", **request)
    texts.append((await subject.end_of(request["id"])).stdout)
    return [
        equal(f"the output of {what}", expected="hello\n", seen=text)
        for what, text in zip(("other.name", "folder/script", "script, for an empty entrypoint"), texts, strict=True)
    ]


@check("stdin", rule="runtime.proto Execute: Returns quickly; the work goes on in the background.", programs=["stdin"], is_advice=True)
async def stdin(subject: Subject) -> list[Claim]:
    """Nobody will ever type anything: what reads must find the end."""
    return [equal("the output after reading stdin to its end", expected="end\n", seen=(await subject.run("stdin")).stdout)]


def _need_files(subject: Subject) -> None:
    if subject.gives_args:
        raise NotApplicable("--deliver args: there is no script file that could have arguments or a path")
