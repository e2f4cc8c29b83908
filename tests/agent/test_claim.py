"""Who may train. The rules, and a model of several daemons that never train as one attempt."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outlast_agent.claim import (
    NOTICE_SLACK,
    FirstSeen,
    Free,
    Leave,
    Me,
    Mine,
    Rebooted,
    SeenClaim,
    SeenNotice,
    View,
    Wait,
    judge,
)

ME = Me(launch=2, machine="m2", boot_id="b2")
OTHER = SeenClaim(launch=1, machine="m1", boot_id="b1")
MINE = SeenClaim(launch=2, machine="m2", boot_id="b2")


@pytest.mark.parametrize(
    ("view", "verdict"),
    [
        (View(), Free(1)),
        (View(attempt=3, claim=OTHER, outcome="yielded"), Free(4)),
        (View(attempt=3, claim=OTHER, outcome="lost"), Free(4)),
        (View(attempt=3, claim=OTHER, outcome="failed"), Free(4)),
        (View(attempt=3, claim=MINE), Mine(3)),
        (View(attempt=3, claim=replace(MINE, boot_id="b1")), Rebooted(3)),
        (View(attempt=3, claim=MINE, outcome="yielded"), Free(4)),
        (View(attempt=3, claim=MINE, outcome="lost"), Free(4)),
        # The same machine name in another launch is another machine.
        (View(attempt=3, claim=replace(MINE, launch=1), outcome=None), None),
    ],
)
def test_claims(view, verdict):
    found = judge(view, ME, own=None, now=100.0)
    if verdict is None:
        assert isinstance(found, Wait)
    else:
        assert found == verdict


def test_a_finished_attempt_without_a_result_is_finished_by_its_own_machine():
    view = View(attempt=3, claim=MINE, outcome="finished")
    assert judge(view, ME, own=None, now=0.0) == Mine(3)
    after_reboot = replace(view, claim=replace(MINE, boot_id="b1"))
    assert isinstance(judge(after_reboot, ME, own=None, now=0.0), Leave)


@pytest.mark.parametrize("outcome", ["failed", "setup-failed", "cancelled"])
def test_a_machine_whose_attempt_is_final_does_not_claim_again(outcome):
    found = judge(View(attempt=3, claim=MINE, outcome=outcome), ME, own=None, now=0.0)
    assert isinstance(found, Leave)


def test_a_live_attempt_is_waited_for_without_end():
    found = judge(View(attempt=1, claim=OTHER), ME, own=None, now=1e9)
    assert found == Wait("attempt 1 trains on m1")


def test_a_notice_counts_from_when_it_was_first_read_here():
    view = View(attempt=1, claim=OTHER, notice=SeenNotice(30.0, first_seen=1000.0))
    assert isinstance(judge(view, ME, own=None, now=1000.0 + 30 + NOTICE_SLACK - 0.1), Wait)
    assert judge(view, ME, own=None, now=1000.0 + 30 + NOTICE_SLACK) == Free(2)


def test_the_first_reading_counts():
    seen = FirstSeen()
    assert seen.notice(1, 30.0, now=5.0).first_seen == 5.0
    assert seen.notice(1, 30.0, now=50.0).first_seen == 5.0
    assert seen.notice(2, 30.0, now=60.0).first_seen == 60.0


@pytest.mark.parametrize(
    ("view", "why"),
    [
        (View(closed=True, attempt=1, claim=MINE), "closed"),
        (View(unknown=True), "closed"),
        (View(result=True), "result"),
        (View(cancelled=True), "cancelled"),
        (View(held=True), "held"),
    ],
)
def test_reasons_to_leave(view, why):
    found = judge(view, ME, own=None, now=0.0)
    assert isinstance(found, Leave)
    assert found.why == why


def test_superseded_only_when_training():
    view = View(attempt=4, claim=OTHER)
    found = judge(view, ME, own=3, now=0.0)
    assert isinstance(found, Leave)
    assert found.why == "superseded"
    assert isinstance(judge(view, ME, own=None, now=0.0), Wait)
    # A view from before the own claim is old news.
    assert not isinstance(judge(View(attempt=2, claim=OTHER), ME, own=3, now=0.0), Leave)


def test_a_hold_does_not_stop_who_trains_already():
    view = View(attempt=3, claim=MINE, held=True)
    assert judge(view, ME, own=3, now=0.0) == Mine(3)


@given(
    st.lists(
        st.tuples(st.sampled_from(["claim", "end", "notice", "boot", "wait"]), st.integers(0, 2)),
        max_size=40,
    )
)
def test_one_attempt_has_one_daemon_and_its_predecessor_is_over(moves):
    """Three daemons act on what they see; the store is create-only, as the real one."""
    claims: dict[int, tuple[int, str]] = {}
    ends: set[int] = set()
    notices: dict[int, float] = {}
    boots = ["b0", "b1", "b2"]
    seen = [FirstSeen() for _ in range(3)]
    now = 0.0
    for move, who in moves:
        latest = max(claims, default=0)
        owner = claims.get(latest)
        me = Me(launch=who, machine=f"m{who}", boot_id=boots[who])
        if move == "wait":
            now += 20.0
        elif move == "boot":
            boots[who] += "'"
        elif move == "notice" and owner is not None and owner[0] == who:
            notices.setdefault(latest, 30.0)
        elif move == "end" and owner is not None and owner[0] == who:
            ends.add(latest)
        elif move == "claim":
            known = latest in notices
            view = View(
                attempt=latest,
                claim=None if owner is None else SeenClaim(owner[0], f"m{owner[0]}", owner[1]),
                notice=seen[who].notice(latest, notices[latest], now) if known else None,
                outcome="yielded" if latest in ends else None,
            )  # fmt: skip
            verdict = judge(view, me, own=None, now=now)
            if isinstance(verdict, Free):
                assert verdict.attempt == latest + 1
                assert latest == 0 or latest in ends or latest in notices
                claims[verdict.attempt] = (who, boots[who])
            elif isinstance(verdict, Mine):
                assert claims[verdict.attempt] == (who, boots[who])
            elif isinstance(verdict, Rebooted):
                assert claims[verdict.attempt][0] == who
                ends.add(verdict.attempt)
