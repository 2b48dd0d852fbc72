"""Requests that make no sense: each gets a Status that says so, and changes nothing."""

from __future__ import annotations

import asyncio
import io

import aiohttp
import pytest

from tests.contract.http import CONFIG_MAPS, DEADLINE_SECONDS, PODS, RUNS, Api
from tests.contract.objects import changed, config_map, pod, run


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b'"text"', b"null", b"\xff\xfe"], ids=["empty", "cut", "list", "text", "null", "not-utf8"]
)
async def test_a_body_that_is_no_object_is_a_bad_request(api: Api, body: bytes) -> None:
    (await api.request("POST", api.path(RUNS), body)).refused(400, "BadRequest")


async def test_a_body_needs_a_kind(api: Api) -> None:
    (await api.post(RUNS, {"metadata": {"name": "one"}})).refused(400, "BadRequest", mentions="Kind")


async def test_a_body_of_another_kind_is_refused(api: Api) -> None:
    (await api.post(RUNS, config_map())).refused(400, "BadRequest")
    (await api.post(CONFIG_MAPS, run())).refused(400, "BadRequest")


async def test_a_body_of_another_version_is_refused(api: Api) -> None:
    (await api.post(RUNS, run() | {"apiVersion": "kruntimes.io/v2"})).refused(400, "BadRequest")


async def test_a_body_of_an_unknown_type_is_refused(api: Api) -> None:
    (await api.request("POST", api.path(RUNS), run(), content_type="text/plain")).refused(415, "UnsupportedMediaType")


async def test_a_body_may_be_yaml(api: Api) -> None:
    body = b"apiVersion: kruntimes.io/v1alpha1\nkind: Run\nmetadata: {name: one}\nspec: {runtime: bash, mode: {task: {}}}\n"

    created = (await api.request("POST", api.path(RUNS), body, content_type="application/yaml")).ok(201)

    assert created["spec"]["runtime"] == "bash"


async def test_metadata_of_a_wrong_type_is_a_bad_request(api: Api) -> None:
    (await api.post(RUNS, changed(run(), "metadata.labels", {"a": 1}))).refused(400, "BadRequest")
    (await api.post(RUNS, changed(run(), "metadata", "one"))).refused(400, "BadRequest")


async def test_a_built_in_field_of_a_wrong_type_is_a_bad_request(api: Api) -> None:
    (await api.post(CONFIG_MAPS, changed(config_map(), "data", {"a": 1}))).refused(400, "BadRequest")
    (await api.post(PODS, changed(pod(), "spec.containers", "runtime"))).refused(400, "BadRequest")


@pytest.mark.parametrize(
    "path",
    [
        "/apis/kruntimes.io/v1alpha1/namespaces/default/jobs",
        "/apis/kruntimes.io/v2/runs",
        "/apis/nothing.io/v1/things",
        "/api/v1/nothings",
        "/nothing",
    ],
)
async def test_an_unknown_path_is_not_found(api: Api, path: str) -> None:
    assert (await api.request("GET", path)).status == 404


@pytest.mark.parametrize(
    ("method", "name"), [("PUT", ""), ("PATCH", ""), ("POST", "one")], ids=["put-collection", "patch-collection", "post-object"]
)
async def test_a_verb_in_the_wrong_place_is_not_allowed(api: Api, method: str, name: str) -> None:
    created = await api.create(CONFIG_MAPS, config_map())

    answer = await api.request(method, api.path(CONFIG_MAPS, name), created)

    answer.refused(405, "MethodNotAllowed")


@pytest.mark.parametrize(("method", "kind"), [("PUT", "application/json"), ("PATCH", "application/merge-patch+json")])
async def test_a_custom_object_is_written_by_name(api: Api, method: str, kind: str) -> None:
    answer = await api.request(method, api.path(RUNS), run(), content_type=kind)

    answer.refused(400, "BadRequest", mentions="name must be provided")


async def test_a_status_is_not_deleted(api: Api) -> None:
    await api.create(RUNS, run())

    assert (await api.request("DELETE", api.path(RUNS, "one", subresource="status"))).status == 405


async def test_an_unknown_subresource_is_not_found(api: Api) -> None:
    await api.create(RUNS, run())

    assert (await api.request("GET", api.path(RUNS, "one", subresource="scale"))).status == 404


async def test_a_wrong_token_is_unauthorized(api: Api) -> None:
    answer = await api.request("GET", api.path(RUNS), headers={"Authorization": "Bearer wrong"})

    answer.refused(401, "Unauthorized")


async def test_no_token_opens_nothing(api: Api) -> None:
    tls = api.access.tls()
    async with aiohttp.ClientSession() as session, session.get(api.access.url + api.path(RUNS), ssl=tls or False) as response:
        # With anonymous access the real server knows who asks, and forbids it.
        assert response.status in (401, 403)
        assert (await response.json())["kind"] == "Status"


async def test_an_answer_in_an_unknown_form_is_not_acceptable(api: Api) -> None:
    answer = await api.request("GET", api.path(RUNS), headers={"Accept": "image/png"})

    answer.refused(406, "NotAcceptable")


async def test_a_body_too_large_is_refused(api: Api) -> None:
    url = api.access.url + api.path(CONFIG_MAPS)
    headers = api.access.headers | {"Content-Type": "application/json", "Expect": "100-continue"}
    body = io.BytesIO(b'{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"big"},"data":{"a":"' + b"x" * 4_000_000 + b'"}}')

    async with (
        asyncio.timeout(DEADLINE_SECONDS),
        aiohttp.ClientSession() as session,
        session.post(url, data=body, headers=headers, ssl=api.access.tls() or False) as response,
    ):
        status = await response.json()

    assert (response.status, status["reason"]) == (413, "RequestEntityTooLarge")


async def test_a_list_limit_must_be_a_number(api: Api) -> None:
    (await api.get(RUNS, limit="few")).refused(400, "BadRequest")


async def test_an_unknown_dry_run_is_refused(api: Api) -> None:
    (await api.post(RUNS, run(), dryRun="Some")).refused(422, "Invalid", mentions="dryRun")


async def test_an_unknown_field_validation_is_refused(api: Api) -> None:
    (await api.post(RUNS, run(), fieldValidation="Sometimes")).refused(422, "Invalid", mentions="fieldValidation")
