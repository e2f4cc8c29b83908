"""What fits into the time that is left."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outlast.manifest import CheckpointId
from outlast_agent import budget
from outlast_agent.budget import Candidate, Rate, choose

OLD, NEW = CheckpointId(1, 10), CheckpointId(1, 20)
MB = 1e6


def test_without_a_deadline_the_newest():
    assert choose([Candidate(OLD, 0), Candidate(NEW, 10**12)], rate=MB, left=None).id == NEW


@pytest.mark.parametrize(("left", "chosen"), [(60.0, NEW), (20.0, OLD), (1.0, OLD)])
def test_with_one_the_newest_that_fits_or_what_needs_least(left, chosen):
    both = [Candidate(OLD, int(10 * MB)), Candidate(NEW, int(30 * MB))]
    assert choose(both, rate=MB, left=left).id == chosen


def test_before_anything_was_measured_the_newest():
    assert choose([Candidate(OLD, 5), Candidate(NEW, 9)], rate=None, left=1.0).id == NEW
    assert choose([], rate=MB, left=1.0) is None


@given(
    st.lists(st.builds(Candidate, st.builds(CheckpointId, st.just(1), st.integers(0, 99)),
                       st.integers(0, 10**12)), min_size=1),
    st.floats(1.0, 1e10), st.floats(0, 1000),
)  # fmt: skip
def test_never_an_older_one_while_a_newer_fits(candidates, rate, left):
    chosen = choose(candidates, rate=rate, left=left)
    fitting = [c for c in candidates if budget.flush_seconds(c.missing, rate) <= left]
    if fitting:
        assert chosen.id == max(c.id for c in fitting)
    else:
        assert chosen.missing == min(c.missing for c in candidates)


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
    plan = budget.schedule(now, now + left, announced=announced)
    assert now <= plan.terminate_at + 1e-6
    assert plan.terminate_at <= plan.kill_at + 1e-6
    assert plan.kill_at <= now + left + 1e-6
