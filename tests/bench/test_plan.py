from __future__ import annotations

from bench.plan import DEFAULT_NAMES, NAMES, NODE_NAMES, QUICK, Scale, make_trials
from bench.scenarios import Serial
from bench.subjects import BASH, BASH_JOB, EIGHT_SLOTS, FLOOR, PYTHON, PYTHON_JOB


def test_without_a_floor_only_kruntimes_is_measured() -> None:
    trials = make_trials(DEFAULT_NAMES, scale=QUICK, has_floor=False)
    assert {subject for trial in trials for subject in trial.subjects} == {BASH, PYTHON, EIGHT_SLOTS}


def test_the_floor_stands_beside_every_load_that_it_can_bear() -> None:
    trials = make_trials(DEFAULT_NAMES, scale=QUICK, has_floor=True)
    assert all(FLOOR in trial.subjects for trial in trials if BASH in trial.subjects)
    assert not any(FLOOR in trial.subjects for trial in trials if BASH not in trial.subjects)


def test_only_what_is_asked_for_is_measured() -> None:
    assert [trial.scenario for trial in make_trials(["serial"], scale=Scale(serial_runs=7), has_floor=False)] == [Serial(7)]


def test_a_soak_and_plain_jobs_are_asked_for_by_name() -> None:
    assert set(NAMES) - set(DEFAULT_NAMES) == {"soak", "jobs"}


def test_on_a_node_each_runtime_has_its_job_under_the_same_kinds_of_load() -> None:
    kinds = {
        subject: {
            trial.scenario.title.partition(" x ")[0]
            for trial in make_trials(NODE_NAMES, scale=Scale(), has_floor=False)
            if subject in trial.subjects
        }
        for subject in (BASH, PYTHON, BASH_JOB, PYTHON_JOB)
    }
    assert all(of_one == {"serial", "25 in flight"} for of_one in kinds.values())


def test_no_two_loads_have_one_title_with_one_subject() -> None:
    trials = make_trials(NAMES, scale=Scale(), has_floor=True)
    titles = [(trial.scenario.title, subject) for trial in trials for subject in trial.subjects]
    assert len(titles) == len(set(titles))
