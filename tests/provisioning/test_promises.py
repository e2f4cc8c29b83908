"""How much of the promised notice a pool really gave, and that the next machine is told."""

from __future__ import annotations

from dataclasses import replace

from outlast_agent.records import AttemptEnd, AttemptNotice, Claim
from outlast_provisioning.actions import EndAttempt
from outlast_provisioning.decide import decide
from outlast_provisioning.job import job_spec
from outlast_provisioning.promises import notices_given
from outlast_provisioning.providers.base import Pool
from outlast_provisioning.world import AttemptView
from provisioning.simulated import job
from provisioning.test_decide import attempt, beat, launch, world


def noticed(
    left: float, given: float | None = None, reason: str = "preempt"
) -> tuple[str, AttemptView]:
    claim = Claim(attempt=1, launch=1, machine="m", boot_id="b", nonce="n")
    notice = AttemptNotice(attempt=1, event_id="e", reason=reason, seconds_left=left)
    end = AttemptEnd(attempt=1, by="controller", outcome="lost", given_seconds=given)
    return "here", AttemptView(claim, notice, end)


def test_the_shortest_of_the_latest_notices_counts() -> None:
    assert notices_given([noticed(29.0), noticed(9.0), noticed(28.0)]) == {"here": 9.0}
    assert notices_given([noticed(9.0), *[noticed(29.0)] * 5]) == {"here": 29.0}
    assert notices_given([noticed(29.0, given=6.0)]) == {"here": 6.0}  # it went before its time
    assert notices_given([noticed(500.0, reason="reboot")]) == {}


def test_a_machine_that_goes_before_its_time_is_measured() -> None:
    gone = replace(attempt(1, 1, notice=True), notice_age=20.0, age=100.0)
    before = world(launch(1, "gone"), attempts=(gone,), beat=beat(1, 1), beat_age=12.0)
    ends = [one.end for one in decide(before) if isinstance(one, EndAttempt)]
    assert [end.given_seconds for end in ends] == [8.0]
    since_it_looks = replace(before, attempts=(replace(gone, age=20.0),))
    for unknown in (replace(before, beat_age=20.0), replace(before, beat=None), since_it_looks):
        ends = [one.end for one in decide(unknown) if isinstance(one, EndAttempt)]
        assert [end.given_seconds for end in ends] == [None]


def test_the_next_machine_reckons_with_the_lesser() -> None:
    pool, record = Pool("local", grace_seconds=30.0), launch(1).record
    assert job_spec(job(), record, pool).grace_seconds == 30.0
    assert job_spec(job(), record, pool, given=8.0).grace_seconds == 8.0
    assert job_spec(job(), record, pool, given=60.0).grace_seconds == 30.0
