"""Lines as kube-apiserver 1.36 wrote them, shortened."""

from __future__ import annotations

import json
from typing import Any

from tests.fault.kube_audit import reader

read = reader(wall_minus_monotonic=1_700_000_000.0)


def line(**entry: Any) -> bytes:
    reference = {"resource": "runs", "apiGroup": "kruntimes.io", "name": "run", "subresource": "status"}
    common = {"verb": "patch", "userAgent": "runtimed", "stageTimestamp": "2023-11-14T22:13:21.500000Z", "objectRef": reference}
    return json.dumps(common | {"responseStatus": {"code": 200}} | entry).encode()


def test_a_fenced_write_shows_what_it_stood_on_and_what_came_of_it() -> None:
    patch = [{"op": "test", "path": "/status/phase", "value": "Scheduled"}, {"op": "add", "path": "/status/phase", "value": "Failed"}]
    answer = {"kind": "Run", "metadata": {"uid": "u", "resourceVersion": "7"}, "status": {"phase": "Failed", "attempt": 2}}
    write = read(line(requestObject=patch, responseObject=answer))
    assert write is not None
    assert (write.uid, write.phase, write.attempt, write.after, write.monotonic) == ("u", "Failed", 2, 7, 1.5)
    assert write.preconditions == ["/status/phase"]
    assert write.is_status_of_run


def test_a_refused_write_changed_nothing() -> None:
    answer = {"kind": "Status", "status": "Failure", "code": 409}
    write = read(line(requestObject={"metadata": {"resourceVersion": "6"}}, responseObject=answer, responseStatus={"code": 409}))
    assert write is not None
    assert (write.has_landed, write.uid, write.phase, write.preconditions) == (False, "", "", ["/metadata/resourceVersion"])


def test_a_deletion_names_what_it_deleted() -> None:
    answer = {"kind": "Status", "status": "Success", "details": {"name": "run", "uid": "u"}}
    write = read(line(verb="delete", responseObject=answer))
    assert write is not None
    assert (write.uid, write.has_landed) == ("u", True)
