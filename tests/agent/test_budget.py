"""What fits into the time that is left."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outlast.manifest import CheckpointId
from outlast_agent import budget
from outlast_agent.budget import Candidate, Rate, plan

OLD, NEW, NEXT = CheckpointId(1, 10), CheckpointId(1, 20), CheckpointId(1, 21)
MB = 1e6


def test_without_a_deadline_the_newest_that_is_whole():
    begun = [Candidate(OLD, 0), Candidate(NEW, 10**12), Candidate(NEXT, 1, ready_in=1.0)]
    assert plan(begun, rate=MB, left=None).id == NEW


@pytest.mark.parametrize(("left", "what", "id_", "fits"), [
    (60.0, "full", NEXT, True), (50.0, "flush", NEW, True), (20.0, "flush", OLD, True),
    (1.0, "flush", NEW, False),
])  # fmt: skip
def test_the_step_under_way_or_what_has_begun_or_the_newest(left, what, id_, fits):
    both = [Candidate(OLD, int(10 * MB)), Candidate(NEW, int(30 * MB))]
    full = Candidate(NEXT, int(30 * MB), ready_in=15.0)
    chosen = plan(both, rate=MB, left=left, full=full)
    assert (chosen.what, chosen.id, chosen.fits) == (what, id_, fits)


def test_what_is_sent_already_goes_before_what_is_not():
    both = [Candidate(OLD, int(10 * MB), started=True), Candidate(NEW, int(10 * MB))]
    assert plan(both, rate=MB, left=20.0).id == NEW
    assert plan(both, rate=MB, left=20.0, under_way=int(10 * MB)).id == OLD


def test_before_anything_was_measured_the_newest_that_is_whole():
    begun = [Candidate(OLD, 5), Candidate(NEW, 9), Candidate(NEXT, 1, ready_in=1.0)]
    assert plan(begun, rate=None, left=1.0).id == NEW
    full = Candidate(NEXT, 9, ready_in=1.0)
    assert plan([], rate=None, left=100.0, full=full) == budget.Plan("nothing")


SAVES = st.lists(
    st.builds(
        Candidate, st.builds(CheckpointId, st.just(1), st.integers(0, 99)),
        st.integers(0, 10**12), st.booleans(), st.floats(0, 60),
    ).map(lambda each: replace(each, ready_in=0.0) if each.started else each),  # it is whole
    unique_by=lambda each: each.id,
)  # fmt: skip
RATE, LEFT = st.none() | st.floats(1.0, 1e10), st.floats(0, 1000)
FULL = st.none() | st.builds(
    Candidate, st.just(CheckpointId(1, 100)), st.integers(0, 10**12), ready_in=st.floats(0, 60)
)
UNDER_WAY = st.integers(0, 10**9)


@given(SAVES, RATE, LEFT, FULL, UNDER_WAY)
def test_no_prediction_passes_the_deadline_less_a_margin(begun, rate, left, full, under_way):
    chosen = plan(begun, rate=rate, left=left, full=full, under_way=under_way)
    if chosen.fits:
        assert chosen.seconds <= left - min(1.0, 0.1 * left)
        assert (chosen.what == "full") == (chosen.id.step == 100)
        one = full if chosen.what == "full" else next(c for c in begun if c.id == chosen.id)
        needed = one.ready_in + (0.0 if rate is None else one.missing / rate)
        assert chosen.seconds >= needed  # nor is it more hopeful than the bare link
    elif chosen.what == "flush":
        assert chosen.id in {each.id for each in begun}
    else:
        assert (chosen.what, begun) == ("nothing", [])


@given(SAVES, st.floats(1.0, 1e10), LEFT, FULL)
def test_never_an_older_one_while_a_newer_fits_else_the_newest_started(begun, rate, left, full):
    chosen = plan(begun, rate=rate, left=left, full=full)
    options = begun if full is None else [*begun, full]
    fitting = [
        each.id
        for each in options
        if each.ready_in + budget.flush_seconds(each.missing, rate) <= budget.usable(left)
    ]
    started = [each.id for each in begun if each.started]
    if fitting:
        assert chosen.id == max(fitting)
    elif started:
        assert (chosen.id, chosen.fits) == (max(started), False)
    elif begun:
        whole = [each.id for each in begun if not each.ready_in]
        assert chosen.id == max(whole or [each.id for each in begun])


@given(SAVES, st.floats(1.0, 1e10), LEFT, LEFT, FULL)
def test_more_time_is_never_worse(begun, rate, left, more, full):
    def at(seconds):
        return plan(begun, rate=rate, left=seconds, full=full, under_way=10**8)

    less, longer = at(left), at(left + more)
    if less.fits:
        assert longer.fits
        assert longer.id >= less.id


def test_a_plan_is_told_in_words():
    def told(begun, **more):
        return budget.in_words(plan(begun, rate=MB, **more), durable_step=7)

    whole, full = [Candidate(OLD, int(10 * MB))], Candidate(NEXT, int(MB), ready_in=1.0)
    assert told(whole, left=30.0, full=full) == (
        "the step under way can be saved, durable in about 2.8 s"
    )
    assert told(whole, left=30.0) == "step 10 can be made durable in about 13.5 s"
    assert told(whole, left=3.0) == (
        "step 10 would be durable in about 13.5 s, which may be too late; step 7 is durable"
    )
    assert told([], left=1.0, full=full) == "no newer save fits; step 7 is durable"


def test_rates_are_by_bytes():
    rate = Rate()
    assert rate.bytes_per_second is None
    rate.add(0, 1.0)
    assert rate.bytes_per_second is None
    rate.add(int(100 * MB), 1.0)
    for _ in range(10):
        rate.add(1000, 0.5)  # tiny objects are all overhead, and hardly count
    assert rate.bytes_per_second > 15 * MB


@given(st.lists(st.tuples(st.integers(1, 10**9), st.floats(1e-6, 1e4)), min_size=1))
def test_a_mean_lies_between_its_extremes(samples):
    rate = Rate()
    for size, seconds in samples:
        rate.add(size, seconds)
    rates = [size / seconds for size, seconds in samples]
    assert min(rates) * 0.999 <= rate.bytes_per_second <= max(rates) * 1.001


def test_the_warning_says_what_and_what_to_do():
    assert budget.too_short(int(100 * MB), rate=100 * MB, grace=30.0) is None
    text = budget.too_short(int(3000 * MB), rate=50 * MB, grace=30.0)
    assert "3,000 MB" in text
    assert "30 s" in text
    assert "faster network" in text


@given(st.floats(0, 1e6), st.floats(0, 1e4), st.booleans())
def test_pushes_come_in_order_and_before_the_deadline(now, left, announced):
    when = budget.schedule(now, now + left, announced=announced)
    assert now <= when.terminate_at + 1e-6
    assert when.terminate_at <= when.kill_at + 1e-6
    assert when.kill_at <= now + left + 1e-6
