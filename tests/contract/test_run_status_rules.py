"""Every rule of a Run's status, written through the status subresource."""

from __future__ import annotations

from typing import Any

import pytest

from tests.contract.http import RUNS, Api, Json
from tests.contract.objects import REMOVE, WHEN, at, condition, run
from tests.contract.rules import Rule, accepted, refused

TYPE_ERROR = ""
PHASES = ["Pending", "Scheduled", "Running", "Ready", "Succeeded", "Failed", "Timeout", "Cancelled"]
ENDPOINT = {"protocol": "HTTPS", "url": "https://127.0.0.1"}
FILE: Json = {
    "name": "report.txt", "driver": "filesystem", "type": "file", "location": {"filesystem": {"path": "/a"}},
    "sizeBytes": 0, "createdAt": WHEN,
}  # fmt: skip
OBJECT = FILE | {"driver": "s3", "location": {"s3": {"bucket": "b", "key": "k"}}}
ONE_FILE = {"status.artifactRefs": [FILE]}
ONE_OBJECT = {"status.artifactRefs": [OBJECT]}
STORE = {"driver": "s3", "s3": {"bucket": "b"}}
ONE_CONDITION = {"status.conditions": [condition()]}
REF = "status.artifactRefs.0"
CONDITION = "status.conditions.0"
TIMINGS = ["observed", "assigned", "received", "started", "firstOutput", "finished", "recorded"]

PLAIN = [
    Rule("status.phase", PHASES, ["", "pending", "Unknown"]),
    Rule("status.phase", refuses=[1], names=TYPE_ERROR),
    Rule("status.assignedPod", ["runtime-bash-abc", ""]),
    Rule("status.assignedPod", refuses=[1], names=TYPE_ERROR),
    Rule("status.assignedPodUID", ["", "u" * 253], ["u" * 254]),
    Rule("status.message", ["", "m" * 4096], ["m" * 4097]),
    Rule(
        "status.startTime",
        ["2026-08-09T10:00:01Z", WHEN, "2026-08-09T10:00:01+02:00"],
        ["", "yesterday", "2026-08-09", "2026-08-09T10:00:01"],
    ),
    Rule("status.completionTime", [WHEN], ["2026-13-09T10:00:01Z"]),
    Rule("status.startTime", refuses=[1], names=TYPE_ERROR),
    Rule("status.exitCode", [0, 1, 255, -1]),
    Rule("status.exitCode", refuses=["0", 2**31], names=TYPE_ERROR),
    *(Rule(f"status.timings.{name}", [WHEN], ["soon"]) for name in TIMINGS),
    Rule("status.timings", [{}]),
    Rule("status.attempt", [0, 1, 2]),
    Rule("status.attempt", refuses=["1", 2**31], names=TYPE_ERROR),
    Rule("status.outputs", [{}, {"a": ""}, {f"k{number}": "v" for number in range(64)}], [{f"k{number}": "v" for number in range(65)}]),
    Rule("status.outputs", refuses=[{"a": 1}, ["a"]], names=TYPE_ERROR),
]
ENDPOINTS = [
    Rule("status.endpoint", [ENDPOINT, ENDPOINT | {"caBundle": "YWJj"}, ENDPOINT | {"url": "u" * 2048}]),
    Rule("status.endpoint.protocol", refuses=["HTTP", REMOVE], given={"status.endpoint": ENDPOINT}),
    Rule("status.endpoint.url", refuses=["u" * 2049, REMOVE], given={"status.endpoint": ENDPOINT}),
    Rule("status.endpoint.caBundle", ["A" * 16384], ["A" * 16388, "not base64!"], given={"status.endpoint": ENDPOINT}),
]
ARTIFACTS = [
    Rule("status.artifactRefs", [[], [FILE] * 32, [OBJECT]], [[FILE] * 33]),
    Rule(f"{REF}.name", ["n" * 255], ["", "n" * 256, REMOVE], given=ONE_FILE),
    Rule(f"{REF}.driver", refuses=["ftp", REMOVE], given=ONE_FILE),
    Rule(f"{REF}.type", ["file", "directory", "archive", "blob"], ["link", REMOVE], given=ONE_FILE),
    Rule(f"{REF}.sizeBytes", [0, 2**40], [-1, REMOVE], given=ONE_FILE),
    Rule(f"{REF}.sizeBytes", refuses=["1", 1.5], names=TYPE_ERROR, given=ONE_FILE),
    Rule(f"{REF}.digest", ["d" * 256], ["d" * 257], given=ONE_FILE),
    Rule(f"{REF}.contentType", ["c" * 255], ["c" * 256], given=ONE_FILE),
    Rule(f"{REF}.createdAt", [WHEN], ["now", REMOVE], given=ONE_FILE),
    Rule(f"{REF}.location", refuses=[{}, OBJECT["location"], FILE["location"] | OBJECT["location"], REMOVE], given=ONE_FILE),
    Rule(f"{REF}.location", refuses=[{}, FILE["location"]], given=ONE_OBJECT, note="s3"),
    Rule(f"{REF}.location.filesystem.path", ["p" * 4096], ["", "p" * 4097, REMOVE], given=ONE_FILE),
    Rule(f"{REF}.location.filesystem.volumeClaimName", ["v" * 253], ["v" * 254], given=ONE_FILE),
    Rule(f"{REF}.location.s3.bucket", ["b" * 255], ["", "b" * 256, REMOVE], given=ONE_OBJECT),
    Rule(f"{REF}.location.s3.key", ["k" * 4096], ["", "k" * 4097, REMOVE], given=ONE_OBJECT),
]


def store_rules(path: str) -> list[Rule]:
    """An artifact store, in a Runtime's spec and as a snapshot in a Run's status."""
    s3 = {path: STORE}
    return [
        Rule(path, [{"driver": "filesystem", "filesystem": {"volumeClaimName": "c"}}]),
        Rule(path, [{"driver": "s3", "s3": {"bucket": "b", "forcePathStyle": True}}]),
        Rule(path, refuses=[{"driver": "s3"}, {"driver": "filesystem"}, {"driver": "filesystem", "s3": {"bucket": "b"}},
                            STORE | {"filesystem": {"volumeClaimName": "c"}}], note="union"),
        Rule(f"{path}.driver", refuses=["gcs", REMOVE], given=s3),
        Rule(path, refuses=[{"driver": "filesystem", "filesystem": {}}, {"driver": "filesystem", "filesystem": {"volumeClaimName": ""}}],
             names=f"{path}.filesystem.volumeClaimName"),
        Rule(f"{path}.s3.bucket", ["a", "A.b-c"], ["", "a/b", "/", REMOVE], given=s3),
        Rule(f"{path}.s3.prefix", ["", "p" * 1024], ["p" * 1025], given=s3),
        Rule(f"{path}.s3.region", ["r" * 128], ["r" * 129], given=s3),
        Rule(f"{path}.s3.endpoint", ["e" * 2048], ["e" * 2049], given=s3),
        Rule(f"{path}.s3.forcePathStyle", refuses=["yes"], names=TYPE_ERROR, given=s3),
        Rule(f"{path}.s3.credentialsSecretName", ["s", "s" * 253], ["", "s" * 254], given=s3),
        Rule(f"{path}.s3.uploadPartSize", [5_242_880, 2**40], [5_242_879], given=s3),
        Rule(f"{path}.s3.uploadConcurrency", [1], [0], given=s3),
    ]  # fmt: skip


CONDITIONS = [
    Rule("status.conditions", [[], [condition(), condition(type="Completed")], [condition(type=f"T{number}") for number in range(16)]],
         [[condition(type=f"T{number}") for number in range(17)]]),
    Rule("status.conditions", refuses=[[condition(), condition()]], names="status.conditions.1", note="same-type-twice"),
    Rule(f"{CONDITION}.type", ["Ready", "kruntimes.io/Ready", "t" * 316], ["-a", "a b", "", "t" * 317, REMOVE], given=ONE_CONDITION),
    Rule(f"{CONDITION}.status", ["True", "False", "Unknown"], ["true", "", REMOVE], given=ONE_CONDITION),
    Rule(f"{CONDITION}.reason", ["A", "A_b,c:d", "r" * 1024], ["", "1a", "a-b", "a:", "r" * 1025, REMOVE], given=ONE_CONDITION),
    Rule(f"{CONDITION}.message", ["", "m" * 32768], ["m" * 32769, REMOVE], given=ONE_CONDITION),
    Rule(f"{CONDITION}.lastTransitionTime", [WHEN], ["now", REMOVE], given=ONE_CONDITION),
    Rule(f"{CONDITION}.observedGeneration", [0, 7], [-1], given=ONE_CONDITION),
    Rule(f"{CONDITION}.status", refuses=[True], names=TYPE_ERROR, given=ONE_CONDITION),
]  # fmt: skip
RULES = [*PLAIN, *ENDPOINTS, *ARTIFACTS, *store_rules("status.artifactStore"), *CONDITIONS]


@pytest.mark.parametrize(("rule", "value"), accepted(RULES))
async def test_a_status_is_accepted_and_kept_as_written(api: Api, rule: Rule, value: Any) -> None:
    created = await api.create(RUNS, run())

    written = (await api.put(RUNS, rule.apply(created, value), subresource="status")).ok()

    assert at(written, rule.path) == value


@pytest.mark.parametrize(("rule", "value"), refused(RULES))
async def test_a_status_is_refused_naming_the_field(api: Api, rule: Rule, value: Any) -> None:
    created = await api.create(RUNS, run())

    answer = await api.put(RUNS, rule.apply(created, value), subresource="status")

    answer.invalid(field=rule.named_field, mentions=rule.path.rsplit(".", 1)[-1] if rule.names == TYPE_ERROR else "")
    assert "status" not in await api.read(RUNS, "one")


async def test_a_status_without_phase_is_pending(api: Api) -> None:
    await api.create(RUNS, run())

    written = (await api.patch(RUNS, "one", {"status": {"message": "waiting"}}, subresource="status")).ok()

    assert written["status"] == {"message": "waiting", "phase": "Pending"}


async def test_a_status_write_is_refused_for_the_status_alone(api: Api) -> None:
    manifest = run()
    del manifest["spec"]
    await api.create(RUNS, manifest)

    written = (await api.patch(RUNS, "one", {"status": {"phase": "Failed"}}, subresource="status")).ok()

    assert written["status"] == {"phase": "Failed"}
