"""What can be made durable in the time that is left, from measured rates. Pure.

All times are seconds, all rates bytes per second, all instants on the monotonic clock.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from outlast.manifest import CheckpointId

FIXED_SECONDS = 0.5
"""What a flush costs beside its bytes: manifest, end, their answers."""

MARGIN = 1.3
"""A flush is planned to take this much longer than measured rates say."""

SPARE_SECONDS = 1.0
"""No prediction may end later than this before a deadline; a tenth of what is left, if less."""

TERM_BEFORE = 3.0
"""SIGTERM goes to a program with the library this long before the deadline."""

KILL_BEFORE = 2.0
"""SIGKILL goes to whatever still runs this long before the deadline."""

AFTER_END = 5.0
"""A program that has said how it ended gets this long to leave."""


@dataclass
class Rate:
    """A running mean of a transfer rate, by bytes, so that small objects do not blur it."""

    bytes_per_second: float | None = None
    _weight: float = 0.0

    def add(self, size: int, seconds: float) -> None:
        """Take in that ``size`` bytes took ``seconds``. The latest 256 MB count most."""
        if size <= 0 or seconds <= 0:
            return
        self._weight = min(self._weight + size, 256e6)
        share = min(1.0, size / self._weight)
        before = size / seconds if self.bytes_per_second is None else self.bytes_per_second
        # Times add up, not rates: the mean is harmonic.
        self.bytes_per_second = 1 / ((1 - share) / before + share * seconds / size)


@dataclass(frozen=True)
class Candidate:
    """A save that is not durable yet and may become so."""

    id: CheckpointId
    missing: int
    """Bytes still to upload."""
    started: bool = False
    """Whether its upload has begun."""
    ready_in: float = 0.0
    """Seconds until it is whole in scratch; 0: it is."""


@dataclass(frozen=True)
class Plan:
    """What to make durable in the time that is left."""

    what: Literal["full", "flush", "nothing"]
    """``full``: a save of the step under way. ``flush``: a save that has begun. ``nothing``: no
    save that is newer than the durable one can be there in time."""
    id: CheckpointId | None = None
    seconds: float | None = None
    """From now until it is durable, as predicted; None: nothing was measured yet."""
    fits: bool = False
    """Whether the prediction ends before the deadline, less a margin."""


def flush_seconds(missing: int, rate: float | None) -> float | None:
    """How long ``missing`` bytes would take; None while no rate is known and bytes are missing."""
    if missing <= 0:
        return FIXED_SECONDS
    return None if rate is None else FIXED_SECONDS + MARGIN * missing / rate


def usable(left: float) -> float:
    """Of ``left`` seconds, what a prediction may use: all but a tenth, at most a second."""
    return left - min(SPARE_SECONDS, 0.1 * max(0.0, left))


def plan(
    begun: Sequence[Candidate],
    *,
    rate: float | None,
    left: float | None,
    full: Candidate | None = None,
    under_way: int = 0,
) -> Plan:
    """Which save to make durable; ``left`` None: no deadline.

    The newest that fits: ``full``, which the program could still make, or one that has begun.
    If none fits, the newest whose upload has started (at a measured rate: it does not hang), or
    else the newest that is whole, or is being written: rates are estimates, and the notice may
    prove longer. ``under_way``: bytes of requests that cannot be recalled, which go before whatever
    is not started.
    """
    options = sorted(begun, key=lambda each: each.id, reverse=True)
    if left is None:
        whole = next((each for each in options if not each.ready_in), None)
        return Plan("nothing") if whole is None else Plan("flush", whole.id, fits=True)

    def predicted(each: Candidate) -> float | None:
        seconds = flush_seconds(each.missing + (0 if each.started else under_way), rate)
        return None if seconds is None else each.ready_in + seconds

    for each in options if full is None else [full, *options]:
        seconds = predicted(each)
        if seconds is not None and seconds <= usable(left):
            return Plan("full" if each is full else "flush", each.id, seconds, fits=True)
    if not options:
        return Plan("nothing")
    # Where nothing was measured, what has started may hang for all that is known.
    ahead = rate is not None
    last = max(options, key=lambda each: (ahead and each.started, not each.ready_in, each.id))
    return Plan("flush", last.id, predicted(last))


def in_words(chosen: Plan, *, durable_step: int | None) -> str:
    """A plan as a person reads it, after the word of the notice."""
    there = "nothing is durable" if durable_step is None else f"step {durable_step} is durable"
    step = 0 if chosen.id is None else chosen.id.step
    about = "" if chosen.seconds is None else f" in about {chosen.seconds:.1f} s"
    match chosen.what:
        case "full":
            return f"the step under way can be saved, durable{about}"
        case "flush" if chosen.fits:
            return f"step {step} can be made durable{about}"
        case "flush" if chosen.seconds is None:
            return f"step {step} is being made durable; how fast was not measured yet; {there}"
        case "flush":
            return f"step {step} would be durable{about}, which may be too late; {there}"
        case "nothing":
            return f"no newer save fits; {there}"


def too_short(size: int, *, rate: float, grace: float) -> str | None:
    """A warning if a full save of ``size`` bytes cannot be flushed within ``grace``."""
    needed = flush_seconds(size, rate) or 0.0
    if needed <= grace:
        return None
    return (
        f"a full save of {size / 1e6:,.0f} MB would take about {needed:.0f} s to upload at the "
        f"measured {rate / 1e6:,.1f} MB/s, and the notice here is {grace:.0f} s: after an "
        "eviction, training goes on from the last save that was durable before it; save less or "
        "use a machine with a faster network"
    )


@dataclass(frozen=True)
class Schedule:
    """When a stopping program is pushed, on the monotonic clock."""

    terminate_at: float
    kill_at: float


def schedule(now: float, deadline: float, *, announced: bool) -> Schedule:
    """When to send SIGTERM and SIGKILL to a program that was just told to stop.

    A program with the library obeys the notice by itself and gets SIGTERM as a last word; any
    other gets it at once. With little time left, both margins shrink to a fraction of it.
    """
    left = max(0.0, deadline - now)
    kill_at = deadline - min(KILL_BEFORE, 0.3 * left)
    terminate_at = deadline - min(TERM_BEFORE, 0.45 * left) if announced else now
    return Schedule(terminate_at, kill_at)
