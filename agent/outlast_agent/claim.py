"""Who may train, from what the store shows. Pure: see DESIGN, *Who may train*.

Time is the reader's monotonic clock alone: a notice counts from when this daemon first read it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

NOTICE_SLACK = 5.0
"""Seconds past the deadline of a notice after which its attempt is over for everybody."""


@dataclass(frozen=True)
class Me:
    """This daemon."""

    launch: int
    machine: str
    boot_id: str


@dataclass(frozen=True)
class SeenClaim:
    """The claim of the highest attempt."""

    launch: int
    machine: str
    boot_id: str


@dataclass(frozen=True)
class SeenNotice:
    """The notice of the highest attempt."""

    seconds_left: float
    """As its daemon wrote it."""
    first_seen: float
    """This reader's monotonic clock when it first read it."""


@dataclass(frozen=True)
class View:
    """What the store shows, as far as it matters here."""

    attempt: int = 0
    """The highest attempt that was claimed; 0: none."""
    claim: SeenClaim | None = None
    """Its claim; None with attempt 0."""
    notice: SeenNotice | None = None
    """Its notice."""
    outcome: str | None = None
    """Outcome of its end, None while it has not ended."""
    closed: bool = False
    """This daemon's launch is closed."""
    unknown: bool = False
    """This daemon's launch is not in the store: it is the wrong store, or was emptied."""
    result: bool = False
    """The job is over."""
    cancelled: bool = False
    """A person asked for the job to end."""
    held: bool = False
    """Less is in the store than was durable; a person decides."""


@dataclass(frozen=True)
class Mine:
    """This daemon's claim is in force."""

    attempt: int
    noticed: bool = False
    """Its notice is in the store: others may soon claim the next attempt by it."""


@dataclass(frozen=True)
class Rebooted:
    """The claim is this machine's, from before it restarted: end it, then claim the next."""

    attempt: int


@dataclass(frozen=True)
class Free:
    """This attempt may be claimed."""

    attempt: int


@dataclass(frozen=True)
class Wait:
    """Somebody else trains."""

    reason: str
    """One line, shown in the heartbeat."""


Why: TypeAlias = Literal["closed", "result", "cancelled", "superseded", "failed", "held"]


@dataclass(frozen=True)
class Leave:
    """There is nothing for this machine to do, now and ever."""

    why: Why
    reason: str
    """One line."""


Verdict: TypeAlias = Mine | Rebooted | Free | Wait | Leave

_FINAL: Mapping[str, str] = {
    "failed": "this machine's attempt failed; what follows is decided elsewhere",
    "setup-failed": "this machine could not begin; what follows is decided elsewhere",
    "finished": "this machine's attempt finished the job",
    "cancelled": "this machine's attempt was cancelled",
}
"""Outcomes after which a machine does not claim again."""


def judge(view: View, me: Me, *, own: int | None, now: float) -> Verdict:
    """What this daemon may do. ``own`` is the attempt it trains as, None if it does not."""
    if view.closed:
        return Leave("closed", f"launch {me.launch} is closed")
    if view.unknown:
        return Leave("closed", f"launch {me.launch} is not in the store: nobody asked for this")
    if view.result:
        return Leave("result", "the job is over")
    if view.cancelled:
        return Leave("cancelled", "the job was cancelled")
    if own is not None and view.attempt > own:
        return Leave("superseded", f"attempt {view.attempt} has taken over from attempt {own}")
    if view.held and own is None:
        return Leave("held", "the job is held until a person decides")
    claim = view.claim
    if claim is None:
        return Free(view.attempt + 1)
    mine = (claim.launch, claim.machine) == (me.launch, me.machine)
    if mine and view.outcome == "finished" and claim.boot_id == me.boot_id:
        return Mine(view.attempt)  # its daemon died between the end and the result
    if view.outcome is not None:
        if mine and view.outcome in _FINAL:
            return Leave("failed", _FINAL[view.outcome])
        return Free(view.attempt + 1)
    if mine:
        if claim.boot_id != me.boot_id:
            return Rebooted(view.attempt)
        return Mine(view.attempt, noticed=view.notice is not None)
    if view.notice is None:
        return Wait(f"attempt {view.attempt} trains on {claim.machine}")
    left = view.notice.first_seen + view.notice.seconds_left + NOTICE_SLACK - now
    if left <= 0:
        return Free(view.attempt + 1)
    return Wait(f"attempt {view.attempt} on {claim.machine} has notice; over in {left:.0f} s")


@dataclass
class FirstSeen:
    """Remembers when each notice was first read. Mutable, held by whoever reads the store."""

    at: dict[int, float] = field(default_factory=dict)

    def notice(self, attempt: int, seconds_left: float, now: float) -> SeenNotice:
        """The notice of ``attempt``, with the time of its first reading."""
        return SeenNotice(seconds_left, self.at.setdefault(attempt, now))
