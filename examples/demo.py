"""`make demo`: counts the words of every sonnet in examples/sonnets twice, once in Bash and once in Python, one Run each.

Starts local mode in a folder of its own, applies the example Runtimes, creates the Runs, gathers their outputs into one
result, checks that both languages agree, shows what the Runs took, and leaves nothing running and nothing behind.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from bench.observer import Observer
from bench.samples import summarize
from k8s.api import phases
from k8s.api.names import API_VERSION
from k8s.api.run import Run
from k8s.client import RUNS, RUNTIMES, ApiClient, Changed, Deleted, Listed, apply_patch, list_and_watch, load_credentials

EXAMPLES = Path(__file__).parent
LANGUAGES = {"bash": "count_words.sh", "python": "count_words.py"}
IN_FLIGHT = 8
"""Runs created and not ended at any time: about what the example Runtimes have slots for."""
READY_SECONDS = 60
RUN_SECONDS = 60
LABEL = "demo=sonnets"


class Count(NamedTuple):
    """What one Run found, and what it took."""

    sonnet: str
    language: str
    words: int
    counts: Counter[str]
    start_ms: float
    finish_ms: float


@contextmanager
def local_mode() -> Iterator[Path]:
    """The whole system on this machine, in a folder that goes with it. Yields the kubeconfig."""
    with tempfile.TemporaryDirectory(prefix="kruntimes-demo-") as home:
        try:
            say("Starting local mode: API server, scheduler, controllers, node ...")
            krt_local("up", home=home)
            yield Path(home) / "kubeconfig"
        finally:
            krt_local("down", "--purge", "--yes", home=home)
            say("Local mode is down again; nothing of it is left.")


def krt_local(*arguments: str, home: str) -> None:
    """`krt local ...` for the state folder `home`; what it says is shown only when it fails."""
    command = [sys.executable, "-m", "controlplane.cli", "local", *arguments]
    done = subprocess.run(command, env={**os.environ, "KRUNTIMES_HOME": home}, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"krt local {arguments[0]} failed with {done.returncode}:\n{done.stderr}")


def say(line: str) -> None:
    """Progress, for people: standard output is the result's."""
    print(line, file=sys.stderr, flush=True)


async def apply_runtimes(client: ApiClient) -> None:
    """Applies examples/runtimes and waits until each has a ready Pod."""
    manifests = [yaml.safe_load(path.read_text()) for path in sorted((EXAMPLES / "runtimes").glob("*.yaml"))]
    for manifest in manifests:
        name = manifest["metadata"]["name"]
        await client.patch(RUNTIMES, name, apply_patch(manifest), namespace="default", field_manager="demo", force=True)
    waiting = {manifest["metadata"]["name"] for manifest in manifests}
    async for event in list_and_watch(client, RUNTIMES, namespace="default"):
        items = event.items if isinstance(event, Listed) else [event.object] if isinstance(event, Changed) else []
        waiting -= {runtime.metadata.name for runtime in items if runtime.status.ready_replicas > 0}
        if not waiting or isinstance(event, Deleted):
            return


def manifest_of(sonnet: Path, *, language: str) -> dict[str, Any]:
    """One Run: the script inline, the text of the sonnet its only argument."""
    return {
        "apiVersion": API_VERSION,
        "kind": "Run",
        "metadata": {"name": f"{language}-{sonnet.stem}", "labels": dict([LABEL.split("=")])},
        "spec": {
            "runtime": language,
            "source": {"inline": (EXAMPLES / LANGUAGES[language]).read_text()},
            "mode": {"task": {"args": [sonnet.read_text()]}},
            "timeout": "30s",
        },
    }


async def count_one(client: ApiClient, observer: Observer[Run], *, sonnet: Path, language: str) -> Count:
    """Creates the Run and waits for its end, by watch."""
    manifest = manifest_of(sonnet, language=language)
    sight = observer.expect(manifest["metadata"]["name"])
    sent, sent_wall = time.monotonic(), time.time()
    await client.create(RUNS, manifest, namespace="default")
    async with asyncio.timeout(RUN_SECONDS):
        finished, run = await sight.ended
    if run.phase != phases.SUCCEEDED:
        raise SystemExit(f"Run {run.metadata.name} ended {run.phase}: {run.status.message}")
    return Count(
        sonnet=sonnet.stem,
        language=language,
        words=int(run.status.outputs["words"]),
        counts=parse_counts(run.status.outputs),
        start_ms=(started_wall(run) - sent_wall) * 1000,
        finish_ms=(finished - sent) * 1000,
    )


def started_wall(run: Run) -> float:
    """When user code started, in seconds since 1970: from the Run's own latency ledger."""
    timings = run.status.timings
    if timings is None or timings.started is None:
        raise SystemExit(f"Run {run.metadata.name} carries no start time in status.timings")
    return timings.started.timestamp()


def parse_counts(outputs: Mapping[str, str]) -> Counter[str]:
    """`thou:3 thy:2` -> {"thou": 3, "thy": 2}."""
    pairs = (pair.rpartition(":") for pair in outputs["counts"].split())
    return Counter({word: int(count) for word, _, count in pairs})


async def count_all(client: ApiClient) -> list[Count]:
    """Every sonnet in every language, IN_FLIGHT at a time."""
    sonnets = sorted((EXAMPLES / "sonnets").glob("*.txt"))
    todo = iter([(sonnet, language) for sonnet in sonnets for language in LANGUAGES])
    counts: list[Count] = []

    async def creator(observer: Observer[Run]) -> None:
        for sonnet, language in todo:
            counts.append(await count_one(client, observer, sonnet=sonnet, language=language))

    async with Observer(client, RUNS, namespace="default", label_selector=LABEL, has_ended=lambda run: run.is_terminal) as observer:
        await asyncio.gather(*(creator(observer) for _ in range(IN_FLIGHT)))
    return counts


def show(counts: list[Count], *, seconds: float) -> None:
    """The one result, and what it took."""
    by_language = {language: {count.sonnet: count for count in counts if count.language == language} for language in LANGUAGES}
    bash, python = by_language["bash"], by_language["python"]
    differing = [sonnet for sonnet in bash if (bash[sonnet].words, bash[sonnet].counts) != (python[sonnet].words, python[sonnet].counts)]
    if differing:
        raise SystemExit(f"Bash and Python disagree on: {', '.join(differing)}")
    total: Counter[str] = Counter()
    for count in bash.values():
        total.update(count.counts)
    longest = max(bash.values(), key=lambda count: count.words)
    print()
    print(f"{len(bash)} sonnets, {sum(total.values()):,} words, {len(total):,} of them different; Bash and Python agree on every sonnet.")
    print(f"The longest is sonnet {int(longest.sonnet)} with {longest.words} words. The most frequent words:")
    print()
    for word, number in total.most_common(10):
        print(f"  {word:<8} {number:>4}   {'▇' * round(number / 6)}")
    print()
    print("Check it:  cat examples/sonnets/*.txt | grep -owi thy | wc -l    # says", total["thy"])
    print()
    print(f"{len(counts)} Runs in {seconds:.1f} s, {IN_FLIGHT} in flight, each a process of its own. Milliseconds:")
    print()
    print("  RUNTIME   FROM CREATE TO      P50     P95     P99     MAX")
    for language in LANGUAGES:
        mine = [count for count in counts if count.language == language]
        for title, values in (("start", [count.start_ms for count in mine]), ("finish", [count.finish_ms for count in mine])):
            row = summarize(values)
            print(f"  {language:<9} {title:<14} {row.p50:>7.1f} {row.p95:>7.1f} {row.p99:>7.1f} {row.max:>7.1f}")
    print()


async def run_demo(kubeconfig: Path) -> None:
    """Everything between local mode's up and down."""
    async with await ApiClient.connect(await load_credentials(kubeconfig=str(kubeconfig)), user_agent="kruntimes-demo") as client:
        async with asyncio.timeout(READY_SECONDS):
            say("Applying examples/runtimes and waiting for warm Pods ...")
            await apply_runtimes(client)
        say("Creating one Run for each sonnet and language ...")
        began = time.monotonic()
        counts = await count_all(client)
        show(counts, seconds=time.monotonic() - began)


def main() -> None:
    """Exit code 0 with the result, or a message that says what went wrong."""
    with local_mode() as kubeconfig:
        asyncio.run(run_demo(kubeconfig))


if __name__ == "__main__":
    main()
