"""The life of a machine for one job: (state, event) -> (state, effects). Pure.

::

    preparing ─Ready─▶ standing-by ─Free─▶ claiming ─ClaimWon─▶ restoring ─Restored─▶ starting
       │ Mine              ▲  ▲               │ ClaimLost                                │ Started
       ▼                   │  └───────────────┘                                          ▼
    adopting ─Adopted──────┼──────────────────────────────────────────────────────▶ training
       │ nothing there:    │                                       notice, cancelled,    │
       └─▶ preparing, then │                                       closed, lifetime      ▼
           restoring       │ yielded                                                 stopping
                           │                                                             │ Exited
                           └──────── ending ◀─Flushed── flushing ◀───────────────────────┘
                                        │ finished, failed, cancelled, or nothing to stay for
                                        ▼
                                     leaving ─ PowerOff

From every phase the machine leaves when its launch is closed, the job is over or cancelled, its
attempt is superseded, nobody lets it claim for 15 minutes, or it has lived too long. What it
has in hand is first stopped, flushed and recorded, each within bounds.

Time is CLOCK_MONOTONIC, in seconds, and comes in with the events.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from outlast.notice import Notice
from outlast_agent import budget, claim
from outlast_agent.effects import (
    Abandon,
    Adopt,
    Claim,
    Flush,
    Kill,
    PowerOff,
    Record,
    RecordReboot,
    Restore,
    Say,
    SetUp,
    Start,
)
from outlast_agent.events import (
    Adopted,
    Announced,
    ClaimLost,
    ClaimWon,
    Event,
    Exited,
    Flushed,
    Judged,
    NoticeCame,
    NoticeWent,
    NotReady,
    Ready,
    Recorded,
    Refused,
    Restored,
    SaidEnd,
    Started,
    Tick,
)
from outlast_agent.outcome import Ending
from outlast_agent.state import FREEZE, IDLE_SECONDS, OVERTIME, STOP_GRACE, State, Step, Stop
from outlast_agent.stopping import (
    acknowledge,
    give_up_at,
    hurry,
    own_notice,
    publish,
    push,
    stop,
)


def begin(now: float, *, lifetime_left: float) -> Step:
    """The first state and effects of a daemon."""
    state = State("preparing", lifetime_at=now + lifetime_left, waiting_since=now)
    return state, (SetUp(),)


def step(state: State, event: Event) -> Step:
    """What comes next. Raises ValueError for a pair that cannot be."""
    match state.phase, event:
        case "leaving", _:
            return state, ()  # answers to what was under way when it was decided

        case _, Tick(now) if now >= state.lifetime_at + OVERTIME:
            return _off(state, "it is past its lifetime")

        # Setting up.
        case _, Ready(now):
            return _act(replace(state, ready=True), now)
        case _, NotReady(ending, now):
            return _act(replace(state, ready=True, trouble=ending), now)

        # Who may train.
        case _, Judged(verdict, now):
            return _act(replace(state, verdict=verdict), now)
        case "claiming", ClaimWon(attempt, now):
            return _claimed(replace(state, attempt=attempt), now)
        case "claiming", ClaimLost():
            return replace(state, phase="standing-by", verdict=None), ()

        # Towards training.
        case "adopting", Adopted(True, now):
            return _running(replace(state, ready=True), now)
        case "adopting", Adopted(False, now):
            return _claimed(replace(state, phase="preparing"), now)
        case "restoring", Restored():
            if _must_not_begin(state):
                return _record(state, _cut_short(state))
            assert state.attempt is not None
            return replace(state, phase="starting"), (Start(state.attempt),)
        case (("adopting" | "restoring" | "starting"), Refused(ending)):
            return _record(state, ending)
        case "starting", Started(now):
            return _running(state, now)

        # Training, and its stop.
        case (("training" | "stopping"), Announced()):
            return replace(state, announced=True), ()
        case "stopping", SaidEnd(now):
            assert state.stop is not None
            plan = state.stop.plan
            sooner = replace(plan, kill_at=min(plan.kill_at, now + budget.AFTER_END))
            return replace(state, stop=replace(state.stop, plan=sooner)), ()
        case (("training" | "stopping"), Exited(ending)):
            if state.stop is not None and state.stop.why == "superseded":
                return _record(state, replace(ending, message=state.stop.text))
            until = give_up_at(state)
            return replace(state, phase="flushing", ending=ending), (Flush(until),)
        case "flushing", Flushed():
            assert state.ending is not None
            return _record(state, state.ending)
        case "ending", Recorded(now):
            return _after(state, now)

        # Notices.
        case _, NoticeCame(notice, now):
            return _notice(state, notice, now)
        case _, NoticeWent(id_, now):
            left = tuple(notice for notice in state.notices if notice.id != id_)
            if left == state.notices:
                return state, ()
            published = state.phase in ("adopting", "restoring", "starting")
            gone = replace(state, notices=left, spent=state.spent or published, waiting_since=now)
            return _act(gone, now)

        # Time.
        case "stopping", Tick(now):
            return push(state, now)
        case "training", Tick(now) if now >= state.lifetime_at:
            text = "the machine has reached its longest lifetime"
            return stop(replace(state, leave=text), "lifetime", text, now + STOP_GRACE, now)
        case (("preparing" | "standing-by"), Tick(now)) if now >= state.lifetime_at:
            return _leave(state, "the machine has reached its longest lifetime", now)
        case "preparing", Tick(now, waits=False):
            return replace(state, waiting_since=now), ()  # it gets on, however long that takes
        case "adopting", Tick(now) if now >= state.waiting_since + IDLE_SECONDS:
            # What may still run here cannot be reached, but it goes with the machine.
            return _off(state, "what runs here could not be looked for in 15 minutes")
        case (("preparing" | "standing-by" | "claiming"), Tick(now)) if (
            state.attempt is None and now >= state.waiting_since + IDLE_SECONDS
        ):
            return _off(state, "it could not claim an attempt for 15 minutes")
        case _, Tick():
            return state, ()

        # Late words of a program that is over, in phases where they change nothing.
        case (("flushing" | "ending" | "standing-by" | "claiming"), (Announced() | SaidEnd())):
            return state, ()
        case "training", SaidEnd():
            return state, ()  # it leaves by itself

        case _:
            raise ValueError(f"{type(event).__name__} cannot come while {state.phase}: {event}")


def _act(state: State, now: float) -> Step:
    """Do what the latest verdict and the set-up allow, if the phase is one that waits."""
    if isinstance(state.verdict, claim.Leave):
        return _told_to_leave(state, state.verdict, now)
    match state.phase, state.verdict:
        case (("preparing" | "standing-by"), claim.Mine(attempt, noticed)) if (
            attempt > state.over and state.attempt is None
        ):
            adopting = replace(state, phase="adopting", attempt=attempt, spent=noticed)
            return adopting, (Adopt(attempt),)
        case (("preparing" | "standing-by"), claim.Rebooted(attempt)) if attempt > state.over:
            return replace(state, over=attempt), (RecordReboot(attempt),)
        case "preparing", _ if state.ready and state.attempt is not None:
            return _claimed(state, now)
        case "preparing", _ if state.ready:
            return _act(replace(state, phase="standing-by", waiting_since=now), now)
        case "standing-by", claim.Free(attempt) if attempt > state.over and state.notice is None:
            return replace(state, phase="claiming"), (Claim(attempt),)
        case (("preparing" | "standing-by"), claim.Free() | claim.Wait()) if state.attempt is None:
            # The store was read, and nothing that is this machine's may run: it may be taken.
            return acknowledge(state)
        case _:
            return state, ()


def _claimed(state: State, now: float) -> Step:
    """An attempt is this machine's and nothing of it runs yet."""
    assert state.attempt is not None
    published = publish(state, now)
    if _must_not_begin(state):
        after, effects = _record(state, _cut_short(state))
        return after, published + effects
    if state.trouble is not None:
        return _record(state, state.trouble)
    if not state.ready:
        return replace(state, phase="preparing"), ()
    return replace(state, phase="restoring"), (Restore(state.attempt),)


def _running(state: State, now: float) -> Step:
    """The command runs: act on what came in while it was being started or adopted."""
    running = replace(state, phase="training")
    if isinstance(running.verdict, claim.Leave):
        return _told_to_leave(running, running.verdict, now)
    return _heed(running, now)


def _told_to_leave(state: State, verdict: claim.Leave, now: float) -> Step:
    told_before = state.leave is not None
    state = replace(state, leave=state.leave or verdict.reason)
    match state.phase:
        case "flushing" if not told_before:
            return state, (Flush(now + 2 * STOP_GRACE),)
        case "training" | "stopping":
            if state.stop is not None and state.stop.why in ("superseded", verdict.why):
                return state, ()
            if verdict.why == "superseded":
                plan = budget.Schedule(now, now)
                over = Stop("superseded", verdict.reason, now, plan, termed=True, killed=True)
                return replace(state, phase="stopping", stop=over), (Kill(),)
            why: Literal["cancelled", "closed"] = (
                "cancelled" if verdict.why == "cancelled" else "closed"
            )
            if state.stop is None:
                return stop(state, why, verdict.reason, now + STOP_GRACE, now)
            if told_before:
                return state, ()
            state = replace(state, stop=replace(state.stop, why=why, text=verdict.reason))
            return hurry(state, own_notice(why, now + STOP_GRACE, now), now)
        case "preparing" | "standing-by":
            return _leave(state, verdict.reason, now)
        case "restoring" if not told_before:
            return state, (Abandon(),)
        case _:
            return state, ()  # something is under way: its answer comes, then the machine goes


def _leave(state: State, reason: str, now: float) -> Step:
    """Go from a phase in which nothing runs and nothing is under way."""
    state = replace(state, leave=reason)
    if state.attempt is None:
        return _off(state, reason)
    return _claimed(state, now)


def _off(state: State, reason: str) -> Step:
    return replace(state, phase="leaving", leave=reason), (PowerOff(reason),)


def _notice(state: State, notice: Notice, now: float) -> Step:
    if notice.reason == FREEZE:
        return state, (Say("freeze", "the machine will be paused for some seconds; it goes on"),)
    known = any(one.id == notice.id for one in state.notices)
    others = (one for one in state.notices if one.id != notice.id)
    soonest = sorted((notice, *others), key=lambda one: one.deadline_monotonic)
    state = replace(state, notices=tuple(soonest))
    told = () if known or state.notice is not notice else publish(state, now)
    match state.phase:
        case "training":
            return _heed(state, now)
        case "stopping":
            after, effects = hurry(state, notice, now)
            return after, (*effects, *told)
        case "flushing":
            return state, (*told, Flush(give_up_at(state)))
        case "preparing" if state.attempt is not None:
            return _claimed(state, now)
        case "preparing" | "standing-by":
            # Nothing to save. The store may not have been read yet: then it runs out by itself.
            left = f"{notice.left(now):.0f} s left, and nothing trains here"
            say = () if known else (Say("notice", f"notice: {notice.reason}, {left}"),)
            after, effects = _act(state, now)
            return after, (*say, *effects)
        case "restoring":
            return state, () if known else (*told, Abandon())
        case _:
            # Claiming, starting, adopting, ending: their answer comes in a moment, then it counts.
            return state, told


def _heed(state: State, now: float) -> Step:
    """Stop training if a notice is in force, or was when it could not be obeyed."""
    if state.notice is None and state.spent:
        text = "its notice was taken back, but is in the store: the next attempt goes on"
        return stop(state, "withdrawn", text, now + STOP_GRACE, now)
    if state.notice is None:
        return state, ()
    return stop(state, "notice", state.notice.reason, state.notice.deadline_monotonic, now)


def _must_not_begin(state: State) -> bool:
    return state.leave is not None or state.notice is not None or state.spent


def _cut_short(state: State) -> Ending:
    return Ending("yielded", message=f"not begun: {state.leave or 'the machine has notice'}")


def _record(state: State, ending: Ending) -> Step:
    assert state.attempt is not None
    effect = Record(state.attempt, ending)
    return replace(state, phase="ending", ending=ending), (effect,)


def _after(state: State, now: float) -> Step:
    """The end is in the store: let the cloud have the machine, go, or stand by."""
    assert state.attempt is not None
    assert state.ending is not None
    ended = state.ending.outcome
    state = replace(state, over=max(state.over, state.attempt), attempt=None, stop=None)
    state, acknowledged = acknowledge(state)
    if state.leave is None and ended == "yielded":
        standing = replace(
            state, phase="standing-by", waiting_since=now, verdict=None,
            announced=False, ending=None, spent=False,
        )  # fmt: skip
        return standing, acknowledged
    off, effects = _off(state, state.leave or f"the attempt {ended}")
    return off, (*acknowledged, *effects)
