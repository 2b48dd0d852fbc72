"""Every rule of a Run's spec, with accepted and refused manifests."""

from __future__ import annotations

from typing import Any

import pytest

from tests.contract.http import RUNS, Api, Json
from tests.contract.objects import REMOVE, at, changed, run
from tests.contract.rules import Rule, accepted, refused

TYPE_ERROR = ""
"""A wrong type is named in the message; its cause carries no path on the real server."""
INLINE_FUNCTION = {"spec.mode": {"function": {}}, "spec.source": {"inline": "code"}}
TERM = {"labelSelector": {"matchLabels": {"a": "b"}}, "topologyKey": "kruntimes.io/runtime-pod"}
WEIGHTED = {"weight": 1, "runAffinityTerm": TERM}
REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"

RUNTIME = [
    Rule("spec.runtime", ["a", "A.b_c-9", "r" * 63], ["", "r" * 64, "-a", "a-", "a b", "a/b", "é"]),
    Rule("spec.runtime", refuses=[REMOVE], note="required"),
    Rule("spec.runtime", refuses=[5, ["bash"]], names=TYPE_ERROR),
]
SOURCE = [
    Rule("spec.source", [REMOVE, {}]),
    Rule("spec.source", refuses=["echo"], names=TYPE_ERROR),
    # Characters count, not bytes.
    Rule("spec.source.inline", ["", "x" * 262_144, "é" * 262_144], ["x" * 262_145, "x" * 300_000]),
    Rule("spec.source.inline", refuses=[1], names=TYPE_ERROR),
    Rule("spec.source", [{"repoURL": "u" * 2048}], [{"repoURL": "u" * 2049}], names="spec.source.repoURL"),
    Rule(
        "spec.source", [{"repoURL": "u", "commitSHA": "c" * 256}], [{"repoURL": "u", "commitSHA": "c" * 257}], names="spec.source.commitSHA"
    ),
    Rule("spec.source", refuses=[{"commitSHA": "c"}, {"inline": "x", "commitSHA": "c"}], names="spec.source.commitSHA", note="alone"),
    Rule("spec.source", refuses=[{"inline": "x", "repoURL": "u"}, {"inline": "", "repoURL": "u"}], note="both"),
]
INLINE_PATH = [
    Rule(
        "spec.source.inlinePath",
        ["a", "a/b.py", ".hidden", "..x", "...", "a/.b/c", "a/..b", "a b", "p" * 4096],
        ["", "/a", "/", "a//b", "a/", ".", "./a", "a/.", "a/./b", "..", "../a", "a/..", "a/../b", "p" * 4097],
        given=INLINE_FUNCTION,
    ),
    Rule("spec.source.inlinePath", refuses=[REMOVE], given=INLINE_FUNCTION | {"spec.source.inlinePath": "a"}, note="required"),
    Rule("spec.source.inlinePath", refuses=["a"], note="of-a-task"),
    Rule("spec.source", refuses=[{"inlinePath": "a"}, {"inlinePath": "a", "repoURL": "u"}], given={"spec.mode": {"function": {}}},
         names="spec.source.inlinePath", note="without-inline"),
    Rule("spec.source", [REMOVE, {}, {"repoURL": "u"}], given={"spec.mode": {"function": {}}}, note="of-a-function"),
]  # fmt: skip
MODE = [
    Rule("spec.mode", [{"task": {}}], [REMOVE, {}, {"task": {}, "function": {}}]),
    Rule("spec.mode", refuses=["task"], names=TYPE_ERROR),
    Rule("spec.mode.task", refuses=[True], names=TYPE_ERROR),
    Rule("spec.mode.task.entrypoint", ["", "x", "bin/x", "..x/y", "a..b/c", "x/..y", "./x", "e" * 4096],
         ["/abs", "..", "../x", "a/../b", "a/..", "e" * 4097], given={"spec.source": {}}),
    Rule("spec.mode.task.entrypoint", ["/abs", "../x", ".."], ["e" * 4097], note="ignored-with-inline"),
    Rule("spec.mode.task.entrypoint", ["/abs"], given={"spec.source": {"inline": ""}}, note="ignored-with-empty-inline"),
    Rule("spec.mode.task.args", [[], ["a"] * 256, ["", "a b"]], [["a"] * 257]),
    Rule("spec.mode.task.args", [["x" * 8192]], [["x" * 8193]], names="spec.mode.task.args.0"),
    Rule("spec.mode.task.args", refuses=[[1], "a", {"a": "b"}, [None]], names=TYPE_ERROR),
    Rule("spec.mode.function.handler", ["h" * 512], ["h" * 513], given={"spec.source": REMOVE, "spec.mode": {"function": {}}}),
    Rule("spec.mode.function.idleTimeoutSeconds", [1, 2**31 - 1], [0, -1], given={"spec.source": REMOVE, "spec.mode": {"function": {}}}),
    Rule("spec.mode.function.idleTimeoutSeconds", refuses=["1", 1.5, 2**31], names=TYPE_ERROR,
         given={"spec.source": REMOVE, "spec.mode": {"function": {}}}),
]  # fmt: skip
WORKSPACE = [
    Rule("spec.workspace.name", ["a", "a-b.c9", "a" * 253], ["", "A", "-a", "a.", "a..b", "a_b", "a" * 254]),
    Rule("spec.workspace.name", refuses=[REMOVE], given={"spec.workspace": {"name": "a"}}, note="required"),
    Rule("spec.workspace.kind", ["PersistentWorkspace"], ["Other", ""], given={"spec.workspace": {"name": "a"}}),
    Rule("spec.workspace.apiGroup", ["kruntimes.io/v1alpha1"], ["kruntimes.io", ""], given={"spec.workspace": {"name": "a"}}),
]


def affinity_rules(side: str) -> list[Rule]:
    """Both sides have the same two lists of the same terms."""
    required, preferred = f"spec.affinity.{side}.{REQUIRED}", f"spec.affinity.{side}.{PREFERRED}"
    one = {required: [TERM]}
    selector = f"{required}.0.labelSelector"
    return [
        Rule(required, [[], [TERM] * 32], [[TERM] * 33]),
        Rule(preferred, [[], [WEIGHTED] * 32], [[WEIGHTED] * 33]),
        Rule(f"{preferred}.0.weight", [1, 100], [0, 101, REMOVE], given={preferred: [WEIGHTED]}),
        Rule(f"{preferred}.0.weight", refuses=["1"], names=TYPE_ERROR, given={preferred: [WEIGHTED]}),
        Rule(f"{preferred}.0.runAffinityTerm", refuses=[REMOVE], given={preferred: [WEIGHTED]}),
        Rule(f"{preferred}.0.runAffinityTerm.labelSelector", refuses=[REMOVE, {}], given={preferred: [WEIGHTED]}),
        Rule(f"{preferred}.0.runAffinityTerm.topologyKey", refuses=[REMOVE, "zone"], given={preferred: [WEIGHTED]}),
        Rule(f"{required}.0.topologyKey", ["kruntimes.io/runtime-pod"], ["kubernetes.io/hostname", "", REMOVE], given=one),
        Rule(selector, [{"matchLabels": {"a": ""}}, {"matchExpressions": [{"key": "a", "operator": "Exists"}]}],
             [REMOVE, {}, {"matchLabels": {}}, {"matchExpressions": []}, {"matchLabels": {}, "matchExpressions": []}], given=one),
        Rule(f"{selector}.matchExpressions", [[{"key": "a", "operator": "In", "values": ["b"]}]], given=one),
        Rule(f"{selector}.matchExpressions", refuses=[[{"operator": "Exists"}]], names=f"{selector}.matchExpressions.0.key", given=one),
        Rule(f"{selector}.matchExpressions", refuses=[[{"key": "a"}]], names=f"{selector}.matchExpressions.0.operator", given=one),
        Rule(f"{selector}.matchLabels", refuses=[{"a": 1}, ["a"]], names=TYPE_ERROR, given=one),
    ]  # fmt: skip


REQUESTS = [
    Rule(
        "spec.resources.requests",
        [{}, {"runs": 4}, {"runs": "4"}, {"a": "500m"}, {"a": "2Gi"}, {"a": "1e3"}, {"a": ".5"}, {"a": "-1"}, {"a/b": 0}],
    ),
    Rule(
        "spec.resources.requests",
        refuses=[{"runs": "four"}, {"runs": ""}, {"runs": "1 Gi"}, {"runs": "2gi"}],
        names="spec.resources.requests.runs",
    ),
    Rule("spec.resources.requests", refuses=[{"runs": True}, {"runs": [1]}, 4], names=TYPE_ERROR),
]
VALUE_FROM: dict[str, Json] = {
    "configMapKeyRef": {"name": "n", "key": "k", "optional": True},
    "secretKeyRef": {"name": "n", "key": "k", "optional": False},
    "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.name"},
    "fileKeyRef": {"volumeName": "v", "path": "p", "key": "k", "optional": False},
    "resourceFieldRef": {"containerName": "c", "resource": "limits.cpu", "divisor": "1m"},
}
REQUIRED_OF_FORM = [
    ("configMapKeyRef", "key"),
    ("secretKeyRef", "key"),
    ("fieldRef", "fieldPath"),
    ("fileKeyRef", "key"),
    ("fileKeyRef", "path"),
    ("fileKeyRef", "volumeName"),
    ("resourceFieldRef", "resource"),
]
ENV = [
    Rule("spec.env", [[], [{"name": "A"}], [{"name": "A", "value": ""}], [{"name": "A"}, {"name": "A"}]]),
    Rule("spec.env", [[{"name": "A"}] * 256], [[{"name": "A"}] * 257], note="many"),
    Rule("spec.env", refuses=[[{"value": "x"}]], names="spec.env.0.name", note="required"),
    Rule("spec.env", refuses=[{"A": "B"}, ["A=B"], [{"name": "A", "value": 1}], [{"name": 1}]], names=TYPE_ERROR),
    *(Rule("spec.env", [[{"name": "A", "valueFrom": {form: value}}]], note=form) for form, value in VALUE_FROM.items()),
    *(
        Rule("spec.env", refuses=[[{"name": "A", "valueFrom": {form: changed(VALUE_FROM[form], key, REMOVE)}}]],
             names=f"spec.env.0.valueFrom.{form}.{key}", note=f"{form}-without-{key}")
        for form, key in REQUIRED_OF_FORM
    ),
    Rule("spec.env", refuses=[[{"name": "A", "valueFrom": {"resourceFieldRef": {"resource": "x", "divisor": "much"}}}]],
         names="spec.env.0.valueFrom.resourceFieldRef.divisor", note="divisor"),
]  # fmt: skip
REST = [
    Rule("spec.timeout", ["90s", "1m30s", "500ms", "0s", "", "soon"]),
    Rule("spec.timeout", refuses=[90], names=TYPE_ERROR),
    Rule("spec.cancelRequested", [True, False]),
    Rule("spec.cancelRequested", refuses=["true", 1], names=TYPE_ERROR),
    Rule("spec.retryPolicy", [{}]),
    Rule("spec.retryPolicy.maxAttempts", [1, 100], [0, 101, -1]),
    Rule("spec.retryPolicy.maxAttempts", refuses=["3"], names=TYPE_ERROR),
    Rule("spec.retryPolicy.backoff", ["0s", "1s", ""]),
    Rule("spec.retryPolicy.backoff", refuses=[1], names=TYPE_ERROR),
    Rule("spec.retryPolicy.retryableReasons", [[], ["PodGone"] * 32, ["r" * 128]], [["PodGone"] * 33]),
    Rule("spec.retryPolicy.retryableReasons", refuses=[["r" * 129]], names="spec.retryPolicy.retryableReasons.0"),
    Rule("spec.ttlSecondsAfterFinished", [0, 60, 2**31 - 1], [-1]),
    Rule("spec.ttlSecondsAfterFinished", refuses=["60", 0.5, 2**31], names=TYPE_ERROR),
    Rule("spec", [REMOVE]),
    Rule("spec", refuses=["bash", []], names=TYPE_ERROR),
]
RULES = [
    *RUNTIME, *SOURCE, *INLINE_PATH, *MODE, *WORKSPACE, *affinity_rules("runAffinity"), *affinity_rules("runAntiAffinity"),
    *REQUESTS, *ENV, *REST,
]  # fmt: skip


@pytest.mark.parametrize(("rule", "value"), accepted(RULES))
async def test_a_run_is_accepted_and_kept_as_written(api: Api, rule: Rule, value: Any) -> None:
    created = await api.create(RUNS, rule.apply(run(), value))

    if value is not REMOVE:
        assert at(created, rule.path) == value


@pytest.mark.parametrize(("rule", "value"), refused(RULES))
async def test_a_run_is_refused_naming_the_field(api: Api, rule: Rule, value: Any) -> None:
    answer = await api.post(RUNS, rule.apply(run(), value))

    answer.invalid(field=rule.named_field, mentions=rule.path.rsplit(".", 1)[-1] if rule.names == TYPE_ERROR else "")
    (await api.get(RUNS, "one")).refused(404, "NotFound")


async def test_several_faults_are_reported_at_once(api: Api) -> None:
    manifest = changed(changed(run(), "spec.runtime", ""), "spec.ttlSecondsAfterFinished", -1)

    status = (await api.post(RUNS, manifest)).invalid(field="spec.runtime")

    assert "spec.ttlSecondsAfterFinished" in [cause["field"] for cause in status["details"]["causes"]]
    assert {key: status["details"][key] for key in ("name", "group", "kind")} == {"name": "one", "group": "kruntimes.io", "kind": "Run"}


async def test_a_rule_of_our_own_speaks_in_its_own_words(api: Api) -> None:
    answer = await api.post(RUNS, changed(run(), "spec.mode", {}))

    answer.invalid(field="spec.mode", mentions="exactly one of task and function must be set")


async def test_a_limit_says_what_the_limit_is(api: Api) -> None:
    answer = await api.post(RUNS, changed(run(), "spec.source.inline", "x" * 300_000))

    answer.invalid(field="spec.source.inline", mentions="may not be more than 262144 bytes")
