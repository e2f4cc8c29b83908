"""How long steps take, and whether one is under way. Written by the training thread, read by
the watching one; each attribute is replaced whole, so no lock is needed.
"""

from __future__ import annotations

import statistics
from collections import deque


class Steps:
    """The steps of this process. Times are seconds on CLOCK_MONOTONIC."""

    def __init__(self) -> None:
        self.done = 0
        """Steps done over the whole job."""
        self._began: float | None = None
        self._count = 1
        self._latest: deque[float] = deque(maxlen=21)

    def begin(self, now: float, count: int = 1) -> None:
        """``count`` steps begin, with no chance to stop between them."""
        self._count = count
        self._began = now

    def end(self, now: float, step: int, count: int = 1) -> None:
        """``count`` steps are done, ``step`` over the whole job."""
        began, self._began = self._began, None
        if began is not None and count > 0:
            self._latest.append((now - began) / count)
        self.done = step

    def idle(self) -> None:
        """No step is under way: what began was given up."""
        self._began = None

    @property
    def seconds(self) -> float | None:
        """Median duration of the latest steps; None before the second: the first one traces."""
        latest = list(self._latest)
        return statistics.median(latest[1:] if len(latest) < 3 else latest) if latest[1:] else None

    def under_way(self, now: float) -> tuple[float | None, float | None]:
        """(elapsed, expected) of the steps under way; None: none is, or none was seen yet."""
        began, each = self._began, self.seconds
        if began is None:
            return None, None
        return now - began, None if each is None else each * self._count
