"""RPCs come from loopback or are refused; the port is open to TCP probes."""

from __future__ import annotations

import asyncio
import socket

import grpc
import psutil
import pytest
from krtpb.executor.v1 import runtime_pb2, runtime_pb2_grpc, stream_pb2_grpc

from servers.sdk.loopback import is_loopback_peer
from tests.servers.processes import ServerProcess


@pytest.mark.parametrize(
    "peer",
    [
        "ipv4:127.0.0.1:50000",
        "ipv4:127.8.9.10:1",
        "ipv6:[::1]:50000",
        "ipv6:%5B::1%5D:50000",
        "ipv6:[::ffff:127.0.0.1]:50000",
        "ipv6:%5B::ffff:127.0.0.1%5D:50000",
        "unix:",
        "unix:/run/x.sock",
        "unix-abstract:x",
    ],
)
def test_loopback_peers_are_known(peer: str) -> None:
    assert is_loopback_peer(peer)


@pytest.mark.parametrize(
    "peer",
    [
        "ipv4:10.0.0.1:50000",
        "ipv4:192.0.2.2:50000",
        "ipv4:0.0.0.0:1",
        "ipv6:[::ffff:10.0.0.1]:50000",
        "ipv6:%5B2001:db8::1%5D:50000",
        "ipv6:[fe80::1%25eth0]:5",
        "ipv6:[::]:5",
        "ipv4:localhost:5",
        "ipv4:",
        "",
        "unknown",
        "vsock:1:2",
    ],
)
def test_everything_else_is_not_loopback(peer: str) -> None:
    assert not is_loopback_peer(peer)


def own_addresses(family: socket.AddressFamily) -> list[str]:
    """Of this machine, not loopback, not link-local: a connection to one comes from it."""
    addresses = [entry.address for entries in psutil.net_if_addrs().values() for entry in entries if entry.family == family]
    return [address for address in addresses if not address.startswith(("127.", "::1", "fe80:"))]


def external_targets(port: int) -> list[str]:
    ipv6 = [f"ipv6:[{address}]:{port}" for address in own_addresses(socket.AF_INET6)]
    return [f"ipv4:{address}:{port}" for address in own_addresses(socket.AF_INET)] + ipv6


@pytest.mark.skipif(not external_targets(0), reason="this machine has no address but loopback")
async def test_every_rpc_is_refused_to_a_peer_that_is_not_loopback(bash_server: ServerProcess) -> None:
    for target in external_targets(bash_server.port):
        async with grpc.aio.insecure_channel(target) as channel:
            runtime = runtime_pb2_grpc.RuntimeStub(channel)
            for method in ("Execute", "Status", "List", "Cancel", "Forget", "Health"):
                with pytest.raises(grpc.aio.AioRpcError) as error:
                    await getattr(runtime, method)(getattr(runtime_pb2, f"{method}Request")())
                assert error.value.code() == grpc.StatusCode.PERMISSION_DENIED, (target, method)
            call = stream_pb2_grpc.RuntimeStreamStub(channel).Session()
            # Nothing is written: grpc.aio calls it internal when a write meets the end.
            assert await call.code() == grpc.StatusCode.PERMISSION_DENIED


@pytest.mark.skipif(not external_targets(0), reason="this machine has no address but loopback")
async def test_a_tcp_probe_from_outside_succeeds(bash_server: ServerProcess) -> None:
    for address in own_addresses(socket.AF_INET) + own_addresses(socket.AF_INET6):
        async with asyncio.timeout(5):
            _, writer = await asyncio.open_connection(address, bash_server.port)
        writer.close()
        await writer.wait_closed()


@pytest.mark.parametrize("target", ["ipv4:127.0.0.1:{}", "ipv6:[::1]:{}", "ipv4:127.5.5.5:{}"])
async def test_loopback_peers_are_answered(bash_server: ServerProcess, target: str) -> None:
    if "::1" in target and not socket.has_ipv6:
        pytest.skip("no IPv6 here")
    async with grpc.aio.insecure_channel(target.format(bash_server.port)) as channel:
        health = await runtime_pb2_grpc.RuntimeStub(channel).Health(runtime_pb2.HealthRequest())
        assert health.healthy
