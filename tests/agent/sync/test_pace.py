"""On cadence, uploads take a share of the link; whatever it is, and however large objects are."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outlast_agent.sync.pace import Pace, rest


def test_a_rest_makes_up_the_share():
    assert rest(1.0, 0.25) == 3.0
    assert rest(1.0, 1.0) == 0.0


@given(
    sizes=st.lists(st.integers(1, 64 << 20), min_size=8, max_size=40),
    rate=st.floats(1e5, 1e10),
    share=st.floats(0.05, 1.0),
)
def test_over_any_number_of_bursts_no_more_than_the_share_is_taken(sizes, rate, share):
    pace, now, sent, link = Pace(4, share), 0.0, 0, []
    sizes = sizes[: len(sizes) // 4 * 4]
    while sizes:
        now += pace.wait(now)
        assert pace.wait(now) == pytest.approx(0.0, abs=1e-6 * now)
        burst, sizes = sizes[:4], sizes[4:]
        for _ in burst:
            pace.begins(now)
        assert pace.wait(now) == math.inf
        took, begun = sum(burst) / rate, now
        now += took  # all of them share the link
        for size in burst[:-1]:
            assert pace.ends(now, size, took) is None
        size, busy = pace.ends(now, burst[-1], took)
        link.append(size / busy)
        sent += size
        assert busy == pytest.approx(now - begun)
    now += pace.wait(now)
    assert sent / now <= share * rate * 1.001
    assert link == pytest.approx([rate] * len(link))


def test_a_store_that_was_away_is_not_rested_for():
    pace = Pace(4)
    pace.begins(0.0)
    assert pace.ends(3600.0, 100, 0.5) == (100, 0.5)
    assert pace.wait(3600.0) == 1.5


def test_what_was_left_is_not_measured():
    pace = Pace(2)
    pace.begins(0.0)
    pace.begins(0.0)
    assert pace.ends(1.0) is None
    assert pace.rate(1.0) is None
    assert pace.ends(2.0, 100, 2.0) == (100, 2.0)
