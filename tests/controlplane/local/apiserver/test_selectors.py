from __future__ import annotations

import pytest

from controlplane.local.apiserver.selectors import parse_selector
from controlplane.local.apiserver.statuses import Refused

LABELS = {"app": "web", "tier": "front", "size": "3", "empty": ""}
FIELDS = {"metadata.name": "one", "status.phase": ""}


@pytest.mark.parametrize(
    ("labels", "matches"),
    [
        ("", True),
        ("app", True),
        ("!app", False),
        ("!none", True),
        ("app=web,tier==front", True),
        ("app!=web", False),
        ("none!=x", True),
        ("app in (web, api)", True),
        ("app in (api)", False),
        ("none in (x)", False),
        ("app notin (api)", True),
        ("none notin (x)", True),
        ("empty=", True),
        ("size>2", True),
        ("size<3", False),
        ("app > 1", False),
    ],
)
def test_label_selectors_mean_what_kubernetes_means(labels: str, matches: bool) -> None:
    assert parse_selector(labels=labels, fields="", selectable=()).matches(labels=LABELS, fields=FIELDS) is matches


@pytest.mark.parametrize(
    ("fields", "matches"),
    [
        ("metadata.name=one", True),
        ("metadata.name==one,status.phase=", True),
        ("metadata.name!=one", False),
        ("status.phase!=Succeeded,status.phase!=Failed", True),
        (r"metadata.name=o\,ne", False),
    ],
)
def test_field_selectors_compare_texts(fields: str, matches: bool) -> None:
    assert parse_selector(labels="", fields=fields, selectable=FIELDS).matches(labels=LABELS, fields=FIELDS) is matches


@pytest.mark.parametrize("labels", ["a b", "a in", "a in (b", "=b", "a=b,", "a=b c", "a>x", "-a=b"])
def test_a_label_selector_that_is_none_is_refused(labels: str) -> None:
    with pytest.raises(Refused) as refused:
        parse_selector(labels=labels, fields="", selectable=())

    assert refused.value.code == 400


def test_a_field_that_is_not_selectable_is_named() -> None:
    with pytest.raises(Refused, match=r"field label not supported: spec\.timeout"):
        parse_selector(labels="", fields="spec.timeout=1s", selectable=FIELDS)
