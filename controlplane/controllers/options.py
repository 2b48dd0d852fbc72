"""Types of krt-controller's flags: what is wrong is said at the start, not by the API server at every Runtime."""

from __future__ import annotations

import ipaddress
from typing import Any

import click

from k8s.api.quantities import parse_quantity


class QuantityType(click.ParamType[str]):
    """A Kubernetes quantity above zero, passed on as it is."""

    name = "quantity"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        try:
            if parse_quantity(str(value)) <= 0:
                self.fail(f"{value!r} must be more than nothing; write it as in 256Mi", param, ctx)
        except ValueError as error:
            self.fail(str(error), param, ctx)
        return str(value)


class CidrsType(click.ParamType[tuple[str, ...]]):
    """Networks separated by commas."""

    name = "networks"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        if isinstance(value, tuple):
            return value
        cidrs = tuple(word.strip() for word in str(value).split(",") if word.strip())
        for cidr in cidrs:
            try:
                ipaddress.ip_network(cidr)
            except ValueError as error:
                self.fail(f"{cidr!r} is no network ({error}); write it as in 10.0.0.0/8", param, ctx)
        return cidrs
