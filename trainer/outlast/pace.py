"""How fast a save is written: no faster than it has to be, for training goes on beside it."""

from __future__ import annotations

import time
from collections.abc import Callable

_LOOK = 0.005
"""Seconds after which a rest sees that it is to end."""


class Pace:
    """Rests in between, until :meth:`hurry`. Used by one thread, hurried by any."""

    def __init__(
        self,
        *,
        worked: Callable[[], float] = time.thread_time,
        now: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._worked, self._now, self._sleep = worked, now, sleep
        self._hurried = False  # no Event: it is set in signal handlers too, which may hold its lock
        self._rest, self._most, self._since = 0.0, 0.0, 0.0
        self.rested = 0.0
        """Seconds of rest since :meth:`begin`."""

    def begin(self, *, spread: float, expected: float) -> None:
        """A save begins that takes ``expected`` seconds and may take ``spread``; 0: no rest."""
        self._rest = max(0.0, spread / max(expected, 1e-3) - 1.0)
        self._most = max(0.0, spread - expected)
        self._since = self._worked()
        self.rested = 0.0
        self._hurried = False

    def rest(self) -> None:
        """A part of the work is done: rest for as long as it took this thread, and longer."""
        left = self._most - self.rested  # what was expected may prove wrong
        if not self._rest or left <= 0:
            return
        began = self._now()
        until = began + min(left, (self._worked() - self._since) * self._rest)
        while not self._hurried and (left := until - self._now()) > 0:
            self._sleep(min(left, _LOOK))
        self.rested += self._now() - began
        self._since = self._worked()

    def hurry(self) -> None:
        """No rest until the next save begins."""
        self._hurried = True
