"""Finding a place in training data by reading: batches are drawn again and dropped.

And when that is done instead of saving the iterator's own state, see :func:`keeps_state`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

SECONDS_PER_ELEMENT = 20e-6
SECONDS_PER_BYTE = 1 / 150e6
"""What ``SerializeIterator`` of TensorFlow 2.21 takes: 0.2-0.3 s for shuffle(10,000) of integers,
0.6 s with 4 KB in each. Meanwhile nobody can read from the iterator."""
QUICK = 0.005
"""Seconds up to which training stands still for the state of an iterator at every save."""
LONG = 120.0
"""Seconds of reading from which on such a state is saved though it takes longer."""
MOST_BYTES = 512 << 20
"""A larger state is never saved."""
_TOLD = 1.0
"""Seconds of reading from which on it is worth a line."""
_AGAIN = 10.0
"""Seconds until the next line; then twice as long, and so on."""


@dataclass(frozen=True)
class Held:
    """What the state of an iterator would hold."""

    elements: int = 0
    """Places in buffers, filled or not: each one costs."""
    bytes: int = 0
    cache: bool = False
    """A ``cache()`` in memory, which is part of the state."""
    seen: float = 0.0
    """Seconds that it really took; 0: not known."""

    @property
    def seconds(self) -> float:
        """How long training would stand still for it."""
        known = self.elements * SECONDS_PER_ELEMENT + self.bytes * SECONDS_PER_BYTE
        return max(known, self.seen)


def keeps_state(held: Held, *, again: bool, reading: float) -> bool:
    """Whether a save takes in the state of the iterator; if not, a resume reads up to the place.

    ``again``: what is read again is the same. ``reading`` is how many seconds that would take.
    """
    if held.cache or held.bytes > MOST_BYTES:
        return False
    return held.seconds <= QUICK or not again or reading > LONG


def silent(text: str) -> None:
    """Tell nobody."""


class Replay:
    """Reads batches and drops them, saying beforehand how long it takes if that is long."""

    def __init__(
        self,
        tell: Callable[[str], None],
        stopping: Callable[[], bool] = lambda: False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``stopping``: whether to leave off, since the program is about to be stopped."""
        self._tell, self._stopping, self._clock = tell, stopping, clock
        self.batch_seconds: float | None = None
        """For each batch: measured here or, before, while training; None: not known."""
        self._measured = False
        self._trained: tuple[float, int] | None = None

    def tell(self, text: str) -> None:
        """Tell a person what comes of the place in the data."""
        self._tell(text)

    def trained(self, batches: int) -> None:
        """``batches`` were taken by training, which cannot be faster than reading alone."""
        now = self._clock()
        if self._trained is None:
            self._trained = (now, 0)  # the first step is slow for other reasons
        elif not self._measured:
            began, count = self._trained
            self._trained = (began, count + batches)
            self.batch_seconds = (now - began) / (count + batches)

    def drop(self, iterator: Any, count: int | None = None, *, leave_off: bool = False) -> int:
        """Read ``count`` batches (None: all there are); how many are left to be read.

        None are left at the end of the data. ``leave_off``: not all are read if the program is
        about to be stopped.
        """
        began = first = now = self._clock()
        next_line = began + _TOLD
        if count is not None and self.batch_seconds is not None:
            expected = count * self.batch_seconds
            if expected >= _TOLD:
                self._tell(_again(count, expected))
                next_line = began + _AGAIN
        read, over = 0, False
        while not over and read != count and not (leave_off and self._stopping()):
            over = next(iterator, iterator) is iterator
            read += not over
            now = self._clock()
            if read == 1:
                first = now  # a buffer was filled before it came
            if now >= next_line:
                left = None if count is None else (now - first) / max(read - 1, 1) * (count - read)
                self._tell(_under_way(read, count, left))
                next_line = began + max(_AGAIN, 2 * (now - began))
        if read > 1:
            self.batch_seconds, self._measured = (now - first) / (read - 1), True
        return 0 if over or count is None else count - read


def _again(count: int, seconds: float) -> str:
    return (
        f"finding the place in the data: {count:,} batches are read again and dropped, which "
        f"takes about {_time(seconds)}."
    )


def _under_way(read: int, count: int | None, left: float | None) -> str:
    if count is None or left is None:
        return f"finding the place in the data: {read:,} batches were read again so far."
    return (
        f"finding the place in the data: {read:,} of {count:,} batches were read again, about "
        f"{_time(left)} left."
    )


def _time(seconds: float) -> str:
    if seconds < 90:
        return f"{max(round(seconds), 1)} seconds"
    return f"{seconds / 60:.0f} minutes" if seconds < 5400 else f"{seconds / 3600:.1f} hours"
