"""Single decisions; what holds over whole stories is in ``test_controller_model``."""

from __future__ import annotations

from dataclasses import replace

import pytest

from outlast.manifest import CheckpointId
from outlast_agent.records import (
    AttemptEnd,
    AttemptNotice,
    Beat,
    Claim,
    Held,
    Launch,
    LaunchClosed,
    Result,
)
from outlast_provisioning.actions import Ask, Close, Delete, EndAttempt, Finish, Open
from outlast_provisioning.decide import decide
from outlast_provisioning.job import machine_name
from outlast_provisioning.providers.base import Machine, MachineState, Pool
from outlast_provisioning.world import AttemptView, LaunchView, World
from provisioning.simulated import NAME, job

POOL = Pool("local")
JOB = job()


def launch(number: int, state: MachineState | None = "running", **more: object) -> LaunchView:
    record = Launch(
        job=NAME,
        number=number,
        provider="local",
        pool={"name": POOL.name},
        machine=machine_name(JOB, number),
        nonce="n",
        reason="first",
    )
    machine = None if state is None else Machine(record.machine, NAME, number, state)
    return replace(LaunchView(record, age=60.0, machine=machine, asked=True), **more)  # type: ignore[arg-type]


def attempt(
    number: int, of: int, outcome: str | None = None, *, notice: bool = False, **more: object
) -> AttemptView:
    claim = Claim(attempt=number, launch=of, machine=f"m{of}", boot_id="b", nonce="n")
    told = AttemptNotice(attempt=number, event_id="e", reason="preempt", seconds_left=30)
    end = None
    if outcome is not None:
        end = AttemptEnd(attempt=number, by="daemon", outcome=outcome, **more)  # type: ignore[arg-type]
    return AttemptView(claim, told if notice else None, end)


def beat(of: int, number: int, **more: object) -> Beat:
    base = Beat(
        job=NAME, attempt=number, launch=of, machine="m", boot_id="b", sequence=1, phase="training"
    )
    return base.model_copy(update=more)


def world(*launches: LaunchView, **more: object) -> World:
    return replace(World(JOB, launches=launches, offer=POOL), **more)  # type: ignore[arg-type]


def kinds(world: World) -> list[str]:
    return [type(action).__name__ for action in decide(world)]


def only(world: World, kind: type) -> object:
    (found,) = [action for action in decide(world) if isinstance(action, kind)]
    return found


def test_a_new_job_gets_a_machine() -> None:
    assert decide(world()) == (Open(1, POOL, "first", ()),)


def test_without_a_pool_to_ask_it_waits() -> None:
    assert decide(world(offer=None)) == ()


def test_an_intent_whose_machine_was_never_asked_for() -> None:
    lost_controller = launch(1, None, asked=False)
    assert decide(world(lost_controller)) == (Ask(lost_controller.record),)


def test_training_is_left_alone() -> None:
    assert decide(world(launch(1), attempts=(attempt(1, 1),), beat=beat(1, 1))) == ()


def test_at_a_notice_the_next_machine_is_asked_for_at_once() -> None:
    noticed = world(launch(1), attempts=(attempt(1, 1, notice=True),))
    assert decide(noticed) == (Open(2, POOL, "notice", ()),)
    spare = world(launch(1), launch(2), attempts=(attempt(1, 1, notice=True),))
    assert decide(spare) == ()


def test_the_spare_took_over() -> None:
    views = (attempt(1, 1, "yielded", notice=True), attempt(2, 2))
    close = only(world(launch(1), launch(2), attempts=views), Close)
    assert isinstance(close, Close)
    assert (close.launch.number, close.reason) == (1, "superseded")


def test_a_cancelled_notice_closes_the_spare() -> None:
    views = (attempt(1, 1, "yielded", notice=True), attempt(2, 1))
    close = only(world(launch(1), launch(2), attempts=views), Close)
    assert isinstance(close, Close)
    assert (close.launch.number, close.reason) == (2, "not-needed")


def test_a_lost_machine_is_recorded_closed_and_replaced() -> None:
    gone = world(
        launch(1, None, absent=True),
        attempts=(attempt(1, 1),),
        beat=beat(1, 1, step=77),
        checkpoints=(CheckpointId(1, 50),),
    )
    end, close, open_ = decide(gone)
    assert isinstance(end, EndAttempt)
    assert (end.end.by, end.end.outcome) == ("controller", "lost")
    assert (end.end.step, end.end.durable_step) == (77, 50)
    assert isinstance(close, Close)
    assert close.reason == "lost"
    assert open_ == Open(2, POOL, "lost", ())


def test_a_machine_evicted_while_it_stood_by_is_told_as_evicted() -> None:
    trains, spare = launch(1), launch(2, "gone")
    assert spare.machine is not None
    evicted = replace(spare, machine=replace(spare.machine, detail="evicted"))
    for view, reason in ((evicted, "evicted"), (spare, "vanished")):
        close = only(world(trains, view, attempts=(attempt(1, 1),)), Close)
        assert isinstance(close, Close)
        assert close.reason == reason


def test_an_eviction_whose_notice_the_store_did_not_take_is_told_as_that() -> None:
    gone = launch(1, "gone")
    assert gone.machine is not None
    evicted = replace(gone, machine=replace(gone.machine, detail="evicted"))
    for view, reason, said in (
        (evicted, "evicted", "did not reach the store"),
        (gone, "lost", "no notice is in the store"),
    ):
        found = decide(world(view, attempts=(attempt(1, 1),)))
        (close,) = [each for each in found if isinstance(each, Close)]
        assert close.reason == reason
        assert said in close.text


def test_a_machine_that_is_not_listed_is_not_yet_gone() -> None:
    assert decide(world(launch(1, None), attempts=(attempt(1, 1),))) == ()


def test_a_failed_attempt_gets_another_machine_and_the_old_one_goes() -> None:
    view = attempt(1, 1, "failed", step=5, cause="error", message="boom")
    assert kinds(world(launch(1), attempts=(view,))) == ["Close", "Open"]
    closed = launch(1, closed=LaunchClosed(reason="failed"), closed_age=1.0)
    assert kinds(world(closed, launch(2), attempts=(view,))) == []
    later = replace(closed, closed_age=11.0)
    assert kinds(world(later, launch(2), attempts=(view,))) == ["Delete"]
    stopped = launch(1, "stopped", closed=LaunchClosed(reason="failed"))
    assert kinds(world(stopped, launch(2), attempts=(view,))) == ["Delete"]


def test_a_checkpoint_set_aside_is_told_to_the_next_machine() -> None:
    newest = CheckpointId(1, 50)
    views = tuple(
        attempt(n, n, "failed", step=50, started_from=str(newest), message="x") for n in (2, 3)
    )
    kept = (CheckpointId(1, 20), newest)
    closed = [launch(n, None, closed=LaunchClosed(reason="failed")) for n in (2, 3)]
    state = world(
        launch(1, None, closed=LaunchClosed(reason="lost")),
        *closed,
        attempts=views,
        checkpoints=kept,
    )
    assert decide(state) == (Open(4, POOL, "failed", (str(newest),)),)


def test_a_spare_that_would_start_from_it_is_closed() -> None:
    newest = CheckpointId(1, 50)
    views = tuple(
        attempt(n, n, "failed", step=50, started_from=str(newest), message="x") for n in (2, 3)
    )
    closed = [launch(n, None, closed=LaunchClosed(reason="failed")) for n in (1, 2, 3)]
    state = world(*closed, launch(4), attempts=views, checkpoints=(CheckpointId(1, 2), newest))
    assert kinds(state) == ["Close", "Open"]


def test_a_machine_that_never_claims_is_replaced() -> None:
    assert decide(world(launch(1))) == ()
    (close,) = decide(world(launch(1, age=17 * 60.0)))  # the offer is from before the closing
    assert isinstance(close, Close)
    assert close.reason == "never-claimed"
    shut = launch(1, closed=LaunchClosed(reason="never-claimed"))
    assert decide(world(shut, offer=None)) == ()  # its pool cools down
    assert decide(world(shut)) == (Open(2, POOL, "never-claimed", ()),)


def test_a_spare_may_wait_as_long_as_the_other_trains() -> None:
    state = world(launch(1), launch(2, age=1e5), attempts=(attempt(1, 1, notice=True),))
    assert decide(state) == ()


def test_machines_that_never_begin_end_the_job() -> None:
    never = [launch(n, None, closed=LaunchClosed(reason="never-claimed")) for n in range(1, 5)]
    finish = only(world(*never, beat=beat(4, 0, detail="no such image")), Finish)
    assert isinstance(finish, Finish)
    assert finish.result.message == ("4 machines in a row never began to train: no such image")
    evicted = [launch(n, None, closed=LaunchClosed(reason="vanished")) for n in range(1, 50)]
    assert kinds(world(*evicted)) == ["Open"]


@pytest.mark.parametrize(
    ("age", "median", "stuck"),
    [(599, 0.1, False), (601, 0.1, True), (601, 60, False), (1201, 60, True), (601, None, True)],
)
def test_no_step_for_too_long(age: float, median: float | None, stuck: bool) -> None:
    said = beat(1, 1, step=9, step_age=age, step_seconds=median)
    state = world(launch(1), attempts=(attempt(1, 1),), beat=said)
    closings = [action for action in decide(state) if isinstance(action, Close)]
    assert [close.reason for close in closings] == (["stuck"] if stuck else [])


def test_stuck_counts_as_a_failure_once_the_machine_is_gone() -> None:
    state = world(
        launch(1, None, absent=True, closed=LaunchClosed(reason="stuck")),
        launch(2),
        attempts=(attempt(1, 1),),
        beat=beat(1, 1, step=9),
    )
    end = only(state, EndAttempt)
    assert isinstance(end, EndAttempt)
    assert (end.end.outcome, end.end.cause, end.end.step) == ("failed", "stuck", 9)


def test_a_machine_not_heard_of_is_replaced() -> None:
    state = world(launch(1), attempts=(attempt(1, 1),), beat=beat(1, 1), beat_age=301.0)
    assert kinds(state) == ["Close", "Open"]
    hung = replace(attempt(2, 1), age=301.0)  # right after its claim: the last word is of before
    before = world(launch(1), attempts=(attempt(1, 1, "yielded"), hung), beat=beat(1, 1))
    assert kinds(replace(before, beat_age=301.0)) == ["Close", "Open"]
    assert kinds(replace(before, beat_age=2.0)) == []  # somebody speaks, if not of it
    silent = launch(1, closed=LaunchClosed(reason="silent"))
    assert kinds(world(silent, launch(2), attempts=(attempt(1, 1),))) == ["Delete"]


def test_a_cancel_waits_for_the_save_then_ends_the_job() -> None:
    live = world(launch(1), attempts=(attempt(1, 1),), cancelled=True)
    assert decide(live) == ()
    assert kinds(replace(live, cancel_age=181.0)) == ["Close"]
    over = world(launch(1), attempts=(attempt(1, 1, "cancelled"),), cancelled=True)
    finish = only(over, Finish)
    assert isinstance(finish, Finish)
    assert finish.result.outcome == "cancelled"


def test_a_held_job_costs_nothing_and_waits() -> None:
    held = Held(attempt=1, expected="x", found=None, message="less than was durable")
    state = world(launch(1), attempts=(attempt(1, 1, "failed", cause="held"),), held=held)
    assert kinds(state) == ["Close"]
    assert decide(world(held=held)) == ()


def test_the_daemon_writes_the_result_or_the_controller_does() -> None:
    ended = attempt(1, 1, "finished", step=100)
    assert decide(world(launch(1), attempts=(ended,))) == ()
    for late in (
        world(launch(1, "stopped"), attempts=(ended,)),
        world(launch(1), attempts=(replace(ended, end_age=31.0),)),
    ):
        finish = only(late, Finish)
        assert isinstance(finish, Finish)
        assert (finish.result.outcome, finish.result.step) == ("finished", 100)


def test_when_it_is_over_everything_goes() -> None:
    result = Result(outcome="finished")
    state = world(launch(1), launch(2), result=result)
    assert kinds(state) == ["Close", "Close"]
    shut = LaunchClosed(reason="over")
    state = world(
        launch(1, closed=shut, closed_age=60.0), launch(2, "stopped", closed=shut), result=result
    )
    assert kinds(state) == ["Delete", "Delete"]
    assert decide(world(launch(1, None, closed=shut), result=result)) == ()


def test_a_machine_without_an_intent_is_deleted() -> None:
    orphan = Machine(machine_name(JOB, 7), NAME, 7, "running")
    state = world(launch(1), leftover=(("local", orphan),))
    assert decide(state) == (Delete("local", orphan.name, 7),)


def test_a_request_that_stays_wrong_ends_the_job() -> None:
    finish = only(world(refusal="local: no such size"), Finish)
    assert isinstance(finish, Finish)
    assert finish.result.message == "local: no such size"
