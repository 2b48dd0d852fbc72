"""Every way to say who we are works against a real TLS server, and every broken one is told with file, field and remedy."""

from __future__ import annotations

import asyncio
import base64
import json
import stat
import subprocess
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from k8s.client import NODES, ApiClient, ConfigError, Credentials, Unauthorized, Unreachable, load_credentials
from k8s.client.tokens import FileToken, Token
from tests.k8s.client.certificates import Certificates, make_certificates
from tests.k8s.client.fake_api import FakeApi

SECRET = "s3cret-t0ken"


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
async def tls_api(certificates: Certificates) -> AsyncIterator[FakeApi]:
    async with FakeApi(tls=certificates.server_context()) as api:
        yield api


def kubeconfig(folder: Path, *, cluster: dict[str, Any], user: dict[str, Any] | None = None, **context: Any) -> str:
    """A file with one of each; returns its path."""
    content = {
        "current-context": "here",
        "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u", **context}}],
        "clusters": [{"name": "c", "cluster": cluster}],
        "users": [{"name": "u", "user": user or {}}],
    }
    path = folder / "kubeconfig"
    path.write_text(json.dumps(content))
    return str(path)


def plugin(folder: Path, *, status: dict[str, Any] | None = None, script: str = "") -> dict[str, Any]:
    """The `exec` section for a program that prints `status`, or does what `script` says."""
    body = json.dumps({"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": status or {}})
    path = folder / "plugin"
    path.write_text(f"#!/bin/sh\n{script or f'''cat <<'X'{chr(10)}{body}{chr(10)}X'''}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return {"apiVersion": "client.authentication.k8s.io/v1", "command": "./plugin", "installHint": "see the manual"}


async def name_seen_by_server(api: FakeApi, credentials: Credentials) -> tuple[str, str]:
    """(common name of the client certificate, Authorization) as the server sees them."""
    seen = {}

    async def look(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        peer = request.transport.get_extra_info("peercert") or {}
        seen["name"] = dict(pair[0] for pair in peer.get("subject", ())).get("commonName", "")
        seen["authorization"] = request.headers.get("Authorization", "")
        return web.json_response({"kind": "Node"})

    api.answer_by(look)
    async with await ApiClient.connect(credentials, user_agent="test") as client:
        await client.get(NODES, "n")
    return seen["name"], seen["authorization"]


def encoded(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()


@pytest.mark.parametrize("as_data", [True, False])
async def test_client_certificates_work_as_data_and_as_relative_files(
    tls_api: FakeApi, certificates: Certificates, *, as_data: bool
) -> None:
    folder = certificates.folder
    if as_data:
        cluster = {"certificate-authority-data": encoded(folder / "ca.crt")}
        user = {"client-certificate-data": encoded(folder / "client.crt"), "client-key-data": encoded(folder / "client.key")}
    else:
        cluster, user = {"certificate-authority": "ca.crt"}, {"client-certificate": "client.crt", "client-key": "client.key"}
    path = kubeconfig(folder, cluster={"server": tls_api.url, **cluster}, user=user, namespace="team")
    credentials = await load_credentials(kubeconfig=path)
    assert credentials.namespace == "team"
    assert await name_seen_by_server(tls_api, credentials) == ("client", "")


async def test_flags_win_over_the_kubeconfig(tls_api: FakeApi, certificates: Certificates, tmp_path: Path) -> None:
    path = kubeconfig(tmp_path, cluster={"server": "https://127.0.0.1:1", "certificate-authority": "nowhere"}, user={"token": "other"})
    credentials = await load_credentials(
        kubeconfig=path,
        server=tls_api.url,
        token=SECRET,
        certificate_authority=str(certificates.path("ca.crt")),
        client_certificate=str(certificates.path("client.crt")),
        client_key=str(certificates.path("client.key")),
    )
    assert await name_seen_by_server(tls_api, credentials) == ("client", f"Bearer {SECRET}")


@pytest.mark.parametrize(
    ("proxy", "server", "expected"),
    [
        ("http://user:secret@127.0.0.1:6443", None, "http://user:secret@127.0.0.1:6443"),
        ("http://user:secret@127.0.0.1:6443", "http://127.0.0.1:7000", None),
        ("http://proxy.example:3128", "http://127.0.0.1:7000", "http://proxy.example:3128"),
    ],
    ids=["as written", "the file's own server is no way to another", "any other proxy is"],
)
async def test_a_server_that_is_its_own_proxy_is_no_proxy_for_others(
    tmp_path: Path, proxy: str, server: str | None, expected: str | None
) -> None:
    config = kubeconfig(tmp_path, cluster={"server": "http://127.0.0.1:6443", "proxy-url": proxy})
    assert (await load_credentials(kubeconfig=config, server=server)).proxy == expected


async def test_flags_alone_are_enough(tls_api: FakeApi, certificates: Certificates, tmp_path: Path) -> None:
    authority = str(certificates.path("ca.crt"))
    credentials = await load_credentials(server=tls_api.url, token=SECRET, certificate_authority=authority, environ={"HOME": str(tmp_path)})
    assert await name_seen_by_server(tls_api, credentials) == ("", f"Bearer {SECRET}")


async def test_an_untrusted_server_is_refused_and_said_so(tls_api: FakeApi, certificates: Certificates) -> None:
    path = kubeconfig(certificates.folder, cluster={"server": tls_api.url, "certificate-authority": "other.crt"})
    async with await ApiClient.connect(await load_credentials(kubeconfig=path), user_agent="test") as client:
        with pytest.raises(Unreachable, match=r"not trusted.*certificate-authority"):
            await client.get(NODES, "n")


async def test_a_server_that_speaks_no_tls_is_said_so(api: FakeApi, certificates: Certificates) -> None:
    cluster = {"server": api.url.replace("http:", "https:"), "certificate-authority": "ca.crt"}
    credentials = await load_credentials(kubeconfig=kubeconfig(certificates.folder, cluster=cluster))
    with pytest.raises(Unreachable, match=r"(?i)ssl.*check certificate-authority and server"):
        await name_seen_by_server(api, credentials)


async def test_an_untrusted_server_is_accepted_when_asked_to(tls_api: FakeApi, certificates: Certificates) -> None:
    path = kubeconfig(certificates.folder, cluster={"server": tls_api.url, "certificate-authority": "other.crt"})
    await name_seen_by_server(tls_api, await load_credentials(kubeconfig=path, insecure_skip_tls_verify=True))
    path = kubeconfig(certificates.folder, cluster={"server": tls_api.url, "insecure-skip-tls-verify": True})
    await name_seen_by_server(tls_api, await load_credentials(kubeconfig=path))


async def test_the_name_in_the_certificate_can_be_told(tls_api: FakeApi, certificates: Certificates) -> None:
    cluster = {"server": tls_api.url, "certificate-authority": "ca.crt"}
    for name, is_good in (("api.test", True), ("else.test", False)):
        credentials = await load_credentials(kubeconfig=kubeconfig(certificates.folder, cluster={**cluster, "tls-server-name": name}))
        if is_good:
            await name_seen_by_server(tls_api, credentials)
        else:
            with pytest.raises(Unreachable, match="not trusted"):
                await name_seen_by_server(tls_api, credentials)


async def test_somebody_else_can_be_impersonated(api: FakeApi) -> None:
    credentials = await load_credentials(server=api.url, token=SECRET, as_user="jane", as_groups=["a", "b"], as_uid="7", environ={})
    headers = [pair for pair in await credentials.authorize() if pair[0] != "Authorization"]
    assert headers == [("Impersonate-User", "jane"), ("Impersonate-Uid", "7"), ("Impersonate-Group", "a"), ("Impersonate-Group", "b")]


@pytest.mark.parametrize(
    ("user", "expected"),
    [
        ({"token": SECRET + "\n"}, f"Bearer {SECRET}"),
        ({"tokenFile": "token"}, f"Bearer {SECRET}"),
        ({"username": "jane", "password": "pw"}, "Basic " + base64.b64encode(b"jane:pw").decode()),
        ({}, ""),
    ],
)
async def test_tokens_come_from_where_the_kubeconfig_says(tmp_path: Path, user: dict[str, Any], expected: str) -> None:
    (tmp_path / "token").write_text(SECRET + "\n")
    credentials = await load_credentials(kubeconfig=kubeconfig(tmp_path, cluster={"server": "http://x"}, user=user))
    assert dict(await credentials.authorize()).get("Authorization", "") == expected


@pytest.mark.slow
async def test_a_plugin_gives_the_token(tmp_path: Path) -> None:
    path = kubeconfig(tmp_path, cluster={"server": "http://x"}, user={"exec": plugin(tmp_path, status={"token": SECRET})})
    assert dict(await (await load_credentials(kubeconfig=path)).authorize()) == {"Authorization": f"Bearer {SECRET}"}


async def test_a_plugin_gives_a_certificate(tls_api: FakeApi, certificates: Certificates) -> None:
    status = {
        key: certificates.path(name).read_text() for key, name in (("clientCertificateData", "client.crt"), ("clientKeyData", "client.key"))
    }
    cluster = {"server": tls_api.url, "certificate-authority": "ca.crt"}
    path = kubeconfig(certificates.folder, cluster=cluster, user={"exec": plugin(certificates.folder, status=status)})
    assert await name_seen_by_server(tls_api, await load_credentials(kubeconfig=path)) == ("client", "")


async def test_a_plugin_is_asked_again_shortly_before_its_token_ends(tmp_path: Path) -> None:
    ends_at = (datetime.now(UTC) + timedelta(minutes=10)).strftime("%Y-%m-%dT%H:%M:%SZ")
    section = plugin(tmp_path, status={"token": "first", "expirationTimestamp": ends_at})
    credentials = await load_credentials(kubeconfig=kubeconfig(tmp_path, cluster={"server": "http://x"}, user={"exec": section}))
    now = 0.0
    credentials._clock = lambda: now
    await credentials._refresh()
    plugin(tmp_path, status={"token": "second"})
    now = 530.0
    assert dict(await credentials.authorize())["Authorization"] == "Bearer first"
    now = 545.0
    assert dict(await credentials.authorize())["Authorization"] == "Bearer second"


@pytest.mark.parametrize(
    ("script", "problem"),
    [
        ("echo sorry >&2; exit 3", "returned 3.*sorry"),
        ("echo nonsense", "failed"),
        ("echo '{}'", "failed"),
        ('echo \'{"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": {}}\'', "neither a token nor"),
    ],
)
async def test_a_broken_plugin_is_named(tmp_path: Path, script: str, problem: str) -> None:
    path = kubeconfig(tmp_path, cluster={"server": "http://x"}, user={"exec": plugin(tmp_path, script=script)})
    with pytest.raises(ConfigError, match=rf"kubeconfig: users\[u\]\.user\.exec\.command: .*{problem}"):
        await load_credentials(kubeconfig=path)


async def test_a_missing_plugin_is_named_with_its_hint(tmp_path: Path) -> None:
    section = {**plugin(tmp_path), "command": "no-such-program-of-ours"}
    path = kubeconfig(tmp_path, cluster={"server": "http://x"}, user={"exec": section})
    with pytest.raises(ConfigError, match=r"no program 'no-such-program-of-ours'; see the manual"):
        await load_credentials(kubeconfig=path)


async def test_in_a_pod_its_account_is_used_and_its_token_read_again(tls_api: FakeApi, certificates: Certificates, tmp_path: Path) -> None:
    (tmp_path / "ca.crt").write_bytes(certificates.path("ca.crt").read_bytes())
    (tmp_path / "namespace").write_text("team\n")
    (tmp_path / "token").write_text("first\n")
    host, port = tls_api.url.removeprefix("https://").split(":")
    environ = {"KUBERNETES_SERVICE_HOST": host, "KUBERNETES_SERVICE_PORT": port, "HOME": str(tmp_path)}
    credentials = await load_credentials(environ=environ, service_account_folder=tmp_path)
    assert credentials.namespace == "team"
    assert await name_seen_by_server(tls_api, credentials) == ("", "Bearer first")
    (tmp_path / "token").write_text("second\n")
    assert await name_seen_by_server(tls_api, credentials) == ("", "Bearer first")
    started_at = credentials._clock()
    credentials._clock = lambda: started_at + 61
    assert await name_seen_by_server(tls_api, credentials) == ("", "Bearer second")


async def test_a_refused_token_is_read_again_for_the_next_request(api: FakeApi, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("old")
    credentials = Credentials(api.url, token_source=FileToken(tmp_path / "token", origin="test"))
    async with await ApiClient.connect(credentials, user_agent="test") as client:
        api.refuse(401)
        with pytest.raises(Unauthorized):
            await client.get(NODES, "n")
        (tmp_path / "token").write_text("new")
        api.answer({"kind": "Node"})
        await client.get(NODES, "n")
    assert [seen.headers["Authorization"] for seen in api.seen] == ["Bearer old", "Bearer new"]


async def test_a_token_that_cannot_be_renewed_is_no_valid_token(tmp_path: Path) -> None:
    credentials = Credentials("http://x", token_source=FileToken(tmp_path / "gone", origin="the token"))
    with pytest.raises(Unauthorized, match=r"the token: .*gone cannot be read"):
        await credentials.authorize()


async def test_many_requests_at_once_ask_the_plugin_once() -> None:
    asked = []

    class Source:
        async def fetch(self) -> Token:
            asked.append(1)
            await asyncio.sleep(0)
            return Token("Bearer x", 60.0)

    credentials = Credentials("http://x", token_source=Source())
    await asyncio.gather(*(credentials.authorize() for _ in range(10)))
    assert len(asked) == 1


async def test_of_several_files_the_first_that_says_something_wins(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        kubeconfig(tmp_path / name, cluster={"server": f"http://{name}"}, user={"token": name})
    environ = {"KUBECONFIG": f"{tmp_path}/missing:{tmp_path}/one/kubeconfig:{tmp_path}/two/kubeconfig"}
    assert (await load_credentials(environ=environ)).server == "http://one"


async def test_the_home_folder_is_looked_at_last(tmp_path: Path) -> None:
    (tmp_path / ".kube").mkdir()
    kubeconfig(tmp_path, cluster={"server": "http://home"})
    (tmp_path / "kubeconfig").rename(tmp_path / ".kube" / "config")
    assert (await load_credentials(environ={"HOME": str(tmp_path)})).server == "http://home"


GOOD: dict[str, Any] = {
    "current-context": "here",
    "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u"}}, {"name": "half", "context": {"user": "u"}}],
    "clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:6443"}}],
    "users": [{"name": "u", "user": {}}],
}


def changed(**fields: Any) -> str:
    return json.dumps({**GOOD, **fields})


def with_cluster(**fields: Any) -> str:
    return changed(clusters=[{"name": "c", "cluster": {"server": "https://127.0.0.1:6443", **fields}}])


def with_user(**fields: Any) -> str:
    return changed(users=[{"name": "u", "user": fields}])


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        ("a: [", {}, r"not valid YAML at line 1, column \d+; correct the file"),
        ("just text", {}, r"is not a kubeconfig; it must be a mapping"),
        ("", {}, r"is not a kubeconfig"),
        ("\x00", {}, r"is not valid YAML"),
        (changed(**{"current-context": ""}), {}, r"current-context is not set; use one of: half, here, or pass --context"),
        (changed(**{"current-context": 5}), {}, r"current-context: must be text, not int"),
        (changed(**{"current-context": "x"}), {}, r"current-context: there is no context named 'x'; use one of: half, here"),
        (changed(), {"context": "y"}, r"there is no context named 'y'; use one of: half, here"),
        (changed(clusters=[]), {}, r"contexts\[here\]\.context\.cluster: there is no cluster named 'c'; add one under clusters:"),
        (changed(users=None), {}, r"contexts\[here\]\.context\.user: there is no user named 'u'; add one under users:"),
        (changed(), {"cluster": "z"}, r"there is no cluster named 'z'; use one of: c"),
        (changed(), {"user": "z"}, r"there is no user named 'z'; use one of: u"),
        (changed(), {"context": "half"}, r"contexts\[half\]\.context\.cluster: is missing; use one of: c"),
        (changed(clusters={"c": {}}), {}, r"clusters: must be a list"),
        (changed(clusters=[{"cluster": {}}]), {}, r"clusters\[0\]\.name: is missing"),
        (changed(clusters=[{"name": "c", "cluster": "x"}]), {}, r"clusters\[c\]\.cluster: must be a mapping, not str"),
        (changed(clusters=[{"name": "c"}]), {}, r"clusters\[c\]\.cluster\.server: is missing; write the address"),
        (with_cluster(server="127.0.0.1:6443"), {}, r"clusters\[c\]\.cluster\.server: is not an address.*https://host:6443"),
        (with_cluster(**{"proxy-url": "socks5://x"}), {}, r"clusters\[c\]\.cluster\.proxy-url: .*use one with http://"),
        (with_cluster(server=7), {}, r"clusters\[c\]\.cluster\.server: must be text, not int"),
        (changed(), {"server": "ftp://x"}, r"--server: is not an address"),
        (with_cluster(**{"certificate-authority": "none.crt"}), {}, r"certificate-authority: .*none\.crt cannot be read: No such file"),
        (with_cluster(**{"certificate-authority-data": "%%%"}), {}, r"certificate-authority-data: is not base64; copy it again"),
        (with_cluster(**{"certificate-authority-data": "YWJj"}), {}, r"certificate-authority-data: the certificate authority cannot"),
        (with_cluster(**{"certificate-authority": "empty"}), {}, r"certificate-authority: .*empty: the certificate authority cannot"),
        (changed(), {"certificate_authority": "/none.crt"}, r"--certificate-authority: /none\.crt cannot be read"),
        (
            with_user(**{"client-certificate-data": "YWJj", "client-key-data": "YWJj"}),
            {},
            r"client-certificate-data: the client certificate",
        ),
        (with_user(**{"client-certificate-data": "YWJj"}), {}, r"client-certificate-data: there is no client-key"),
        (with_user(tokenFile="none"), {}, r"users\[u\]\.user\.tokenFile: .*none cannot be read"),
        (with_user(token="two\nlines"), {}, r"users\[u\]\.user\.token: the token contains characters"),
        (with_user(token=5), {}, r"users\[u\]\.user\.token: must be text"),
        (with_user(exec={}), {}, r"users\[u\]\.user\.exec\.command: is missing"),
        (with_user(exec="x"), {}, r"users\[u\]\.user\.exec\.command: is missing"),
        (with_user(**{"auth-provider": {"name": "oidc"}}), {}, r"users\[u\]\.user\.auth-provider: failed.*use an exec plugin"),
        (changed(), {"as_groups": ["g"]}, r"--as-group and --as-uid need a user"),
    ],
)
async def test_a_broken_kubeconfig_is_told_with_file_field_and_remedy(
    tmp_path: Path, content: str, options: dict[str, Any], message: str
) -> None:
    (tmp_path / "empty").touch()
    path = tmp_path / "kubeconfig"
    path.write_text(content)
    with pytest.raises(ConfigError, match=message) as caught:
        await load_credentials(kubeconfig=str(path), **options)
    assert caught.value.exit_code == 2
    assert ";" in str(caught.value)
    assert str(path) in str(caught.value) or "--" in str(caught.value)


async def test_yaml_that_is_broken_at_a_token_does_not_show_it(tmp_path: Path) -> None:
    path = tmp_path / "kubeconfig"
    path.write_text(f"users:\n- user:\n    token: {SECRET}: x\n")
    with pytest.raises(ConfigError) as caught:
        await load_credentials(kubeconfig=str(path))
    assert SECRET not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kubeconfig": "/none"}, r"/none: there is no such file; correct --kubeconfig"),
        ({"environ": {"KUBECONFIG": "/none"}}, r"/none: there is no such file; correct the variable KUBECONFIG"),
        ({"environ": {"HOME": "/none"}}, r"no kubeconfig: .*name one, or pass --server"),
        (
            {"environ": {"HOME": "/none", "KUBERNETES_SERVICE_HOST": "h"}, "service_account_folder": Path("/none")},
            r"/none/ca\.crt cannot be read",
        ),
    ],
)
async def test_a_missing_file_is_told_with_what_named_it(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        await load_credentials(**options)


@pytest.mark.slow
def test_the_kubernetes_library_is_not_imported_where_nobody_needs_it(tmp_path: Path) -> None:
    path = kubeconfig(tmp_path, cluster={"server": "http://x"}, user={"token": SECRET})
    code = f"""
import asyncio, sys, k8s.client
asyncio.run(k8s.client.load_credentials(kubeconfig={path!r}))
sys.exit("kubernetes" in sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=30, env={"PYTHONPATH": ".:proto"})
