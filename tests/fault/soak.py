"""`make soak MINUTES=n`: mixed Runs, a random fault every few seconds, and at the end a verdict per promise. Exit code 1 if any is broken.

`--server kube` does the same beside a real kube-apiserver with etcd; what needs failpoints is left out there, and etcd is killed too.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from statistics import median

import click
import msgspec

from k8s.client import RUNS
from tests.fault import figures
from tests.fault.checkers import PROMISES, only_leaders_write
from tests.fault.history import RUN_KIND, History, Write
from tests.fault.leaks import FDS, RSS_MIB
from tests.fault.platform import LEASE_SECONDS, NAMESPACE, Platform, Size
from tests.fault.processes import Usage, usage_of
from tests.fault.row import Row
from tests.fault.soak_faults import Faults
from tests.fault.soak_load import Load

SAMPLE_SECONDS = 5.0
REST_SECONDS = 180.0
FLAT_MIB = 32.0
"""By how much the memory of a role may have grown from the first third of the soak to the last; beyond a quarter more, it is a leak."""


class Samples:
    """Memory and descriptors of each role over time: the largest process of it."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self.by_role: dict[str, list[Usage]] = {}

    async def go_on(self) -> None:
        while True:
            await asyncio.sleep(SAMPLE_SECONDS)
            for role, usage in self._look():
                self.by_role.setdefault(role, []).append(usage)

    def _look(self) -> list[tuple[str, Usage]]:
        found = []
        try:
            for role, pids in self._platform.roles().items():
                usages = [usage_of(pid) for pid in pids]
                if usages and role.partition("-")[0] in FDS:
                    found.append((role, max(usages, key=lambda usage: usage.rss_bytes)))
        except Exception:  # whatever was killed in this moment is sampled the next time
            return []
        return found

    def problems(self) -> list[str]:
        """P7: a role above its budget, or not flat."""
        found = []
        for role, samples in self.by_role.items():
            sizes = [usage.rss_bytes / (1 << 20) for usage in samples]
            third = max(1, len(sizes) // 3)
            early, late = median(sizes[:third]), median(sizes[-third:])
            if late > early * 1.25 + FLAT_MIB:
                found.append(f"P7: {role} grew from {early:.0f} to {late:.0f} MiB")
            if max(sizes) > RSS_MIB[role.partition("-")[0]]:
                found.append(f"P7: {role} took {max(sizes):.0f} MiB")
        return found

    def table(self) -> list[str]:
        rows = []
        for role, samples in self.by_role.items():
            sizes = [usage.rss_bytes / (1 << 20) for usage in samples]
            third = max(1, len(sizes) // 3)
            early, late, fds = median(sizes[:third]), median(sizes[-third:]), max(usage.fds for usage in samples)
            rows.append(f"  {role:14} {early:6.0f} MiB in the first third, {late:6.0f} in the last, at most {max(sizes):.0f}; {fds} fds")
        return rows


async def soak(platform: Platform, *, minutes: float, seed: int) -> list[str]:
    """What speaks against any promise; prints what happened."""
    began_at = time.monotonic()
    async with Row.of(platform, "soak", rest_seconds=REST_SECONDS) as row:
        load, faults, samples = Load(row, seed=seed), Faults(row, seed=seed + 1), Samples(platform)
        tasks = [asyncio.create_task(work) for work in (faults.go_on(), samples.go_on())]
        async with load.running():
            while time.monotonic() - began_at < minutes * 60 and not load.problems:
                await asyncio.sleep(10)
                click.echo(
                    f"{time.monotonic() - began_at:6.0f} s: {sum(load.outcomes.values())} Runs done, {sum(faults.counts.values())} faults"
                )
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            platform.heal()
            await row.relent()
        await row.come_to_rest(REST_SECONDS)
        history = await complete(row, row.history())
        problems = [*load.problems, *samples.problems()]
        problems += [problem for checker in PROMISES.values() for problem in checker(history)]
        problems += only_leaders_write(platform.history().writes, lease_seconds=LEASE_SECONDS)
        report(load, faults, samples, history=history, problems=problems, seconds=time.monotonic() - began_at, seed=seed)
        if problems:
            raise AssertionError("\n".join(problems[:20]))
    return problems


async def complete(row: Row, history: History) -> History:
    """The last word is the API server's: a kube-apiserver that was killed may not have logged what it had written."""
    left = {run.uid: run for run in (await row.client.list(RUNS, namespace=NAMESPACE)).items}
    landed = history.writes_by_run()
    for made in row.made:
        run, writes = left.get(made.uid), landed.get(made.uid, [])
        if run is None and row.is_done(made) and not (writes and writes[-1].verb == "delete"):
            history.writes.append(Write(time.monotonic(), "list", "delete", RUN_KIND, "", made.name, made.uid, None, None, 200, ""))
        if run is not None and (not writes or writes[-1].phase != run.phase):
            status = {"attempt": run.status.attempt, "exitCode": run.status.exit_code, "outputs": run.status.outputs or None}
            seen = Write(time.monotonic(), "list", "get", RUN_KIND, "", made.name, made.uid, None, None, 200, run.phase, [], status)
            history.writes.append(seen)
    return history


def report(load: Load, faults: Faults, samples: Samples, *, history: History, problems: list[str], seconds: float, seed: int) -> None:
    click.echo(
        f"\n{seconds / 60:.1f} minutes, seed {seed}: {sum(load.outcomes.values())} Runs done, {len(history.starts)} starts of user code"
    )
    for title, counts in (("Runs", load.outcomes), ("faults", faults.counts)):
        click.echo(f"{title}: " + ", ".join(f"{name} {count}" for name, count in sorted(counts.items())))
    click.echo("memory:\n" + "\n".join(samples.table()))
    for promise in [*PROMISES, "P7"]:
        broken = [problem for problem in problems if problem.startswith(promise)]
        click.echo(f"{promise}: {'BROKEN' if broken else 'kept'}" + "".join(f"\n    {problem}" for problem in broken[:5]))
    done = sum(load.outcomes.values())
    figures.note("soak", "Runs done", done, unit="", bound="")
    figures.OUTPUT.joinpath("soak.json").write_bytes(
        msgspec.json.encode({"seed": seed, "seconds": seconds, "runs": done, "faults": dict(faults.counts), "problems": problems})
    )


@click.command()
@click.option("--minutes", default=20.0, show_default=True)
@click.option("--seed", type=int, help="By default another one each time; it is printed.")
@click.option("--server", type=click.Choice(["embedded", "kube"]), default="embedded", show_default=True)
def main(minutes: float, seed: int | None, server: str) -> None:
    """Runs the whole system under random faults."""
    chosen = seed if seed is not None else time.time_ns() % 2**31
    click.echo(f"seed {chosen}, server {server}")
    logging.getLogger("k8s").setLevel(logging.ERROR)  # our own watch is interrupted as everybody's is
    platform = Platform(size=Size(bash_pods=3, bash_slots=32, python_pods=1, python_slots=16), is_real=server == "kube")
    try:
        platform.start()
        asyncio.run(soak(platform, minutes=minutes, seed=chosen))
    except AssertionError as error:
        click.echo(f"\nFAILED: {error}\n" + "\n".join(getattr(error, "__notes__", [])))
        sys.exit(1)
    finally:
        platform.stop()


if __name__ == "__main__":
    main()
