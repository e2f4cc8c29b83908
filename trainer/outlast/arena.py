"""Memory for one snapshot, kept from save to save.

The first touch of memory costs ten times a copy, so it is touched before training begins, and
never given back. Nothing is taken where that would leave the machine, or the container, short.
"""

from __future__ import annotations

import mmap
import os
import threading
from contextlib import ExitStack

import numpy as np

from outlast import memory

PAGE = 4096
"""What address and length of memory have to be multiples of, for a direct write on any disk."""
_LEFT_FREE = 256 << 20
"""Bytes that stay free beside it."""
_MOST_THREADS = 4


class Arena:
    """One piece of page-aligned memory, taken by one save at a time."""

    def __init__(self, *, processes: int = 1) -> None:
        """Of ``processes`` that may be on this machine, each takes its part of what is free."""
        self._processes = processes
        self.threads = max(1, min(_MOST_THREADS, len(os.sched_getaffinity(0))))
        """How many are worth using to fill it."""
        self.refused = 0
        """Bytes that were asked for and were not free; 0: there was room."""
        self._memory: np.ndarray | None = None
        self._taken = threading.Lock()

    def make(self, size: int) -> bool:
        """Have ``size`` bytes, touched, if none are taken and so much is free; whether it has."""
        if self._memory is not None and len(self._memory) >= size:
            return True
        if not size or not self._taken.acquire(blocking=False):
            return False
        try:
            before = 0 if self._memory is None else len(self._memory)
            free = memory.available()
            if free is not None and size - before > (free - _LEFT_FREE) / self._processes:
                self.refused = size
                return False
            self._memory = None
            try:
                made = np.frombuffer(mmap.mmap(-1, -(-size // PAGE) * PAGE), np.uint8)
            except (OSError, MemoryError):
                self.refused = size
                return False
            _touch(made, self.threads)
            self._memory, self.refused = made, 0
            return True
        finally:
            self._taken.release()

    def take(self, size: int) -> np.ndarray | None:
        """All of it, at least ``size`` bytes, until :meth:`give`; None: there is none."""
        if not self.make(size) or not self._taken.acquire(blocking=False):
            return None
        return self._memory

    def give(self) -> None:
        """Nobody reads it any more."""
        self._taken.release()


def _touch(made: np.ndarray, threads: int) -> None:
    share = -(-len(made) // threads // PAGE) * PAGE

    def touch(start: int) -> None:
        made[start : start + share : PAGE] = 0

    with ExitStack() as others:
        for number in range(1, threads):
            each = threading.Thread(target=touch, args=(number * share,), name="outlast-touch")
            try:
                each.start()
            except RuntimeError:  # no more threads are to be had
                touch(number * share)
            else:
                others.callback(each.join)
        touch(0)
