"""A notice in each phase of training: it is obeyed at the next batch, or the save is flushed."""

from __future__ import annotations

import pytest

from trainer.exactness.cases import assert_same, check
from trainer.exactness.stops import Stop
from trainer.exactness.table import named
from trainer.exactness.twins import KILLED, Attempt, Twins, newest

EVERY_STEP = {"OUTLAST_EVERY": "0.001"}


@pytest.mark.parametrize(
    ("script", "stop"),
    [
        ("data.shuffled", Stop("begin")),
        ("data.shuffled", Stop("tracing")),
        ("training.subclassed", Stop("tracing")),
        ("training.unfreezing", Stop("tracing", 1)),
        ("validation.plain", Stop("validation", 0, 0, 0)),
        ("validation.shuffled", Stop("validation", 0, 1, 1)),
        ("validation.steps", Stop("validation", 0, 1, 0)),
        ("callbacks.early_stopping", Stop("validation", 0, 1, 2)),
        ("training.several_steps_per_execution", Stop("validation", 0, 0, 3)),
        ("training.slow_epoch_end", Stop("tail", 0, 1)),
        ("training.unfreezing", Stop("between", 0)),
    ],
    ids=str,
)
def test_notice(twins: Twins, script: str, stop: Stop) -> None:
    check(twins, named(script), [stop])


def given_up(
    twins: Twins, script: str, stop: Stop, *, grace: float, slow: float
) -> tuple[Attempt, Attempt]:
    """Stopped by a notice shorter than the rest of what is under way; then resumed."""
    scenario = named(script)
    folder = twins.folder(scenario, f"given-up-{stop}")
    environ = {**EVERY_STEP, "SLOW": str(slow)}
    first = twins.attempt(scenario, folder, 1, stop, environ=environ, grace=grace)
    assert first.done.code == KILLED, f"it was not taken away\n{first.done.log}"
    assert first.end is not None, f"nothing was said before the machine went\n{first.done.log}"
    assert first.end.outcome == "yielded"
    saved = newest(folder, 1)
    assert saved is not None
    assert saved.step == first.end.step
    rest = twins.attempt(scenario, folder, 2, None)
    assert not (problem := rest.wrong_end()), problem
    return first, rest


def test_a_step_longer_than_the_notice(twins: Twins) -> None:
    """The newest save is flushed, and the step under way is given up."""
    stop = Stop("inside", batch=2)
    pieces = given_up(twins, "training.long_step", stop, grace=1.5, slow=2.5)
    assert pieces[0].end is not None
    assert pieces[0].end.step in (1, 2)
    assert_same(twins.whole(named("training.long_step"), resume=False), pieces)


def test_a_step_that_ends_in_time(twins: Twins) -> None:
    """It is waited for, and saved too."""
    scenario = named("training.long_step")
    folder = twins.folder(scenario, "in-time")
    stop = Stop("inside", batch=2)
    first = twins.attempt(scenario, folder, 1, stop, environ={**EVERY_STEP, "SLOW": "0.7"})
    assert not (problem := first.wrong_end()), problem
    assert first.end is not None
    assert first.end.step == 3
    rest = twins.attempt(scenario, folder, 2, None)
    assert_same(twins.whole(scenario, resume=False), [first, rest])


def test_a_slow_epoch_end_longer_than_the_notice(twins: Twins) -> None:
    pieces = given_up(twins, "training.slow_epoch_end", Stop("tail", 0, 1), grace=2.0, slow=4.0)
    assert_same(twins.whole(named("training.slow_epoch_end"), resume=False), pieces)


def test_an_execution_of_a_thousand_steps(twins: Twins) -> None:
    """The notice comes inside; the whole execution is waited for, as it ends in time."""
    scenario = named("training.long_execution")
    folder = twins.folder(scenario, "inside")
    stop = Stop("inside", batch=8)  # the second epoch's third batch
    first = twins.attempt(scenario, folder, 1, stop, environ={"SLOW": "0.05"})
    assert not (problem := first.wrong_end()), problem
    rest = twins.attempt(scenario, folder, 2, None)
    assert not (problem := rest.wrong_end()), problem
    assert_same(twins.whole(scenario, resume=False), [first, rest])


def test_an_execution_longer_than_the_notice(twins: Twins) -> None:
    stop = Stop("inside", batch=8)
    pieces = given_up(twins, "training.long_execution", stop, grace=1.5, slow=0.5)
    assert_same(twins.whole(named("training.long_execution"), resume=False), pieces)
