"""All mutants in a process of their own, each on a port: what broken servers leave behind is then not left in the tests."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

from tests.controlplane.cli.conformance.mutants import MUTANTS, serve
from tests.controlplane.cli.conformance.stream_mutants import STREAM_MUTANTS, UNCHANGED, serve_stream


async def serve_all(work_dir: Path) -> None:
    """Until it is killed. Prints the ports, by the mutants' checks."""
    ports = {mutant.check: await serve(mutant, work_dir) for mutant in MUTANTS}
    ports |= {mutant.check: await serve_stream(mutant, work_dir) for mutant in [*STREAM_MUTANTS, UNCHANGED]}
    print(json.dumps(ports), flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve_all(Path(sys.argv[1])))
