"""The failure table: what follows an attempt that failed. Pure.

==========================================================  ===================================
what happened                                               what follows
==========================================================  ===================================
evicted, lost, stopped after a save, set-up cut short       go on; never counts
the command cannot be run                                   the job ends
failed twice at the same step                               the job ends
two failed starts from one checkpoint, an older is there    it is set aside, the older is used
two failed starts from one checkpoint, no older is there    the job ends
more failures than ``retries.failures``                     the job ends
any other failure                                           tried again
==========================================================  ===================================

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


@dataclass(frozen=True)
class Failure:
    """An attempt that counts as failed."""

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
    """The failure of an attempt, or None if it did not fail or does not count."""
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
    found = [failure for failure in map(failure_of, attempts) if failure is not None]
    starts = Counter(one.started_from for one in found if one.at_start and not one.set_up)
    aside = {name for name, count in starts.items() if name is not None and count >= 2}
    aside |= {name for decision in resumed for name in decision.set_aside}
    if found and found[-1].attempt == attempts[-1].number:
        why = _reason_to_end(found, [c for c in checkpoints if str(c) not in aside], retries)
        if why is not None:
            last = found[-1]
            return GiveUp(last.attempt, last.step, f"{why}: {last.message}", last.log_tail)
    return GoOn(tuple(sorted(aside)), len(found))


def _reason_to_end(
    found: Sequence[Failure], usable: Sequence[CheckpointId], retries: int
) -> str | None:
    last, earlier = found[-1], found[:-1]
    if last.cause == "command":
        return "the command cannot be run"
    if not last.set_up and not last.at_start:
        same = [f for f in earlier if f.step == last.step and not f.set_up and not f.at_start]
        if same:
            return f"failed twice {_where(last.step)}"
    if not last.set_up and last.at_start:
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
