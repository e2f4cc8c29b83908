"""How long a transfer may take: from its size and the rate that was measured. Pure but for a lock.

A fixed limit fails either way: 30 s is too short for 64 MiB over a slow link, and ten minutes
too long to notice that a small write hangs. The client library fixes the limit per client, so
limits come in steps, each the double of the one before, and few clients are needed.
"""

from __future__ import annotations

import math
import threading

LEAST_SECONDS = 30.0
"""For whatever needs less: a fast link has one limit, and so one client, whose connections and
credentials the daemon's frequent small requests keep warm for the large ones."""
MOST_SECONDS = 7680.0
"""The last of the steps: 64 MiB at some 35 KB/s."""

FIRST_RATE = 512 * 1024.0
"""Bytes per second that are expected before anything was measured."""

SLOWEST_RATE = 16 * 1024.0

_ALLOWANCE = 4.0
"""Times the expected duration: a rate varies, and other transfers share the link."""

_TELLING_BYTES = 1 << 20
"""Smaller transfers measure the round trip, not the rate."""


class Patience:
    """Learns one direction's rate; may be asked from any thread."""

    def __init__(self) -> None:
        self._rate = FIRST_RATE
        self._lock = threading.Lock()

    def seconds(self, size: int) -> float:
        """Limit for a transfer of ``size`` bytes: 30 s times a power of two."""
        with self._lock:
            wanted = max(LEAST_SECONDS, _ALLOWANCE * size / self._rate)
        steps = math.ceil(math.log2(wanted / LEAST_SECONDS))
        return min(MOST_SECONDS, LEAST_SECONDS * 2.0**steps)

    def succeeded(self, size: int, seconds: float) -> None:
        """A transfer of ``size`` bytes took ``seconds``."""
        if size < _TELLING_BYTES:
            return
        with self._lock:
            measured = max(SLOWEST_RATE, size / max(seconds, 1e-3))
            # Slower is believed at once, faster little by little: a limit too short costs more.
            weight = 1.0 if measured < self._rate else 0.3
            self._rate += weight * (measured - self._rate)

    def timed_out(self, size: int, seconds: float) -> None:
        """A transfer of ``size`` bytes was not done after ``seconds``: the next gets longer."""
        if size < _TELLING_BYTES:
            return
        with self._lock:
            self._rate = max(SLOWEST_RATE, min(self._rate, size / seconds) / 2)
