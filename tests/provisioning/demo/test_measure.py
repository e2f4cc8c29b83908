import pytest

from outlast_provisioning.demo.compare import Comparison
from outlast_provisioning.demo.measure import Loss, StoreTimes, build_report, loss_costs
from outlast_provisioning.demo.steplog import Step

EQUAL = Comparison(variables=3, mismatching_variables=(), history_equal=True, log_equal=True)


def log(*runs: tuple[int, int, int, float]) -> list[Step]:
    """Runs as (attempt, first step, last step, time of the first); a step takes 0.1 s."""
    return [
        Step(attempt, number, start + (number - first) * 0.1, f"{1 / number!r}")
        for attempt, first, last, start in runs
        for number in range(first, last + 1)
    ]


def report(steps: list[Step], losses: list[Loss], comparison: Comparison = EQUAL):
    times = StoreTimes(noticed={1: 10.4}, durable={1: 11.0, 2: 15.0})
    costs = loss_costs(losses, steps, times, plain_start_seconds=4.0)
    reference = log((0, 1, 30, 0.0))
    return build_report(
        costs, steps, reference, comparison, reference_again_equal=None,
        plain_start_seconds=4.0, reference_seconds=7.0, job_seconds=30.0,
    )  # fmt: skip


def test_a_noticed_eviction_is_measured_from_publication_to_first_new_step():
    steps = log((1, 1, 10, 9.5), (2, 11, 30, 16.4))
    figures = report(steps, [Loss("notice", 1, asked_at=10.0)])
    (cost,) = figures.losses
    assert cost.notice_seen_seconds == pytest.approx(0.4)
    assert cost.flush_seconds == pytest.approx(0.6)
    assert cost.recovery_seconds == pytest.approx(6.0)
    assert cost.recovery_over_start_seconds == pytest.approx(2.0)
    assert (cost.stopped_step, cost.resumed_step, cost.repeated_steps) == (10, 11, 0)
    assert figures.passed


def test_steps_repeated_after_a_kill_are_allowed_and_counted():
    steps = log((1, 1, 10, 9.5), (2, 8, 30, 16.4))
    figures = report(steps, [Loss("kill", 1, asked_at=10.0)])
    assert figures.passed
    assert figures.to_json()["steps_repeated_killed"] == 3
    assert figures.to_json()["notice_seen_seconds"] == []


def test_a_step_repeated_after_a_notice_fails():
    steps = log((1, 1, 10, 9.5), (2, 10, 30, 16.4))
    assert not report(steps, [Loss("notice", 1, asked_at=10.0)]).passed


def test_a_missing_step_or_another_variable_fails():
    assert not report(log((1, 1, 9, 0), (2, 11, 30, 5)), [Loss("kill", 1, 1.0)]).passed
    other = Comparison(3, ("kernel",), history_equal=True, log_equal=True)
    assert not report(log((1, 1, 9, 0), (2, 10, 30, 5)), [Loss("kill", 1, 1.0)], other).passed


def test_an_attempt_without_a_step_is_told_not_measured():
    with pytest.raises(ValueError, match="attempt 2"):
        report(log((1, 1, 30, 0)), [Loss("kill", 2, 1.0)])
