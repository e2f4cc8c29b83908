"""Memory that the daemon reads too: what a notice saves need not be written to a disk first.

The memory of a snapshot is a file on a file system in memory (OUTLAST_MEMORY). An object that lies
in it whole gets a name: a hard link of that file, called like the object and ``@`` its offset.
Below the folder all is laid out as in scratch. Whoever reads one holds a shared ``flock`` on the
file: it is not written over then.
"""

from __future__ import annotations

import contextlib
import fcntl
import mmap
import os
import secrets
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import xxhash

from outlast.manifest import ObjectRef

PAGE = 4096
_PIECE = 512 << 10
"""Copied and hashed at a time: it stays in the processor's cache in between."""


class Shared:
    """One file below ``root``, as the memory of one process. Used by one thread at a time."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._path = root / f".{secrets.token_hex(8)}.memory"
        self._file = -1
        self._names: list[Path] = []

    def allocate(self, size: int) -> np.ndarray:
        """``size`` bytes (a multiple of :data:`PAGE`) instead of what there was. Raises OSError."""
        self.close()
        self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        try:
            # Without it, a file system without room shows only as SIGBUS at the first touch.
            os.posix_fallocate(self._file, 0, size)
            return np.frombuffer(mmap.mmap(self._file, size), np.uint8)
        except BaseException:
            self.close()
            raise

    def publish(self, key: str, offset: int) -> None:
        """Let the daemon find the object ``key``, which begins at ``offset``. Raises OSError."""
        path = self.root / f"{key}@{offset}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)  # of an earlier process of this attempt
        os.link(self._path, path)
        self._names.append(path)

    def manifest(self, key: str) -> Path:
        """Where the manifest ``key`` of a checkpoint goes whose objects were published."""
        path = self.root / key
        path.parent.mkdir(parents=True, exist_ok=True)
        self._names.append(path)
        return path

    def withdraw(self) -> bool:
        """Have nothing published any more; whether nobody reads it still. Raises OSError."""
        for path in reversed(self._names):  # the manifest goes first
            path.unlink(missing_ok=True)
        self._names.clear()
        try:
            # Whoever opened a name before has it locked by now, or will see that it is gone.
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            fcntl.flock(self._file, fcntl.LOCK_UN)
        except BlockingIOError:
            return False
        return True

    def close(self) -> None:
        """Give it back to the machine, except for what is published."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
        with contextlib.suppress(OSError):
            self._path.unlink(missing_ok=True)


class Room:
    """The memory of ``shared``, as objects of one save are put there side by side."""

    def __init__(self, shared: Shared, memory: np.ndarray, start: int = 0) -> None:
        """What lies before ``start`` stays as it is."""
        self.shared = shared
        self._memory = memory
        self._at = -(-start // PAGE) * PAGE

    def put(self, attempt: int, parts: Iterable[Any], size: int) -> ObjectRef | None:
        """The buffers ``parts``, of ``size`` bytes together, as an object; None: there is no room.

        Raises OSError.
        """
        at, end = self._at, self._at + size
        if end > len(self._memory):
            return None
        hasher = xxhash.xxh3_128()
        for part in parts:
            source = np.frombuffer(part, np.uint8)
            for start in range(0, len(source), _PIECE):
                piece = source[start : start + _PIECE]
                there = self._memory[at : at + len(piece)]
                np.copyto(there, piece)
                hasher.update(there.data)
                at += len(piece)
        self._at = -(-end // PAGE) * PAGE
        return self._show(ObjectRef(attempt, hasher.hexdigest(), size), end - size)

    def adopt(self, attempt: int, memory: np.ndarray, size: int) -> ObjectRef:
        """The same of ``size`` bytes that lie there already, from where ``memory`` begins.

        Raises OSError.
        """
        hasher = xxhash.xxh3_128()
        for start in range(0, size, _PIECE):
            hasher.update(memory[start : min(start + _PIECE, size)].data)
        at = memory.ctypes.data - self._memory.ctypes.data
        return self._show(ObjectRef(attempt, hasher.hexdigest(), size), at)

    def _show(self, ref: ObjectRef, at: int) -> ObjectRef:
        self.shared.publish(ref.key, at)
        return ref
