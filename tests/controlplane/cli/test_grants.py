"""`krt runtime grant`: by name, to read only, for the account that the Pods have."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from controlplane.cli.failures import CommandFailed
from controlplane.cli.grants import grant_objects
from tests.controlplane.cli.conftest import KrtHere
from tests.controlplane.cli.fake_apiserver import FakeApiServer
from tests.controlplane.controllers.objects import make_runtime

OFFERS = {
    "kruntimes.io/env-secrets": "db,api",
    "kruntimes.io/env-config-maps": "settings",
    "kruntimes.io/git-credentials-secret": "git",
}


def test_the_role_names_each_object_and_gives_no_other_verb() -> None:
    role, binding = grant_objects(make_runtime(annotations=OFFERS), account="pods")
    assert role["rules"] == [
        {"apiGroups": [""], "resources": ["secrets"], "resourceNames": ["api", "db", "git"], "verbs": ["get"]},
        {"apiGroups": [""], "resources": ["configmaps"], "resourceNames": ["settings"], "verbs": ["get"]},
    ]
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": "pods", "namespace": "team-a"}]
    assert binding["roleRef"]["name"] == role["metadata"]["name"]


def test_a_rule_without_names_would_grant_everything_and_is_left_out() -> None:
    role, _ = grant_objects(make_runtime(annotations={"kruntimes.io/env-config-maps": "settings"}), account="pods")
    assert [rule["resources"] for rule in role["rules"]] == [["configmaps"]]


@pytest.mark.parametrize(
    ("annotations", "text"), [({}, "offers nothing to its Runs"), ({"kruntimes.io/env-secrets": "A B"}, "'A B' is no name of an object")]
)
def test_what_cannot_be_granted_says_why(annotations: dict[str, str], text: str) -> None:
    with pytest.raises(CommandFailed, match=text):
        grant_objects(make_runtime(annotations=annotations), account="pods")


@pytest.mark.parametrize(
    ("template", "arguments", "account"),
    [
        ({}, [], "kruntimes-runtimed"),
        ({"spec": {"serviceAccountName": "mine"}}, [], "mine"),
        ({"spec": {"serviceAccountName": "mine"}}, ["--service-account", "theirs"], "theirs"),
    ],
)
async def test_it_is_printed_for_kubectl(
    server: FakeApiServer, krt_here: KrtHere, template: dict[str, Any], arguments: list[str], account: str
) -> None:
    await server.add("runtimes", "bash", spec={"template": template}, annotations=OFFERS)
    code, stdout, stderr = await krt_here("runtime", "grant", "bash", *arguments)
    assert (code, stderr) == (0, "")
    role, binding = yaml.safe_load_all(stdout)
    assert (role["kind"], binding["kind"]) == ("Role", "RoleBinding")
    assert [subject["name"] for subject in binding["subjects"]] == [account]
