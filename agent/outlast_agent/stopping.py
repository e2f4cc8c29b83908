"""Stopping the program: telling it, pushing it, and for how long to flush. Pure.

A part of :mod:`outlast_agent.machine`, which calls it and draws the whole.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from outlast.notice import Notice
from outlast_agent import budget, claim
from outlast_agent.effects import Acknowledge, Effect, Kill, Publish, Tell, Terminate
from outlast_agent.state import SHUTDOWN, STOP_GRACE, State, Step, Stop


def stop(
    state: State,
    why: Literal["notice", "cancelled", "closed", "lifetime", "withdrawn"],
    text: str,
    deadline: float,
    now: float,
) -> Step:
    """Begin to stop what runs; ``deadline`` is when the machine, or our patience, is gone."""
    assert state.attempt is not None
    notice = state.notice
    if why != "notice":
        if notice is not None:
            deadline = min(deadline, notice.deadline_monotonic)
        notice = own_notice(why, deadline, now)
    assert notice is not None
    plan = budget.schedule(now, deadline, announced=state.announced)
    stopping = replace(state, phase="stopping", stop=Stop(why, text, deadline, plan))
    after, pushed = push(stopping, now)
    return after, (Tell(state.attempt, notice), *publish(state, now), *pushed)


def own_notice(why: str, deadline: float, now: float) -> Notice:
    """What a program reads that is stopped for another reason than the cloud's notice."""
    return Notice(why, "stop", max(0.0, deadline - now), deadline, "")


def hurry(state: State, notice: Notice, now: float) -> Step:
    """Another reason to stop, or less time, while stopping already: the soonest is obeyed."""
    current = state.stop
    assert current is not None
    assert state.attempt is not None
    deadline = notice.deadline_monotonic
    if current.why == "superseded" or deadline >= current.deadline:
        return state, ()
    plan = budget.schedule(now, deadline, announced=state.announced)
    sooner = budget.Schedule(
        min(plan.terminate_at, current.plan.terminate_at), min(plan.kill_at, current.plan.kill_at)
    )
    hurried = replace(state, stop=replace(current, deadline=deadline, plan=sooner))
    after, pushed = push(hurried, now)
    return after, (Tell(state.attempt, notice), *pushed)


def push(state: State, now: float) -> Step:
    """SIGTERM and SIGKILL when their time has come, each once."""
    current = state.stop
    assert current is not None
    effects: list[Effect] = []
    if not current.termed and now >= current.plan.terminate_at:
        current = replace(current, termed=True)
        effects.append(Terminate())
    if not current.killed and now >= current.plan.kill_at:
        current = replace(current, killed=True)
        effects.append(Kill())
    return replace(state, stop=current), tuple(effects)


def publish(state: State, now: float) -> tuple[Effect, ...]:
    """Tell the store of the notice in force, if there is one and an attempt that it ends."""
    if state.notice is None or state.attempt is None:
        return ()
    return (Publish(state.attempt, replace(state.notice, seconds_left=state.notice.left(now))),)


def acknowledge(state: State) -> tuple[State, tuple[Effect, ...]]:
    """Tell the cloud, once, of each notice in force that nothing here needs its time."""
    asked = [one for one in state.notices if one.id not in {SHUTDOWN, *state.acknowledged}]
    told = state.acknowledged.union(one.id for one in asked)
    return replace(state, acknowledged=told), tuple(Acknowledge(one) for one in asked)


def give_up_at(state: State) -> float | None:
    """Until when a flush is tried: past a deadline the machine may live on for a while."""
    deadlines = []
    if state.notice is not None:
        deadlines.append(state.notice.deadline_monotonic + claim.NOTICE_SLACK)
    if state.stop is not None and state.stop.why != "notice":
        deadlines.append(state.stop.deadline + 2 * STOP_GRACE)
    return min(deadlines, default=None)
