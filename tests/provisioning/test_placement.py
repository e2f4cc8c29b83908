from __future__ import annotations

from outlast_provisioning.placement import (
    LONG_RUN_SECONDS,
    Experience,
    after_eviction,
    after_refusal,
    after_start,
    choose,
    cool_down,
)
from outlast_provisioning.providers.base import Pool

CHEAP = Pool("cloud", "west", price=0.1)
DEAR = Pool("cloud", "north", price=0.3)


def test_the_cheapest_first() -> None:
    assert choose([DEAR, CHEAP], {}, 0) == (CHEAP, 0.0)


def test_the_pool_that_evicted_comes_last_for_a_while() -> None:
    experience = {CHEAP.name: after_eviction(Experience(), 10, now=100.0)}
    assert choose([DEAR, CHEAP], experience, 120.0)[0] == DEAR
    assert choose([DEAR, CHEAP], experience, 161.0)[0] == CHEAP


def test_the_only_pool_is_asked_again_at_once() -> None:
    experience = {CHEAP.name: after_eviction(Experience(), 10, now=100.0)}
    assert choose([CHEAP], experience, 100.0) == (CHEAP, 0.0)


def test_a_pool_that_refused_is_not_asked_until_it_cooled_down() -> None:
    refused = after_refusal(Experience(), now=100.0)
    assert choose([CHEAP], {CHEAP.name: refused}, 110.0) == (None, 50.0)
    assert choose([CHEAP, DEAR], {CHEAP.name: refused}, 110.0)[0] == DEAR
    assert choose([CHEAP], {CHEAP.name: refused}, 160.0)[0] == CHEAP
    assert choose([CHEAP], {CHEAP.name: after_start(refused)}, 110.0)[0] == CHEAP


def test_cool_downs_double_up_to_half_an_hour() -> None:
    assert [cool_down(times) for times in range(1, 8)] == [60, 120, 240, 480, 960, 1800, 1800]
    assert cool_down(10_000) == 1800


def test_a_long_run_clears_the_past() -> None:
    bad = Experience(evictions=5)
    assert after_eviction(bad, 60, 0.0).avoid_until == 1800
    assert after_eviction(bad, LONG_RUN_SECONDS, 0.0).avoid_until == 60
