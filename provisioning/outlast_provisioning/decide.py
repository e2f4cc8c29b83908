"""What a controller does next about one job: world -> actions. Pure, no clock, no I/O.

One rule holds it together: *a job that is not over has exactly one launch that can be counted
on*. A launch cannot be counted on once its machine has notice, is dead, or failed; then another
is opened. Two that can be counted on (a notice was cancelled) are one too many.

Every action may be repeated, done by two controllers at once, or cut off after any of them:
records are created once, machines are asked for and deleted by name, and the next look at the
world begins from what is there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from outlast_agent.records import AttemptEnd, Result
from outlast_provisioning.actions import Action, Ask, Close, Delete, EndAttempt, Finish, Open
from outlast_provisioning.failures import GiveUp, judge
from outlast_provisioning.placement import REFUSALS
from outlast_provisioning.providers.base import EVICTED
from outlast_provisioning.units import for_people
from outlast_provisioning.world import AttemptView, LaunchView, World


@dataclass(frozen=True)
class Policy:
    """How long is waited for what. Seconds."""

    unclaimed: float = 16 * 60.0
    """A machine that claims nothing ends itself after 15 minutes; then it is replaced."""
    silent: float = 300.0
    """A heartbeat that does not change: the machine is not of this world any more."""
    stuck: float = 600.0
    """At least this long without a step..."""
    stuck_medians: float = 20.0
    """...and this many median steps."""
    courtesy: float = 10.0
    """From closing a launch to deleting its machine, for the last lines of its log."""
    cancel: float = 180.0
    """From a cancel to closing a launch that does not obey."""
    finished: float = 30.0
    """From the end of the last attempt to a result that its daemon did not write."""


_LEAVING = ("failed", "setup-failed", "cancelled", "finished")


def decide(world: World, policy: Policy | None = None) -> tuple[Action, ...]:
    """What to do now, in this order."""
    policy = policy or Policy()
    actions: list[Action] = [*_lost(world)]
    if world.result is not None:
        actions += _close_all(world, "over", "the job is over")
    else:
        actions += _towards_result(world, policy)
    actions += _removals(world, policy)
    return tuple(actions)


def finished_with(world: World) -> bool:
    """Whether nothing is left to do or to watch: the job is over and costs nothing."""
    return (
        world.result is not None
        and not world.leftover
        and all(launch.closed and launch.machine is None for launch in world.launches)
    )


def _towards_result(world: World, policy: Policy) -> list[Action]:
    if world.cancelled:
        return _cancel(world, policy)
    done = [view for view in world.attempts if view.end and view.end.outcome == "finished"]
    if done:
        return _finish_for(world, done[-1], policy)
    verdict = judge(
        world.attempts, world.checkpoints, world.resumed, world.job.file.retries.failures
    )
    if isinstance(verdict, GiveUp):
        result = _result(world, "failed", verdict.message, verdict.attempt, verdict.step)
        return [Finish(result.model_copy(update={"log_tail": verdict.log_tail}))]
    if world.refusal is not None and not _anything_left(world):
        return [Finish(_result(world, "failed", world.refusal))]
    if world.held is not None:
        return _close_all(world, "held", f"the job is held: {world.held.message}")
    idle = _never_began(world)
    if idle > max(1, world.job.file.retries.failures):
        detail = f": {world.beat.detail}" if world.beat and world.beat.detail else ""
        told = f"{idle} machines in a row never began to train{detail}"
        return [Finish(_result(world, "failed", told))]
    return _keep_one(world, policy, verdict.set_aside)


def _keep_one(world: World, policy: Policy, aside: tuple[str, ...]) -> list[Action]:
    actions: list[Action] = []
    standing: list[LaunchView] = []
    for launch in world.launches:
        if launch.closed is None:
            closing = _doom(world, launch, policy, aside)
            if closing is None:
                standing.append(launch)
            else:
                actions.append(closing)
    counted_on = [launch for launch in standing if not _has_notice(world, launch)]
    if len(counted_on) > 1:
        kept = _holder(world, counted_on)
        for launch in counted_on:
            if launch is not kept and not world.attempts_of(launch.number):
                told = f"the machine of launch {kept.number} goes on: no other is needed"
                actions.append(Close(launch.record, "not-needed", told))
                standing.remove(launch)
    actions += [
        Ask(launch.record)
        for launch in standing
        if launch.machine is None and not launch.asked and not world.attempts_of(launch.number)
    ]
    closings = [action for action in actions if isinstance(action, Close)]
    # The offer is from before the closing, which lets its pool cool down: the next look, which
    # comes at once, has one that knows of it.
    refused = any(closing.reason in REFUSALS for closing in closings)
    if not counted_on and world.offer is not None and not refused:
        number = world.launches[-1].number + 1 if world.launches else 1
        reason = _reason(world, closings)
        actions.append(Open(number, world.offer, reason, aside))
    return actions


def _doom(world: World, launch: LaunchView, policy: Policy, aside: tuple[str, ...]) -> Close | None:
    """Why this launch must be closed, or None."""
    mine = world.attempts_of(launch.number)
    last = mine[-1] if mine else None
    where = f"machine {launch.record.machine}"
    if last is not None and last.end is not None and last.end.outcome in _LEAVING:
        why = last.end.message or last.end.cause or last.end.outcome
        told = f"attempt {last.number} {last.end.outcome.replace('-', ' ')}: {why}"
        level: Literal["info", "warning"] = "info" if last.end.outcome == "finished" else "warning"
        # A set-up that failed says something of the pool, or of what it could not reach there.
        reason = "setup-failed" if last.end.outcome == "setup-failed" else "failed"
        return Close(launch.record, reason, told, level)
    if launch.dead:
        return _dead(launch, last, where)
    if last is not None and world.attempts[-1].number > last.number:
        told = f"attempt {world.attempts[-1].number} has taken over from {where}"
        return Close(launch.record, "superseded", told)
    if last is None:
        if not set(aside) <= set(launch.record.set_aside):
            return Close(launch.record, "set-aside", f"{where} would start from a bad checkpoint")
        if launch.machine is not None and launch.age > policy.unclaimed and not _live(world):
            told = f"{where} did not begin to train in {for_people(launch.age)}: it is replaced"
            return Close(launch.record, "never-claimed", told, "warning")
        return None
    if last.end is None:
        return _stalled(world, launch, last, policy, where)
    return None


def _dead(launch: LaunchView, last: AttemptView | None, where: str) -> Close:
    if last is None and launch.machine is not None and launch.machine.detail == EVICTED:
        return Close(launch.record, "evicted", f"{where} was evicted before it began to train")
    if last is None and launch.gone:
        return Close(launch.record, "vanished", f"{where} went before it began", "warning")
    if last is None:
        told = f"{where} ended itself before it began to train"
        return Close(launch.record, "never-claimed", told, "warning")
    if last.notice is not None:
        return Close(launch.record, "evicted", f"{where} was evicted, as its notice said")
    if launch.machine is not None and launch.machine.detail == EVICTED:
        # The daemon had the notice, or might have had it, but could not write it down.
        told = f"{where} was evicted; its notice, and what it did last, did not reach the store"
        return Close(launch.record, "evicted", told, "warning")
    return Close(launch.record, "lost", f"{where} is gone; no notice is in the store", "warning")


def _stalled(
    world: World, launch: LaunchView, last: AttemptView, policy: Policy, where: str
) -> Close | None:
    beat = world.beat
    if beat is None:
        return None
    of_it = beat.attempt == last.number
    # One that hangs right after its claim never says a word of it: the word before gets old.
    silent = world.beat_age if of_it else min(world.beat_age, last.age)
    if silent > policy.silent:
        told = f"{where} has not been heard of for {for_people(silent)}: it is replaced"
        return Close(launch.record, "silent", told, "warning")
    if not of_it:
        return None
    limit = max(policy.stuck, policy.stuck_medians * (beat.step_seconds or 0.0))
    if beat.phase == "training" and beat.step_age is not None and beat.step_age > limit:
        told = f"no step for {for_people(beat.step_age)} after step {beat.step}: started again"
        return Close(launch.record, "stuck", told, "warning")
    return None


def _has_notice(world: World, launch: LaunchView) -> bool:
    mine = world.attempts_of(launch.number)
    return bool(mine) and mine[-1].notice is not None


def _holder(world: World, launches: list[LaunchView]) -> LaunchView:
    newest = world.attempts[-1].claim.launch if world.attempts else None
    for launch in launches:
        if launch.number == newest:
            return launch
    return launches[0]


def _reason(world: World, closings: list[Close]) -> str:
    """Why another machine is needed, as a word of ``Launch.reason``."""
    if not world.launches:
        return "first"
    if closings:
        return closings[-1].reason
    newest = world.launches[-1]
    return "notice" if newest.closed is None else newest.closed.reason


def _live(world: World) -> list[AttemptView]:
    """Attempts that may still train."""
    dead = {launch.number for launch in world.launches if launch.dead}
    return [one for one in world.attempts if one.end is None and one.claim.launch not in dead]


def _anything_left(world: World) -> bool:
    """Whether some machine trains, or may yet."""
    return bool(_live(world)) or any(
        launch.closed is None and not launch.dead for launch in world.launches
    )


def _never_began(world: World) -> int:
    """How many of the latest launches ended without one attempt, by their own doing."""
    count = 0
    for launch in reversed(world.launches):
        if launch.closed is None:
            continue
        if world.attempts_of(launch.number) or launch.closed.reason != "never-claimed":
            break
        count += 1
    return count


def _lost(world: World) -> Iterator[EndAttempt]:
    """Attempts that nobody will end any more."""
    launches = {launch.number: launch for launch in world.launches}
    for view in world.attempts:
        launch = launches.get(view.claim.launch)
        if view.end is not None or launch is None or not launch.dead:
            continue
        beat = world.beat if world.beat and world.beat.attempt == view.number else None
        durable = [one.step for one in world.checkpoints if one.attempt == view.number]
        stuck = launch.closed is not None and launch.closed.reason == "stuck"
        text = (
            f"attempt {view.number} was stopped: no step was made for too long"
            if stuck
            else f"attempt {view.number} is over: machine {view.claim.machine} is gone"
        )
        yield EndAttempt(
            AttemptEnd(
                attempt=view.number,
                by="controller",
                outcome="failed" if stuck else "lost",
                step=beat.step if beat else None,
                durable_step=max(durable, default=None),
                given_seconds=_given(world, view),
                cause="stuck" if stuck else None,
                message=text,
            ),
            launch.number,
            text,
        )


def _given(world: World, view: AttemptView) -> float | None:
    """How long its machine lived after the notice; None: there was none, or it was not seen."""
    if view.notice is None or world.beat is None or world.beat.attempt != view.number:
        return None
    if view.age <= view.notice_age:  # it was there before this controller: since when is unknown
        return None
    lived = view.notice_age - world.beat_age
    return lived if lived > 0 else None  # a controller that has just begun saw neither happen


def _cancel(world: World, policy: Policy) -> list[Action]:
    if not _live(world):
        return [Finish(_result(world, "cancelled", ""))]
    if world.cancel_age > policy.cancel:
        return _close_all(world, "cancelled", "the job was cancelled and did not stop by itself")
    return [
        Close(launch.record, "cancelled", "the job was cancelled")
        for launch in world.launches
        if launch.closed is None and not world.attempts_of(launch.number)
    ]


def _finish_for(world: World, view: AttemptView, policy: Policy) -> list[Action]:
    """The daemon writes the result itself; if it could not, its end is enough."""
    launches = {launch.number: launch for launch in world.launches}
    launch = launches.get(view.claim.launch)
    if view.end_age <= policy.finished and not (launch is not None and launch.dead):
        return []
    assert view.end is not None
    return [Finish(_result(world, "finished", "", view.number, view.end.step))]


def _result(
    world: World,
    outcome: Literal["finished", "failed", "cancelled"],
    message: str,
    attempt: int | None = None,
    step: int | None = None,
) -> Result:
    newest = world.checkpoints[-1] if world.checkpoints else None
    if attempt is None and world.attempts:
        attempt = world.attempts[-1].number
    if step is None and newest is not None:
        step = newest.step
    return Result(
        outcome=outcome,
        attempt=attempt,
        step=step,
        message=message,
        checkpoint=None if newest is None else str(newest),
    )


def _close_all(world: World, reason: str, text: str) -> list[Action]:
    return [
        Close(launch.record, reason, text) for launch in world.launches if launch.closed is None
    ]


def _removals(world: World, policy: Policy) -> Iterator[Delete]:
    for launch in world.launches:
        if launch.closed is None or launch.machine is None:
            continue
        if launch.dead or launch.closed_age > policy.courtesy or launch.closed.reason == "silent":
            yield Delete(launch.record.provider, launch.record.machine, launch.number)
    for provider, machine in world.leftover:
        yield Delete(provider, machine.name, machine.launch)
