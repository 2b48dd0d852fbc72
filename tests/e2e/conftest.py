"""One namespace, restricted, with both built-in Runtimes, for all tests of a session on the cluster that KUBECONFIG names."""

from __future__ import annotations

import os
import secrets
from collections.abc import Generator, Iterator

import pytest

from tests.e2e.cluster import Cluster, connect
from tests.e2e.recorder import Recorder, start_recorder


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    assert os.environ.get("KUBECONFIG"), "set KUBECONFIG to a cluster with kruntimes on it (make e2e KUBECONFIG=...)"
    made = connect(namespace=f"kruntimes-e2e-{secrets.token_hex(3)}")
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    made.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": made.namespace, "labels": labels}})
    try:
        made.apply_runtime("bash")
        made.apply_runtime("python")
        yield made
    except BaseException:
        print(made.report())
        raise
    finally:
        made.kubectl("delete", "namespace", made.namespace, "--wait=false")


@pytest.fixture(scope="session")
def recorder(cluster: Cluster) -> Recorder:
    return start_recorder(cluster)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A failure shows the state of the cluster at that moment."""
    report = yield
    found = getattr(item, "funcargs", {}).get("cluster")
    if report.failed and found is not None:
        report.sections.append(("cluster", found.report()))
    return report
