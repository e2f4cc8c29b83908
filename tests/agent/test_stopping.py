"""Notices, and the stop of what runs: which deadline is obeyed, who is told what, and when."""

from __future__ import annotations

from agent.machine_kit import TRAINING, notice, run
from outlast_agent import claim, effects, events, machine
from outlast_agent.outcome import Ending


def test_a_program_with_the_library_is_pushed_at_the_end_only():
    came = events.NoticeCame(notice(100.0), 100.0)
    state, done = run(*TRAINING, events.Announced(), came, events.Tick(126.0))
    assert not any(isinstance(effect, effects.Terminate) for effect in done)
    state, todo = machine.step(state, events.Tick(127.1))
    assert todo == (effects.Terminate(),)
    state, todo = machine.step(state, events.Tick(128.1))
    assert todo == (effects.Kill(),)
    assert machine.step(state, events.Tick(129.0))[1] == ()


def test_any_other_program_gets_sigterm_at_once():
    _, done = run(*TRAINING, events.NoticeCame(notice(100.0), 100.0))
    assert [type(effect).__name__ for effect in done[-3:]] == ["Tell", "Publish", "Terminate"]


def test_a_program_that_said_its_end_gets_five_seconds():
    came = events.NoticeCame(notice(100.0), 100.0)
    state, _ = run(*TRAINING, events.Announced(), came, events.SaidEnd(102.0), events.Tick(106.9))
    # Said again on every look: the first counts.
    state, _ = machine.step(state, events.SaidEnd(106.9))
    assert machine.step(state, events.Tick(107.1))[1] == (effects.Kill(),)


def test_acknowledged_only_after_the_end_is_recorded():
    came = events.NoticeCame(notice(100.0), 100.0)
    _, done = run(
        *TRAINING, came, events.Exited(Ending("yielded")), events.Flushed(), events.Recorded(104.0)
    )
    names = [type(effect).__name__ for effect in done]
    assert names.index("Acknowledge") > names.index("Record") > names.index("Flush")
    assert names.count("Acknowledge") == 1
    assert "PowerOff" not in names


def test_a_shorter_notice_hurries():
    state, _ = run(*TRAINING, events.Announced(), events.NoticeCame(notice(100.0, 30), 100.0))
    state, todo = machine.step(state, events.NoticeCame(notice(101.0, 4), 101.0))
    assert isinstance(todo[0], effects.Tell)
    assert machine.step(state, events.Tick(103.9))[1] == (effects.Terminate(), effects.Kill())


def test_a_freeze_stops_nothing():
    state, done = run(*TRAINING, events.NoticeCame(notice(100.0, 900, "freeze"), 100.0))
    assert state.phase == "training"
    assert isinstance(done[-1], effects.Say)


def test_a_notice_before_the_store_was_read_is_not_acknowledged():
    came = events.NoticeCame(notice(1.0), 1.0)
    state, done = run(came, events.Ready(2.0), events.Judged(claim.Mine(1), 3.0))
    assert not any(isinstance(effect, effects.Acknowledge) for effect in done)
    _, todo = machine.step(state, events.Adopted(True, 4.0))
    assert [type(effect).__name__ for effect in todo] == ["Tell", "Publish", "Terminate"]


def test_a_notice_taken_back_before_it_was_obeyed_ends_the_attempt_all_the_same():
    back = (events.NoticeCame(notice(1.0), 1.0), events.NoticeWent("n1", 2.0))
    # Restoring was broken off: a start would be one from nothing.
    state, done = run(*TRAINING[:3], *back, events.Restored())
    assert isinstance(done[-1], effects.Record)
    state, todo = machine.step(state, events.Recorded(3.0))
    assert (state.phase, state.spent, todo) == ("standing-by", False, ())
    # While it was being started the notice went into the store, where others read it.
    state, done = run(*TRAINING[:4], *back, events.Started(3.0))
    assert state.phase == "stopping"
    state, done = run(events.Judged(claim.Mine(1), 0.0), *back, events.Adopted(True, 3.0))
    assert state.phase == "stopping"
    # An earlier daemon had put it there; this one never saw it.
    state, done = run(events.Judged(claim.Mine(1, noticed=True), 0.0), events.Adopted(True, 3.0))
    assert state.phase == "stopping"


def told(todo) -> list[float]:
    """The deadlines that the program reads of, one after the other."""
    return [one.notice.deadline_monotonic for one in todo if isinstance(one, effects.Tell)]


def test_of_two_notices_the_soonest_is_obeyed_in_either_order():
    far, near = notice(100.0, 900, "reboot", "far"), notice(101.0, 30, "preempt", "near")
    for first, second in ((far, near), (near, far)):
        came = (events.NoticeCame(first, 101.0), events.NoticeCame(second, 101.0))
        state, done = run(*TRAINING, events.Announced(), *came)
        assert told(done)[-1] == 131.0
        assert state.stop.deadline == 131.0
        assert state.notice == near
        state, todo = machine.step(state, events.Tick(129.1))
        assert todo == (effects.Terminate(), effects.Kill())


def test_the_notice_that_is_left_stays_in_force():
    came = (
        events.NoticeCame(notice(100.0, 900, "reboot", "far"), 100.0),
        events.NoticeCame(notice(100.0, 30, "preempt", "near"), 100.0),
    )
    ended = (events.Exited(Ending("yielded")), events.Flushed(), events.Recorded(104.0))
    for gone, left in (("near", "far"), ("far", "near")):
        state, done = run(*TRAINING, *came, events.NoticeWent(gone, 101.0), *ended)
        assert state.notice.id == left
        assert effects.Acknowledge(state.notice) in done
        state, todo = machine.step(state, events.Judged(claim.Free(2), 105.0))
        assert todo == ()  # the machine is still to be taken away
        assert machine.step(state, events.NoticeWent(left, 106.0))[1] == (effects.Claim(2),)


CANCELLED = claim.Leave("cancelled", "the job was cancelled")


def test_a_cancel_and_a_notice_together_leave_the_shorter_time():
    # A cancel gives 20 s: a notice of 90 s does not lengthen that, one of 5 s shortens it.
    cancelled = (*TRAINING, events.Announced(), events.Judged(CANCELLED, 100.0))
    for seconds, deadline in ((90, 120.0), (5, 106.0)):
        came = notice(101.0, seconds)
        state, done = run(*cancelled, events.NoticeCame(came, 101.0))
        assert told(done)[-1] == deadline
        assert state.stop.deadline == deadline
        assert state.stop.why == "cancelled"
        assert effects.Publish(1, came) in done
    # And the other way round; the attempt's end says that it was cancelled.
    for seconds, deadline in ((900, 121.0), (5, 105.0)):
        came = events.NoticeCame(notice(100.0, seconds), 100.0)
        state, done = run(*TRAINING, events.Announced(), came, events.Judged(CANCELLED, 101.0))
        assert told(done)[-1] == deadline
        assert state.stop.why == "cancelled"
        # Said again on every look at the store: the first counts.
        again, todo = machine.step(state, events.Judged(CANCELLED, 102.0))
        assert (again.stop, todo) == (state.stop, ())


def test_less_time_does_not_give_more_to_a_program_that_said_its_end():
    came = events.NoticeCame(notice(100.0, 900), 100.0)
    state, _ = run(*TRAINING, events.Announced(), came, events.SaidEnd(102.0))
    state, _ = machine.step(state, events.NoticeCame(notice(103.0, 60, id_="n2"), 103.0))
    assert machine.step(state, events.Tick(107.1))[1][-1] == effects.Kill()


def test_a_machine_that_stands_by_acknowledges_at_once():
    came = notice(10.0)
    for verdict in (claim.Wait("another trains"), claim.Free(1)):
        # Whichever is known first; also before everything was brought here.
        for sequence in (
            (events.Judged(verdict, 1.0), events.NoticeCame(came, 10.0)),
            (events.NoticeCame(came, 10.0), events.Judged(verdict, 11.0)),
            (events.NoticeCame(came, 10.0), events.Ready(11.0), events.Judged(verdict, 12.0)),
        ):
            _, done = run(*sequence, events.Judged(verdict, 13.0))
            assert [one for one in done if isinstance(one, effects.Acknowledge)] == [
                effects.Acknowledge(came)
            ]
            assert any(isinstance(one, effects.Say) and one.kind == "notice" for one in done)
    standing = (events.Ready(0.0), events.Judged(claim.Wait("another trains"), 1.0))
    _, done = run(*standing, events.NoticeCame(came, 10.0))
    assert done[-1] == effects.Acknowledge(came)


def test_the_shutdown_of_the_machine_itself_is_not_acknowledged_to_the_cloud():
    came = events.NoticeCame(notice(100.0, 60, "terminate", "shutdown"), 100.0)
    ended = (events.Exited(Ending("yielded")), events.Flushed(), events.Recorded(104.0))
    _, done = run(*TRAINING, came, *ended)
    assert not any(isinstance(one, effects.Acknowledge) for one in done)
