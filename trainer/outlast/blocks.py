"""Writes files in large blocks, past the page cache where the file system allows that.

Bytes are copied into page-aligned blocks, hashed there, and written by threads of their own, so
that copying, hashing and the disk work at the same time. The blocks are used again: the first
touch of memory costs more than a copy.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import mmap
import os
import queue
import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import xxhash

BLOCK_BYTES = 4 << 20
IDLE_SECONDS = 2.0
"""A thread without work ends after this."""
_PIECE = 512 << 10
"""Copied and hashed at a time: it stays in the processor's cache in between."""
_ALIGNED = 4096
"""What offset, length and memory of a direct write have to be multiples of, on every disk."""
_DIRECT = getattr(os, "O_DIRECT", 0)


class Blocks:
    """A few blocks of memory, and the threads that write them out.

    ``count`` blocks of ``size`` bytes (a multiple of 4096), made when they are first needed.
    """

    def __init__(self, *, count: int = 8, size: int = BLOCK_BYTES, threads: int = 4) -> None:
        self.size = size
        self._left, self._most = count, threads
        self._free: queue.SimpleQueue[np.ndarray] = queue.SimpleQueue()
        self._work: deque[Callable[[], None]] = deque()
        self._condition = threading.Condition()
        self._alive, self._idle = 0, 0

    def take(self) -> np.ndarray:
        """A block to fill; waits until one is free. To be given back to :meth:`give`."""
        with contextlib.suppress(queue.Empty):
            return self._free.get_nowait()
        if self._left:
            self._left -= 1
            return np.frombuffer(mmap.mmap(-1, self.size), np.uint8)  # a mapping is page-aligned
        return self._free.get()

    def give(self, block: np.ndarray) -> None:
        """Let ``block`` be taken again."""
        self._free.put(block)

    def run(self, work: Callable[[], None]) -> None:
        """Have ``work``, which raises nothing, done by one of the threads."""
        with self._condition:
            self._work.append(work)
            if len(self._work) > self._idle and self._alive < self._most:
                # Not waited for at exit by threading: the last save is made later than that.
                thread = threading.Thread(target=self._serve, name="outlast-blocks", daemon=True)
                with contextlib.suppress(RuntimeError):  # no more threads are to be had
                    thread.start()
                    self._alive += 1
            self._condition.notify()
            alone = None if self._alive else self._work.popleft()
        if alone is not None:
            alone()

    def _serve(self) -> None:
        while True:
            with self._condition:
                self._idle += 1
                there = self._condition.wait_for(lambda: len(self._work) > 0, IDLE_SECONDS)
                self._idle -= 1
                if not there:
                    self._alive -= 1
                    return
                work = self._work.popleft()
            work()
            del work  # its block: the next wait may be long


class BlockFile:
    """One file that is written from its start to its end, whatever was in it."""

    def __init__(
        self,
        file: int,
        blocks: Blocks,
        *,
        memory: np.ndarray | None = None,
        as_is: bool = False,
        rest: Callable[[], None] = lambda: None,
    ) -> None:
        """``file`` is a descriptor, closed by :meth:`settle` or :meth:`give_up`.

        With ``memory`` (page-aligned, a multiple of 4096 long) what is written is what lies there
        one after the other, and nothing is copied. ``as_is`` neither, for a file through the page
        cache: what is written must stay as it is until :meth:`settle`. ``rest`` is called after
        every block.
        """
        self.size = 0
        """Bytes written."""
        self._blocks, self._memory, self._as_is, self._rest = blocks, memory, as_is, rest
        self._file = file
        self._hasher = xxhash.xxh3_128()
        self._block: np.ndarray | None = None
        self._filled = 0
        self._under_way = 0
        self._ended, self._fsync = False, False
        self._error: OSError | None = None
        self._condition = threading.Condition()

    def write(self, data: Any) -> None:
        """Append the bytes of a buffer."""
        source = np.frombuffer(data, np.uint8)
        if self._as_is:
            self._write_as_is(source)
            return
        start = 0
        while start < len(source):
            if self._block is None:
                self._block, self._filled = self._take(), 0
            end = min(len(source), start + self._blocks.size - self._filled, start + _PIECE)
            there = self._block[self._filled : self._filled + end - start]
            if self._memory is None:
                np.copyto(there, source[start:end])  # unlike a memoryview's, lets training go on
            self._hasher.update(there.data)
            self._filled += end - start
            start = end
            if self._filled == self._blocks.size:
                self._hand_over()
                self._rest()

    def _write_as_is(self, source: np.ndarray) -> None:
        for start in range(0, len(source), self._blocks.size):
            part = source[start : start + self._blocks.size]
            self._hasher.update(part.data)
            self._send(part, len(part))
            self._rest()

    def _take(self) -> np.ndarray:
        if self._memory is None:
            return self._blocks.take()
        return self._memory[self.size : self.size + self._blocks.size]

    def _give(self, block: np.ndarray) -> None:
        if self._memory is None and not self._as_is:
            self._blocks.give(block)

    def end(self, *, fsync: bool) -> str:
        """All is written that there is: the hash of it, xxh3-128 in hex.

        With ``fsync`` the file is made durable as soon as all of it is there.
        """
        if self._block is not None:
            self._hand_over()
        with self._condition:
            self._ended, self._fsync = True, fsync
            self._under_way += 1
        self._blocks.run(lambda: self._do(lambda: None))
        return self._hasher.hexdigest()

    @property
    def done(self) -> bool:
        """Whether :meth:`settle` would return at once."""
        with self._condition:
            return self._ended and self._under_way == 0

    def settle(self) -> None:
        """Wait until all is as :meth:`end` said; close the file. Raises OSError."""
        self._close()
        if self._error is not None:
            raise self._error

    def give_up(self) -> None:
        """Close the file, whatever is in it."""
        if self._block is not None:
            self._give(self._block)
            self._block = None
        self._close()

    def _close(self) -> None:
        with self._condition:
            self._condition.wait_for(lambda: self._under_way == 0)
        file, self._file = self._file, -1
        if file >= 0:
            with contextlib.suppress(OSError):
                # A process forked meanwhile would keep it locked.
                fcntl.flock(file, fcntl.LOCK_UN)
            os.close(file)

    def _hand_over(self) -> None:
        assert self._block is not None, "only a block with something in it is handed over"
        block, self._block = self._block, None
        self._send(block, self._filled)

    def _send(self, block: np.ndarray, filled: int) -> None:
        at = self.size
        self.size += filled

        def put() -> None:
            try:
                if self._error is None:  # after a failure the rest is of no use
                    _put(self._file, block, filled, at)
            finally:
                self._give(block)

        with self._condition:
            self._under_way += 1
        self._blocks.run(lambda: self._do(put))

    def _do(self, work: Callable[[], None]) -> None:
        """What one of the threads does; the one that is left last makes the file whole."""
        error = _tried(work)
        with self._condition:
            self._error = self._error or error
            whole = self._ended and self._under_way == 1 and self._error is None
            if not whole:
                self._under_way -= 1
                self._condition.notify_all()
                return
        error = _tried(self._make_whole)
        with self._condition:
            self._error = error
            self._under_way = 0
            self._condition.notify_all()

    def _make_whole(self) -> None:
        os.ftruncate(self._file, self.size)  # the last block was written to a multiple
        if self._fsync:
            os.fsync(self._file)


def _tried(work: Callable[[], None]) -> OSError | None:
    try:
        work()
    except OSError as error:
        return error
    return None


def create(path: Path) -> int:
    """A descriptor of a new file at ``path``, to be written. Raises FileExistsError, OSError."""
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)


def set_direct(file: int) -> None:
    """Have ``file`` written past the page cache, where its file system allows that."""
    if _DIRECT:
        with contextlib.suppress(OSError):  # tmpfs, and some network file systems
            fcntl.fcntl(file, fcntl.F_SETFL, fcntl.fcntl(file, fcntl.F_GETFL) | _DIRECT)


def _put(file: int, block: np.ndarray, filled: int, at: int) -> None:
    """Write the first ``filled`` bytes of ``block`` at the offset ``at``. Raises OSError."""
    direct = bool(_DIRECT and fcntl.fcntl(file, fcntl.F_GETFL) & _DIRECT)
    end = -(-filled // _ALIGNED) * _ALIGNED if direct else filled
    done = 0
    while done < end:
        try:
            done += os.pwrite(file, block[done:end].data, at + done)
        except OSError as error:
            if not direct or error.errno != errno.EINVAL:
                raise
            # Opened, but not for such writes: go on through the page cache.
            fcntl.fcntl(file, fcntl.F_SETFL, fcntl.fcntl(file, fcntl.F_GETFL) & ~_DIRECT)
            direct = False
