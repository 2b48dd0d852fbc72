"""Each row of "What breaks without a rule" (docs/ownership.md), and two beside it, as a change of the real code. Data only.

A mutant is one place of one file, by its text: when the code moves on, the place is no longer found and the proof fails until
it is named anew. `test` is the test that tells the story of the row.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

_STORIES = "tests/runtimed/core/test_ownership_rules.py::"
_UNARY = "tests/runtimed/shell/unary/"


@dataclass(frozen=True, slots=True)
class Mutant:
    """The code without one rule."""

    rule: str
    """As the row of docs/ownership.md names it."""
    file: str
    old: str
    """Stands exactly once in the file."""
    new: str
    test: str
    """The pytest id of the test that must fail."""

    @property
    def name(self) -> str:
        return self.rule.replace(" ", "-")


MUTANTS: Final = (
    Mutant(
        rule="phase test (5)",
        file="k8s/client/patches.py",
        old='        "/status/phase": expected_phase,\n',
        new="",
        test=_STORIES + "test_a_slow_running_write_does_not_reopen_the_end_of_its_own_attempt",
    ),
    Mutant(
        rule="resourceVersion of the reaper (2)",
        file="controlplane/controllers/reaper.py",
        old="patch = conditional_status(change, resource_version=run.metadata.resource_version)",
        new='from k8s.client import merge_patch\n        patch = merge_patch({"status": change})',
        test="tests/controlplane/controllers/test_reaper_under_faults.py::test_a_run_that_ended_meanwhile_is_left_as_it_is[embedded]",
    ),
    Mutant(
        rule="reading after a refusal (8)",
        file="runtimed/core/writing.py",
        old="    _read_after_failure(step, event.retry_after_seconds)\n\n\ndef _read_after_failure",
        new="\n\ndef _read_after_failure",
        test=_STORIES + "test_a_retry_whose_answer_was_lost_is_found_by_reading_and_goes_on",
    ),
    Mutant(
        rule="marker kept (15)",
        file="runtimed/core/writing.py",
        old="    writing.failures = 0\n    step.state.view = event.run\n",
        new="    writing.failures = 0\n    step.state.markers.clear()\n",
        test=_STORIES + "test_the_marker_stays_until_the_view_shows_the_end",
    ),
    Mutant(
        rule="own answers in the cache (9)",
        file="runtimed/core/writing.py",
        old="    writing.failures = 0\n    step.state.view = event.run\n",
        new="    writing.failures = 0\n",
        test=_STORIES + "test_an_old_view_after_the_end_starts_nothing",
    ),
    Mutant(
        rule="consistent list at start (10)",
        file="k8s/client/transport.py",
        old='"limit": str(limit)',
        new='"limit": str(limit), "resourceVersion": "0"',
        test="tests/k8s/client/test_watching.py::test_the_first_list_is_a_consistent_one",
    ),
    Mutant(
        rule="session fence (10)",
        file="servers/sdk/session.py",
        old="                    if self._holder is not session:\n                        return\n",
        new="",
        test="tests/servers/sdk/test_session_fence.py::test_a_frame_read_before_a_newer_hello_and_not_acted_on_is_dropped",
    ),
    Mutant(
        rule="no resend to a new boot (21)",
        file="runtimed/core/course.py",
        old="    if execution is None and (progress.is_accepted or not state.marker_stands(attempt)):",
        new="    if False:",
        test=_STORIES + "test_execute_is_never_sent_to_another_boot_of_the_server",
    ),
    Mutant(
        rule="Scheduled counts (4)",
        file="k8s/api/transitions.py",
        old='        "phase": phases.PENDING,\n        "attempt": next_attempt(run.attempt_number),',
        new='        "phase": phases.PENDING,\n'
        '        "attempt": run.attempt_number if run.phase == phases.SCHEDULED else next_attempt(run.attempt_number),',
        test="tests/k8s/api/test_transitions.py::test_a_lost_pod_costs_an_attempt_even_before_running_was_seen",
    ),
    Mutant(
        rule="kill what is not wanted, also at start (12, 13)",
        file="runtimed/core/course.py",
        old="    is_clean = _let_go_of_others(step, wanted)",
        new="    is_clean = True",
        test=_STORIES + "test_what_is_not_wanted_is_killed_at_start_too",
    ),
    Mutant(
        rule="nothing starts before that is complete (13)",
        file="runtimed/core/course.py",
        old="    elif is_clean and not progress.is_marking:",
        new="    elif not progress.is_marking:",
        test=_STORIES + "test_taken_away_and_bound_here_again_starts_only_after_the_old_attempt_is_gone",
    ),
    Mutant(
        rule="key by attempt (22), in runtimed",
        file="runtimed/core/machine.py",
        old="    execution = step.state.executions.get(event.attempt)\n    if execution is not None:\n        execution.exit =",
        new="    execution = next(iter(step.state.executions.values()), None)\n    if execution is not None:\n        execution.exit =",
        test=_STORIES + "test_a_result_counts_for_its_own_attempt_only",
    ),
    Mutant(
        rule="key by attempt (22), in the server",
        file="servers/sdk/registry.py",
        old="        return self._executions.get(attempt)\n",
        new="        return self.latest(attempt.run_uid)\n",
        test="tests/servers/test_session.py::test_attempts_of_a_run_are_kept_apart",
    ),
    Mutant(
        rule="record before kill (23)",
        file="runtimed/core/course.py",
        old="    if outcome.attempt in state.unrecorded:\n        return\n",
        new="",
        test=_STORIES + "test_the_record_comes_before_the_kill_and_the_kill_before_the_write",
    ),
    Mutant(
        rule="compare the UID, not the name",
        file="runtimed/core/state.py",
        old="        return run.attempt_number if run.status.assigned_pod_uid == self.pod_uid else None",
        new="        return run.attempt_number",
        test=_STORIES + "test_a_replaced_pod_of_the_same_name_starts_nothing_of_its_predecessor",
    ),
    Mutant(
        rule="hand back only what has no marker (26)",
        file="runtimed/core/course.py",
        old="    elif progress.number in state.markers:\n",
        new="    elif progress.number in state.markers and state.is_intake_open:\n",
        test=_STORIES + "test_a_pod_that_is_deleted_lets_finish_what_runs_until_the_grace_ends",
    ),
    Mutant(
        rule="a Pod that drains starts nothing any more (26)",
        file="runtimed/shell/daemon.py",
        old="            self._is_leaving = own_pod.metadata.deletion_timestamp is not None\n",
        new="",
        test="tests/runtimed/test_faults.py::test_a_runtimed_that_starts_in_a_deleted_pod_starts_nothing_and_still_delivers[embedded]",
    ),
    Mutant(
        rule="a Pod has drained only when it holds nothing (26)",
        file="runtimed/shell/draining.py",
        old="    if await _is_done_within(_until_nothing_comes(",
        new="    await say_drained(client, pod=pod, now=datetime.now(UTC))\n    if await _is_done_within(_until_nothing_comes(",
        test="tests/runtimed/test_faults.py::test_a_pod_says_that_it_has_drained_only_when_nothing_of_it_is_held[embedded]",
    ),
    Mutant(
        rule="unary: wait out the deadline of Execute (27)",
        file="runtimed/shell/unary/execution.py",
        old="        return time.monotonic() < self.doubtful_until",
        new="        return False",
        test=_UNARY + "test_execution.py::test_not_found_means_nothing_until_the_deadline_of_execute_is_over",
    ),
    Mutant(
        rule="unary: Cancel and Forget before a retry (27)",
        file="runtimed/shell/unary/execution.py",
        old="        if self._is_id_used:\n            await self._clear()\n",
        new="",
        test=_UNARY + "test_execution.py::test_before_the_execute_of_a_retry_come_cancel_and_forget",
    ),
    Mutant(
        rule="unary: an Execute counts as sent before it is (27)",
        file="runtimed/shell/unary/execution.py",
        old="        self._request = None\n        try:\n            await self._calls.execute(request)\n",
        new="        try:\n            await self._calls.execute(request)\n            self._request = None\n",
        test=_UNARY + "test_session.py::test_an_execute_cut_off_with_its_connection_is_not_sent_again",
    ),
    Mutant(
        rule="unary: the last Execute of a dead runtimed may still arrive (27)",
        file="runtimed/shell/unary/session.py",
        old="doubtful_until = 0.0 if has_arrived else time.monotonic() + self._calls.execute_seconds",
        new="doubtful_until = 0.0",
        test=_UNARY + "test_session.py::test_the_last_execute_of_a_dead_runtimed_is_waited_for_unless_it_has_arrived",
    ),
    Mutant(
        rule="resourceVersion on bind (2)",
        file="controlplane/scheduler/shell.py",
        old="patch = conditional_status(self._change(decision), resource_version=run.metadata.resource_version)",
        new='from k8s.client import merge_patch\n        patch = merge_patch({"status": self._change(decision)})',
        test="tests/controlplane/scheduler/test_scheduler_under_faults.py::test_a_bind_that_another_has_overtaken_is_refused[embedded]",
    ),
    Mutant(
        rule="lease check: it is free",
        file="k8s/client/leases.py",
        old="            return self._clock() >= free_at and await self._write(self.identity)",
        new="            return free_at is not None and await self._write(self.identity)",
        test="tests/k8s/client/test_leases.py::test_after_a_crash_a_standby_takes_over_when_the_lease_ends",
    ),
    Mutant(
        rule="lease check: it is still ours",
        file="k8s/client/leases.py",
        old="            ends_at = self._renewed_at + self._times.renew_deadline_seconds\n",
        new="            ends_at = self._renewed_at + 100 * self._times.renew_deadline_seconds\n",
        test="tests/k8s/client/test_leases.py::test_a_leader_that_gets_no_answer_stops_before_the_lease_can_end",
    ),
    Mutant(
        rule="lease check: it is given back only when nothing of ours is under way",
        file="k8s/client/leases.py",
        old="            self._may_release = self._client.unanswered_writes == before\n",
        new="",
        test="tests/k8s/client/test_leases.py::test_a_leader_whose_write_may_still_land_does_not_give_the_lease_back",
    ),
)
