"""When the next save is due, from what the saves so far cost."""

from __future__ import annotations

import math
import statistics
from collections import deque

from outlast.cadence import BETWEEN_LOSSES, MAX_OVERHEAD, interval


class Schedule:
    """Follows the saves of one process. All times are seconds on CLOCK_MONOTONIC."""

    def __init__(
        self,
        every: float | None,
        *,
        max_overhead: float = MAX_OVERHEAD,
        between_losses: float = BETWEEN_LOSSES,
    ) -> None:
        """As :func:`outlast.cadence.interval` takes them."""
        self._every, self._max_overhead = every, max_overhead
        self._between_losses = between_losses
        self._next = -math.inf
        self._due_since: float | None = None
        self._warm = False
        self.interval = self._interval(0.0, 0.0)
        """Seconds from one save to the next, as things are."""
        self.stood_still: float | None = None
        """How long training stood still for the latest save."""
        self._blocked: deque[float] = deque(maxlen=3)
        self._background: deque[float] = deque(maxlen=3)

    def start(self, now: float) -> None:
        """Training begins, or goes on: the first save is due an interval from the first call."""
        if self._next == -math.inf:
            self._next = now + self.interval

    def over(self, now: float) -> bool:
        """Whether the interval is over; asked after every step."""
        return now >= self._next

    def due(self, now: float) -> bool:
        """Whether to save now. From here to :meth:`saved` counts as training standing still."""
        if now < self._next:
            return False
        if self._due_since is None:
            self._due_since = now
        return True

    def saved(self, began: float, ended: float, background: float) -> None:
        """A save was handed over; ``background`` is how long the latest one took to write."""
        since = began if self._due_since is None else self._due_since
        self._due_since = None
        self.stood_still = ended - since
        if self._warm:
            self._blocked.append(ended - since)
            self._background.append(background)
        self._warm = True  # the first save imports, touches memory and makes folders
        blocked = statistics.median(self._blocked) if self._blocked else 0.0
        behind = statistics.median(self._background) if self._background else 0.0
        self.interval = self._interval(blocked, behind)
        self._next = ended + self.interval

    def _interval(self, blocked: float, background: float) -> float:
        return interval(
            blocked,
            background,
            every=self._every,
            max_overhead=self._max_overhead,
            between_losses=self._between_losses,
        )
