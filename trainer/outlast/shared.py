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
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import xxhash

from outlast.durable import replace_file
from outlast.manifest import ObjectRef

PAGE = 4096
_PIECE = 512 << 10
"""Copied and hashed at a time: it stays in the processor's cache in between."""


class NoRoomError(Exception):
    """What is to be published finds no place: scratch has to do."""


class Shared:
    """One file below ``root``, as the memory of one process. Used by one thread at a time."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._path = root / ".memory"
        self._file = -1
        self._names: list[Path] = []

    def allocate(self, size: int) -> np.ndarray:
        """``size`` bytes (a multiple of :data:`PAGE`) instead of what there was. Raises OSError."""
        self.withdraw()  # or its names would keep the memory that this replaces
        self.close()  # also what a killed process of this attempt left
        self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        try:
            # Without it, a file system without room shows only as SIGBUS at the first touch.
            os.posix_fallocate(self._file, 0, size)
            return np.frombuffer(mmap.mmap(self._file, size), np.uint8)
        except BaseException:
            self.close()
            raise

    def publish(self, key: str, offset: int) -> None:
        """Let the daemon find the object ``key``, which begins at ``offset``.

        Raises NoRoomError.
        """
        path = self.root / f"{key}@{offset}"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.unlink(missing_ok=True)  # of an earlier process of this attempt
            self._names.append(path)
            os.link(self._path, path)
        except OSError as error:
            raise NoRoomError(str(error)) from error

    def publish_manifest(self, key: str, data: bytes) -> None:
        """Let it find the manifest ``key`` of a checkpoint whose objects were published.

        Raises NoRoomError.
        """
        path = self.root / key
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._names.append(path)
            replace_file(path, data, fsync=False)
        except OSError as error:
            raise NoRoomError(str(error)) from error

    def withdraw(self) -> bool:
        """Have nothing published any more; whether nobody reads it still. Raises OSError.

        Names are gone in any case: who reads has opened the file before.
        """
        for path in reversed(self._names):  # the manifest goes first
            path.unlink(missing_ok=True)
        self._names.clear()
        if self._file < 0:
            return True
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

    def put(self, attempt: int, parts: Iterable[Any], size: int) -> ObjectRef:
        """The buffers ``parts``, of ``size`` bytes together, as an object. Raises NoRoomError."""
        first, end = self._at, self._at + size
        if end > len(self._memory):
            raise NoRoomError(f"{size} bytes")
        at, hasher = first, xxhash.xxh3_128()
        for part in parts:
            source = np.frombuffer(part, np.uint8)
            for start in range(0, len(source), _PIECE):
                piece = source[start : start + _PIECE]
                there = self._memory[at : at + len(piece)]
                np.copyto(there, piece)
                hasher.update(there.data)
                at += len(piece)
        self._at = -(-end // PAGE) * PAGE
        return self._published(ObjectRef(attempt, hasher.hexdigest(), size), first)

    def adopt(self, attempt: int, memory: np.ndarray, size: int) -> ObjectRef:
        """The same of ``size`` bytes that lie there already, from where ``memory`` begins.

        Raises NoRoomError.
        """
        hasher = xxhash.xxh3_128()
        for start in range(0, size, _PIECE):
            hasher.update(memory[start : min(start + _PIECE, size)].data)
        at = memory.ctypes.data - self._memory.ctypes.data
        return self._published(ObjectRef(attempt, hasher.hexdigest(), size), at)

    def _published(self, ref: ObjectRef, at: int) -> ObjectRef:
        self.shared.publish(ref.key, at)
        return ref
