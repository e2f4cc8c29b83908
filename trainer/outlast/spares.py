"""Files of objects that are no longer needed, to be written over.

Blocks that a file has already are written in two thirds of the time of new ones, and nothing has
to be freed. Whoever reads an object holds a shared ``flock`` on it: such a file is not written
over, and neither is one that has another name.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
from collections import deque
from pathlib import Path


class Spares:
    """Spare files in one folder, as many as one save made lately. Used by one thread."""

    def __init__(self, folder: Path) -> None:
        self.most = 0
        """Bytes of them that are kept."""
        self._folder = folder
        self._files: deque[tuple[Path, int]] = deque()

    def temporary(self) -> Path:
        """A name that :func:`outlast.retention.sweep` removes after a kill."""
        return self._folder / f".{secrets.token_hex(8)}.tmp"

    def put(self, path: Path, size: int) -> None:
        """Take the file at ``path``, of ``size`` bytes, away from there. Raises OSError."""
        if path.parent != self._folder or size > self.most:
            path.unlink(missing_ok=True)
            return
        spare = self.temporary()
        with contextlib.suppress(FileNotFoundError):
            path.replace(spare)
            self._files.append((spare, size))
        while sum(size for _, size in self._files) > self.most:
            self._files.popleft()[0].unlink(missing_ok=True)

    def take(self, size: int) -> tuple[Path, int] | None:
        """A spare's path and its descriptor, open for writing; None: there is none for ``size``.

        Of a file that is much shorter most would be new after all, and one that is much longer
        is of more use for something else.
        """
        near = [each for each in self._files if each[1] <= 2 * size and size <= 2 * each[1]]
        for each in sorted(near, key=lambda spare: abs(spare[1] - size)):
            self._files.remove(each)
            path = each[0]
            with contextlib.suppress(OSError):
                descriptor = os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
                if _is_ours(descriptor):
                    return path, descriptor
                os.close(descriptor)
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)
        return None

    def clear(self) -> None:
        """Remove all: the room may be needed."""
        while self._files:
            with contextlib.suppress(OSError):
                self._files.popleft()[0].unlink(missing_ok=True)


def _is_ours(descriptor: int) -> bool:
    """Whether nobody reads the file or has another name for it; nobody will from here on."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # somebody reads it, or this file system has no locks
        return False
    return os.fstat(descriptor).st_nlink == 1
