"""Hostile Runs, one after the other from a seed; and everything of ours that looks into a Run, fed with them. `make fuzz` does a million.

The question is always the same: is there an answer (accepted, or refused with a reason), or did something break?
"""

from __future__ import annotations

import json
import random
import re
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import msgspec

from controlplane.local.apiserver.requests import Options
from controlplane.local.apiserver.statuses import Refused
from controlplane.scheduler.core import SchedulerCore
from controlplane.scheduler.model import Listed, PodSeen, RunGone, RunSeen
from k8s.api.errors import KrtError
from k8s.api.retry import backoff, may_retry
from k8s.api.run import Run
from k8s.api.validation import check_run_manifest
from k8s.client import RUNS
from k8s.client.decoding import decode_object
from runtimed.core import events, verdicts
from runtimed.core.facts import Instant
from runtimed.core.machine import RunMachine
from runtimed.hooks.env import build_env
from runtimed.hooks.source import plan_source
from tests.controlplane.local.apiserver.world import World
from tests.controlplane.scheduler.objects import make_pod

EPOCH = datetime(2026, 8, 9, 10, tzinfo=UTC)


def full_run() -> dict[str, Any]:
    """A valid one with every kind of field in it."""
    term: dict[str, Any] = {
        "labelSelector": {"matchLabels": {"a": "b"}, "matchExpressions": [{"key": "a", "operator": "In", "values": ["b"]}]}
    }
    term |= {"topologyKey": "kruntimes.io/runtime-pod"}
    return {
        "apiVersion": "kruntimes.io/v1alpha1",
        "kind": "Run",
        "metadata": {"name": "fuzzed", "labels": {"a": "b"}, "annotations": {"c": "d"}},
        "spec": {
            "runtime": "bash",
            "source": {"inline": "true"},
            "mode": {"task": {"args": ["a"], "entrypoint": "script"}},
            "env": [{"name": "A", "value": "b"}],
            "timeout": "1s",
            "retryPolicy": {"maxAttempts": 3, "backoff": "1s", "retryableReasons": ["Timeout"]},
            "resources": {"requests": {"runs": "1", "example.com/gpu": 2}},
            "affinity": {"runAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 5, "runAffinityTerm": term}]}},
            "ttlSecondsAfterFinished": 5,
            "cancelRequested": False,
        },
    }


def _deep(chance: random.Random) -> Any:
    """A mark that `hostile` replaces: Python's own encoder cannot nest so deeply."""
    return f"@deep{chance.choice((50, 500, 3000))}@"


HOSTILE: tuple[Callable[[random.Random], Any], ...] = (
    lambda _: None,
    lambda _: True,
    lambda chance: chance.choice((0, -1, 2**31, 2**63, 2**64, -(2**63) - 1, 10**400)),
    lambda chance: chance.choice((float("nan"), float("inf"), float("-inf"), 1e308, 0.5)),
    lambda chance: chance.choice(("", "\0", "\ud800", "é" * 100, "x" * chance.choice((64, 8193, 262_145, 1_000_000)))),
    lambda chance: chance.choice(("1h", "-1s", "1e9h", "9999999999h", "0s", "1x", "٣s", "1.5.5s", "500m", "1Ei", "1e999999999", "0x1")),
    lambda chance: [chance.random()] * chance.choice((0, 1, 65, 257, 5000)),
    lambda chance: {str(number): number for number in range(chance.choice((0, 1, 65, 3000)))},
    lambda chance: [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}] * chance.choice((1, 257)),
    _deep,
)


def hostile(chance: random.Random) -> bytes:
    """A manifest with one to three things wrong with it, as it would come over the wire."""
    manifest = full_run()
    for _ in range(chance.choice((1, 1, 1, 2, 3))):
        spoil(manifest, chance)
    text = re.sub(r'"@deep(\d+)@"', _nested, json.dumps(manifest))
    if chance.random() < 0.05:
        text = text.replace('"spec": {', '"spec": {}, "spec": {', 1)
    if chance.random() < 0.05:
        text = text[: chance.randrange(len(text))]
    return text.encode("utf-8", "surrogatepass")


def _nested(mark: re.Match[str]) -> str:
    depth = int(mark[1])
    return '{"a":[' * (depth // 2) + "1" + "]}" * (depth // 2)


def spoil(manifest: dict[str, Any], chance: random.Random) -> None:
    """One place gets a value that does not belong there, is removed, or gets a neighbour that nobody knows."""
    container: Any = manifest
    while True:
        keys = list(container) if isinstance(container, dict) else list(range(len(container)))
        if not keys:
            return
        key = chance.choice(keys)
        if not isinstance(container[key], (dict, list)) or not container[key] or chance.random() < 0.25:
            break
        container = container[key]
    what = chance.random()
    if what < 0.1:
        del container[key]
    elif what < 0.2 and isinstance(container, dict):
        container[chance.choice(("unknown", "", "__proto__", "a\nb"))] = chance.choice(HOSTILE)(chance)
    else:
        container[key] = chance.choice(HOSTILE)(chance)


class Everything:
    """Whoever looks into a Run: krt's checks, the API server, the typed view, the scheduler's core, runtimed's."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._core = SchedulerCore()
        for event in (Listed(), PodSeen(make_pod("pod", capacity={"runs": 1000}))):
            self._core.handle(event, now=0.0, wall=EPOCH)
        self.answers: Counter[str] = Counter()

    def look_at(self, body: bytes) -> None:
        """Raises what nobody should."""
        with suppress(ValueError, RecursionError, KrtError):
            check_run_manifest(json.loads(body))
        with suppress(KrtError, RecursionError):
            self._use(decode_object(RUNS, body, what="fuzz"))
        try:
            created = self._world.verbs.create(
                self._world.target("runs.kruntimes.io"), body=body, content_type="application/json", options=Options()
            )
        except Refused as refused:
            if not 400 <= refused.code < 500:
                raise
            self.answers[f"refused with {refused.code}"] += 1
            return
        except RecursionError:  # which the HTTP side answers with 400
            self.answers["nested too deeply"] += 1
            return
        self.answers["accepted"] += 1
        run = decode_object(RUNS, created.body, what="what the API server accepted")
        self._world.delete("runs.kruntimes.io", run.metadata.name, namespace=run.metadata.namespace)
        self._use(run)

    def _use(self, run: Run) -> None:
        self._core.handle(RunSeen(run), now=1.0, wall=EPOCH)
        self._core.handle(RunGone(run.uid), now=2.0, wall=EPOCH)
        may_retry(run, reason="Timeout")
        backoff(run.spec.retry_policy, attempt=2)
        for refusing in (
            plan_source,
            lambda run: build_env(run, outputs_file="/x", resolved=dict.fromkeys(range(len(run.spec.env)), "")),
            verdicts.timeout_seconds,
        ):
            with suppress(KrtError, ValueError):
                refusing(run)
        assigned = msgspec.structs.replace(run.status, phase="Scheduled", assigned_pod="pod", assigned_pod_uid="pod", attempt=0)
        machine = RunMachine(uid=run.uid, pod_uid="pod", node_boot_id="boot")
        for event in (
            events.ViewSynced(msgspec.structs.replace(run, status=assigned)),
            events.SessionWelcomed("boot", {}),
            events.SlotGranted(),
        ):
            machine.handle(event, now=Instant(1.0, EPOCH))
        machine.validate()


def run_cases(count: int, *, seed: int, tell: Callable[[str], None] = lambda _: None) -> Counter[str]:
    """How they were answered. Raises AssertionError with the case that nobody answered."""
    chance = random.Random(seed)
    with tempfile.TemporaryDirectory(prefix="krt-fuzz-") as folder, World(Path(folder)) as world:
        everything = Everything(world)
        for number in range(count):
            body = hostile(chance)
            try:
                everything.look_at(body)
            except Exception as error:
                raise AssertionError(f"case {number} of seed {seed} broke {type(error).__name__}: {body[:2000]!r}") from error
            if number and number % 50_000 == 0:
                tell(f"{number} cases: {dict(everything.answers)}")
        return everything.answers


@click.command()
@click.option("--cases", default=1_000_000, show_default=True)
@click.option("--seed", type=int, help="By default another one each time; it is printed.")
def main(cases: int, seed: int | None) -> None:
    """Feeds everything that looks into a Run with hostile ones."""
    chosen = seed if seed is not None else time.time_ns() % 2**32
    click.echo(f"seed {chosen}")
    answers = run_cases(cases, seed=chosen, tell=click.echo)
    click.echo(f"{cases} cases, 0 uncaught: {dict(answers)}")


if __name__ == "__main__":
    sys.exit(main())
