"""Views of the store: what decides who may train, and what hides nothing."""

from __future__ import annotations

import pytest

from outlast_agent import layout, records
from outlast_agent.claim import SeenClaim
from outlast_agent.lookout import Lookout

JOB = "digits"


def put(store, key, record):
    store.create(key, records.dump(record))


def claim(attempt, **more):
    value = {"launch": 1, "machine": "m", "boot_id": "b", "nonce": "n", **more}
    return records.Claim(attempt=attempt, **value)


def test_views_follow_the_store(store):
    launch = records.Launch(
        job=JOB, number=1, provider="local", pool={}, machine="m", nonce="n", reason="first"
    )
    now = [100.0]
    lookout = Lookout(store, JOB, 1, monotonic=lambda: now[0])
    assert lookout.view().unknown
    put(store, layout.launch(JOB, 1), launch)
    # Another launch whose number begins alike says nothing about this one.
    put(store, layout.launch_closed(JOB, 10), records.LaunchClosed(reason="x"))
    view = lookout.view()
    assert (view.attempt, view.claim, view.closed, view.unknown) == (0, None, False, False)
    put(store, layout.claim(JOB, 1), claim(1))
    assert lookout.view().claim == SeenClaim(1, "m", "b")
    notice = records.AttemptNotice(attempt=1, event_id="e", reason="preempt", seconds_left=30)
    put(store, layout.attempt_notice(JOB, 1), notice)
    assert lookout.view().notice.first_seen == 100.0
    now[0] = 120.0
    assert lookout.view().notice.first_seen == 100.0
    end = records.AttemptEnd(attempt=1, by="daemon", outcome="yielded")
    put(store, layout.attempt_end(JOB, 1), end)
    assert lookout.view().outcome == "yielded"
    put(store, layout.claim(JOB, 2), claim(2, launch=2))
    view = lookout.view()
    assert (view.attempt, view.notice, view.outcome) == (2, None, None)
    for key, record, name in (
        (layout.launch_closed(JOB, 1), records.LaunchClosed(reason="x"), "closed"),
        (layout.cancel(JOB), records.Cancel(), "cancelled"),
        (layout.result(JOB), records.Result(outcome="finished"), "result"),
        (layout.held(JOB), records.Held(attempt=1, expected="x", found=None, message=""), "held"),
    ):
        assert not getattr(lookout.view(), name)
        put(store, key, record)
        assert getattr(lookout.view(), name)


def test_a_record_from_the_future_is_not_guessed_at(store):
    store.create(layout.claim(JOB, 1), b'{"version": 9, "attempt": 1, "launch": 1, "machine": "m",'
                 b' "boot_id": "b", "nonce": "n"}')  # fmt: skip
    with pytest.raises(records.RecordError, match="update outlast"):
        Lookout(store, JOB, 1).view()


@pytest.mark.parametrize(
    ("key", "name"),
    [
        (layout.launch_closed(JOB, 1), "closed"),
        (layout.cancel(JOB), "cancelled"),
        (layout.result(JOB), "result"),
    ],
)
def test_a_damaged_record_does_not_hide_that_the_machine_is_to_leave(store, key, name):
    put(store, layout.claim(JOB, 1), claim(1))
    lookout = Lookout(store, JOB, 1)
    lookout.view()
    store.create(layout.attempt_notice(JOB, 1), b"{")
    with pytest.raises(records.RecordError):
        lookout.view()
    store.create(key, b"{}")
    assert getattr(lookout.view(), name)
    assert lookout.view().claim == SeenClaim(1, "m", "b")
