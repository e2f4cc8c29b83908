"""Where to ask for the next machine: price first, experience before price. Pure.

Two kinds of bad experience. A pool that *evicted* is asked last for a while; it is never a
reason to wait, so a job's only pool is asked again at once. A pool that *refused* (no capacity,
no quota, machines that never began) is not asked at all until its cool-down is over. One that
can never run the job is not asked again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from outlast_provisioning.providers.base import Pool

FIRST_SECONDS = 60.0
LONGEST_SECONDS = 1800.0
LONG_RUN_SECONDS = 3600.0
"""A machine that lived this long clears what its pool did before."""
REFUSALS = frozenset({"no-capacity", "never-claimed", "setup-failed"})
"""Reasons to close a launch after which its pool is not asked until its cool-down is over."""


@dataclass(frozen=True)
class Experience:
    """What one pool did lately. Times are the controller's monotonic clock, seconds."""

    evictions: int = 0
    refusals: int = 0
    avoid_until: float = 0.0
    refused_until: float = 0.0
    never: str = ""
    """Why it can never run this job; empty: it may."""


def after_eviction(before: Experience, lived: float, now: float) -> Experience:
    """A machine of the pool was taken away ``lived`` seconds after it was asked for."""
    start = Experience() if lived >= LONG_RUN_SECONDS else before
    count = start.evictions + 1
    return replace(start, evictions=count, avoid_until=now + cool_down(count))


def after_refusal(before: Experience, now: float) -> Experience:
    """The pool had no machine to give, or gave one that never began."""
    count = before.refusals + 1
    return replace(before, refusals=count, refused_until=now + cool_down(count))


def after_start(before: Experience) -> Experience:
    """A machine of the pool began to train: refusals are forgotten."""
    return replace(before, refusals=0, refused_until=0.0)


def cool_down(times: int) -> float:
    """Seconds after the nth time in a row: 1 minute, doubled each time, at most 30."""
    return min(FIRST_SECONDS * 2.0 ** min(times - 1, 10), LONGEST_SECONDS)


def choose(
    pools: Sequence[Pool], experience: Mapping[str, Experience], now: float
) -> tuple[Pool | None, float]:
    """The pool to ask now; or None, and the seconds until one may be asked (0: none ever)."""
    known = [(pool, experience.get(pool.name, Experience())) for pool in pools]
    known = [(pool, seen) for pool, seen in known if not seen.never]
    open_ = [(pool, seen) for pool, seen in known if seen.refused_until <= now]
    if not open_:
        return None, min((seen.refused_until for _, seen in known), default=now) - now
    pool, _ = min(open_, key=lambda one: (max(one[1].avoid_until - now, 0.0), one[0].price))
    return pool, 0.0


def refused_by_all(pools: Sequence[Pool], experience: Mapping[str, Experience]) -> str | None:
    """Why no pool can ever run the job, or None while one may."""
    why = [(pool.name, experience.get(pool.name, Experience()).never) for pool in pools]
    if not all(text for _, text in why):
        return None
    return "; ".join(f"{name}: {text}" for name, text in why)
