"""The policy that keeps Runs free of managedFields, on a real API server: whom it spares, and what it must not take."""

from __future__ import annotations

import time
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import pytest
import yaml

from tests.cluster.fixtures import need_binaries
from tests.cluster.kubectl import Kubectl
from tests.cluster.real import RealApiServer
from tests.contract.objects import run
from tests.k8s.deploy.rendering import by_kind, charted, kustomized

pytestmark = [pytest.mark.kube, pytest.mark.slow]

NAME = "untracked-runs.kruntimes.io"
KINDS = ("MutatingAdmissionPolicy", "MutatingAdmissionPolicyBinding")
SERVED = "--api-versions=admissionregistration.k8s.io/v1/MutatingAdmissionPolicy"
MAX_REFUSING_SECONDS = 10
"""After its start an API server looks for schemas every five."""


@pytest.fixture(scope="module")
def server() -> Iterator[RealApiServer]:
    need_binaries()
    with RealApiServer(has_untracked_runs=True) as server:
        yield server


@pytest.fixture
def kubectl(server: RealApiServer, tmp_path: Path) -> Kubectl:
    return Kubectl(server, folder=tmp_path)


def labelled(value: str) -> str:
    return yaml.safe_dump(run(labels={"who": value}))


def managers_of(kubectl: Kubectl) -> list[tuple[str, str]]:
    metadata = kubectl.json("run", "one", "--show-managed-fields")["metadata"]
    return [(entry["manager"], entry["operation"]) for entry in metadata.get("managedFields", [])]


def write_status(kubectl: Kubectl, status: dict[str, Any]) -> None:
    kubectl.send("PATCH", f"{kubectl.runs_path}/one/status", {"status": status})


def is_taken(kubectl: Kubectl, manifest: dict[str, Any]) -> bool:
    """False if it was refused for now."""
    try:
        kubectl.send("POST", kubectl.runs_path, manifest)
    except HTTPError as error:
        if error.code != HTTPStatus.SERVICE_UNAVAILABLE:
            raise
        return False
    return True


def test_a_run_that_is_created_is_never_tracked(kubectl: Kubectl) -> None:
    kubectl.ok("create", "-f", "-", stdin=labelled("a"))
    write_status(kubectl, {"phase": "Scheduled", "assignedPod": "p", "assignedPodUID": "u"})
    kubectl.ok("label", "run", "one", "team=blue")
    write_status(kubectl, {"phase": "Succeeded", "exitCode": 0})
    found = kubectl.json("run", "one", "--show-managed-fields")
    assert managers_of(kubectl) == []
    assert (found["status"]["phase"], found["metadata"]["labels"]) == ("Succeeded", {"who": "a", "team": "blue"})


def test_kubectl_apply_goes_on_from_what_it_applied(kubectl: Kubectl) -> None:
    kubectl.ok("apply", "-f", "-", stdin=labelled("a"))
    kubectl.ok("apply", "-f", "-", stdin=labelled("b"))
    assert kubectl.json("run", "one")["metadata"]["labels"] == {"who": "b"}
    assert managers_of(kubectl) == []


def test_who_creates_by_server_side_apply_may_apply_again(kubectl: Kubectl) -> None:
    kubectl.ok("apply", "--server-side", "-f", "-", stdin=labelled("a"))
    write_status(kubectl, {"phase": "Scheduled", "assignedPod": "p", "assignedPodUID": "u"})
    kubectl.ok("apply", "--server-side", "-f", "-", stdin=labelled("b"))
    assert kubectl.json("run", "one")["metadata"]["labels"] == {"who": "b"}
    assert ("kubectl", "Apply") in managers_of(kubectl)


def test_the_first_server_side_apply_of_an_untracked_run_begins_with_it(kubectl: Kubectl) -> None:
    kubectl.ok("create", "-f", "-", stdin=labelled("a"))
    kubectl.ok("apply", "--server-side", "-f", "-", stdin=labelled("a"))
    assert dict(managers_of(kubectl)) == {"kubectl": "Apply", "before-first-apply": "Update"}


def test_a_server_that_restarts_refuses_runs_for_a_moment_and_says_so(server: RealApiServer, kubectl: Kubectl) -> None:
    """It must not take one and then note who wrote it: then two kinds of Runs would be there."""
    kubectl.ok("create", "-f", "-", stdin=labelled("a"))
    server.restart()
    give_up_at = time.monotonic() + MAX_REFUSING_SECONDS
    while not is_taken(kubectl, {**run(), "metadata": {"name": "two"}}) and time.monotonic() < give_up_at:
        # An API server tells nobody when it has found a schema.
        time.sleep(0.1)
    write_status(kubectl, {"phase": "Scheduled", "assignedPod": "p", "assignedPodUID": "u"})
    assert "managedFields" not in kubectl.json("run", "two", "--show-managed-fields")["metadata"]


def test_the_chart_brings_it_where_it_is_served_and_wanted() -> None:
    served = charted("kruntimes", SERVED)
    assert [set(by_kind(served, kind)) for kind in KINDS] == [{NAME}, {NAME}]
    for flags in ((), (SERVED, "--set=runs.trackManagers=true")):
        assert not any(by_kind(charted("kruntimes", *flags), kind) for kind in KINDS)


def test_by_kustomize_it_is_a_component_and_the_same() -> None:
    served, production = charted("kruntimes", SERVED), kustomized("overlays/production")
    for kind in KINDS:
        assert by_kind(production, kind)[NAME] == by_kind(served, kind)[NAME]
        assert not by_kind(kustomized("base"), kind)
