"""The client over real sockets: requests as the API server expects them, answers typed, deadlines, and what is never resent."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest
from aiohttp import web

from k8s.client import (
    DEPLOYMENTS,
    NODES,
    RUNS,
    AlreadyExists,
    ApiClient,
    ApiError,
    BadRequest,
    Conflict,
    Credentials,
    Forbidden,
    Gone,
    Invalid,
    NotFound,
    RequestTimeout,
    ServerError,
    Throttled,
    Unauthorized,
    Unreachable,
    UnreadableAnswer,
    merge_patch,
)
from tests.k8s.client.fake_api import FakeApi, run_body

BROKEN = merge_patch({"status": {"phase": "Failed"}})


async def test_an_object_arrives_typed(api: FakeApi, client: ApiClient) -> None:
    api.answer(run_body("hello", version=7, phase="Running", unknownField={"deep": [1]}))
    run = await client.get(RUNS, "hello", namespace="default")
    assert (run.metadata.name, run.phase, run.metadata.resource_version) == ("hello", "Running", "7")
    assert api.seen[0].path == "/apis/kruntimes.io/v1alpha1/namespaces/default/runs/hello"


async def test_requests_carry_the_token_and_nothing_superfluous(api: FakeApi, client: ApiClient) -> None:
    api.answer({"kind": "Node"})
    await client.get(NODES, "one")
    headers = api.seen[0].headers
    assert headers["Authorization"] == "Bearer secret"
    assert headers["User-Agent"] == "test"
    assert set(headers) == {"Host", "Authorization", "User-Agent", "Accept"}


async def test_a_list_is_consistent_and_comes_in_pages(api: FakeApi, client: ApiClient) -> None:
    api.answer_list(run_body("a"), version=5, more="next")
    api.answer_list(run_body("b"), version=5)
    listing = await client.list(RUNS, label_selector="a=b", field_selector="status.phase!=Failed", page_size=1)
    assert [run.metadata.name for run in listing.items] == ["a", "b"]
    assert listing.resource_version == "5"
    assert api.seen[0].query == {"labelSelector": "a=b", "fieldSelector": "status.phase!=Failed", "limit": "1"}
    assert api.seen[1].query["continue"] == "next"
    assert all("resourceVersion" not in seen.query for seen in api.seen)


async def test_pages_of_large_objects_are_small(api: FakeApi, client: ApiClient) -> None:
    large = run_body("large", message="x" * (1 << 20))
    api.answer_list(run_body("a"), version=5, more="1")
    api.answer_list(*([large] * 2), version=5, more="2")
    api.answer_list(*([run_body("small")] * 3), version=5, more="3")
    api.answer_list(version=5)
    await client.list(RUNS)
    assert [int(seen.query["limit"]) for seen in api.seen] == [100, 500, 3, 500]


async def test_a_list_of_null_is_empty(api: FakeApi, client: ApiClient) -> None:
    api.answer({"metadata": {"resourceVersion": "3"}, "items": None})
    assert (await client.list(RUNS)).items == []


async def test_items_of_a_plain_list_get_their_kind(api: FakeApi, client: ApiClient) -> None:
    api.answer_list({"metadata": {"name": "d"}})
    deployment = (await client.list(DEPLOYMENTS)).items[0]
    assert (deployment["apiVersion"], deployment["kind"]) == ("apps/v1", "Deployment")


async def test_one_unreadable_item_does_not_hide_the_others(api: FakeApi, client: ApiClient, caplog: pytest.LogCaptureFixture) -> None:
    api.answer_list(run_body("good"), run_body("bad", source="top secret"))
    assert [run.metadata.name for run in (await client.list(RUNS)).items] == ["good"]
    record = caplog.records[0]
    assert record.__dict__["object"] == "bad"
    assert "secret" not in record.__dict__["error"]


async def test_writes_send_what_they_are_given(api: FakeApi, client: ApiClient) -> None:
    for _ in range(3):
        api.answer(run_body("r", version=2))
    await client.create(RUNS, {"kind": "Run"}, namespace="default", field_manager="me")
    await client.replace(RUNS, "r", {"kind": "Run"}, namespace="default", subresource="status")
    await client.patch(RUNS, "r", BROKEN, namespace="default", subresource="status", field_manager="me", force=True)
    created, replaced, patched = api.seen
    assert (created.method, created.query, created.headers["Content-Type"]) == ("POST", {"fieldManager": "me"}, "application/json")
    assert (replaced.method, replaced.path.endswith("/runs/r/status")) == ("PUT", True)
    assert patched.query == {"fieldManager": "me", "force": "true"}
    assert patched.headers["Content-Type"] == "application/merge-patch+json"
    assert patched.json == {"status": {"phase": "Failed"}}


async def test_a_delete_names_what_it_means(api: FakeApi, client: ApiClient) -> None:
    api.answer({"kind": "Status"})
    await client.delete(
        RUNS, "r", namespace="default", uid="u", resource_version="3", propagation_policy="Foreground", grace_period_seconds=0
    )
    assert api.seen[0].json == {
        "apiVersion": "v1",
        "kind": "DeleteOptions",
        "preconditions": {"uid": "u", "resourceVersion": "3"},
        "propagationPolicy": "Foreground",
        "gracePeriodSeconds": 0,
    }


@pytest.mark.parametrize(
    ("status", "reason", "expected"),
    [
        (400, "BadRequest", BadRequest),
        (401, "Unauthorized", Unauthorized),
        (403, "Forbidden", Forbidden),
        (404, "NotFound", NotFound),
        (409, "Conflict", Conflict),
        (409, "AlreadyExists", AlreadyExists),
        (410, "Expired", Gone),
        (410, "", Gone),
        (422, "Invalid", Invalid),
        (429, "TooManyRequests", Throttled),
        (500, "InternalError", ServerError),
        (504, "Timeout", ServerError),
        (418, "", ApiError),
        (302, "", ApiError),
    ],
)
async def test_a_refusal_becomes_its_error(api: FakeApi, client: ApiClient, status: int, reason: str, expected: type[ApiError]) -> None:
    api.refuse(status, reason=reason, message="it is so", causes=[{"field": "spec.env[2]", "message": "no", "reason": "x"}])
    with pytest.raises(ApiError) as caught:
        await client.patch(RUNS, "r", BROKEN, namespace="default")
    assert type(caught.value) is expected
    assert (caught.value.status, caught.value.api_reason) == (status, reason)
    assert [(cause.field, cause.message) for cause in caught.value.causes] == [("spec.env[2]", "no")]
    assert caught.value.is_answered == (status < 500)
    assert "PATCH" in str(caught.value)
    assert "it is so" in str(caught.value)
    assert len(api.seen) == 1


async def test_a_text_body_is_cut_and_a_json_body_is_not_shown(api: FakeApi, client: ApiClient) -> None:
    api.answer(b"<html> bad   gateway " + b"x" * 1000, status=502)
    with pytest.raises(ServerError, match="bad gateway") as caught:
        await client.patch(RUNS, "r", BROKEN, namespace="default")
    assert len(str(caught.value)) < 400
    api.answer({"kind": "Run", "spec": {"env": "password"}}, status=500)
    with pytest.raises(ServerError) as caught:
        await client.patch(RUNS, "r", BROKEN, namespace="default")
    assert "password" not in str(caught.value)


@pytest.mark.parametrize("body", [b"", b"nonsense", b'{"metadata": {"name": 5}}', b"\xff\xfe", b'{"spec": {"runtime": ["x"]}}', b"[]"])
async def test_an_unreadable_answer_is_our_error_and_never_shows_the_payload(api: FakeApi, client: ApiClient, body: bytes) -> None:
    api.answer(body)
    with pytest.raises(UnreadableAnswer) as caught:
        await client.patch(RUNS, "r", BROKEN, namespace="default")
    assert not caught.value.is_answered
    assert "nonsense" not in str(caught.value)
    api.answer(body)
    with pytest.raises(UnreadableAnswer):
        await client.list(RUNS)


async def test_no_answer_within_the_deadline_is_a_timeout(api: FakeApi) -> None:
    async with await ApiClient.connect(Credentials(api.url), user_agent="test", request_timeout_seconds=0.05) as client:
        is_over = api.hang_next()
        with pytest.raises(RequestTimeout, match=r"within 0\.05 s") as caught:
            await client.patch(RUNS, "r", BROKEN, namespace="default")
        assert not caught.value.is_answered
        is_over.set()


async def test_an_unreachable_server_is_named_with_what_to_check() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    async with await ApiClient.connect(Credentials(f"http://127.0.0.1:{port}"), user_agent="test") as client:
        with pytest.raises(Unreachable, match=rf"127\.0\.0\.1:{port}.*refused.*check that it runs") as caught:
            await client.get(RUNS, "r", namespace="default")
    assert not caught.value.is_answered


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
async def test_a_write_on_a_dead_connection_is_not_resent(api: FakeApi, client: ApiClient, method: str) -> None:
    api.answer(run_body("r"))
    await client.get(RUNS, "r", namespace="default")
    api.cut_next()
    api.answer(run_body("r"))
    with pytest.raises(Unreachable):
        await client.request(method, "/apis/kruntimes.io/v1alpha1/namespaces/default/runs/r", body=b"{}")
    assert [seen.method for seen in api.seen] == ["GET", method]


async def test_a_get_on_a_dead_connection_is_repeated_once(api: FakeApi, client: ApiClient) -> None:
    api.cut_next()
    api.answer(run_body("r"))
    assert (await client.get(RUNS, "r", namespace="default")).metadata.name == "r"
    api.cut_next()
    api.cut_next()
    with pytest.raises(Unreachable):
        await client.get(RUNS, "r", namespace="default")
    assert len(api.seen) == 4


async def test_an_answer_cut_in_the_middle_is_unreachable(api: FakeApi, client: ApiClient) -> None:
    async def cut(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "1000"})
        await response.prepare(request)
        await response.write(b'{"kind": "Run", ')
        assert request.transport is not None
        request.transport.abort()
        return response

    api.answer_by(cut)
    with pytest.raises(Unreachable):
        await client.patch(RUNS, "r", BROKEN, namespace="default")


@pytest.mark.parametrize("status", [429, 503])
async def test_a_get_comes_back_when_the_server_says_so(api: FakeApi, client: ApiClient, status: int) -> None:
    api.refuse(status, headers={"Retry-After": "0"})
    api.answer(run_body("r"))
    assert (await client.get(RUNS, "r", namespace="default")).metadata.name == "r"


async def test_a_get_does_not_wait_beyond_its_deadline(api: FakeApi, client: ApiClient) -> None:
    api.refuse(429, headers={"Retry-After": "3600"})
    with pytest.raises(Throttled) as caught:
        await client.get(RUNS, "r", namespace="default")
    assert caught.value.retry_after_seconds == 3600


async def test_a_throttled_write_is_given_back(api: FakeApi, client: ApiClient) -> None:
    api.refuse(429, headers={"Retry-After": "0"})
    with pytest.raises(Throttled):
        await client.patch(RUNS, "r", BROKEN, namespace="default")
    assert len(api.seen) == 1


async def test_retry_after_in_the_body_counts_too(api: FakeApi, client: ApiClient) -> None:
    api.refuse(429, retryAfterSeconds=7)
    with pytest.raises(Throttled) as caught:
        await client.patch(RUNS, "r", BROKEN, namespace="default")
    assert caught.value.retry_after_seconds == 7


async def test_proxies_of_the_environment_are_ignored(api: FakeApi, client: ApiClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    api.answer(run_body("r"))
    await client.get(RUNS, "r", namespace="default")


async def test_requests_share_connections_and_streams_do_not(api: FakeApi, client: ApiClient) -> None:
    path = RUNS.path(namespace="default")
    async with client.stream(path, query={"watch": "true"}):
        for _ in range(3):
            api.answer(run_body("r"))
            await client.get(RUNS, "r", namespace="default")
    assert len(api.connections) == 2


async def test_a_proxy_of_the_kubeconfig_is_used_and_a_server_named_as_its_own_is_asked_directly(api: FakeApi) -> None:
    path = "/apis/kruntimes.io/v1alpha1/namespaces/default/runs/r"
    for server, host, is_proxied in (("http://api.example", "api.example", True), (api.url, api.url.partition("//")[2], False)):
        credentials = Credentials(server, token="secret", proxy=api.url.replace("//", "//user:password@"))
        async with await ApiClient.connect(credentials, user_agent="test") as client:
            api.answer(run_body("r"))
            assert (await client.patch(RUNS, "r", BROKEN, namespace="default")).metadata.name == "r"
        seen = api.seen[-1]
        assert (seen.path, seen.headers["Host"], seen.headers["Authorization"]) == (path, host, "Bearer secret")
        assert ("Proxy-Authorization" in seen.headers) is is_proxied


async def test_a_burst_of_64_writes_is_on_the_wire_at_once_and_a_heartbeat_stands_behind_none(api: FakeApi, client: ApiClient) -> None:
    in_flight, all_here = 0, asyncio.Event()

    async def hold(request: web.Request) -> web.StreamResponse:
        nonlocal in_flight
        in_flight += 1
        if in_flight == 65:
            all_here.set()
        await all_here.wait()
        return web.json_response(run_body("r"))

    for _ in range(65):
        api.answer_by(hold)
    await asyncio.gather(*(client.patch(RUNS, f"r{number}", BROKEN, namespace="default", subresource="status") for number in range(65)))
    assert in_flight == len(api.connections) == 65


async def test_more_requests_than_connections_wait_for_their_turn(api: FakeApi) -> None:
    credentials = Credentials(api.url)
    async with await ApiClient.connect(credentials, user_agent="test", max_connections=2) as client:
        for _ in range(10):
            api.answer(run_body("r"))
        await asyncio.gather(*(client.get(RUNS, "r", namespace="default") for _ in range(10)))
    assert len(api.connections) <= 2


async def test_requests_are_counted_as_kubernetes_names_them(api: FakeApi, client: ApiClient) -> None:
    counted: list[tuple[str, str, str]] = []
    client.on_request = lambda verb, resource, code, seconds: counted.append((verb, resource, code)) if seconds > 0 else None
    api.answer(run_body("r"))
    await client.get(RUNS, "r", namespace="default")
    api.answer_list(run_body("r"))
    await client.list(RUNS)
    api.refuse(409)
    with pytest.raises(Conflict):
        await client.patch(RUNS, "r", BROKEN, namespace="default", subresource="status")
    api.cut_next()
    with pytest.raises(Unreachable):
        await client.create(RUNS, run_body("r"), namespace="default")
    async with client.stream(RUNS.path(), query={"watch": "true"}, asked=("watch", "runs")):
        pass
    api.refuse(410)
    with pytest.raises(Gone):
        async with client.stream(RUNS.path(), query={"watch": "true"}, asked=("watch", "runs")):
            pass
    assert counted == [
        ("get", "runs", "200"),
        ("list", "runs", "200"),
        ("patch", "runs/status", "409"),
        ("create", "runs", "Unreachable"),
        ("watch", "runs", "200"),
        ("watch", "runs", "410"),
    ]
    assert (client.requests_total, client.writes_total) == (6, 2)


async def test_lines_of_a_log_come_whole_and_the_last_without_end_too(api: FakeApi, client: ApiClient) -> None:
    async def logs(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for part in (b"one\ntw", b"o\n", b"\nthr", b"ee"):
            await response.write(part)
        return response

    api.answer_by(logs)
    async with client.stream("/api/v1/namespaces/default/pods/p/log", query={"follow": "true"}, accept="*/*") as stream:
        assert [line async for line in stream.lines(keep_partial=True)] == [b"one", b"two", b"", b"three"]
    assert api.seen[0].headers["Accept"] == "*/*"


async def test_a_stream_that_is_refused_raises_like_a_request(api: FakeApi, client: ApiClient) -> None:
    api.refuse(410, reason="Expired")
    with pytest.raises(Gone):
        async with client.stream("/api/v1/pods", query={"watch": "true"}):
            pass


async def test_a_silent_stream_is_given_up(api: FakeApi, client: ApiClient) -> None:
    async with client.stream("/api/v1/pods", query={"watch": "true"}) as stream:
        with pytest.raises(RequestTimeout, match="nothing came"):
            await anext(stream.chunks(inactivity_seconds=0.02))


async def test_a_stream_whose_server_hangs_before_the_head_is_given_up(api: FakeApi) -> None:
    async with await ApiClient.connect(Credentials(api.url), user_agent="test", request_timeout_seconds=0.05) as client:
        is_over = api.hang_next()
        with pytest.raises(RequestTimeout):
            async with client.stream("/api/v1/pods", query={}):
                pass
        is_over.set()


@pytest.mark.parametrize("name", ["..", "a/b", "", ".", "a%2fb"])
async def test_a_name_that_would_address_something_else_is_refused(client: ApiClient, name: str) -> None:
    with pytest.raises(Exception, match="is not a name") as caught:
        await client.get(RUNS, name, namespace="default")
    assert caught.value.exit_code == 2  # type: ignore[attr-defined]


def test_paths_are_those_of_kubernetes() -> None:
    cases: dict[str, Any] = {
        RUNS.path(): "/apis/kruntimes.io/v1alpha1/runs",
        RUNS.path(namespace="a"): "/apis/kruntimes.io/v1alpha1/namespaces/a/runs",
        RUNS.path(namespace="a", name="b", subresource="status"): "/apis/kruntimes.io/v1alpha1/namespaces/a/runs/b/status",
        NODES.path(name="n"): "/api/v1/nodes/n",
        NODES.path(namespace="ignored", name="n"): "/api/v1/nodes/n",
    }
    for path, expected in cases.items():
        assert path == expected
