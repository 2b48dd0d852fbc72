from __future__ import annotations

import json
from collections import Counter

from bench.meters.writes import count_audit, count_metrics, writes_to
from bench.subjects import FLOOR_RUNS
from k8s.client import PODS, RUNS

EXPOSITION = """\
# HELP apiserver_request_total [STABLE] Counter of apiserver requests
# TYPE apiserver_request_total counter
apiserver_request_total{code="201",component="apiserver",dry_run="",group="kruntimes.io",resource="runs",scope="resource",subresource="",verb="POST",version="v1alpha1"} 20
apiserver_request_total{code="200",component="apiserver",dry_run="",group="kruntimes.io",resource="runs",scope="resource",subresource="status",verb="PATCH",version="v1alpha1"} 40
apiserver_request_total{code="409",component="apiserver",dry_run="",group="kruntimes.io",resource="runs",scope="resource",subresource="status",verb="PATCH",version="v1alpha1"} 3
apiserver_request_total{code="200",component="apiserver",dry_run="",group="kruntimes.io",resource="runs",scope="cluster",subresource="",verb="LIST",version="v1alpha1"} 7
apiserver_request_total{code="200",component="apiserver",dry_run="",group="",resource="pods",scope="resource",subresource="status",verb="PATCH",version="v1"} 5
apiserver_request_total{code="200",component="apiserver",dry_run="",group="floor.kruntimes.io",resource="runs",scope="resource",subresource="status",verb="PATCH",version="v1alpha1"} 1e+06
apiserver_request_duration_seconds_count{group="kruntimes.io",resource="runs",verb="POST"} 20
"""  # noqa: E501


def test_a_refused_write_counts_and_a_read_does_not() -> None:
    assert count_metrics(EXPOSITION) == {
        "POST runs.kruntimes.io": 20,
        "PATCH runs.kruntimes.io/status": 43,
        "PATCH pods/status": 5,
        "PATCH runs.floor.kruntimes.io/status": 1_000_000,
    }


def test_a_kind_is_told_from_others_of_its_name() -> None:
    counts = count_metrics(EXPOSITION)
    assert (writes_to(counts, RUNS), writes_to(counts, FLOOR_RUNS)) == (63, 1_000_000)


def test_a_kind_of_the_core_group_has_none_in_its_name() -> None:
    assert writes_to(count_metrics(EXPOSITION), PODS) == 5


def test_the_audit_is_counted_in_the_same_words() -> None:
    entries = [
        {"verb": "create", "resource": "runs.kruntimes.io", "subresource": ""},
        {"verb": "patch", "resource": "runs.kruntimes.io", "subresource": "status"},
        {"verb": "patch", "resource": "runs.kruntimes.io", "subresource": "status"},
        {"verb": "update", "resource": "leases.coordination.k8s.io", "subresource": ""},
    ]
    counts = count_audit([json.dumps(entry).encode() for entry in entries])
    assert counts == Counter({"POST runs.kruntimes.io": 1, "PATCH runs.kruntimes.io/status": 2, "PUT leases.coordination.k8s.io": 1})
