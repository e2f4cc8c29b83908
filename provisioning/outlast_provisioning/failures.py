"""The failure table: what follows an attempt that failed. Pure.

==========================================================  ======================================
what happened                                               what follows
==========================================================  ======================================
evicted, lost, stopped after a save, set-up cut short       go on; never counts
the command cannot be run                                   the job ends
failed twice at the same step                               the job ends
two failed starts from one checkpoint, an older is there    it is set aside, the older is used
two failed starts from one checkpoint, no older is there    the job ends
more failures than ``retries.failures``                     the job ends
any other failure                                           tried again
a set-up that failed                                        tried again: no failure of the command
more than 3 (or ``retries.failures``) set-ups in a row      the job ends
==========================================================  ======================================

A *failed start* made no step beyond the checkpoint that it started from. What ends a job is
judged only while the failure is the newest attempt: once another was started, it was decided.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from outlast.manifest import CheckpointId, ManifestError
from outlast_agent.records import Resumed
from outlast_provisioning.world import AttemptView

SET_UP_RETRIES = 3
"""At least so many set-ups in a row are tried again: what they could not reach may come back."""


@dataclass(frozen=True)
class Failure:
    """An attempt that failed, or whose set-up did."""

    attempt: int
    step: int
    """The last step done, or the one it started from."""
    started_from: str | None
    started_step: int
    cause: str
    message: str
    log_tail: tuple[str, ...]
    set_up: bool
    """It failed before the command ran."""

    @property
    def at_start(self) -> bool:
        """Whether it made no step beyond the checkpoint that it started from."""
        return self.started_from is not None and self.step <= self.started_step


@dataclass(frozen=True)
class GoOn:
    """The job goes on."""

    set_aside: tuple[str, ...]
    """Checkpoints not to start from."""
    failures: int
    """How many counted so far."""


@dataclass(frozen=True)
class GiveUp:
    """The job ends."""

    attempt: int
    step: int
    message: str
    log_tail: tuple[str, ...]


def failure_of(view: AttemptView) -> Failure | None:
    """The failure of an attempt's command, or None if it did not fail or does not count."""
    found = _fault_of(view)
    return None if found is None or found.set_up else found


def _fault_of(view: AttemptView) -> Failure | None:
    end = view.end
    if end is None or end.outcome not in ("failed", "setup-failed"):
        return None
    if view.notice is not None or end.cause == "held":
        return None
    started = _step_of(end.started_from)
    return Failure(
        attempt=view.number,
        step=max(end.step or 0, started),
        started_from=end.started_from,
        started_step=started,
        cause=end.cause or "error",
        message=end.message or "it did not say why",
        log_tail=end.log_tail,
        set_up=end.outcome == "setup-failed",
    )


def judge(
    attempts: Sequence[AttemptView],
    checkpoints: Sequence[CheckpointId],
    resumed: Sequence[Resumed],
    retries: int,
) -> GoOn | GiveUp:
    """Whether the job goes on, and without which checkpoints."""
    faults = [fault for fault in map(_fault_of, attempts) if fault is not None]
    failures = [one for one in faults if not one.set_up]
    starts = Counter(one.started_from for one in failures if one.at_start)
    aside = {name for name, count in starts.items() if name is not None and count >= 2}
    aside |= {name for decision in resumed for name in decision.set_aside}
    if faults and faults[-1].attempt == attempts[-1].number:
        last = faults[-1]
        if last.cause == "command":
            why: str | None = "the command cannot be run"
        elif last.set_up:
            why = _too_many_set_ups(attempts, max(SET_UP_RETRIES, retries))
        else:
            usable = [one for one in checkpoints if str(one) not in aside]
            why = _reason_to_end(failures, usable, retries)
        if why is not None:
            return GiveUp(last.attempt, last.step, f"{why}: {last.message}", last.log_tail)
    return GoOn(tuple(sorted(aside)), len(failures))


def _too_many_set_ups(attempts: Sequence[AttemptView], retries: int) -> str | None:
    row = 0
    for fault in map(_fault_of, reversed(attempts)):
        if fault is None or not fault.set_up:
            break
        row += 1
    return f"the set-up failed {row} times in a row, the last time" if row > retries else None


def _reason_to_end(
    found: Sequence[Failure], usable: Sequence[CheckpointId], retries: int
) -> str | None:
    last, earlier = found[-1], found[:-1]
    if not last.at_start:
        if any(one.step == last.step and not one.at_start for one in earlier):
            return f"failed twice {_where(last.step)}"
    else:
        same = [f for f in earlier if f.started_from == last.started_from and f.at_start]
        older = [c for c in usable if str(c) < str(last.started_from)]
        if same and not older:
            return f"failed to start twice from its only checkpoint, step {last.started_step}"
    if len(found) > retries:
        times = "once" if len(found) == 1 else f"{len(found)} times"
        return f"failed {times}, the last time {_where(last.step)}"
    return None


def _where(step: int) -> str:
    return f"at step {step}" if step else "before its first step"


def _step_of(checkpoint: str | None) -> int:
    if checkpoint is None:
        return 0
    try:
        return CheckpointId.parse(checkpoint).step
    except ManifestError:
        return 0
