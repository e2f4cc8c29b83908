"""Folders beneath a store's root, opened part by part: no link leads out of the store.

Whoever may write to a shared folder is trusted with the jobs in it, not with the machines that
use it: a link to ``/etc`` in the place of a job's folder must not make a daemon write there.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class Beneath:
    """Opens what lies beneath ``root``, which itself may be a link. Methods raise OSError."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._durable: set[tuple[str, ...]] = set()

    @contextmanager
    def folder(self, parts: Sequence[str], *, make: bool = False) -> Iterator[int]:
        """A descriptor of a folder; ``make``: whatever is missing is made, durably."""
        descriptor = os.open(self._root, _FOLDER)
        try:
            for number, part in enumerate(parts, 1):
                if make:
                    self._make(descriptor, tuple(parts[:number]))
                below = _open_below(descriptor, part)
                os.close(descriptor)
                descriptor = below
            yield descriptor
        finally:
            os.close(descriptor)

    def file(self, parts: Sequence[str]) -> BinaryIO:
        """A regular file, to be read."""
        with self.folder(parts[:-1]) as folder:
            descriptor = os.open(parts[-1], _READ, dir_fd=folder)
        return checked(descriptor, "/".join(parts))

    def _make(self, above: int, parts: tuple[str, ...]) -> None:
        try:
            os.mkdir(parts[-1], dir_fd=above)
        except FileExistsError:
            # It may have been made a moment ago by a writer that was killed before it made the
            # name durable: so each folder is fsynced once by everyone who uses it.
            if parts in self._durable:
                return
        os.fsync(above)
        self._durable.add(parts)


def new_file(folder: int, name: str) -> BinaryIO:
    """A file that was not there before, to be written. Raises OSError."""
    return os.fdopen(os.open(name, _NEW, 0o666, dir_fd=folder), "wb")


def checked(descriptor: int, name: str) -> BinaryIO:
    """To read from, if it is a regular file: neither folder nor pipe. Raises OSError."""
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        number = errno.EISDIR if stat.S_ISDIR(mode) else errno.EINVAL
        raise OSError(number, "not a regular file", name)
    return os.fdopen(descriptor, "rb")


def _open_below(folder: int, part: str) -> int:
    try:
        return os.open(part, _FOLDER | os.O_NOFOLLOW, dir_fd=folder)
    except NotADirectoryError:
        # What is a link is not "nothing there": it may well lead to what is looked for.
        if stat.S_ISLNK(os.stat(part, dir_fd=folder, follow_symlinks=False).st_mode):
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), part) from None
        raise
