from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec

from k8s.api.ledger import INSTANTS, STAGES, bound_part, instants_of, joined, stage_seconds, timings_to_json
from k8s.api.run import Timings

START = datetime(2026, 8, 9, 10, 0, 1, tzinfo=UTC)


def at(milliseconds: float) -> datetime:
    return START + timedelta(milliseconds=milliseconds)


def whole() -> Timings:
    """Every instant, ten milliseconds apart."""
    return Timings(**{name: at(10 * number) for number, name in enumerate(INSTANTS)})


def test_the_instants_are_all_fields_of_the_ledger_in_their_order() -> None:
    assert list(instants_of(whole())) == list(INSTANTS) == [field.name for field in msgspec.structs.fields(Timings)]
    assert instants_of(None) == {}


def test_stages_join_the_instants_without_a_gap() -> None:
    assert [stage.begins for stage in STAGES if stage.name != "first_output"] == ["observed", "assigned", "received", "started", "finished"]
    seconds = stage_seconds(whole())
    assert seconds == {"schedule": 0.01, "deliver": 0.01, "start": 0.01, "first_output": 0.01, "execute": 0.02, "record": 0.01}


def test_a_stage_with_an_end_that_is_not_known_is_left_out() -> None:
    assert stage_seconds(Timings(observed=at(0), assigned=at(4), finished=at(9))) == {"schedule": 0.004}


def test_a_pod_keeps_the_part_of_the_scheduler_and_replaces_its_own() -> None:
    bound = Timings(observed=at(0), assigned=at(1), received=at(2), started=at(3))
    joint = joined(bound, Timings(received=at(5)), recorded=None)
    assert joint == Timings(observed=at(0), assigned=at(1), received=at(5))
    assert bound_part(bound) == Timings(observed=at(0), assigned=at(1))
    assert bound_part(None) == Timings()


def test_output_that_arrived_after_the_end_was_written_before_it() -> None:
    """A fast program's output and exit reach runtimed in the same moment, later than the exit's own time."""
    joint = joined(None, Timings(started=at(0), first_output=at(7), finished=at(5)), recorded=at(8))
    assert joint.first_output == at(5)
    assert joined(None, Timings(first_output=at(4), finished=at(5)), recorded=None).first_output == at(4)
    assert joined(None, Timings(first_output=at(4)), recorded=None).first_output == at(4)


def test_on_the_wire_they_are_camel_case_in_microseconds() -> None:
    assert timings_to_json(Timings(first_output=at(0.25), recorded=at(1))) == {
        "firstOutput": "2026-08-09T10:00:01.000250Z",
        "recorded": "2026-08-09T10:00:01.001000Z",
    }
