"""What a machine remembers: everything that decides what comes next. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from outlast.notice import Notice
from outlast_agent import budget, claim
from outlast_agent.effects import Effect
from outlast_agent.outcome import Circumstances, Ending

Phase = Literal[
    "preparing", "adopting", "standing-by", "claiming", "restoring", "starting",
    "training", "stopping", "flushing", "ending", "leaving",
]  # fmt: skip

IDLE_SECONDS = 15 * 60.0
"""A machine that could not claim for this long ends itself."""

STOP_GRACE = 20.0
"""Notice given to the program when it is stopped for another reason than an eviction."""

OVERTIME = 600.0
"""Past its lifetime by this much, a machine goes whatever it is doing."""

SHUTDOWN = "shutdown"
"""Id of the notice that the machine's own shutdown is: no cloud waits for a word about it."""

FREEZE = "freeze"
"""A pause of seconds that the program does not notice: told to people, nothing stops."""


@dataclass(frozen=True)
class Stop:
    """Why the program is being stopped."""

    why: Literal["notice", "cancelled", "closed", "superseded", "lifetime", "withdrawn"]
    text: str
    deadline: float
    plan: budget.Schedule
    termed: bool = False
    killed: bool = False


@dataclass(frozen=True)
class State:
    """Everything that decides what comes next."""

    phase: Phase
    lifetime_at: float
    waiting_since: float
    """Since when this machine could have claimed and did not."""
    attempt: int | None = None
    """The attempt that this daemon has claimed and not ended."""
    over: int = 0
    """The highest attempt that this daemon has ended: older views may still show it open."""
    ready: bool = False
    """Image, code and inputs are here."""
    trouble: Ending | None = None
    """Why they will never be."""
    verdict: claim.Verdict | None = None
    """The latest, for the moment when the phase allows to act on it."""
    notices: tuple[Notice, ...] = ()
    """In force for this machine, the soonest first."""
    acknowledged: frozenset[str] = frozenset()
    """Ids of those of which the cloud was told that it need not wait."""
    spent: bool = False
    """The attempt's notice is in the store and was taken back: others may soon claim the next
    one by it, so this one has to end all the same."""
    stop: Stop | None = None
    announced: bool = False
    ending: Ending | None = None
    leave: str | None = None
    """Why the machine goes once what it has in hand is recorded."""

    @property
    def notice(self) -> Notice | None:
        """The one that is obeyed: the soonest of those in force."""
        return self.notices[0] if self.notices else None


Step: TypeAlias = tuple[State, tuple[Effect, ...]]


def circumstances(
    state: State, *, announced: bool, started_step: int, disk_full: bool
) -> Circumstances:
    """What :func:`outlast_agent.outcome.judge` needs, from the state and from the attempt."""
    return Circumstances(
        told=state.stop is not None,
        cancelled=state.stop is not None and state.stop.why == "cancelled",
        announced=announced or state.announced,
        started_step=started_step,
        disk_full=disk_full,
    )
