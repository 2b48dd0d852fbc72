"""The small translations: JSONPath, cells, Accept headers, protobuf bodies, listen addresses, URLs."""

from __future__ import annotations

from typing import Any

import pytest

from controlplane.local.apiserver import protobuf
from controlplane.local.apiserver.assembly import new_registry
from controlplane.local.apiserver.cells import cell, human_duration
from controlplane.local.apiserver.jsonpath import find, first_match
from controlplane.local.apiserver.private import is_authorized, parse_listen
from controlplane.local.apiserver.requests import resolve
from controlplane.local.apiserver.statuses import Refused
from controlplane.local.apiserver.tables import parse_accept
from k8s.api.errors import UsageError

DOCUMENT: dict[str, Any] = {
    "metadata": {"name": "x", "annotations": {"a.b/c": "d"}},
    "spec": {"containers": [{"image": "one"}, {"image": "two"}]},
    "status": {"conditions": [{"type": "Other", "status": "False"}, {"type": "Ready", "status": "True"}]},
}


@pytest.mark.parametrize(
    ("path", "found"),
    [
        (".metadata.name", "x"),
        ("{.metadata.name}", "x"),
        (".spec.containers[0].image", "one"),
        (".spec.containers[-1].image", "two"),
        (".spec.containers[*].image", "one"),
        (".status.conditions[?(@.type=='Ready')].status", "True"),
        ('.status.conditions[?(@.type=="Ready")].status', "True"),
        (".metadata.annotations['a.b/c']", "d"),
        (r".metadata.annotations.a\.b/c", "d"),
        (".spec.none.below", None),
        (".spec.containers[7].image", None),
    ],
)
def test_printer_columns_paths_are_followed(path: str, found: str | None) -> None:
    assert first_match(path, document=DOCUMENT) == found


def test_a_path_that_is_none_is_an_error() -> None:
    with pytest.raises(ValueError, match="cannot be read"):
        find(".a[", document={})


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (119, "119s"), (120, "2m"), (200, "3m20s"), (3600, "60m"), (3 * 3600, "3h"), (5 * 3600 + 60, "5h1m"), (50 * 3600, "2d2h"),
     (10 * 86400, "10d"), (800 * 86400, "2y")],
)  # fmt: skip
def test_ages_read_as_kubectl_prints_them(seconds: int, text: str) -> None:
    assert human_duration(seconds) == text


def test_a_pods_cells_say_how_it_is() -> None:
    waiting = {"waiting": {"reason": "ImageNotRunnableLocally"}}
    pod = {
        "metadata": {"name": "p"},
        "spec": {"containers": [{}, {}]},
        "status": {"phase": "Pending", "containerStatuses": [{"ready": True, "restartCount": 2}, {"state": waiting}]},
    }

    assert cell("ready_containers()", kind="string", document=pod) == "1/2"
    assert cell("pod_status()", kind="string", document=pod) == "ImageNotRunnableLocally"
    assert cell("restarts()", kind="string", document=pod) == "2"
    assert cell("pod_status()", kind="string", document={**pod, "metadata": {"deletionTimestamp": "now"}}) == "Terminating"


@pytest.mark.parametrize(
    ("accept", "form"),
    [
        ("", "json"),
        ("*/*", "json"),
        ("application/json", "json"),
        ("application/vnd.kubernetes.protobuf,application/json", "json"),
        ("application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json", "Table"),
        ("application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json", "json"),
        ("application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io", "PartialObjectMetadata"),
        ("text/html", ""),
    ],
)
def test_the_first_acceptable_form_is_chosen(accept: str, form: str) -> None:
    assert parse_accept(accept) == form


def field(number: int, value: bytes) -> bytes:
    return bytes([number << 3 | 2, len(value)]) + value


def envelope(kind: str, message: bytes) -> bytes:
    return b"k8s\x00" + field(1, field(1, b"v1") + field(2, kind.encode())) + field(2, message)


def test_a_protobuf_body_reads_as_its_json() -> None:
    meta = field(1, b"one") + field(3, b"") + field(11, field(1, b"a") + field(2, b"b")) + field(8, b"")
    body = envelope("Secret", field(1, meta) + field(2, field(1, b"key") + field(2, b"\xff\x00")) + field(3, b"Opaque"))

    assert protobuf.decode(body) == {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "one", "labels": {"a": "b"}},
        "data": {"key": "/wA="},
        "type": "Opaque",
    }


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"k8s\x00",
        envelope("Pod", b""),
        envelope("ConfigMap", field(9, b"x")),
        envelope("ConfigMap", field(1, b"xyz"))[:-1],
        b"k8s\x00\x0a",
    ],
)
def test_a_protobuf_body_that_cannot_be_read_is_refused_with_the_remedy(body: bytes) -> None:
    with pytest.raises(Refused, match="kubectl create -f -") as refused:
        protobuf.decode(body)

    assert refused.value.code == 415


@pytest.mark.parametrize("text", ["127.0.0.1:0", "127.8.9.1:80", "localhost:80", "[::1]:80", ":80"])
def test_loopback_addresses_are_taken(text: str) -> None:
    parse_listen(text)


@pytest.mark.parametrize("text", ["0.0.0.0:0", "[::]:80", "10.0.0.1:80", "127.0.0.1", "127.0.0.1:99999", "host:80"])
def test_other_addresses_are_not(text: str) -> None:
    with pytest.raises(UsageError, match="--listen"):
        parse_listen(text)


def test_the_token_is_taken_as_a_bearer_or_as_a_proxy_password() -> None:
    assert is_authorized({"Authorization": "Bearer secret"}, token="secret")
    assert is_authorized({"Proxy-Authorization": "Basic a3J1bnRpbWVzOnNlY3JldA=="}, token="secret")
    assert not is_authorized({}, token="secret")
    assert not is_authorized({"Authorization": "Bearer other", "Proxy-Authorization": "Basic a3J1bnRpbWVzOnNlY3JldA=="}, token="secret")
    assert not is_authorized({"Authorization": "Bearer sécret"}, token="secret")


@pytest.mark.parametrize(
    ("path", "resolved"),
    [
        ("/api/v1/pods", ("pods", "", "", "")),
        ("/api/v1/namespaces", ("namespaces", "", "", "")),
        ("/api/v1/namespaces/a", ("namespaces", "", "a", "")),
        ("/api/v1/namespaces/a/status", ("namespaces", "", "a", "status")),
        ("/api/v1/namespaces/a/pods", ("pods", "a", "", "")),
        ("/api/v1/namespaces/a/pods/b/log", ("pods", "a", "b", "log")),
        ("/apis/apps/v1/namespaces/a/deployments/b", ("deployments.apps", "a", "b", "")),
        ("/api/v1/pods/b", None),
        ("/apis/apps/v1/pods", None),
        ("/api/v1/namespaces/a/nodes", None),
        ("/api/v1/namespaces/a/pods/b/c/d", None),
    ],
)
def test_paths_name_kinds_namespaces_and_subresources(path: str, resolved: tuple[str, ...] | None) -> None:
    target = resolve(path, registry=new_registry())

    found = None if target is None else (target.definition.resource, target.namespace, target.name, target.subresource)
    assert found == resolved
