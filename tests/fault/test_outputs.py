"""Row 35: what user code leaves in the place of its outputs file. It is refused at once, with the reason, and nothing waits for it."""

from __future__ import annotations

import pytest

from tests.fault.platform import Platform
from tests.fault.row import Row

pytestmark = [pytest.mark.fault, pytest.mark.slow, pytest.mark.timeout(120)]

O = '"$KRUNTIME_OUTPUTS"'  # noqa: E741 - the file
HOSTILE = {
    "a fifo": (f"rm {O}; mkfifo {O}", "OutputsInvalid", "outputs file: not a regular file"),
    "a link": (f"ln -sf /etc/passwd {O}", "OutputsInvalid", "it must be a regular file"),
    "a folder": (f"rm {O}; mkdir {O}", "OutputsInvalid", "outputs file: not a regular file"),
    "a socket": (f"rm {O}; python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind(\"outputs\")'",
                 "OutputsInvalid", "it must be a regular file"),
    "a sparse terabyte": (f"truncate -s 1T {O}", "OutputsTooLarge", "1099511627776 bytes, over the limit of 1048576"),
    # The first byte is no character: at random, a first line could be text.
    "binary": (f"(printf '\\377'; head -c 1000 /dev/urandom) > {O}", "OutputsInvalid", "not valid UTF-8"),
    "no equals sign": (f"echo nonsense >> {O}", "OutputsInvalid", "line 2: no '='; write key=value"),
    "no key": (f"echo =x >> {O}", "OutputsInvalid", "line 2: empty key; write key=value"),
    "65 keys": (f"for i in {{1..64}}; do echo k$i=v >> {O}; done", "OutputsTooLarge", "outputs file: 65 keys, over the limit of 64"),
    "a long key": (f"printf '%0129d=x\\n' 0 >> {O}", "OutputsTooLarge", "line 2: key of 129 bytes, over the limit of 128"),
    "a long value": (f"printf 'k=%08193d\\n' 0 >> {O}", "OutputsTooLarge", "line 2: value of 8193 bytes, over the limit of 8192"),
    "too much in all": (f"for i in {{1..9}}; do printf 'k%d=%08000d\\n' $i 0 >> {O}; done", "OutputsTooLarge", "bytes of keys and values"),
}  # fmt: skip


@pytest.mark.parametrize(("body", "reason", "message"), HOSTILE.values(), ids=HOSTILE.keys())
async def test_row_35_a_hostile_outputs_file_is_refused_at_once(platform: Platform, body: str, reason: str, message: str) -> None:
    async with Row.of(platform, "35") as row:
        made = await row.create(body)
        [run] = await row.over(made)
        completed = next(condition for condition in run.status.conditions if condition.type == "Completed")
        assert (run.phase, completed.reason, run.status.outputs) == ("Failed", reason, {})
        assert message in run.status.message
        assert run.status.exit_code == 0
        assert run.status.timings is not None
        assert run.status.timings.finished is not None
        assert run.status.timings.recorded is not None
        waited = (run.status.timings.recorded - run.status.timings.finished).total_seconds()
        row.note("from the end of the process to its refusal", waited, unit="s", at_most=1)
