"""The failure table, row by row."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from outlast.manifest import CheckpointId
from outlast_agent.records import AttemptEnd, AttemptNotice, Claim, Resumed
from outlast_provisioning.failures import GiveUp, GoOn, judge
from outlast_provisioning.world import AttemptView

C1, C2, C3 = CheckpointId(1, 100), CheckpointId(2, 200), CheckpointId(3, 300)


def attempt(number: int, outcome: str, *, notice: bool = False, **more: object) -> AttemptView:
    claim = Claim(attempt=number, launch=number, machine="m", boot_id="b", nonce="n")
    end = AttemptEnd(attempt=number, by="daemon", outcome=outcome, **more)  # type: ignore[arg-type]
    told = AttemptNotice(attempt=number, event_id="e", reason="preempt", seconds_left=3)
    return AttemptView(claim, told if notice else None, end)


def failed(
    number: int, step: int | None, origin: CheckpointId | None = None, **more: object
) -> AttemptView:
    given_ = {"cause": "error", "message": "boom", "log_tail": ("last line",), **more}
    started = None if origin is None else str(origin)
    return attempt(number, "failed", step=step, started_from=started, **given_)


def decide(
    *attempts: AttemptView, kept: tuple[CheckpointId, ...] = (), retries: int = 3
) -> GoOn | GiveUp:
    return judge(attempts, kept, (), retries)


def test_nothing_failed() -> None:
    assert decide() == GoOn((), 0)


def test_evictions_never_count() -> None:
    history = [attempt(n, outcome) for n in range(1, 50) for outcome in ("yielded", "lost")]
    assert decide(*history, retries=0) == GoOn((), 0)


def test_a_failure_under_notice_never_counts() -> None:
    history = [attempt(n, "failed", notice=True, step=5) for n in range(1, 9)]
    assert decide(*history, retries=0) == GoOn((), 0)
    cut_short = [attempt(n, "setup-failed", notice=True) for n in range(1, 9)]
    assert decide(*cut_short, retries=0) == GoOn((), 0)


def test_a_held_attempt_never_counts() -> None:
    assert decide(failed(1, 5, cause="held"), retries=0) == GoOn((), 0)


def test_after_new_progress_it_is_tried_again_three_times() -> None:
    history = [failed(1, 150), failed(2, 250, C1), failed(3, 350, C2)]
    assert decide(*history, kept=(C1, C2, C3)) == GoOn((), 3)
    verdict = decide(*history, failed(4, 450, C3), kept=(C1, C2, C3))
    assert isinstance(verdict, GiveUp)
    assert verdict.message == "failed 4 times, the last time at step 450: boom"
    assert verdict.log_tail == ("last line",)


def test_twice_at_the_same_step_ends_the_job() -> None:
    assert decide(failed(1, 150)) == GoOn((), 1)
    verdict = decide(failed(1, 150), failed(2, 150, C1), kept=(C1,))
    assert isinstance(verdict, GiveUp)
    assert verdict.message == "failed twice at step 150: boom"
    assert (verdict.attempt, verdict.step) == (2, 150)


def test_an_eviction_in_between_changes_nothing() -> None:
    verdict = decide(failed(1, 150), attempt(2, "lost"), failed(3, 150, C1), kept=(C1,))
    assert isinstance(verdict, GiveUp)


def test_before_the_first_step_twice() -> None:
    assert decide(failed(1, None)) == GoOn((), 1)
    verdict = decide(failed(1, None), failed(2, 0))
    assert isinstance(verdict, GiveUp)
    assert verdict.message == "failed twice before its first step: boom"


def test_two_failed_starts_set_a_checkpoint_aside() -> None:
    first = failed(3, 200, C2)
    assert decide(first, kept=(C1, C2)) == GoOn((), 1)
    assert decide(first, failed(4, None, C2), kept=(C1, C2)) == GoOn((str(C2),), 2)


def test_without_an_older_one_the_job_ends() -> None:
    verdict = decide(failed(2, 100, C1), failed(3, 100, C1), kept=(C1,))
    assert isinstance(verdict, GiveUp)
    assert "twice from its only checkpoint, step 100" in verdict.message


def test_what_was_decided_stays_decided() -> None:
    """A checkpoint that was collected later does not turn a retry into an end."""
    history = [failed(3, 200, C2), failed(4, 200, C2), attempt(5, "lost", started_from=str(C1))]
    assert decide(*history, kept=()) == GoOn((str(C2),), 2)


def test_failing_at_a_new_step_after_a_resume_is_no_failed_start() -> None:
    assert decide(failed(1, 150), failed(2, 170, C1), kept=(C1,)) == GoOn((), 2)


def test_a_command_that_is_not_there_ends_at_once() -> None:
    verdict = decide(failed(1, None, cause="command", message="not found"))
    assert isinstance(verdict, GiveUp)
    assert verdict.message == "the command cannot be run: not found"


def set_up(number: int) -> AttemptView:
    return attempt(number, "setup-failed", cause="image", message="no pull")


def test_a_set_up_that_fails_is_tried_again_three_times_in_a_row() -> None:
    history = [set_up(n) for n in (1, 2, 3)]
    assert decide(*history, retries=0) == GoOn((), 0)
    verdict = decide(*history, set_up(4), retries=0)
    assert isinstance(verdict, GiveUp)
    assert verdict.message == "the set-up failed 4 times in a row, the last time: no pull"
    assert decide(*history, set_up(4), retries=4) == GoOn((), 0)
    assert decide(*history, attempt(4, "lost"), set_up(5)) == GoOn((), 0)


def test_a_set_up_that_fails_is_no_failure_of_the_command() -> None:
    history = [failed(1, 150), set_up(2), set_up(3)]
    assert decide(*history, retries=1) == GoOn((), 1)
    assert decide(*history, failed(4, 250), retries=2) == GoOn((), 2)


def test_no_retries_asked_for() -> None:
    verdict = decide(failed(1, 7), retries=0)
    assert isinstance(verdict, GiveUp)
    assert verdict.message == "failed once, the last time at step 7: boom"


def test_what_a_person_set_aside_stays_aside() -> None:
    decision = Resumed(attempt=3, checkpoint=str(C1), set_aside=(str(C2), str(C3)))
    assert judge((), (C1,), (decision,), 3) == GoOn((str(C2), str(C3)), 0)


ATTEMPTS = st.lists(
    st.tuples(
        st.sampled_from(["yielded", "lost", "failed", "setup-failed", "finished"]),
        st.booleans(),
        st.one_of(st.none(), st.integers(0, 5)),
        st.sampled_from([None, str(C1), "000001-000000000002", "not a checkpoint"]),
    ),
    max_size=12,
)


@given(ATTEMPTS, st.integers(0, 5))
def test_a_job_that_goes_on_never_failed_too_often(
    history: list[tuple[str, bool, int | None, str | None]], retries: int
) -> None:
    views = [
        attempt(n, outcome, notice=notice, step=step, started_from=origin, message="x")
        for n, (outcome, notice, step, origin) in enumerate(history, start=1)
    ]
    verdict = judge(views, [C1], (), retries)
    counted = [one for one in history if one[0] == "failed" and not one[1]]
    kinds = [outcome if not notice else "" for outcome, notice, *_ in history]
    row = len(kinds) - max(
        (n for n, kind in enumerate(kinds, 1) if kind != "setup-failed"), default=0
    )
    if isinstance(verdict, GiveUp):
        assert kinds[-1] == "failed" or row > max(3, retries)
        assert "\n" not in verdict.message
    else:
        assert verdict.failures == len(counted)
        assert row <= max(3, retries)
        newest_failed = bool(kinds) and kinds[-1] == "failed"
        assert not newest_failed or len(counted) <= retries
