"""Memory for one snapshot, kept from save to save.

The first touch of memory costs ten times a copy, so it is touched before training begins, and
given back at the end. Nothing is taken where that would leave the machine, or the container, short.
"""

from __future__ import annotations

import mmap
import os
import threading
from collections.abc import Iterable
from contextlib import ExitStack, suppress
from pathlib import Path

import numpy as np

from outlast import memory
from outlast.shared import PAGE, Room, Shared

__all__ = ["PAGE", "Arena"]

_LEFT_FREE = 256 << 20
"""Bytes that stay free beside it."""
_MOST_THREADS = 4


class Arena:
    """One piece of page-aligned memory, taken by one save at a time."""

    def __init__(self, folder: Path | None = None, *, processes: int = 1) -> None:
        """Memory that others read below ``folder``, if that has room; else this process's own.

        Of ``processes`` that may be on this machine, each takes its part of what is free.
        """
        self._shared = None if folder is None else Shared(folder)
        self._processes = processes
        self.threads = max(1, min(_MOST_THREADS, len(os.sched_getaffinity(0))))
        """How many are worth using to fill it."""
        self.refused = 0
        """Bytes that were asked for and were not free; 0: there was room."""
        self._memory: np.ndarray | None = None
        self._is_shared = False
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
                made = self._made(-(-size // PAGE) * PAGE)
            except (OSError, MemoryError):
                self.refused = size
                return False
            _touch(made, self.threads)
            self._memory, self.refused = made, 0
            return True
        finally:
            self._taken.release()

    def _made(self, size: int) -> np.ndarray:
        self._is_shared = False
        if self._shared is not None:
            with suppress(OSError):  # too little room there
                made = self._shared.allocate(size)
                self._is_shared = True
                return made
        return np.frombuffer(mmap.mmap(-1, size), np.uint8)

    def take(self, size: int) -> np.ndarray | None:
        """All of it, at least ``size`` bytes, until :meth:`give`; None: there is none."""
        if not self.make(size) or not self._taken.acquire(blocking=False):
            return None
        if self._is_shared and not self._withdrawn():
            self._taken.release()
            return None
        return self._memory

    def _withdrawn(self) -> bool:
        assert self._shared is not None
        try:
            return self._shared.withdraw()
        except OSError:
            return False

    def room(self, images: Iterable[np.ndarray] = ()) -> Room | None:
        """To publish objects in it, until :meth:`give`; None: others do not read it.

        With ``images`` it is taken already, and they lie in it; else this takes it.
        """
        if self._shared is None or self._memory is None or not self._is_shared:
            return None
        ends = [each.ctypes.data + len(each) - self._memory.ctypes.data for each in images]
        if ends:
            return Room(self._shared, self._memory, max(ends))
        return None if self.take(PAGE) is None else Room(self._shared, self._memory)

    def give(self) -> None:
        """It may be written over; what was published stays until then."""
        self._taken.release()

    def close(self) -> None:
        """No save comes any more: it goes with the process, except for what is published."""
        if self._shared is not None and self._taken.acquire(blocking=False):
            self._memory, self._is_shared = None, False
            self._shared.close()
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
