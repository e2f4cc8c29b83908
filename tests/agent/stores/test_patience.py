from __future__ import annotations

from outlast_agent.stores.patience import LEAST_SECONDS, MOST_SECONDS, Patience

MIB = 1 << 20


def test_small_requests_are_short_whatever_the_link() -> None:
    patience = Patience()
    assert patience.seconds(0) == LEAST_SECONDS
    assert patience.seconds(1 << 20) == LEAST_SECONDS
    patience.timed_out(100, 30.0)
    assert patience.seconds(100) == LEAST_SECONDS


def test_an_object_fits_a_slow_link_from_the_start() -> None:
    # 64 MiB at 1.5 MB/s takes 45 s; the client library's own limit of 30 s would end it.
    assert Patience().seconds(64 * MIB) >= 4 * 45


def test_a_fast_link_makes_hangs_short_and_has_one_client_for_all() -> None:
    patience = Patience()
    patience.succeeded(64 * MIB, 0.5)
    assert {patience.seconds(size) for size in (0, 100, 64 * MIB)} == {LEAST_SECONDS}


def test_a_link_that_became_slow_is_believed_at_once() -> None:
    patience = Patience()
    for _ in range(50):
        patience.succeeded(64 * MIB, 0.5)
    patience.succeeded(64 * MIB, 55.0)
    assert patience.seconds(64 * MIB) >= 4 * 55


def test_each_time_out_doubles_what_the_next_gets_until_the_last_step() -> None:
    patience = Patience()
    before = patience.seconds(64 * MIB)
    patience.timed_out(64 * MIB, before)
    after = patience.seconds(64 * MIB)
    assert after >= 2 * before
    for _ in range(20):
        patience.timed_out(64 * MIB, patience.seconds(64 * MIB))
    assert patience.seconds(64 * MIB) <= MOST_SECONDS
    assert patience.seconds(1 << 50) == MOST_SECONDS


def test_few_different_limits() -> None:
    patience = Patience()
    limits = {patience.seconds(size) for size in range(0, 1 << 30, 1 << 20)}
    assert len(limits) <= 10
