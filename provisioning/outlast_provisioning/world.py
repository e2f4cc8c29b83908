"""What a controller sees of one job: values, taken at one moment. Deciding is ``decide``'s work.

Ages are seconds on this controller's monotonic clock since *it* first saw a thing: stamps of
other machines are never used, and a controller that just started sees everything as new, which
only makes it wait longer.
"""

from __future__ import annotations

from dataclasses import dataclass

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
    Resumed,
)
from outlast_provisioning.job import Job
from outlast_provisioning.providers.base import Machine, Pool


@dataclass(frozen=True)
class LaunchView:
    """A launch and its machine."""

    record: Launch
    age: float
    closed: LaunchClosed | None = None
    closed_age: float = 0.0
    machine: Machine | None = None
    """As its provider listed it; None: not in the listing."""
    absent: bool = False
    """The machine was made, and a later listing of its provider does not have it."""
    asked: bool = False
    """This controller asked for the machine and got it."""

    @property
    def number(self) -> int:
        """The launch's number."""
        return self.record.number

    @property
    def gone(self) -> bool:
        """The provider confirms that nothing runs under this launch any more."""
        return self.absent or (self.machine is not None and self.machine.state == "gone")

    @property
    def dead(self) -> bool:
        """Gone, or stopped: nothing runs, though something may still cost money."""
        return self.gone or (self.machine is not None and self.machine.state == "stopped")


@dataclass(frozen=True)
class AttemptView:
    """An attempt."""

    claim: Claim
    notice: AttemptNotice | None = None
    end: AttemptEnd | None = None
    end_age: float = 0.0
    notice_age: float = 0.0
    age: float = 0.0
    """Since this controller first saw the claim."""

    @property
    def number(self) -> int:
        """The attempt's number."""
        return self.claim.attempt


@dataclass(frozen=True)
class World:
    """One job."""

    job: Job
    launches: tuple[LaunchView, ...] = ()
    """By number."""
    attempts: tuple[AttemptView, ...] = ()
    """By number."""
    checkpoints: tuple[CheckpointId, ...] = ()
    """Whole ones in the store, oldest first."""
    result: Result | None = None
    cancelled: bool = False
    cancel_age: float = 0.0
    held: Held | None = None
    resumed: tuple[Resumed, ...] = ()
    """What persons decided about earlier holds."""
    beat: Beat | None = None
    beat_age: float = 0.0
    """Since the beat last changed."""
    offer: Pool | None = None
    """Where to ask for the next machine; None: every pool is cooling down."""
    offer_wait: float = 0.0
    """Until a pool may be asked again."""
    refusal: str | None = None
    """Why no pool can run this job, ever."""
    leftover: tuple[tuple[str, Machine], ...] = ()
    """Machines of this job that no launch accounts for, with their providers."""

    def attempts_of(self, launch: int) -> tuple[AttemptView, ...]:
        """The attempts that a launch's machine claimed, oldest first."""
        return tuple(one for one in self.attempts if one.claim.launch == launch)
