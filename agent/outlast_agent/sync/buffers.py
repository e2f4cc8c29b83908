"""Memory that objects are read into, used again: the first touch takes longer than sending."""

from __future__ import annotations

import mmap
import queue
from contextlib import suppress

_STEP = 2 << 20
"""Bytes of a large page: with these the first touch is ten times as fast."""


class Buffers:
    """May be used by any thread."""

    def __init__(self, most: int) -> None:
        """``most`` of them are kept."""
        self._free: queue.LifoQueue[mmap.mmap] = queue.LifoQueue(most)

    def take(self, size: int) -> mmap.mmap:
        """One of at least ``size`` bytes, with anything in it."""
        with suppress(queue.Empty):
            buffer = self._free.get_nowait()
            if len(buffer) >= size:
                return buffer
        made = mmap.mmap(-1, max(1, -(-size // _STEP)) * _STEP)
        with suppress(OSError, AttributeError):  # a kernel or a system without large pages
            made.madvise(mmap.MADV_HUGEPAGE)
        return made

    def give(self, buffer: mmap.mmap) -> None:
        """Let it be taken again."""
        with suppress(queue.Full):
            self._free.put_nowait(buffer)

    def clear(self) -> None:
        """Keep none: nothing was sent for a while."""
        with suppress(queue.Empty):
            while True:
                self._free.get_nowait()
