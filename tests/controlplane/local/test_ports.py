"""Free ports of this machine."""

from __future__ import annotations

import random
import socket
from pathlib import Path

from controlplane.local.address import remembered_port
from controlplane.local.ports import Ports, is_free


def test_a_port_is_given_to_one_user_at_a_time() -> None:
    one, two = Ports(randomness=random.Random(1)), Ports(randomness=random.Random(1))
    first = one.take()
    assert one.take() != first
    assert two.take() == first, "the same chance gives the same port to another process"
    one.release(first)


def test_a_port_on_which_somebody_listens_is_passed_over() -> None:
    first = Ports(randomness=random.Random(2)).take()
    with socket.create_server(("127.0.0.1", first)):
        assert not is_free(first)
        assert Ports(randomness=random.Random(2)).take() == first + 1
    assert is_free(first)


def test_ports_lie_outside_the_range_of_outgoing_connections() -> None:
    low, high = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    ports = Ports()
    assert all(not low <= ports.take() <= high for _ in range(50))


def test_the_api_server_keeps_its_address(tmp_path: Path) -> None:
    kubeconfig = tmp_path / "kubeconfig"
    port = Ports().take()
    kubeconfig.write_text(f"clusters: [{{name: local, cluster: {{server: 'http://127.0.0.1:{port}'}}}}]")
    assert remembered_port(kubeconfig, wanted=None) == port
    assert remembered_port(kubeconfig, wanted=7000) == 7000
    with socket.create_server(("127.0.0.1", port)):
        assert remembered_port(kubeconfig, wanted=None) != port


def test_a_damaged_kubeconfig_is_no_obstacle(tmp_path: Path) -> None:
    for text in ("", "clusters: []", "a: [", "clusters: [{cluster: {server: 'http://x:port'}}]"):
        (tmp_path / "kubeconfig").write_text(text)
        assert remembered_port(tmp_path / "kubeconfig", wanted=None) > 0
