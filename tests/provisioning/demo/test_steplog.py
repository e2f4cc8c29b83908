from outlast_provisioning.demo.steplog import (
    Step,
    different_losses,
    parse_steps,
    repeated,
    skipped,
)


def steps(attempt: int, *numbers: int) -> list[Step]:
    return [Step(attempt, number, float(number), repr(1 / number)) for number in numbers]


def test_a_line_cut_short_by_a_kill_is_passed_over():
    assert parse_steps(["1 1 10.5 0.5\n", "1 2 10.6 0.2"]) == [Step(1, 1, 10.5, "0.5")]


def test_repeats_are_counted_for_the_attempt_that_made_them():
    log = steps(1, 1, 2, 3) + steps(2, 3, 4) + steps(3, 5)
    assert [repeated(log, attempt) for attempt in (1, 2, 3)] == [0, 1, 0]


def test_a_skipped_step_is_seen():
    assert skipped(steps(1, 1, 2) + steps(2, 4)) == 1
    assert skipped(steps(1, 1, 2) + steps(2, 2, 3)) == 0


def test_a_repeated_step_with_the_same_loss_is_no_difference_but_another_loss_is():
    reference = steps(0, 1, 2, 3)
    assert different_losses(steps(1, 1, 2) + steps(2, 2, 3), reference) == 0
    assert different_losses([*steps(1, 1, 2, 3), Step(2, 3, 9.0, "0.4")], reference) == 1


def test_a_missing_step_is_a_difference():
    assert different_losses(steps(1, 1, 3), steps(0, 1, 2, 3)) == 1
