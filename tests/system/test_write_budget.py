"""What a Run costs the API server, counted there: three writes, and nothing else that grows with the number of Runs."""

from __future__ import annotations

import json
import re
import time
import urllib.request
from collections import Counter

import pytest

from tests.cluster.embedded import EmbeddedApiServer
from tests.cluster.server import ApiServer
from tests.system.stage import PODS, Stage

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

RUN_COUNT = 300
MOST_WRITES_A_RUN = 3.05
HEARTBEAT_SECONDS = 5
_SAMPLE = re.compile(r"^apiserver_request_total\{(?P<labels>[^}]*)\} (?P<value>\S+)$", re.MULTILINE)
_LABEL = re.compile(r'(\w+)="([^"]*)"')


def writes_seen_by(server: ApiServer) -> Counter[str]:
    """Writes so far, by resource and subresource as in `runs/status`, refused ones included."""
    return _audited(server) if isinstance(server, EmbeddedApiServer) else _measured(server)


def _audited(server: EmbeddedApiServer) -> Counter[str]:
    lines = map(json.loads, (server.folder / "audit.jsonl").read_text().splitlines())
    return Counter("/".join(filter(None, (line["resource"].partition(".")[0], line["subresource"]))) for line in lines)


def _measured(server: ApiServer) -> Counter[str]:
    request = urllib.request.Request(f"{server.url}/metrics", headers=server.admin.headers)
    with urllib.request.urlopen(request, context=server.admin.tls(), timeout=10) as answer:
        text = answer.read().decode()
    counted: Counter[str] = Counter()
    for sample in _SAMPLE.finditer(text):
        labels = dict(_LABEL.findall(sample["labels"]))
        if labels["verb"] in {"POST", "PUT", "PATCH", "APPLY", "DELETE"}:
            counted["/".join(filter(None, (labels["resource"], labels["subresource"])))] += int(float(sample["value"]))
    return counted


@pytest.mark.parametrize("parallel", [1, 25])
def test_a_short_run_costs_three_writes_and_the_rest_grows_with_time_only(stage: Stage, parallel: int) -> None:
    before, began = writes_seen_by(stage.server), time.monotonic()
    runs = stage.run_all(count=RUN_COUNT, parallel=parallel)
    seconds = time.monotonic() - began
    writes = writes_seen_by(stage.server) - before
    assert [run.phase for run in runs] == ["Succeeded"] * RUN_COUNT
    of_runs = writes.pop("runs") + writes.pop("runs/status")
    assert of_runs / RUN_COUNT <= MOST_WRITES_A_RUN, writes
    # No Event for a Run that succeeds at once. What is left are heartbeats, of Pods and of those beside us: one a beat, not one a Run.
    assert set(writes) <= {"pods/status", "deployments/status", "nodes/status", "leases"}, writes
    beats = PODS * (seconds / HEARTBEAT_SECONDS + 1)
    assert all(count <= beats for count in writes.values()), (writes, seconds)
