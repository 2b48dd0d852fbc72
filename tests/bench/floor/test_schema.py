from __future__ import annotations

import yaml

from bench.floor.answers import ROLES
from bench.floor.schema import RUN_CRD, floor_crd
from bench.subjects import FLOOR_GROUP, FLOOR_RUNS
from k8s.client import RUNS


def test_the_floor_has_the_schema_of_a_run_to_the_last_rule() -> None:
    ours = yaml.safe_load(RUN_CRD.read_text())
    floor = floor_crd(ours)
    assert floor["metadata"]["name"] == f"{FLOOR_RUNS.plural}.{FLOOR_GROUP}"
    assert floor["spec"]["group"] == FLOOR_GROUP
    assert floor["spec"] | {"group": RUNS.group} == ours["spec"]


def test_its_two_answers_lead_from_a_fresh_run_to_a_finished_one() -> None:
    assigned, ended = ROLES["scheduler"].status(1.5), ROLES["runtimed"].status(1.5)
    assert ROLES["scheduler"].field_selector == "status.phase="
    assert ROLES["runtimed"].field_selector == f"status.assignedPod={assigned['assignedPod']},status.phase={assigned['phase']}"
    assert ended == {"phase": "Succeeded", "outputs": {"start": "1.500000"}}
