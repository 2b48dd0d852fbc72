"""Flags of krt-controller that are wrong are refused at the start."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from controlplane.controllers import main


@pytest.mark.parametrize(
    ("flag", "complaint"),
    [
        ("--runtimed-memory-limit=much", "is not a quantity"),
        ("--runtimed-memory-limit=0", "must be more than nothing"),
        ("--runtime-egress-cidrs=10.0.0.0/8,everywhere", "'everywhere' is no network"),
        ("--runtime-egress-cidrs=10.1.2.3/8", "has host bits set"),
    ],
)
def test_a_wrong_flag_is_named_with_what_is_wrong(flag: str, complaint: str) -> None:
    answer = CliRunner().invoke(main, [flag])
    assert answer.exit_code == 2
    assert flag.partition("=")[0] in answer.output
    assert complaint in " ".join(answer.output.split())
