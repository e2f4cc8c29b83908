"""When to save, and when to give a step up: pure, on a clock of the test's own."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outlast import cadence
from outlast.environment import read_environment
from outlast.fingerprint import differences, fingerprint
from outlast.refused import SettingError
from outlast.schedule import Schedule
from outlast.steps import Steps

costs = st.floats(0, 1000)


shares = st.floats(1e-4, 0.5)
between = st.floats(60, 1e7)


@given(costs, costs, shares, between)
def test_saves_never_take_more_than_they_may(blocked, background, share, between):
    every = cadence.interval(blocked, background, max_overhead=share, between_losses=between)
    assert blocked + 0.1 * background <= every * share * (1 + 1e-9)
    assert every >= background
    assert every >= cadence.SHORTEST


@given(
    blocked=costs, background=costs, more=costs, share=shares, between=between, later=between,
)  # fmt: skip
def test_what_costs_more_is_done_no_more_often_nor_where_less_is_lost(
    *, blocked, background, more, share, between, later
):
    def every(blocked, background, between):
        return cadence.interval(blocked, background, max_overhead=share, between_losses=between)

    now = every(blocked, background, between)
    assert every(blocked + more, background, between) >= now * (1 - 1e-9)
    assert every(blocked, background + more, between) >= now * (1 - 1e-9)
    assert every(blocked, background, between + later) >= now * (1 - 1e-9)


@given(between, st.floats(1e-9, 1.9))
def test_dalys_interval_loses_least(between, part):
    """Against what he minimises: the whole time by his model, equation 20, without restarts."""
    cost = part * between

    def whole(every):  # of one second of work
        return between * math.expm1((every + cost) / between) / every

    best = cadence.daly(cost, between)
    least = min(whole(best * 1.02**n) for n in range(-200, 200))
    assert whole(best) <= least * 1.005
    young = math.sqrt(2 * cost * between)
    assert abs(best / young - 1) <= math.sqrt(part)  # Young's, where a save takes little
    assert cadence.daly(2 * between, between) == between


def test_intervals_between_the_bounds():
    assert cadence.interval(0.0, 0.0) == cadence.SHORTEST
    assert round(cadence.interval(0.02, 0.0), 1) == 14.7
    assert cadence.interval(0.02, 0.0, between_losses=600) == cadence.SHORTEST
    assert cadence.interval(0.02, 0.0, every=0.5) == 0.5
    assert cadence.interval(60.0, 0.0) == 6000.0
    assert cadence.interval(60.0, 0.0, max_overhead=0.1) == cadence.LONGEST
    assert round(cadence.interval(60.0, 0.0, max_overhead=0.5, between_losses=1000)) == 308


@given(costs, costs)
def test_a_wish_is_a_wish(blocked, background):
    assert cadence.interval(blocked, background, every=7.0) == 7.0


@given(
    left=st.floats(0, 100),
    more=st.floats(0, 100),
    elapsed=st.none() | st.floats(0, 100),
    expected=st.none() | st.floats(0, 100),
    save=st.none() | st.floats(0, 10),
)
def test_more_time_never_makes_it_give_up(left, more, elapsed, expected, save):
    def verdict(left):
        return cadence.at_notice(left=left, elapsed=elapsed, expected=expected, save_seconds=save)

    if verdict(left) == "wait":
        assert verdict(left + more) == "wait"
    assert (
        cadence.at_notice(left=0, elapsed=elapsed, expected=expected, save_seconds=save)
        == "give-up"
    )


def test_a_step_that_will_not_end_in_time_is_given_up_at_once():
    def verdict(left, elapsed, expected):
        return cadence.at_notice(left=left, elapsed=elapsed, expected=expected, save_seconds=0.1)

    assert verdict(30, 1, 60) == "give-up"
    assert verdict(30, 45, 60) == "wait"
    assert verdict(30, None, None) == "wait"  # between two steps
    assert verdict(30, 10, None) == "wait"  # tracing: nothing is known yet
    assert verdict(0.5, 10, None) == "give-up"
    assert verdict(30, 70, 60) == "wait"  # overdue: any moment now


def test_the_schedule_goes_by_the_median_after_a_warm_up():
    schedule = Schedule(None, between_losses=600.0)
    schedule.start(100.0)
    schedule.start(200.0)  # only the first call counts
    assert schedule.interval == 5.0
    assert not schedule.due(104.9)
    assert schedule.due(105.0)
    schedule.saved(105.0, 106.0, 3.0)  # the first one stood still for 1 s, and does not count
    assert not schedule.due(110.9)
    assert schedule.due(111.0)
    schedule.saved(111.0, 111.01, 0.0)
    assert schedule.due(116.5)
    assert schedule.due(117.0)
    schedule.saved(117.0, 117.5, 0.0)  # stood still for 1 s since it was due
    assert not schedule.due(117.5 + 50)  # median of 0.01 and 1
    assert schedule.due(117.5 + 51)
    assert 50 < schedule.interval < 51


def test_the_schedule_keeps_to_the_share_that_saves_may_take():
    schedule = Schedule(None, max_overhead=0.1, between_losses=600.0)
    schedule.start(0.0)
    for now in (5.0, 15.0):
        schedule.saved(now, now + 1.0, 0.0)
    assert 30 < schedule.interval == cadence.daly(1.0, 600.0) < 40


def test_what_the_environment_says_of_losses():
    def read(**env):
        return read_environment(
            {f"OUTLAST_{name.upper()}": text for name, text in env.items()}, script=Path("x.py")
        )

    assert read().max_overhead == cadence.MAX_OVERHEAD
    found = read(max_overhead="0.05", between_losses="1800")
    assert (found.max_overhead, found.between_losses) == (0.05, 1800.0)
    for wrong in ({"max_overhead": "0"}, {"max_overhead": "1.5"}, {"between_losses": "nan"}):
        (name,) = wrong
        with pytest.raises(SettingError, match=f"OUTLAST_{name.upper()} must be a number above 0"):
            read(**wrong)


def test_every_step_when_wished():
    schedule = Schedule(0.0)
    schedule.start(1.0)
    assert schedule.due(1.0)
    schedule.saved(1.0, 2.0, 5.0)
    assert schedule.due(2.0)


def test_steps_tell_what_to_expect():
    steps = Steps()
    assert steps.seconds is None
    assert steps.under_way(5.0) == (None, None)
    steps.begin(0.0)
    assert steps.under_way(5.0) == (5.0, None)
    steps.end(20.0, 1)  # traced
    assert steps.seconds is None
    for number in range(2, 6):
        steps.begin(20.0 + number)
        steps.end(20.5 + number, number)
    assert steps.seconds == 0.5
    steps.begin(50.0, count=1000)
    assert steps.under_way(51.0) == (1.0, 500.0)
    steps.idle()
    assert steps.under_way(52.0) == (None, None)
    assert steps.done == 5


def test_a_fingerprint_of_this_machine():
    import numpy as np

    found = fingerprint()
    assert found["numpy"] == np.__version__
    assert int(found["threads"]) >= 1
    assert all(isinstance(value, str) and value for value in found.values())


def test_a_fingerprint_is_read_from_files(tmp_path):
    cpu = tmp_path / "cpuinfo"
    cpu.write_text("model name\t: A Processor\nflags\t\t: fpu sse4_2 avx avx2\n\nmodel name\t: B\n")
    gpu = tmp_path / "gpus" / "0000:01" / "information"
    gpu.parent.mkdir(parents=True)
    gpu.write_text("Model: \t\t Tesla T4\nIRQ: 1\n")
    found = fingerprint(cpuinfo=cpu, gpus=tmp_path / "gpus", environ={"OMP_NUM_THREADS": "2"})
    assert found["cpu"] == "A Processor"
    assert found["instructions"] == "avx2"
    assert found["gpu"] == "Tesla T4"
    assert found["OMP_NUM_THREADS"] == "2"
    nothing = fingerprint(cpuinfo=tmp_path / "x", gpus=tmp_path / "x", environ={})
    assert "cpu" not in nothing
    assert "gpu" not in nothing


def test_differences_are_told_in_words():
    old = {"cpu": "A", "instructions": "avx512f", "threads": "4", "numpy": "2.0", "torch": "2.1"}
    new = {"cpu": "B", "instructions": "avx2", "threads": "4", "numpy": "2.1", "gpu": "T4"}
    assert differences(old, new) == [
        "the GPU was not there and is T4",
        "the instruction set was avx512f and is avx2",
        "numpy was 2.0 and is 2.1",
    ]
    assert differences(old, old) == []
