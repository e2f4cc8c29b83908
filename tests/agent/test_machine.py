"""The machine's life: single stories of it; see ``test_machine_random`` for all others."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.machine_kit import LIFETIME, TRAINING, run
from outlast_agent import claim, effects, events, machine
from outlast_agent.outcome import Ending
from outlast_agent.state import IDLE_SECONDS, OVERTIME


def test_the_straight_way():
    state, done = run(
        *TRAINING, events.Exited(Ending("finished")), events.Flushed(), events.Recorded(9.0)
    )
    assert [type(effect).__name__ for effect in done] == [
        "SetUp", "Claim", "Restore", "Start", "Flush", "Record", "PowerOff",
    ]  # fmt: skip
    assert state.phase == "leaving"


def test_no_claim_for_fifteen_minutes_ends_the_machine():
    waiting = (events.Judged(claim.Wait("another trains"), 0.0), events.Ready(10.0))
    state, _ = run(*waiting, events.Tick(10.0 + IDLE_SECONDS - 1))
    assert state.phase == "standing-by"
    _, todo = machine.step(state, events.Tick(10.0 + IDLE_SECONDS))
    assert isinstance(todo[0], effects.PowerOff)


def test_setting_up_may_take_long_but_not_wait_for_ever():
    state, _ = run(events.Tick(5000.0))
    assert state.phase == "preparing"
    state, _ = machine.step(state, events.Tick(5000.0 + IDLE_SECONDS - 1, waits=True))
    assert state.phase == "preparing"
    _, todo = machine.step(state, events.Tick(5000.0 + IDLE_SECONDS, waits=True))
    assert isinstance(todo[0], effects.PowerOff)


def test_a_claim_that_hangs_ends_the_machine():
    state, _ = run(events.Judged(claim.Free(1), 0.0), events.Ready(0.0))
    assert state.phase == "claiming"
    _, todo = machine.step(state, events.Tick(IDLE_SECONDS))
    assert isinstance(todo[0], effects.PowerOff)


def test_whatever_hangs_a_machine_does_not_outlive_its_lifetime_by_much():
    for sequence in (
        (),
        TRAINING[:2],
        TRAINING[:3],
        TRAINING[:4],
        (*TRAINING, events.Exited(Ending("failed"))),
        (*TRAINING, events.Exited(Ending("failed")), events.Flushed()),
    ):
        _, done = run(*sequence, events.Tick(LIFETIME + OVERTIME))
        assert isinstance(done[-1], effects.PowerOff)


def test_a_failure_ends_the_machine_and_a_stop_does_not():
    for outcome, off in (("failed", True), ("setup-failed", True), ("yielded", False)):
        _, done = run(
            *TRAINING, events.Exited(Ending(outcome)), events.Flushed(), events.Recorded(9.0)
        )
        assert isinstance(done[-1], effects.PowerOff) == off


def test_what_cannot_be_raises():
    state, _ = run(*TRAINING)
    for event in (events.Restored(), events.ClaimLost(1), events.Flushed(), events.Recorded(1.0)):
        with pytest.raises(ValueError, match="cannot come while training"):
            machine.step(state, event)


@given(st.integers(0, 3))
def test_superseded_kills_without_a_word(extra):
    sequence = [*TRAINING, *[events.Tick(1.0)] * extra]
    gone = claim.Leave("superseded", "attempt 2 has taken over")
    state, done = run(*sequence, events.Judged(gone, 5.0))
    assert done[-1] == effects.Kill()
    state, todo = machine.step(state, events.Exited(Ending("yielded")))
    assert isinstance(todo[0], effects.Record)  # nothing is flushed into a job that went on


def test_a_view_from_before_the_end_does_not_bring_the_attempt_back():
    ended = (events.Exited(Ending("yielded")), events.Flushed(), events.Recorded(9.0))
    state, _ = run(*TRAINING, *ended)
    for stale in (claim.Mine(1), claim.Rebooted(1), claim.Free(1)):
        assert machine.step(state, events.Judged(stale, 9.1))[1] == ()
    assert machine.step(state, events.Judged(claim.Free(2), 9.2))[1] == (effects.Claim(2),)


def test_an_engine_that_never_answers_does_not_keep_the_machine():
    state, _ = run(events.Judged(claim.Mine(1), 0.0))
    assert machine.step(state, events.Tick(IDLE_SECONDS - 1, waits=True)) == (state, ())
    _, todo = machine.step(state, events.Tick(IDLE_SECONDS, waits=True))
    assert isinstance(todo[0], effects.PowerOff)
