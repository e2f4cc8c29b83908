"""What can be made durable in the time that is left, from measured rates. Pure.

All times are seconds, all rates bytes per second, all instants on the monotonic clock.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from outlast.manifest import CheckpointId

FIXED_SECONDS = 0.5
"""What a flush costs beside its bytes: manifest, end, their answers."""

MARGIN = 1.3
"""A flush is planned to take this much longer than measured rates say."""

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
    """A whole checkpoint in scratch that is not durable yet."""

    id: CheckpointId
    missing: int
    """Bytes still to upload."""


def flush_seconds(missing: int, rate: float | None) -> float | None:
    """How long ``missing`` bytes would take; None while no rate is known and bytes are missing."""
    if missing <= 0:
        return FIXED_SECONDS
    return None if rate is None else FIXED_SECONDS + MARGIN * missing / rate


def choose(
    candidates: Sequence[Candidate], *, rate: float | None, left: float | None
) -> Candidate | None:
    """Which checkpoint to make durable next; ``left`` None: no deadline.

    The newest that fits. If none fits, the one that needs the least: rates are estimates, and
    the promised notice may prove longer.
    """
    if not candidates:
        return None
    newest_first = sorted(candidates, key=lambda each: each.id, reverse=True)
    if left is None or rate is None:
        return newest_first[0]
    for each in newest_first:
        needed = flush_seconds(each.missing, rate)
        if needed is not None and needed <= left:
            return each
    return min(newest_first, key=lambda each: each.missing)


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
