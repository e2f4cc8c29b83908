"""How uploads that nobody waits for leave others the link. Pure.

A program that trains reads its data over the same link. So objects go up in bursts, each at the
link's full rate, for only that tells what the rate is; and after each burst comes a rest, so
long that over both no more than a share of the link was taken.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

SHARE = 0.25
"""Of the link, for uploads on cadence."""


def rest(busy: float, share: float) -> float:
    """Seconds to rest after the link was taken whole for ``busy`` seconds."""
    return busy * (1 - share) / share


@dataclass
class Pace:
    """When another object may begin. All instants are seconds on one clock."""

    at_once: int
    """Objects in a burst."""
    share: float = SHARE
    _begun: int = 0
    _flying: int = 0
    _since: float = 0.0
    _size: int = 0
    _work: float = 0.0
    _free_at: float = -math.inf

    def wait(self, now: float) -> float:
        """Seconds until another may begin; infinite while a full burst is under way."""
        if self._flying:
            return 0.0 if self._begun < self.at_once else math.inf
        return max(0.0, self._free_at - now)

    def begins(self, now: float) -> None:
        """One begins, whether it may or does not have to ask."""
        if not self._flying:
            self._begun, self._since, self._size, self._work = 0, now, 0, 0.0
        self._begun += 1
        self._flying += 1

    def ends(self, now: float, size: int = 0, seconds: float = 0.0) -> tuple[int, float] | None:
        """One has ended: ``size`` bytes in ``seconds`` of sending; nothing, if it was left.

        With the last of a burst, all bytes of it and how long the link was busy with them. What
        was spent on waiting for a store that was away is not among it.
        """
        self._flying -= 1
        self._size += size
        self._work += seconds
        if self._flying:
            return None
        busy = min(now - self._since, self._work)
        self._free_at = now + rest(busy, self.share)
        return self._size, busy

    def rate(self, now: float) -> float | None:
        """Bytes per second of the burst under way; None: nothing has arrived in it yet."""
        if not self._flying or not self._size:
            return None
        return self._size / max(1e-6, now - self._since)
