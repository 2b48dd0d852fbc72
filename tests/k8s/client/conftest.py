"""A fake API server and a client connected to it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from k8s.client import ApiClient, Credentials
from tests.k8s.client.fake_api import FakeApi


@pytest.fixture
async def api() -> AsyncIterator[FakeApi]:
    async with FakeApi() as api:
        yield api


@pytest.fixture
async def client(api: FakeApi) -> AsyncIterator[ApiClient]:
    async with await ApiClient.connect(Credentials(api.url, token="secret"), user_agent="test", request_timeout_seconds=2.0) as client:
        yield client
