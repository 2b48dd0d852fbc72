"""Shared flags: what they accept, and what they say otherwise."""

from __future__ import annotations

from typing import Any

import click
import pytest
from click.testing import CliRunner

from k8s.api.errors import UsageError
from k8s.client.leases import LeaseTimes
from k8s.manager import BindAddress, ManagerSettings, manager_options, parse_bind_address, take_settings


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (":8081", BindAddress("", 8081)),
        ("127.0.0.1:0", BindAddress("127.0.0.1", 0)),
        ("localhost:65535", BindAddress("localhost", 65535)),
        ("[::1]:9090", BindAddress("::1", 9090)),
        ("0", None),
    ],
)
def test_an_address_is_read(text: str, expected: BindAddress | None) -> None:
    assert parse_bind_address(text, field="--x") == expected


@pytest.mark.parametrize("text", ["", "8081", "host", ":x", ":-1", ":65536", "::1:80", "a:b:1"])
def test_what_is_no_address_is_told_with_field_and_remedy(text: str) -> None:
    with pytest.raises(UsageError, match=r"--x: .* is no address; write it as in :8081"):
        parse_bind_address(text, field="--x")


def run(*arguments: str, **options: Any) -> tuple[int, str, ManagerSettings | None]:
    seen: list[ManagerSettings] = []

    @click.command()
    @manager_options(metrics=":8080", health=":8081", **options)
    def command(**parameters: Any) -> None:
        seen.append(take_settings(parameters))
        assert not parameters

    result = CliRunner().invoke(command, arguments)
    return result.exit_code, result.output, seen[0] if seen else None


def test_the_defaults_are_those_of_the_command() -> None:
    assert run() == (0, "", ManagerSettings())


def test_all_flags_arrive() -> None:
    flags = ("--kubeconfig=k", "--metrics-bind-address=:1", "--health-probe-bind-address=0", "--leader-elect", "-v", "4")
    _, _, settings = run(*flags)
    assert settings == ManagerSettings("k", ":1", "0", leader_elect=True, verbosity=4)
    assert settings.log_level == "debug"


def test_a_bad_address_is_a_usage_error() -> None:
    code, output, _ = run("--metrics-bind-address=nonsense")
    assert code == 2
    assert "--metrics-bind-address" in output


def test_leader_election_is_offered_only_where_it_exists() -> None:
    assert run("--leader-elect", has_leader_election=False)[0] == 2


def test_the_times_of_a_lease_are_settings() -> None:
    flags = ("--leader-elect-lease-duration=3s", "--leader-elect-renew-deadline=2s", "--leader-elect-retry-period=500ms")
    _, _, settings = run(*flags)
    assert settings is not None
    assert settings.lease_times == LeaseTimes(3.0, 2.0, 0.5)


def test_a_leader_that_would_outlive_its_lease_is_refused() -> None:
    code, output, _ = run("--leader-elect-lease-duration=3s", "--leader-elect-renew-deadline=3s")
    assert code == 2
    assert "renew_deadline_seconds < lease_seconds" in output
